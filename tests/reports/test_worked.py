"""The worked question: the rule that chooses it, and what stands beside it."""

from typing import Any

import pytest

from reports.inputs import Results
from reports.samples import Place
from reports.worked import SHOWN, all_worked, chosen, closest, text_of


def answered(*verdicts: bool, number: int = 0) -> list[dict[str, Any]]:
    return [
        {"item_id": f"q{place}", "sample": number, "correct": verdict, "score": None}
        for place, verdict in enumerate(verdicts)
    ]


def test_the_first_question_with_different_verdicts_is_chosen() -> None:
    assert chosen(answered(True, False, True), answered(True, True, False)) == ("q1", True)
    assert chosen(answered(True, False), answered(True, False)) == ("q0", False)


def test_other_samples_do_not_count() -> None:
    first = answered(True) + answered(False, number=1)
    second = answered(True) + answered(True, number=1)
    assert chosen(first, second) == ("q0", False)


def test_a_judge_s_scores_count_as_verdicts() -> None:
    first, second = answered(False), answered(False)
    second[0]["score"] = 0.5
    assert chosen(first, second) == ("q0", True)


def test_the_closest_demonstration_shares_most_words() -> None:
    rows = [{"question": "a b"}, {"question": "a b c x"}, {"question": "a b c"}]
    assert closest("a b c d", rows) is rows[2], "3 of 4 words; the second has 3 of 5"
    assert closest("z", rows) is rows[0]


def test_a_gold_answer_that_is_no_text_is_its_json() -> None:
    assert text_of("17") == "17" and text_of({"ä": 1}) == '{"ä": 1}'


@pytest.mark.slow
def test_every_method_s_answer_stands_beside_the_expert_s(page_files: Results) -> None:
    there = [Place("math", method, "sandbox-amc") for method in ("original", *reversed(SHOWN))]
    (case,) = all_worked(page_files, [*there, Place("tool", "original", "sandbox-bfcl")])
    assert [answer.label for answer in case.answers] == ["GRPO (Pure RL)", "CHORD-φ", "Original Model"]
    assert case.demonstrated == "Question 0000 of it?" and case.demonstration.startswith("Hm.")
    verdicts = [answer.verdict for answer in case.answers[:2]]
    assert case.differs == ((verdicts[0] == "correct") != (verdicts[1] == "correct"))
