"""How methods look: one colour and one dash pattern per method in every figure, labels from methods.yaml.

The colours are Okabe and Ito's, which stay apart under the common colour-vision deficiencies; the dash
patterns carry the same information again, for print. A method without a colour of its own takes one by its
place in methods.yaml.
"""

from typing import Any

from matplotlib.typing import RcKeyType

from reference_impl.config import Declarations

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#6E6E6E"
Dash = str | tuple[int, tuple[float, ...]]
SOLID, DASHED, DOTTED, DASHDOT = "-", (0, (6, 2)), (0, (1.2, 1.4)), (0, (6, 1.6, 1.2, 1.6))

OWN: dict[str, tuple[str, Dash]] = {
    "expert": (BLACK, DOTTED),
    "original": (GREY, DASHED),
    "sft_light": (SKY, DASHDOT),
    "sft_best": (PURPLE, DASHDOT),
    "sft_light_rl": (SKY, DASHED),
    "sft_best_rl": (PURPLE, DASHED),
    "sft_curve": (PURPLE, SOLID),
    "grpo": (BLUE, SOLID),
    "chord_mu": (ORANGE, DASHED),
    "chord_phi": (VERMILLION, SOLID),
}
SHARED_COLOURS = (GREEN, SKY, PURPLE, ORANGE, BLUE, VERMILLION)
SHARED_DASHES: tuple[Dash, ...] = (SOLID, DASHED, DASHDOT, DOTTED)

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


def look(decl: Declarations, method: str) -> dict[str, Any]:
    """Keyword arguments of a method's line: colour and dashes."""
    if method not in OWN:
        others = [name for name in decl.methods if name not in OWN]
        place = others.index(method)
        colour = SHARED_COLOURS[place % len(SHARED_COLOURS)]
        dash = SHARED_DASHES[(place // len(SHARED_COLOURS) + place) % len(SHARED_DASHES)]
        return {"color": colour, "linestyle": dash}
    colour, dash = OWN[method]
    return {"color": colour, "linestyle": dash}


def label(decl: Declarations, method: str) -> str:
    """How a method is called in tables and figures."""
    return "Expert Data" if method == "expert" else decl.method(method).label
