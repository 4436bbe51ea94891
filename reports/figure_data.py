"""A drawn figure as numbers: every panel's curves with their bands, for the page's own drawing and as CSV.

They are read off the drawing itself, so that what a reader hovers over is what is drawn.
"""

import csv
import io
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Values = list[float | None]
THIN = 1.0
"""Lines below this width are values before smoothing."""


class Series(BaseModel):
    """One curve; all lists have one entry a point."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    label: str
    colour: str
    dash: str
    x: Values
    y: Values
    low: Values | None = None
    high: Values | None = None
    raw: Values | None = None
    """Before smoothing."""


class PanelData(BaseModel):
    """One panel of a figure; the last has its x axis's label."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    title: str
    xlabel: str
    ylabel: str
    from_zero: bool
    percent: bool
    """Whether values are shares, to be shown in per cent."""
    height: float
    """Share of the figure's height."""
    series: list[Series]


def _round(values: Any) -> Values:
    """Six significant digits, more than can be seen; None for what is no number, of which JSON has none."""
    numbers = np.asarray(values, dtype=float)
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in numbers]


def _colour(artist: Any) -> str:
    return to_hex(artist.get_color() if isinstance(artist, Line2D) else artist.get_facecolor()[0])


def _band(collection: PolyCollection, points: int) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Lower and upper edge of what fill_between drew: there along the one, back along the other."""
    vertices = cast(NDArray[Any], collection.get_paths()[0].vertices)
    if len(vertices) < 2 * points + 2:
        return None
    one, other = vertices[1 : points + 1, 1], vertices[points + 2 : 2 * points + 2, 1][::-1]
    return np.minimum(one, other), np.maximum(one, other)


def _labels(figure: Figure) -> dict[tuple[str, str], str]:
    """(colour, dashes) → label, for panels that do not name their curves again."""
    lines = [line for axes in figure.axes for line in axes.lines]
    return {_look(line): str(line.get_label()) for line in lines if not str(line.get_label()).startswith("_")}


def _look(line: Line2D) -> tuple[str, str]:
    """What tells a curve from the others."""
    return _colour(line), str(getattr(line, "_unscaled_dash_pattern", line.get_linestyle()))


def _dash(line: Line2D) -> str:
    """The curve's dashes as SVG has them: lengths in points, or `solid`."""
    _, lengths = cast(tuple[float, tuple[float, ...] | None], getattr(line, "_unscaled_dash_pattern", (0, None)))
    return "solid" if not lengths else ",".join(f"{line.get_linewidth() * part:.3g}px" for part in lengths)


def _series(axes: Axes, labels: dict[tuple[str, str], str]) -> list[Series]:
    """The curves of a panel: a thin line and a band come before the curve of the same colour that they belong to."""
    thin: dict[str, Values] = {}
    bands = {_colour(part): part for part in axes.collections if isinstance(part, PolyCollection)}
    found = []
    for line in axes.lines:
        x, y, colour = np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), _colour(line)
        if line.get_linestyle() == "None":  # dots on a curve that is there
            continue
        if line.get_linewidth() < THIN:
            thin[colour] = _round(y)
            continue
        reference = len(x) == 2 and line.get_transform() != axes.transData  # axhline: from 0 to 1 of the panel's width
        band = None if reference or colour not in bands else _band(bands[colour], len(x))
        found.append(
            Series(
                label=own if not (own := str(line.get_label())).startswith("_") else labels.get(_look(line), ""),
                colour=colour,
                dash=_dash(line),
                x=_round(axes.get_xlim() if reference else x),
                y=_round(y),
                low=_round(band[0]) if band else None,
                high=_round(band[1]) if band else None,
                raw=None if reference else thin.get(colour),
            )
        )
    return found


def panels_of(figure: Figure) -> list[PanelData]:
    """The panels of a figure, from above."""
    labels, height = _labels(figure), sum(axes.get_position().height for axes in figure.axes)
    return [
        PanelData(
            title=axes.get_title(loc="left"),
            xlabel=axes.get_xlabel(),
            ylabel=axes.get_ylabel(),
            from_zero=axes.get_ylim()[0] == 0,
            percent="Percent" in type(axes.yaxis.get_major_formatter()).__name__,
            height=axes.get_position().height / height,
            series=_series(axes, labels),
        )
        for axes in figure.axes
    ]


def to_csv(panels: list[PanelData]) -> str:
    """One row a point of every curve."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["panel", "quantity", "curve", "x", "value", "low", "high", "not smoothed"])
    for at, panel in enumerate(panels, 1):
        for series in panel.series:
            columns = [series.low, series.high, series.raw]
            for point, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
                more = ["" if column is None or column[point] is None else column[point] for column in columns]
                writer.writerow([panel.title or at, panel.ylabel, series.label, x, "" if y is None else y, *more])
    return out.getvalue()
