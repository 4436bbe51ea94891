"""The paper's figures from training logs: PNG, SVG and a caption (JSON) each.

    python -m reports.figures --figure figure6 --scale mini --results results/mini --out
        results/mini/report/figures

One small function a figure, in FIGURES. The x axis is in the paper's steps, so that a miniature run spans the
paper's axis; its own steps stand on a second axis.
"""

import json
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator, PercentFormatter

from reference_impl.files import write_text
from reports.curves import validation_curve
from reports.drawing import (
    STEPS,
    Drawing,
    aligned_runs,
    band_text,
    declared,
    draw_looks,
    draw_runs,
    legend_above,
    miniature_axis,
    panels,
    save,
    smoothing_text,
    training_figure,
    validation_band_text,
)
from reports.inputs import ROOT, Results, experiment, load_yaml, open_results, parser, run_command
from reports.style import RC, label, look
from reports.tables import expert_length

REWARD = "mean reward of rollouts"
REWARD_TEXT = "Mean reward of the rollouts of each step, on training prompts."
ENTROPY_TEXT = "Mean entropy of the policy over the tokens of its rollouts."


def figure1(results: Results) -> Drawing:
    """Validation accuracy against RL steps; a run that starts from SFT has that behind it at step 0."""
    (domain,), methods = declared(results, "figure1")
    runs = aligned_runs(results, domain, {method: results.validation(domain, method) for method in methods})
    figure, (axes,) = panels(1, 3.7)
    curves = []
    for method, frame in runs.frames.items():
        curves.append(validation_curve(frame, "paper_step"))
        draw_looks(axes, results, method, curves[-1])
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


def figure2(results: Results) -> Drawing:
    """Validation accuracy against SFT epochs."""
    (domain,), (method,) = declared(results, "figure2")
    curve = validation_curve(results.validation(domain, method))
    figure, (axes,) = panels(1, 3.5)
    draw_looks(axes, results, method, curve)
    start, best = curve.mean[0], int(np.argmax(curve.mean))
    axes.axhline(start, **look(results.decl, "original"), linewidth=1.3, label="before training")
    axes.set(xlabel="epoch", ylabel="accuracy on the validation set", xlim=(0, curve.x[-1]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    legend_above(figure, [axes])
    rate = results.decl.method(method).learning_rate
    text = (
        "Accuracy on the validation problems after each epoch of SFT on the expert's demonstrations "
        f"(learning rate {rate:g} × {results.scale.learning_rate_factor:g}); highest at epoch "
        f"{curve.x[best]:g}. Not smoothed. Band: {validation_band_text([curve])}."
    )
    return Drawing(figure, text)


def figure4(results: Results) -> Drawing:
    """Reward against steps while mu decays; mu below it."""
    (domain,), methods = declared(results, "figure4")
    runs = aligned_runs(results, domain, {method: results.metrics(domain, method) for method in methods})
    figure, (upper, lower) = panels(2, 4.4, ratios=[3, 1])
    curves = draw_runs(upper, results, runs, "reward_mean")
    for method, frame in runs.frames.items():
        weights = frame.groupby("paper_step")["mu"].mean()
        lower.plot(weights.index, weights.to_numpy(), **look(results.decl, method))
    upper.set(ylabel=REWARD)
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


def entropy_figure(results: Results, name: str) -> Drawing:
    """Entropy of the policy on its own rollouts against steps."""
    figure, drawn, text = training_figure(results, name, "entropy", "entropy (nats per token)")
    for axes in drawn:
        axes.set_ylim(bottom=0)
    legend_above(figure, drawn)
    return Drawing(figure, f"{ENTROPY_TEXT} {text}")


def reward_figure(results: Results, name: str, unit: str = REWARD, what: str = REWARD_TEXT) -> Drawing:
    """Reward of rollouts against steps."""
    figure, drawn, text = training_figure(results, name, "reward_mean", unit)
    legend_above(figure, drawn)
    return Drawing(figure, f"{what} {text}")


def figure5(results: Results) -> Drawing:
    """Entropy of pure RL and of mixed RL, with and without importance sampling (Eq. 4)."""
    return entropy_figure(results, "figure5")


def untrained_length(results: Results, domain: str, methods: Sequence[str]) -> float:
    """Mean response length of the original policy in tokens: what a run that starts from it found at step 0."""
    run = next(name for name in methods if results.decl.method(name).init == "policy")
    looks = results.validation(domain, run)
    return float(looks[looks["step"] == 0]["response_length"].mean())


def figure6(results: Results) -> Drawing:
    """Response length of rollouts against steps, with the lengths of the expert and of the original model."""
    domains, methods = declared(results, "figure6")
    figure, drawn, text = training_figure(results, "figure6", "response_length", "tokens per response")
    for axes, domain in zip(drawn, domains, strict=True):
        lengths = {
            "expert": expert_length(results, domain).mean,
            "original": untrained_length(results, domain, methods),
        }
        for name, length in lengths.items():
            axes.axhline(length, linewidth=1.4, label=label(results.decl, name), **look(results.decl, name))
        axes.set_ylim(bottom=0)
    legend_above(figure, drawn)
    return Drawing(
        figure,
        "Average length of the rollouts of each step. Horizontal lines: mean length of the expert's "
        f"demonstrations, and of the original model's answers to the validation problems. {text}",
    )


def figure7(results: Results) -> Drawing:
    """Reward with a decaying mu and with fixed ones."""
    return reward_figure(results, "figure7")


def figure8(results: Results) -> Drawing:
    """Entropy of pure RL and of both CHORDs."""
    return entropy_figure(results, "figure8")


def figure9(results: Results) -> Drawing:
    """Reward of pure RL and of both CHORDs."""
    return reward_figure(results, "figure9")


def figure10(results: Results) -> Drawing:
    """Reward where a judge gives it."""
    what = "Mean score that the judge gave the rollouts of each step, on training prompts."
    return reward_figure(results, "figure10", "mean score of rollouts", what)


def figure11(results: Results) -> Drawing:
    """Reward of CHORD with schedules of mu together with phi."""
    return reward_figure(results, "figure11")


def figure12(results: Results) -> Drawing:
    """Reward on tool use."""
    return reward_figure(results, "figure12")


def figure13(results: Results) -> Drawing:
    """Reward of two policies under one objective."""
    domains, methods = declared(results, "figure13")
    names = [
        f"{label(results.decl, method)}: {results.scale.domains[domain].policies[results.decl.method(method).policy]}"
        for domain in domains
        for method in methods
    ]
    start = (
        f"The runs start from different policies ({'; '.join(names)}), so at different levels: compare their shapes."
    )
    return reward_figure(results, "figure13", what=f"{REWARD_TEXT} {start}")


FIGURES: dict[str, Callable[[Results], Drawing]] = {
    "figure1": figure1,
    "figure2": figure2,
    "figure4": figure4,
    "figure5": figure5,
    "figure6": figure6,
    "figure7": figure7,
    "figure8": figure8,
    "figure9": figure9,
    "figure10": figure10,
    "figure11": figure11,
    "figure12": figure12,
    "figure13": figure13,
}


def reading(name: str) -> str:
    """What the paper says a table or figure shows."""
    return str(load_yaml(ROOT / "reports" / "readings.yaml")[name]).strip()


def main(argv: Sequence[str] | None = None) -> None:
    """Write one figure as PNG and SVG, and its caption as JSON."""
    arguments = parser("Draw one figure of the paper from training logs.", "figure", FIGURES).parse_args(argv)
    results, name = open_results(arguments), arguments.figure
    with plt.rc_context(RC):
        drawing = FIGURES[name](results)
        arguments.out.mkdir(parents=True, exist_ok=True)
        for kind in ("png", "svg"):
            save(drawing.figure, arguments.out / f"{name}.{kind}")
        plt.close(drawing.figure)
    words = {
        "title": experiment(results, name)["title"],
        "caption": drawing.caption,
        "reading": reading(name),
    }
    write_text(arguments.out / f"{name}.json", json.dumps(words, ensure_ascii=False, indent=2) + "\n")


if __name__ == "__main__":
    run_command(main)
