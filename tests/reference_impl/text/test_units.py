"""Words beside a number: units, multipliers, and all others, which count."""

from fractions import Fraction

import pytest

from reference_impl.text.notation import plain
from reference_impl.text.quantity import quantity
from reference_impl.text.units import is_label

QUANTITIES = [
    (r"12\text{ cm}", 12, (("centimeter", 1),)),
    (r"12\text{ cm}^2", 12, (("centimeter", 2),)),
    (r"12\text{ square feet}", 12, (("foot", 2),)),
    (r"12\text{ km/h}", 12, (("hour", -1), ("kilometer", 1))),
    (r"12\ \frac{\text{m}}{\text{s}^2}", 12, (("meter", 1), ("second", -2))),
    (r"12\text{ million dollars}", 12_000_000, (("dollar", 1),)),
    (r"\$12", 12, (("dollar", 1),)),
    ("90^\\circ", 90, (("degree", 1),)),
    (r"5^\circ\text{C}", 5, (("celsius", 1),)),
    (r"3^{\text{rd}}", 3, ()),
    (r"12\text{ different ways}", 12, (("way", 1),)),
]


@pytest.mark.parametrize(("text", "value", "unit"), QUANTITIES)
def test_quantity(text: str, value: int, unit: tuple[tuple[str, int], ...]) -> None:
    read = quantity(plain(text))
    assert read is not None
    assert (read.value, read.unit) == (Fraction(value), unit)


@pytest.mark.parametrize(
    "text",
    [
        r"12\text{ or }13",
        r"12\text{ at least}",
        r"12\text{ zillion}",
        r"2\text{ h }30\text{ min}",
        r"12\text{ per}",
        r"\text{cm}",
    ],
)
def test_no_quantity(text: str) -> None:
    assert quantity(plain(text)) is None


def test_labels() -> None:
    assert is_label('"The""answer""is"') and is_label('"Area"') and is_label('"Number""of""apples"')
    assert not is_label('"not"') and not is_label('"at""least"') and not is_label('"apples"')
