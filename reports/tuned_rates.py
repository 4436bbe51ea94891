"""How learning rates were chosen: every method's validation accuracy at every rate of its grid (A.1)."""

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from reference_impl.config import TunedMethod, learning_rate_factor
from reports.drawing import Drawing, declared, legend_above, panels
from reports.inputs import Results
from reports.style import label, line_style

UNTUNED = "No learning rate was tuned at this scale: every method trains at the one that methods.yaml gives it."


def tuned_rates(results: Results, name: str) -> Drawing:
    """A panel for every domain that was tuned, a line for every method; a ring marks the rate that it trains at."""
    domains, methods = declared(results, name)
    tuned = results.scale.tuned
    drawn = [domain for domain in domains if tuned is not None and domain in tuned.domains]
    if tuned is None or not drawn:
        figure, (axes,) = panels(1, 1.4)
        axes.set_axis_off()
        axes.text(0.0, 0.5, UNTUNED, wrap=True, va="center")
        return Drawing(figure, UNTUNED)
    figure, parts = panels(len(drawn), 0.9 + 2.5 * len(drawn))
    for axes, domain in zip(parts, drawn, strict=True):
        found = tuned.domains[domain]
        factor = learning_rate_factor(results.scale, domain)
        for method in (method for method in methods if method in found):
            _draw(axes, results, method, found[method], factor)
        rates = sorted({trial.learning_rate * factor for one in found.values() for trial in one.trials})
        axes.set(xscale="log", xlabel="learning rate", ylabel="accuracy on the validation set")
        axes.set_title(results.decl.domains[domain].label)
        axes.xaxis.set_major_locator(FixedLocator(rates))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    legend_above(figure, parts)
    text = (
        "Best validation of a run at each learning rate of the grid, which is the same for every method; rings mark "
        f"the rate that its runs have. Bars: one standard error over prompts. One run each, of seed {tuned.seed}, "
        "which no table has."
    )
    return Drawing(figure, text)


def _draw(axes: Axes, results: Results, method: str, found: TunedMethod, factor: float) -> None:
    style = line_style(results.decl, method)
    rates = [trial.learning_rate * factor for trial in found.trials]
    scores = [trial.score for trial in found.trials]
    errors = [trial.stderr for trial in found.trials]
    axes.errorbar(rates, scores, yerr=errors, marker="o", markersize=4, elinewidth=0.8, **style)
    axes.plot([], [], marker="o", markersize=4, label=label(results.decl, method), **style)
    chosen = found.learning_rate * factor
    axes.plot([chosen], [scores[rates.index(chosen)]], "o", markersize=10, markerfacecolor="none", color=style["color"])
