"""How learning rates were chosen: every method's validation accuracy at every rate of its grid (A.1)."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from reference_impl.config import TunedMethod, learning_rate_factor
from reports.drawing import Drawing, declared, panels
from reports.inputs import Results
from reports.style import label

UNTUNED = "No learning rate was tuned at this scale: every method trains at the one that methods.yaml gives it."
ROW = 0.3
"""Inches of a method."""


def tuned_rates(results: Results, name: str) -> Drawing:
    """A panel for every domain that was tuned: a row for a method, a column for a rate, the chosen one framed."""
    domains, methods = declared(results, name)
    tuned = results.scale.tuned
    drawn = [domain for domain in domains if tuned is not None and domain in tuned.domains]
    if tuned is None or not drawn:
        figure, (axes,) = panels(1, 1.0)
        axes.set_axis_off()
        axes.text(0.0, 0.5, UNTUNED, wrap=True, va="center")
        return Drawing(figure, UNTUNED)
    rows = {domain: [method for method in methods if method in tuned.domains[domain]] for domain in drawn}
    heights = [len(found) * ROW + 0.8 for found in rows.values()]
    figure, parts = panels(len(drawn), sum(heights), ratios=heights)
    for axes, domain in zip(parts, drawn, strict=True):
        _draw(axes, results, domain, rows[domain], tuned.domains[domain])
    text = (
        "Accuracy on the validation set, in per cent, at the best validation of a run at each learning rate of the "
        "grid, which is the same for every method; ± one standard error over prompts. Framed: the rate that the "
        f"method's runs have, and those of its ablations. One run each, of seed {tuned.seed}, which no table has."
    )
    return Drawing(figure, text)


def _draw(axes: Axes, results: Results, domain: str, methods: Sequence[str], found: Mapping[str, TunedMethod]) -> None:
    factor = learning_rate_factor(results.scale, domain)
    rates = sorted({trial.learning_rate for one in found.values() for trial in one.trials})
    scores = [trial.score for one in found.values() for trial in one.trials]
    axes.grid(visible=False)
    axes.set(xlim=(-0.5, len(rates) - 0.5), ylim=(len(methods) - 0.5, -0.5), xlabel="learning rate")
    axes.set_title(results.decl.domains[domain].label)
    axes.set_xticks(range(len(rates)), [f"{rate * factor:g}" for rate in rates])
    axes.set_yticks(range(len(methods)), [label(results.decl, method) for method in methods])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    lowest, span = min(scores), max(max(scores) - min(scores), 1e-9)
    for row, method in enumerate(methods):
        for trial in found[method].trials:
            column = rates.index(trial.learning_rate)
            shade = 0.05 + 0.45 * (trial.score - lowest) / span  # light enough for black text at its darkest
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor="#0072B2", alpha=shade, linewidth=0))
            words = f"{100 * trial.score:.1f} ± {100 * trial.stderr:.1f}"
            axes.text(column, row, words, ha="center", va="center", fontsize=9, color="black")
        chosen = rates.index(found[method].learning_rate)
        axes.add_patch(Rectangle((chosen - 0.47, row - 0.44), 0.94, 0.88, fill=False, edgecolor="black", linewidth=1.6))
