"""Labels that are names, and sides: what of an answer has to be right."""

import pytest

from reference_impl.text.forms import form, is_name
from reference_impl.text.notation import plain

NAMES = [
    "x",
    "x_1",
    r"\theta",
    "f(2)",
    "f'(1)",
    "|AB|",
    "[ABC]",
    r"P(X\ge3)",
    "m+n",
    "xyz",
    r"\angle ABC",
    r"\text{Area}",
    "(x,y)",
]
OTHERS = [
    "2x",
    "x^2",
    "-x",
    "x+x",
    "|x|",
    "x/2",
    r"\sqrt{x}",
    r"\frac{1}{x}",
    "7",
    "x!",
    "x y z a b",
    "",
    r"\text{not }x",
    "(x)",
]


@pytest.mark.parametrize("text", NAMES)
def test_names(text: str) -> None:
    assert is_name(plain(text))


@pytest.mark.parametrize("text", OTHERS)
def test_what_names_nothing(text: str) -> None:
    assert not is_name(plain(text))


@pytest.mark.parametrize(
    ("text", "labels", "sides", "choice"),
    [
        ("7", (), ("7",), None),
        ("x=7", ("x",), ("7",), None),
        ("7=x", ("x",), ("7",), None),
        ("|AB|=5+2=7", ("|AB|",), ("5+2", "7"), None),
        ("2x=7", (), ("2x", "7"), None),
        ("(C) 12", (), ("12",), "C"),
        ("(C) 12, (D) 13", (), ("(C)12,(D)13",), None),
        (r"\text{The answer is }7", (), ("7",), None),
        (r"x\in[1,2]", ("x",), ("[1,2]",), None),
        (r"\sum_{i=1}^3 i", (), (r"\sum_{i=1}^3i",), None),
    ],
)
def test_form(text: str, labels: tuple[str, ...], sides: tuple[str, ...], choice: str | None) -> None:
    found = form(plain(text))
    assert (found.labels, found.choice) == (labels, choice)
    assert tuple(side.replace(" ", "") for side in found.sides) == sides
