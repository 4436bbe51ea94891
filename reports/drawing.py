"""What the figures share: panels, lines with bands, the axis of a run's own steps, captions' sentences, files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reference_impl.config.experiments import FigureEntry
from reference_impl.files import whole_file
from reports.curves import Curve, common_steps, training_curve
from reports.inputs import Results, experiment
from reports.style import label, line_style

matplotlib.use("Agg")
WIDTH = 7.2
"""Inches: the text width of a page."""
STEPS = "training step (the paper's steps)"


@dataclass(frozen=True)
class Drawing:
    """A figure with what is to be said under it."""

    figure: Figure
    caption: str


@dataclass(frozen=True)
class Runs:
    """The logs of a panel's methods over the steps that all of them have."""

    domain: str
    frames: Mapping[str, pd.DataFrame]
    divisor: float
    """The paper's steps per step of these runs."""
    cut: str
    """A sentence about runs that are longer than the shortest; empty where none did."""

    @property
    def last(self) -> float:
        """The last of the paper's steps that is drawn."""
        return float(max(frame["paper_step"].max() for frame in self.frames.values()))


def declared(results: Results, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Domains and methods of a figure. Raises ValueError where the scale has none of its domains."""
    entry = experiment(results, name, FigureEntry)
    if not entry.domains:
        raise ValueError(f"{name} needs one of the domains of experiments.yaml; scale {results.scale.name} has none")
    return entry.domains, entry.methods


def alone(what: str, names: Sequence[str], figure: str) -> str:
    """The one domain or method of a drawing that has room for one. Raises ValueError for several."""
    if len(names) != 1:
        raise ValueError(f"{figure}: its drawing shows one {what}, not {', '.join(names)}")
    return names[0]


def aligned_runs(results: Results, domain: str, logs: Mapping[str, pd.DataFrame]) -> Runs:
    """Logs cut where the shortest run ends, so that no curve stands alone for half of the axis."""
    divisor = results.scale.domains[domain].steps_divisor
    stepped = {method: frame.assign(paper_step=frame["step"] * divisor) for method, frame in logs.items()}
    cut, last = common_steps(stepped)
    longer = [method for method, frame in stepped.items() if frame["paper_step"].max() > last]
    if not longer:
        return Runs(domain, cut, divisor, "")
    names = ", ".join(label(results.decl, method) for method in longer)
    end = max(stepped[method]["paper_step"].max() for method in longer)
    text = f"The axis ends at step {last:,.0f}, where the shortest run does; not shown: {names} up to step {end:,.0f}."
    return Runs(domain, cut, divisor, text)


def panels(count: int, height: float, ratios: Sequence[float] | None = None) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, one below the other; height in inches."""
    figure, axes = plt.subplots(
        count, 1, figsize=(WIDTH, height), layout="constrained", height_ratios=ratios, squeeze=False
    )
    return figure, list(axes[:, 0])


def draw_curve(axes: Axes, results: Results, method: str, curve: Curve) -> None:
    """One method's line with its band, and the unsmoothed values behind it."""
    style = line_style(results.decl, method)
    if curve.window > 1:
        axes.plot(curve.x, curve.raw, color=style["color"], linewidth=0.6, alpha=0.28, zorder=1)
    axes.fill_between(curve.x, curve.low, curve.high, color=style["color"], alpha=0.16, linewidth=0, zorder=1)
    axes.plot(curve.x, curve.mean, label=label(results.decl, method), zorder=3, **style)


def draw_validations(axes: Axes, results: Results, method: str, curve: Curve) -> None:
    """A validation curve: its line, and a dot for every validation."""
    draw_curve(axes, results, method, curve)
    colour = line_style(results.decl, method)["color"]
    axes.plot(curve.x, curve.mean, "o", markersize=4, color=colour, zorder=4, clip_on=False)


def draw_runs(axes: Axes, results: Results, runs: Runs, value: str) -> list[Curve]:
    """The curves of one logged quantity over the common steps."""
    curves = []
    for method, frame in runs.frames.items():
        curves.append(training_curve(frame, value))
        draw_curve(axes, results, method, curves[-1])
    axes.set_xlim(0, runs.last)
    return curves


def miniature_axis(axes: Axes, divisor: float) -> None:
    """The run's own steps above the plot, where they differ from the paper's."""
    if divisor != 1:

        def own(x: Any) -> Any:
            return x / divisor

        def paper(x: Any) -> Any:
            return x * divisor

        upper = axes.secondary_xaxis("top", functions=(own, paper))
        upper.set_xlabel("steps of these runs", fontsize=8.5, color="#555555")
        upper.xaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10)))
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
    """What the bands of training curves are."""
    seeds = min(curve.seeds for curve in curves)
    if seeds > 1:
        return f"Bands: 95 % interval of the mean over {seeds} seeds."
    if max(curve.window for curve in curves) == 1:
        return "No bands: one seed, and too few steps for a moving average."
    return (
        "Bands: 95 % interval of the moving average from the spread of the steps in it "
        "(one seed: not the spread between runs)."
    )


def validation_band_text(curves: Sequence[Curve]) -> str:
    """What the bands of validation curves are."""
    seeds = min(curve.seeds for curve in curves)
    return "95 % interval over questions" if seeds == 1 else f"95 % interval over {seeds} seeds"


def training_panels(results: Results, name: str, metric: str, ylabel: str) -> tuple[Figure, list[Axes], str]:
    """One panel a domain with the declared methods' curves of one logged quantity."""
    domains, methods = declared(results, name)
    figure, drawn = panels(len(domains), 0.6 + 3.1 * len(domains))
    smoothing: dict[str, str] = {}
    cuts: list[str] = []
    shown: list[Curve] = []
    for axes, domain in zip(drawn, domains, strict=True):
        runs = aligned_runs(results, domain, {method: results.metrics(domain, method) for method in methods})
        curves = draw_runs(axes, results, runs, metric)
        axes.set(ylabel=ylabel, xlabel=STEPS)
        if len(domains) > 1:
            axes.set_title(results.decl.domains[domain].label, loc="left")
        miniature_axis(axes, runs.divisor)
        smoothing[results.decl.domains[domain].label.lower()] = smoothing_text(curves, runs.divisor)
        cuts += [runs.cut] if runs.cut else []
        shown += curves
    texts = list(smoothing.values())
    lines = texts[0] if len(set(texts)) == 1 else "; ".join(f"{where}: {text}" for where, text in smoothing.items())
    return figure, drawn, " ".join([f"Lines: {lines}; thin lines: not smoothed.", band_text(shown), *cuts])


def save(figure: Figure, path: Path) -> None:
    """Write an image under a temporary name, then rename it. No date, no program version: the same data, the
    same bytes.
    """
    kind = path.suffix[1:]
    with whole_file(path) as temporary:
        figure.savefig(
            temporary, format=kind, dpi=200, metadata={"Date": None} if kind == "svg" else {"Software": None}
        )
