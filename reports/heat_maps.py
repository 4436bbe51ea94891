"""Heat maps of differences: a colour each way from 0, and cells whose interval holds 0 drawn so that nobody reads them
as found.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from reports.drawing import WIDTH

COLOURS = "PuOr"
"""Orange below 0, purple above: apart under the common colour-vision deficiencies, and in print by their lightness."""
PALE = 0.35
"""How much of its colour a cell has whose interval holds 0."""
HATCH = "////"
INK, SOFT, LINES = "#111111", "#4D4D4D", "#B9B9B9"


@dataclass(frozen=True)
class Cell:
    """A difference and what is written into it."""

    value: float | None
    """None: no number, and no colour."""
    lines: tuple[str, ...]
    """The first is the largest."""
    decided: bool
    """Whether its interval leaves out 0."""


@dataclass(frozen=True)
class Grid:
    """A heat map, its rows from above."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_axis: str
    column_axis: str
    cells: tuple[tuple[Cell, ...], ...]
    cut: int = 0
    """After so many rows there is a line; 0: none."""


def largest(grids: Sequence[Grid]) -> float:
    """Where the colours end: the largest difference, rounded up to a number that can be read off the bar."""
    values = [abs(cell.value) for grid in grids for row in grid.cells for cell in row if cell.value is not None]
    reach = max([1.0, *values])
    step = 10 ** math.floor(math.log10(reach)) / 2
    return math.ceil(reach / step) * step


def shade(colours: Colormap, norm: Normalize, cell: Cell) -> tuple[float, float, float]:
    """A cell's colour as red, green and blue: whole where it is decided, pale where not, white without a number."""
    if cell.value is None:
        return 1.0, 1.0, 1.0
    share = 1.0 if cell.decided else PALE
    red, green, blue = (1 - share * (1 - part) for part in colours(float(norm(cell.value)))[:3])
    return red, green, blue


def ink(colour: tuple[float, float, float], decided: bool) -> str:
    """What can be read on a colour: dark or white on a decided cell, grey on another."""
    if not decided:
        return SOFT
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour)
    return "#FFFFFF" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.18 else INK


def _draw_cell(axes: Axes, x: int, y: int, cell: Cell, colour: tuple[float, float, float]) -> None:
    hatch = None if cell.decided or cell.value is None else HATCH
    darker = tuple(0.82 * part for part in colour)
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor=darker, hatch=hatch, linewidth=0))
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="#FFFFFF", linewidth=2))
    inks = ink(colour, cell.decided)
    # Hatching behind text is hard to read: the text has the cell's colour behind it.
    box = {"facecolor": to_hex(colour), "edgecolor": "none", "pad": 1.2}
    places = {1: (0.0,), 2: (-0.16, 0.2), 3: (-0.27, 0.03, 0.3)}[len(cell.lines)]
    for number, (text, place) in enumerate(zip(cell.lines, places, strict=True)):
        weight = "bold" if cell.decided and not number else "normal"
        size = 7.6 if number else 10
        axes.text(
            x, y + place, text, ha="center", va="center", fontsize=size, fontweight=weight, color=inks, bbox=dict(box)
        )


def _draw_grid(axes: Axes, grid: Grid, colours: Colormap, norm: Normalize) -> None:
    for y, row in enumerate(grid.cells):
        for x, cell in enumerate(row):
            _draw_cell(axes, x, y, cell, shade(colours, norm, cell))
    axes.set(xlim=(-0.5, len(grid.columns) - 0.5), ylim=(len(grid.rows) - 0.5, -0.5))
    axes.set_xticks(range(len(grid.columns)), grid.columns, fontsize=8.5, color=INK)
    axes.set_yticks(range(len(grid.rows)), grid.rows, fontsize=8.5, color=INK)
    axes.set(xlabel=grid.column_axis, ylabel=grid.row_axis)
    axes.set_title(grid.title, loc="left")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    if 0 < grid.cut < len(grid.rows):
        axes.axhline(grid.cut - 0.5, color=INK, linewidth=1.0)


def draw(grids: Sequence[Grid], unit: str, row_inches: float) -> Figure:
    """Heat maps one below the other, with one bar of colours, which says ``unit``."""
    heights = [row_inches * len(grid.rows) + 1.4 for grid in grids]
    figure, axes = plt.subplots(
        len(grids), 1, figsize=(WIDTH, sum(heights) + 0.5), layout="constrained", height_ratios=heights, squeeze=False
    )
    colours, limit = matplotlib.colormaps[COLOURS], largest(grids)
    norm = Normalize(-limit, limit)
    for panel, grid in zip(axes[:, 0], grids, strict=True):
        _draw_grid(panel, grid, colours, norm)
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=list(axes[:, 0]), fraction=0.045, pad=0.02, aspect=28)
    bar.set_label(unit)
    bar.outline.set_visible(False)
    meanings = [
        Patch(facecolor="#FFFFFF", edgecolor=LINES, hatch=HATCH, label="pale, hatched: the 95 % interval holds 0"),
        Patch(facecolor=colours(0.12), label="full colour, bold: it leaves out 0"),
        Patch(facecolor="none", label="*: so too with all cells as one family (Holm)"),
    ]
    figure.legend(handles=meanings, loc="outside lower left", ncols=3, fontsize=7.6, handlelength=1.6, columnspacing=1)
    return figure
