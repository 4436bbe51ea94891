"""The sentences of the first screen say what the comparisons came to."""

import pytest

from evaluation.statistics import Estimate
from reports.claims import FAILS, HOLDS, MAIN, UNDECIDED, Claim, Comparison
from reports.finding import counted, findings, found, weights
from reports.inputs import Results


def part(
    mean: float, half: float, p_holds: float = 1.0, p_fails: float = 1.0, paper: float | None = None
) -> Comparison:
    estimate = Estimate(mean, half / 2, mean - half, mean + half, 50)
    return Comparison("A > B on x", "points", estimate, p_holds=p_holds, p_fails=p_fails, paper=paper)


def claim(*parts: Comparison, name: str = "one") -> Claim:
    return Claim(name, "1", "A is better", "", parts)


def test_one_comparison_is_said_with_its_interval_and_the_paper_s() -> None:
    assert found(claim(part(2.0, 1.0, paper=3.5))) == "A > B on x: +2.0 [+1.0, +3.0] points; the paper +3.5."


def test_several_are_counted_by_their_intervals() -> None:
    text = found(claim(part(2, 1), part(-3, 1), part(0.5, 1), Comparison("", "points", None)))
    assert text == "Of 3 comparisons 1 above zero, 1 below: −3.0 [−4.0, −2.0] to +2.0 [+1.0, +3.0] points."


def test_nothing_to_compare_says_why() -> None:
    assert found(claim(Comparison.of_one_checkpoint("", "points"))).startswith("Nothing to compare: both are one")


def test_verdicts_are_counted() -> None:
    claims = [claim(part(2, 1, p_holds=0.0)), claim(part(-2, 1, p_fails=0.0)), claim(part(0, 1)), claim(part(0, 1))]
    assert [made.verdict for made in claims] == [HOLDS, FAILS, UNDECIDED, UNDECIDED]
    said = counted(claims, 1)
    assert "4 claims" in said and "1 holds, 1 does not hold, 2 undecided, 0 not testable here (one seed" in said
    assert "(3 seeds)" in counted(claims, 3)


def test_the_paper_s_argument_comes_in_its_own_order() -> None:
    claims = [claim(part(0, 1), name=name) for name in ("other", MAIN[2], MAIN[0])]
    assert [finding.claim.id for finding in findings(claims)] == [MAIN[0], MAIN[2]]


@pytest.mark.slow
def test_what_an_expert_s_token_weighs_is_read_from_the_logs(page_files: Results) -> None:
    (said,) = weights(page_files, ["table1", "table4"])
    assert said.startswith(
        "Mean φ of an expert's token in CHORD-φ: 0.100 in mathematical reasoning (μ·φ = 0.0100 beside"
    )
    assert weights(page_files, ["table4"]) == [], "no domain's main table"
    assert "; 0.100 in tool use" in said and "1 − μ = 0.90 of RL" in said
