"""What holds of every number, whatever it is: tried by hypothesis, with the same examples in every run."""

from fractions import Fraction

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reference_impl.rewards import REWARD_CORRECT, REWARD_WRONG, math_reward
from reference_impl.text.answers import equality
from reference_impl.text.exact import exact_value
from reference_impl.text.notation import plain

settings.register_profile("project", derandomize=True, database=None, deadline=None, max_examples=300)
settings.load_profile("project")

INTEGERS = (
    "{n}", "0{n}", "{n}.0", "{n}.", r"{n}\,", "{n:,}", r"\frac{{{n}}}{{1}}", "{n}/1", r"\sqrt{{{n}^2}}", r"{n}\cdot 1",
    r"{n}\times 10^0", "{n}e0", r"\left({n}\right)",
)  # fmt: skip
RATIOS = (
    r"\frac{{{n}}}{{{d}}}", r"\dfrac{{{n}}}{{{d}}}", "{n}/{d}", r"{n}\div {d}", r"\frac{{{n}\cdot 7}}{{{d}\cdot 7}}",
)  # fmt: skip
STYLES = (
    "{}", "${}$", r"\({}\)", r"\[{}\]", "{{{}}}", " {} ", r"{}\,", r"\displaystyle {}", r"\mathbf{{{}}}",
    r"\boldsymbol{{{}}}", r"\textcolor{{red}}{{{}}}", r"\color{{blue}}{{{}}}", r"\underline{{{}}}", r"\boxed{{{}}}",
    r"\text{{{}}}", r"\textbf{{{}}}", r"\mathrm{{{}}}", r"\mbox{{{}}}",
)  # fmt: skip
OUTERMOST = (
    "{}", "{}.", "**{}**", "`{}`", "{} \\\\", "\n{}\n",
)  # fmt: skip
# What may follow a number and is no arithmetic: a second value behind any of it is a second value.
LINKS = (
    " ", r"\ ", r"\,", r"\quad ", "~", "\n", ",", ";", "|", r"\\", "=", "x", "x=", "y = ", r"\lor ", r"\vee ",
    r"\land ", r"\Rightarrow ", r"\to ", r"\iff ", r"\ne ", r"\approx ", r"\sim ", "<", ">", r"\le ", r"\pm ",
    r"\ldots ", r"\mid ", r"\cup ", r"\in ", r"\text{ or }", r"\text{ and }", r"\text{ not }", r"\text{ maybe }",
    r"\text{, no, }", r"\text{ cm }", r"\text{ hours }", r"^\circ ", "[", "]", "{", "}", r"\{", r"\}", r"\boxed{",
    r"\mathbf{", r"\text{", "?", "#", "&", "$", "'", '"', r"\therefore ", r"\color{red}", r"\phantom{", " or ",
    " and ", " not ", "\u200b", "或",
)  # fmt: skip


@st.composite
def numbers(draw: st.DrawFn) -> tuple[str, Fraction]:
    """A rational number, and one of its spellings."""
    n, d = draw(st.integers(0, 10**12)), draw(st.integers(1, 999))
    digits = draw(st.integers(1, 12))
    spelling, value = draw(
        st.sampled_from(
            [
                *((form.format(n=n), Fraction(n)) for form in INTEGERS),
                *((form.format(n=n, d=d), Fraction(n, d)) for form in RATIOS),
                (f"{n // 10**digits}.{n % 10**digits:0{digits}}", Fraction(n, 10**digits)),
                (f"{n}e-{digits}", Fraction(n, 10**digits)),
                (rf"{n} \times 10^{{-{digits}}}", Fraction(n, 10**digits)),
            ]
        )
    )
    return (f"-{spelling}", -value) if draw(st.booleans()) else (spelling, value)


@given(numbers(), numbers())
def test_equality_of_numbers_is_that_of_their_values(one: tuple[str, Fraction], other: tuple[str, Fraction]) -> None:
    """Reflexive, symmetric, and nothing but the value counts."""
    for spelling, value in (one, other):
        assert exact_value(plain(spelling)) == value
        assert equality(spelling, spelling) == "equal"
    verdict = "equal" if one[1] == other[1] else "different"
    assert equality(one[0], other[0]) == equality(other[0], one[0]) == verdict


@given(
    st.integers(2, 10**6), st.integers(2, 10**6), st.lists(st.sampled_from(LINKS), min_size=1, max_size=4), st.data()
)
def test_a_wrong_number_plus_any_suffix_is_wrong(right: int, wrong: int, links: list[str], data: st.DataObject) -> None:
    assume(wrong != right)
    at = data.draw(st.integers(1, len(links)))
    suffix = "".join([*links[:at], str(right), *links[at:]])
    assert equality(str(right), f"{wrong}{suffix}") != "equal"
    if "{" not in suffix:  # the last closed box is read, that in an open one too
        assert math_reward(rf"<think>t</think> \boxed{{{wrong}{suffix}}} so", right) < REWARD_CORRECT


@given(numbers(), numbers(), st.lists(st.sampled_from(STYLES), max_size=3), st.sampled_from(OUTERMOST))
def test_a_wrapping_style_changes_no_verdict(
    gold: tuple[str, Fraction], answer: tuple[str, Fraction], styles: list[str], outermost: str
) -> None:
    verdict = "equal" if gold[1] == answer[1] else "different"
    wrapped, same = answer[0], gold[0]
    for style in (*styles, outermost):
        wrapped, same = style.format(wrapped), style.format(same)
    assert equality(gold[0], wrapped) == verdict
    assert equality(gold[0], same) == "equal"


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.lists(st.sampled_from(STYLES), max_size=2))
def test_a_reward_is_that_of_the_number(gold: int, answer: int, styles: list[str]) -> None:
    wrapped = str(answer)
    for style in styles:
        wrapped = style.format(wrapped)
    expected = REWARD_CORRECT if gold == answer else REWARD_WRONG
    assert math_reward(rf"<think>t</think> So \boxed{{{wrapped}}}", gold) == expected
