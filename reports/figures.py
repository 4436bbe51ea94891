"""The paper's figures from training logs: PNG, SVG, their numbers (CSV) and a caption with these (JSON) each.

    python -m reports.figures --figure figure6 --scale mini --results results/mini --out
        results/mini/report/figures

A figure is an entry of experiments.yaml, which names its drawing: `training_curve` for any logged quantity, or one of
the others in DRAWINGS. The x axis is in the paper's steps, so that a miniature run spans the paper's axis; its own
steps stand on a second axis.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator, PercentFormatter

from reference_impl.config import learning_rate_factor
from reference_impl.config.experiments import FigureEntry, TrainingCurve
from reference_impl.files import write_text
from reports.curves import validation_curve
from reports.drawing import (
    STEPS,
    Drawing,
    aligned_runs,
    alone,
    band_text,
    declared,
    draw_runs,
    draw_validations,
    legend_above,
    miniature_axis,
    panels,
    save,
    smoothing_text,
    training_panels,
    validation_band_text,
)
from reports.figure_data import panels_of, to_csv
from reports.inputs import Results, experiment, open_results, parser, run_command
from reports.scores import expert_length
from reports.style import RC, label, line_style
from reports.tuned_rates import tuned_rates


def training_curve(results: Results, name: str) -> Drawing:
    """One logged quantity of the rollouts against steps, as the entry declares it."""
    entry = experiment(results, name, TrainingCurve)
    figure, drawn, text = training_panels(results, name, entry.metric, entry.ylabel)
    if entry.from_zero:
        for axes in drawn:
            axes.set_ylim(bottom=0)
    legend_above(figure, drawn)
    return Drawing(figure, " ".join(filter(None, [entry.text, policies_text(results, entry), text])))


def policies_text(results: Results, entry: FigureEntry) -> str:
    """A sentence on the policies that the runs start from; empty where it is one."""
    methods = [results.decl.method(name) for name in entry.methods]
    if len({method.policy for method in methods}) == 1:
        return ""
    names = [
        f"{method.label}: {results.scale.domains[domain].policies[method.policy]}"
        for domain in entry.domains
        for method in methods
    ]
    return f"The runs start from different policies ({'; '.join(names)}), so at different levels: compare their shapes."


def validation_by_step(results: Results, name: str) -> Drawing:
    """Validation accuracy against RL steps; a run that starts from SFT has that behind it at step 0."""
    domains, methods = declared(results, name)
    domain = alone("domain", domains, name)
    runs = aligned_runs(results, domain, {method: results.validation(domain, method) for method in methods})
    figure, (axes,) = panels(1, 3.7)
    curves = []
    for method, frame in runs.frames.items():
        curves.append(validation_curve(frame, "paper_step"))
        draw_validations(axes, results, method, curves[-1])
    axes.set(xlabel=STEPS, ylabel="accuracy on the validation set", xlim=(0, runs.last))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    miniature_axis(axes, runs.divisor)
    legend_above(figure, [axes])
    started = {method: results.decl.method(method).init for method in methods}
    before = [
        f"{label(results.decl, method)} begins with the checkpoint of {label(results.decl, start)} that validation "
        "chose: its SFT comes before step 0."
        for method, start in started.items()
        if start != "policy"
    ]
    text = [
        "Accuracy on the validation problems while RL trains.",
        *before,
        f"Not smoothed. Bands: {validation_band_text(curves)}.",
        runs.cut,
    ]
    return Drawing(figure, " ".join(filter(None, text)))


def validation_by_epoch(results: Results, name: str) -> Drawing:
    """Validation accuracy against SFT epochs."""
    domains, methods = declared(results, name)
    domain, method = alone("domain", domains, name), alone("method", methods, name)
    curve = validation_curve(results.validation(domain, method))
    figure, (axes,) = panels(1, 3.5)
    draw_validations(axes, results, method, curve)
    start, best = curve.mean[0], int(np.argmax(curve.mean))
    axes.axhline(start, **line_style(results.decl, "original"), linewidth=1.3, label="before training")
    axes.set(xlabel="epoch", ylabel="accuracy on the validation set", xlim=(0, curve.x[-1]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    legend_above(figure, [axes])
    rate = results.decl.method(method).learning_rate
    text = (
        "Accuracy on the validation problems after each epoch of SFT on the expert's demonstrations "
        f"(learning rate {rate:g} × {learning_rate_factor(results.scale, domain):g}); highest at epoch "
        f"{curve.x[best]:g}. Not smoothed. Band: {validation_band_text([curve])}."
    )
    return Drawing(figure, text)


def reward_above_mu(results: Results, name: str) -> Drawing:
    """Reward against steps while mu decays; mu below it."""
    domains, methods = declared(results, name)
    domain = alone("domain", domains, name)
    runs = aligned_runs(results, domain, {method: results.metrics(domain, method) for method in methods})
    figure, (upper, lower) = panels(2, 4.4, ratios=[3, 1])
    curves = draw_runs(upper, results, runs, "reward_mean")
    for method, frame in runs.frames.items():
        weights = frame.groupby("paper_step")["mu"].mean()
        lower.plot(weights.index, weights.to_numpy(), **line_style(results.decl, method))
    upper.set(ylabel="mean reward of rollouts")
    upper.tick_params(labelbottom=False)
    lower.set(ylabel="μ", xlabel=STEPS, xlim=(0, runs.last), ylim=(-0.05, 1.0), yticks=(0, 0.5, 1))
    miniature_axis(upper, runs.divisor)
    legend_above(figure, [upper])
    text = [
        "Mean reward of the rollouts of each step (top) and the weight μ of the expert loss (bottom).",
        f"Lines: {smoothing_text(curves, runs.divisor)}; thin lines: not smoothed.",
        band_text(curves),
        runs.cut,
    ]
    return Drawing(figure, " ".join(filter(None, text)))


def untrained_length(results: Results, domain: str, methods: Sequence[str]) -> float:
    """Mean response length of the original policy in tokens: what a run that starts from it found at step 0."""
    run = next(name for name in methods if results.decl.method(name).init == "policy")
    validations = results.validation(domain, run)
    return float(validations[validations["step"] == 0]["response_length"].mean())


def length_with_references(results: Results, name: str) -> Drawing:
    """Response length of rollouts against steps, with the lengths of the expert and of the original model."""
    domains, methods = declared(results, name)
    figure, drawn, text = training_panels(results, name, "response_length", "tokens per response")
    for axes, domain in zip(drawn, domains, strict=True):
        lengths = {
            "expert": expert_length(results, domain).mean,
            "original": untrained_length(results, domain, methods),
        }
        for method, length in lengths.items():
            axes.axhline(length, linewidth=1.4, label=label(results.decl, method), **line_style(results.decl, method))
        axes.set_ylim(bottom=0)
    legend_above(figure, drawn)
    return Drawing(
        figure,
        "Average length of the rollouts of each step. Horizontal lines: mean length of the expert's "
        f"demonstrations, and of the original model's answers to the validation problems. {text}",
    )


DRAWINGS: dict[str, Callable[[Results, str], Drawing]] = {
    "training_curve": training_curve,
    "validation_by_step": validation_by_step,
    "validation_by_epoch": validation_by_epoch,
    "reward_above_mu": reward_above_mu,
    "length_with_references": length_with_references,
    "tuned_rates": tuned_rates,
}
"""The drawings that experiments.yaml may name; each gets the figure's name."""


def draw(results: Results, name: str) -> Drawing:
    """A declared figure with its caption."""
    return DRAWINGS[experiment(results, name, FigureEntry).draw](results, name)


def write(results: Results, name: str, out: Path) -> None:
    """Write a figure as PNG, SVG and CSV, and its words and curves as JSON, to the folder `out`."""
    entry = experiment(results, name, FigureEntry)
    with plt.rc_context(RC):
        drawing = draw(results, name)
        out.mkdir(parents=True, exist_ok=True)
        for kind in ("png", "svg"):
            save(drawing.figure, out / f"{name}.{kind}")
        drawn = panels_of(drawing.figure)
        plt.close(drawing.figure)
    words: dict[str, Any] = {"title": entry.title, "caption": drawing.caption, "reading": entry.reading}
    words |= {"panels": [panel.model_dump() for panel in drawn]}
    write_text(out / f"{name}.csv", to_csv(drawn))
    write_text(out / f"{name}.json", json.dumps(words, ensure_ascii=False, indent=2) + "\n")


def main(argv: Sequence[str] | None = None) -> None:
    """Write one figure as PNG and SVG, and its caption as JSON."""
    arguments = parser("Draw one figure from training logs.", "figure").parse_args(argv)
    write(open_results(arguments), arguments.figure, arguments.out)


if __name__ == "__main__":
    run_command(main)
