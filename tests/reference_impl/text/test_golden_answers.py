"""Equality of answers, by a table: gold, answer, verdict, why. What holds of every number is tried on seeded ones."""

import random
import re

import pytest

from reference_impl.text.answers import equality
from reference_impl.text.exact import exact_value
from reference_impl.text.notation import plain
from tests.support.golden import rows

ROWS = [row[1:] for row in rows()]
STYLES = (
    "$%s$", r"\(%s\)", r"\[%s\]", "{%s}", " %s ", r"%s \,", r"\displaystyle %s", r"\mathbf{%s}", r"\boldsymbol{%s}",
    r"\textcolor{red}{%s}", r"\color{blue}{%s}", "%s.", "**%s**", r"\fbox{%s}", r"\mathsf{%s}",
    r"$\displaystyle{%s}$.", r"\underline{%s}", r"\boxed{%s}", r"\mathbf{\textcolor{red}{%s}}",
)  # fmt: skip
UPRIGHT = (r"\mathrm{%s}", r"\text{%s}", r"\textbf{%s}", r"\mbox{%s}")


def test_the_table_is_a_table() -> None:
    assert len(ROWS) >= 300
    assert all(len(row) == 4 and row[2] in ("equal", "different") for row in ROWS)
    assert len({row[:2] for row in ROWS}) == len(ROWS)
    assert 100 < sum(row[2] == "equal" for row in ROWS) < len(ROWS) - 100


@pytest.mark.parametrize(("gold", "answer", "verdict", "why"), ROWS)
def test_golden(gold: str, answer: str, verdict: str, why: str) -> None:
    assert equality(gold, answer) == verdict, why
    assert equality(answer, gold) == verdict, f"the other way round: {why}"
    assert equality(gold, gold) == equality(answer, answer) == "equal"


@pytest.mark.parametrize("style", STYLES)
def test_a_style_changes_no_verdict(style: str) -> None:
    changed = [(gold, style % answer) for gold, answer, verdict, _ in ROWS if equality(gold, style % answer) != verdict]
    assert changed == []


@pytest.mark.parametrize("style", UPRIGHT)
def test_upright_numbers_are_numbers(style: str) -> None:
    numbers = [row for row in ROWS if exact_value(plain(row[1])) is not None]
    assert len(numbers) > 50
    assert [row for row in numbers if equality(row[0], style % row[1]) != row[2]] == []


def spellings(rng: random.Random) -> list[str]:
    """Spellings of one rational number."""
    n, kind = rng.randrange(10 ** rng.randrange(1, 12)), rng.randrange(4)
    sign = rng.choice(("", "-"))
    if kind == 0:
        return [
            f"{sign}{n}",
            f"{sign}{n:,}",
            f"{sign}{n}.0",
            f"{sign}{n:,}".replace(",", "{,}"),
            rf"{sign}\frac{{{n}}}{{1}}",
        ]
    if kind == 1:
        d = rng.randrange(2, 1000)
        return [rf"{sign}\dfrac{{{n}}}{{{d}}}", f"{sign}{n}/{d}", rf"\frac{{{sign}{7 * n}}}{{{7 * d}}}"]
    if kind == 2:
        digits = rng.randrange(1, 9)
        whole, rest = divmod(n, 10**digits)
        decimal = f"{sign}{whole}.{rest:0{digits}}"
        return [decimal, f"{decimal}0", rf"{sign}\frac{{{n}}}{{{10**digits}}}", rf"{sign}{n}\cdot 10^{{-{digits}}}"]
    e = rng.randrange(1, 20)
    return [
        f"{sign}{n}e-{e}",
        rf"{sign}{n} \times 10^{{-{e}}}",
        rf"{sign}{n} × 10^{{-{e}}}",
        rf"{sign}\frac{{{n}}}{{10^{{{e}}}}}",
    ]


def test_equality_of_numbers_is_reflexive_and_symmetric() -> None:
    rng = random.Random(0)
    for _ in range(400):
        one, other = spellings(rng), spellings(rng)
        assert [(a, b) for a in one for b in one if equality(a, b) != "equal"] == []
        a, b = rng.choice(one), rng.choice(other)
        x, y = exact_value(plain(a)), exact_value(plain(b))
        assert x is not None and y is not None
        assert equality(a, b) == equality(b, a) == ("equal" if x == y else "different"), (a, b)


SUFFIXES = (
    " 7", r"\ 7", r"\,7", ", 7", "; 7", "/7", ":7", "|7", r"\quad 7", r"\\7", r"\text{ or }7", r"\text{ and } 7",
    r"\lor 7", r"\vee x=7", r"\Rightarrow 7", r"\to 7", r"\implies x=7", "=7", " = x = 7", r"\text{ maybe }7",
    r"\text{, no, }7", r"\ne 7", r"\approx 7", "<7", r"\le 7", r"\ge 7", r"\sim 7", r"\pm 7", r"\mid 7", r"\cup\{7\}",
    r"\ldots 7", r"\boxed{7}", r"\text{(7)}", " (or 7)", " [7]", r"\textbf{7}", r"\color{red}7", r"\text{ cm }7",
    " cm 7", r"^\circ 7", r"\% 7", "_7", "_{7}", "^7", "!", r"\cdots=7", r"\equiv 7", r"\equiv 7 \pmod{1}",
    r"\text{ hence } x = 7", r"&7", r"\&7", "\n7", "\t7", "~7", "...7", r"\not=7", r"\therefore 7", r"\land x=7",
    r"\oplus 7", r"\circ 7", r"\div 7", "'7", '"7"', "?7", "@7", "#7", "*7", r"\text{ million}", r"\text{ apples, }7",
    " x", "i", r"\pi", r"\mathrm{e}", " e", "e7", r"\sqrt{7}", "(7)", "{7}", "7x", r"\phantom{7}", r"\hspace{7}",
    r"\label{7}", "\u20637", "\u200b7", "\u202e7", "；7", "、7", "或7",
)  # fmt: skip


def test_no_suffix_makes_a_wrong_number_right() -> None:
    for wrong in (0, 2, 6, 8, 48, 70, 171):
        for suffix in SUFFIXES:
            for prefix in ("", "x=", r"\text{Answer: }"):
                assert equality("7", f"{prefix}{wrong}{suffix}") != "equal", f"{prefix}{wrong}{suffix}"


TOKENS = re.findall(
    r"\S+",
    r"""1 2 9 0 . , - + = ( ) { } [ ] | _ / ' $ % & ~ : ; x y i e \frac \sqrt \text{ \mathrm{ \textcolor{red}{ \left
    \right \cdot \pi \overline{ \binom \ldots \le \in \pm \circ \{ \} \\ \, cm million dozen th and or base ° € –
    \begin{matrix} \end{matrix}""",
)


def test_random_text_has_a_verdict() -> None:
    """Tokens of LaTeX in any order: no text raises, and none is a number that none of them can make."""
    rng = random.Random(2)
    for _ in range(2000):
        answer = "".join(rng.choice(("", " ")) + rng.choice(TOKENS) for _ in range(rng.randrange(1, 14)))
        assert equality("34567", answer) == "different", answer
