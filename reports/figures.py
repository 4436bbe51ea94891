"""The paper's figures from training logs: PNG, SVG and a caption (JSON) each.

    python -m reports.figures --figure figure6 --scale mini --results results/mini --out
        results/mini/report/figures

One small function a figure, in FIGURES. The x axis is in the paper's steps, so that a miniature run spans the
paper's axis; its own steps stand on a second axis.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from reference_impl.files import whole_file, write_text
from reports.curves import Curve, training_curve, validation_curve
from reports.inputs import ROOT, Results, experiment, load_yaml, open_results, parser, run_command
from reports.style import RC, label, look
from reports.tables import expert_length

matplotlib.use("Agg")
WIDTH = 7.2
"""Inches: the text width of a page."""


@dataclass(frozen=True)
class Drawing:
    """A figure with what is to be said under it."""

    figure: Figure
    caption: str


def _divisor(frame: pd.DataFrame) -> float:
    """The paper's steps per step of these runs."""
    return float(frame["paper_step"].iloc[0] / frame["step"].iloc[0])


def draw_curve(axes: Axes, results: Results, method: str, curve: Curve) -> None:
    """One method's line with its band, and the unsmoothed values behind it."""
    style = look(results.decl, method)
    if curve.window > 1:
        axes.plot(curve.x, curve.raw, color=style["color"], linewidth=0.6, alpha=0.28, zorder=1)
    axes.fill_between(curve.x, curve.low, curve.high, color=style["color"], alpha=0.16, linewidth=0, zorder=1)
    axes.plot(curve.x, curve.mean, label=label(results.decl, method), zorder=3, **style)


def miniature_axis(axes: Axes, divisor: float) -> None:
    """The run's own steps above the plot, where they differ from the paper's."""
    if divisor != 1:

        def own(x: Any) -> Any:
            return x / divisor

        def paper(x: Any) -> Any:
            return x * divisor

        upper = axes.secondary_xaxis("top", functions=(own, paper))
        upper.set_xlabel("steps of these runs", fontsize=8.5, color="#555555")
        upper.tick_params(labelsize=8, colors="#777777")
        upper.spines["top"].set_visible(False)


def legend_above(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend for all panels, in a row above them."""
    found: dict[str, Artist] = {}
    for panel in axes:
        for handle, text in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(text, handle)
    columns = len(found) if sum(map(len, found)) < 45 else 3
    figure.legend(list(found.values()), list(found), loc="outside upper left", ncols=columns)


def smoothing_text(curves: Sequence[Curve], divisor: float) -> str:
    """How the lines were smoothed."""
    window = max(curve.window for curve in curves)
    if window == 1:
        return "every step"
    own = f"{window} steps of these runs"
    return f"centred moving average over {own}" + ("" if divisor == 1 else f" ({window * divisor:g} of the paper's)")


def band_text(curves: Sequence[Curve]) -> str:
    """What the bands are."""
    seeds = min(curve.seeds for curve in curves)
    if seeds > 1:
        return f"Bands: 95 % interval of the mean over {seeds} seeds."
    return (
        "Bands: 95 % interval of the moving average from the spread of the steps in it "
        "(one seed: not the spread between runs)."
    )


def _panels(count: int, height: float, ratios: Sequence[float] | None = None) -> tuple[Figure, list[Axes]]:
    figure, axes = plt.subplots(
        count, 1, figsize=(WIDTH, height), layout="constrained", height_ratios=ratios, squeeze=False
    )
    return figure, list(axes[:, 0])


def training_figure(results: Results, name: str, value: str, unit: str) -> tuple[Figure, list[Axes], str]:
    """One panel a domain with the declared methods' curves of one logged quantity."""
    declared = experiment(results, name)
    domains = declared["domains"]
    figure, panels = _panels(len(domains), 0.6 + 3.1 * len(domains))
    texts: list[str] = []
    shown: list[Curve] = []
    for axes, domain in zip(panels, domains, strict=True):
        curves, divisor = [], 1.0
        for method in declared["methods"]:
            frame = results.metrics(domain, method)
            divisor = _divisor(frame)
            curves.append(training_curve(frame, value))
            draw_curve(axes, results, method, curves[-1])
        axes.set(
            ylabel=unit,
            xlabel="training step (the paper's steps)",
            xlim=(0, max(curve.x[-1] for curve in curves)),
        )
        if len(domains) > 1:
            axes.set_title(results.decl.domains[domain].label, loc="left")
        miniature_axis(axes, divisor)
        texts.append(smoothing_text(curves, divisor))
        shown += curves
    named = [
        f"{results.decl.domains[domain].label.lower()}: {text}" for domain, text in zip(domains, texts, strict=True)
    ]
    smoothing = texts[0] if len(set(texts)) == 1 else "; ".join(named)
    return figure, panels, f"Lines: {smoothing}; thin lines: not smoothed. {band_text(shown)}"


def figure2(results: Results) -> Drawing:
    """Validation accuracy against SFT epochs."""
    declared = experiment(results, "figure2")
    (domain,), (method,) = declared["domains"], declared["methods"]
    curve = validation_curve(results.validation(domain, method))
    figure, (axes,) = _panels(1, 3.5)
    draw_curve(axes, results, method, curve)
    axes.plot(
        curve.x,
        curve.mean,
        "o",
        markersize=4,
        color=look(results.decl, method)["color"],
        zorder=4,
        clip_on=False,
    )
    start, best = curve.mean[0], int(np.argmax(curve.mean))
    axes.axhline(start, **look(results.decl, "original"), linewidth=1.3, label="before training")
    axes.set(xlabel="epoch", ylabel="accuracy on the validation set", xlim=(0, curve.x[-1]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    legend_above(figure, [axes])
    band = "95 % interval over questions" if curve.seeds == 1 else f"95 % interval over {curve.seeds} seeds"
    rate = results.decl.method(method).learning_rate
    text = (
        "Accuracy on the validation problems after each epoch of SFT on the expert's demonstrations "
        f"(learning rate {rate:g} × {results.scale.learning_rate_factor:g}); highest at epoch "
        f"{curve.x[best]:g}. Not smoothed. Band: {band}."
    )
    return Drawing(figure, text)


def figure4(results: Results) -> Drawing:
    """Reward against steps while mu decays; mu below it."""
    declared = experiment(results, "figure4")
    (domain,) = declared["domains"]
    figure, (upper, lower) = _panels(2, 4.4, ratios=[3, 1])
    curves, divisor = [], 1.0
    for method in declared["methods"]:
        frame = results.metrics(domain, method)
        divisor = _divisor(frame)
        curves.append(training_curve(frame, "reward_mean"))
        draw_curve(upper, results, method, curves[-1])
        weights = frame.groupby("paper_step")["mu"].mean()
        lower.plot(weights.index, weights.to_numpy(), **look(results.decl, method))
    last = max(curve.x[-1] for curve in curves)
    upper.set(ylabel="mean reward of rollouts", xlim=(0, last))
    upper.tick_params(labelbottom=False)
    lower.set(
        ylabel="μ",
        xlabel="training step (the paper's steps)",
        xlim=(0, last),
        ylim=(-0.05, 1.0),
        yticks=(0, 0.5, 1),
    )
    miniature_axis(upper, divisor)
    legend_above(figure, [upper])
    what = "Mean reward of the rollouts of each step (top) and the weight μ of the expert loss (bottom)."
    lines = f"Lines: {smoothing_text(curves, divisor)}; thin lines: not smoothed."
    return Drawing(figure, f"{what} {lines} {band_text(curves)}")


def untrained_length(results: Results, domain: str, methods: Sequence[str]) -> float:
    """Mean response length of the original policy in tokens: what a run that starts from it found at step 0."""
    run = next(name for name in methods if results.decl.method(name).init == "policy")
    looks = results.validation(domain, run)
    return float(looks[looks["step"] == 0]["response_length"].mean())


def figure6(results: Results) -> Drawing:
    """Response length of rollouts against steps, with the lengths of the expert and of the original model."""
    declared = experiment(results, "figure6")
    figure, panels, text = training_figure(results, "figure6", "response_length", "tokens per response")
    for axes, domain in zip(panels, declared["domains"], strict=True):
        lengths = {
            "expert": expert_length(results, domain).mean,
            "original": untrained_length(results, domain, declared["methods"]),
        }
        for name, length in lengths.items():
            axes.axhline(length, linewidth=1.4, label=label(results.decl, name), **look(results.decl, name))
        axes.set_ylim(bottom=0)
    legend_above(figure, panels)
    return Drawing(
        figure,
        "Average length of the rollouts of each step. Horizontal lines: mean length of the expert's "
        f"demonstrations, and of the original model's answers to the validation problems. {text}",
    )


def figure8(results: Results) -> Drawing:
    """Entropy of the policy on its own rollouts against steps."""
    figure, panels, text = training_figure(results, "figure8", "entropy", "entropy (nats per token)")
    for axes in panels:
        axes.set_ylim(bottom=0)
    legend_above(figure, panels)
    return Drawing(figure, f"Mean entropy of the policy over the tokens of its rollouts. {text}")


def figure9(results: Results) -> Drawing:
    """Reward of rollouts against steps."""
    figure, panels, text = training_figure(results, "figure9", "reward_mean", "mean reward of rollouts")
    legend_above(figure, panels)
    return Drawing(figure, f"Mean reward of the rollouts of each step, on training prompts. {text}")


FIGURES: dict[str, Callable[[Results], Drawing]] = {
    "figure2": figure2,
    "figure4": figure4,
    "figure6": figure6,
    "figure8": figure8,
    "figure9": figure9,
}


def reading(name: str) -> str:
    """What the paper says a table or figure shows."""
    return str(load_yaml(ROOT / "reports" / "readings.yaml")[name]).strip()


def save(figure: Figure, path: Path) -> None:
    """Write an image under a temporary name, then rename it. No date, no program version: the same data, the
    same bytes.
    """
    kind = path.suffix[1:]
    with whole_file(path) as temporary:
        figure.savefig(
            temporary, format=kind, dpi=200, metadata={"Date": None} if kind == "svg" else {"Software": None}
        )


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
