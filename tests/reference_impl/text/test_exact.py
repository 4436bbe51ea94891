"""The grammar of numbers: what it reads, and what it has no value for."""

from fractions import Fraction

import pytest

from reference_impl.text.exact import MAX_BITS, exact_value

VALUES = [
    ("7", Fraction(7)),
    ("-7", Fraction(-7)),
    ("--7", None),
    ("1,000", Fraction(1000)),
    ("10,00", None),
    ("1 000", Fraction(1000)),
    ("10 00", None),
    (".5", Fraction(1, 2)),
    ("5.", Fraction(5)),
    (".", None),
    (r"0.1\overline{6}", Fraction(1, 6)),
    ("1e-5", Fraction(1, 10**5)),
    ("1e", None),
    (r"\frac{1}{3}+\frac{1}{6}", Fraction(1, 2)),
    (r"4\frac{2}{3}", Fraction(14, 3)),
    (r"4\frac{5}{3}", None),  # neither a mixed number nor a product with a sign
    (r"2(3)", Fraction(6)),
    ("2^6 3^5", Fraction(2**6 * 3**5)),
    ("2^{-3}", Fraction(1, 8)),
    (r"8^{\frac{2}{3}}", Fraction(4)),
    (r"\sqrt{2}", None),
    (r"\sqrt{\frac{9}{4}}", Fraction(3, 2)),
    (r"\sqrt[3]{-27}", Fraction(-3)),
    (r"\sqrt{-4}", None),
    ("5!", Fraction(120)),
    ("5!!", None),
    ("401!", None),
    (r"\binom{5}{2}", Fraction(10)),
    ("1/0", None),
    ("0^0", None),
    ("9^{9^9}", None),
    (f"2^{MAX_BITS + 1}", None),
    ("1011_2", Fraction(11)),
    ("FF_{16}", Fraction(255)),
    ("A_{12}", None),  # one letter with an index is a symbol
    ("1012_2", None),
    ("7x", None),
    ("", None),
    ("(" * 40 + "1" + ")" * 40, None),
]


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_exact_value(text: str, value: Fraction | None) -> None:
    assert exact_value(text) == value
