"""Line styles: one colour and one dash pattern per method in every figure, and labels from methods.yaml.

The colours are Okabe and Ito's, which stay apart under the common colour-vision deficiencies; the dash
patterns carry the same information again, for print. A method of a figure without a style of its own here takes
the first one that no other curve of its figures has.
"""

from functools import lru_cache
from typing import Any

from matplotlib.typing import RcKeyType

from reference_impl.config import Declarations
from reference_impl.config.experiments import FigureEntry

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#6E6E6E"
Dash = str | tuple[int, tuple[float, ...]]
SOLID, DASHED, DOTTED, DASHDOT = "-", (0, (6, 2)), (0, (1.2, 1.4)), (0, (6, 1.6, 1.2, 1.6))
LineStyle = tuple[str, Dash]

OWN: dict[str, LineStyle] = {
    "expert": (BLACK, DOTTED),
    "original": (GREY, DASHED),
    "grpo": (BLUE, SOLID),
    "grpo_small": (BLUE, DASHED),
    "chord_mu": (ORANGE, DASHED),
    "chord_phi": (VERMILLION, SOLID),
    "chord_is": (VERMILLION, DASHED),
    "chord_tune_both": (SKY, DASHDOT),
    "mu_fixed_002": (SKY, DOTTED),
    "mu_fixed_01": (GREEN, SOLID),
    "mu_fixed_01_base": (BLACK, DASHED),
    "mu_fixed_05": (PURPLE, DASHDOT),
    "sft_curve": (PURPLE, SOLID),
    "sft_best_rl_small": (PURPLE, DOTTED),
}
SHARED_COLOURS = (GREEN, PURPLE, SKY, ORANGE, BLUE, VERMILLION, BLACK)
SHARED_DASHES: tuple[Dash, ...] = (SOLID, DASHED, DASHDOT, DOTTED)
REFERENCES = ("expert", "original")
"""Horizontal lines that a figure may have besides its curves: their styles stay theirs."""

RC: dict[RcKeyType, Any] = {
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.labelcolor": "#222222",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "lines.linewidth": 1.9,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "legend.handlelength": 2.6,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "chord",
}
"""Matplotlib settings of every figure; the hash salt makes the SVG files reproducible byte for byte."""


def figure_methods(decl: Declarations) -> tuple[tuple[str, ...], ...]:
    """The curves of every declared figure; that of learning rates has none."""
    entries = (entry for entry in decl.experiments.values() if isinstance(entry, FigureEntry))
    return tuple(entry.made_of for entry in entries if entry.made_of)


@lru_cache
def assign_styles(figures: tuple[tuple[str, ...], ...]) -> dict[str, LineStyle]:
    """Every curve's style: its own, or the first free one of the shared styles.

    Free: no curve of a common figure has the colour. A figure with more curves than there are colours takes
    colours again, in other dashes.

    Raises:
        ValueError: a figure has more curves than there are styles.
    """
    shared = [(colour, dash) for dash in SHARED_DASHES for colour in SHARED_COLOURS]
    styles = dict(OWN)
    for method in dict.fromkeys(method for figure in figures for method in figure if method not in OWN):
        beside = {other for figure in figures if method in figure for other in figure} | set(REFERENCES)
        taken = {styles[other] for other in beside if other in styles}
        colours = {colour for colour, _ in taken}
        free = [candidate for candidate in shared if candidate not in taken]
        if not free:
            raise ValueError(f"no line style is left for {method!r}: a figure can hold {len(shared)} curves")
        styles[method] = next((candidate for candidate in free if candidate[0] not in colours), free[0])
    return styles


def line_style(decl: Declarations, method: str) -> dict[str, Any]:
    """Keyword arguments of a method's line: colour and dashes; one that no declared figure has comes after those."""
    colour, dash = assign_styles((*figure_methods(decl), (method,)))[method]
    return {"color": colour, "linestyle": dash}


def label(decl: Declarations, method: str) -> str:
    """How a method is called in tables and figures."""
    return "Expert Data" if method == "expert" else decl.method(method).label
