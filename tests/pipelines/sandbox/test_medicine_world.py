"""The sandbox's medical world: facts, rubric, expert, faults of the pretraining, splits."""

import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluation.tasks import load_items
from pipelines.sandbox import medicine_styles
from pipelines.sandbox import medicine_world as world
from pipelines.sandbox.medicine_styles import Advice
from pipelines.sandbox.policies import SHIPPED
from reference_impl.config import LocalJudgeSettings, load_task
from reference_impl.files import write_jsonl
from reference_impl.judge.rubric import LocalJudge, parse_rubric
from reference_impl.rewards import build_reward
from reference_impl.rollout import load_engine
from reference_impl.rollout.sampling import PromptBatch
from reference_impl.step.batching import prompt_ids
from reference_impl.text.prompts import render

pytestmark = pytest.mark.slow

Row = dict[str, Any]
POLICY = SHIPPED / "sandbox-medicine"
REWARD = build_reward("judge", LocalJudgeSettings(kind="local"), seed=0)


def score(response: str, row: Row) -> float:
    return REWARD.grade(response, row["gold"], False).score


def a_case(condition: str = "tamora", age: int = 70) -> tuple[world.Case, Row]:
    """A case of one condition."""
    for seed in range(1000):
        case = world.draw_case(random.Random(seed))
        if case.right.condition == condition and case.findings.age == age:
            return case, {"gold": {"question": case.question, "rubric": world.rubric(case.right)}}
    raise AssertionError(f"no {condition} at {age}")


def test_rows_depend_on_the_seed_alone() -> None:
    makers: list[Callable[[int, int], list[Row]]] = [world.rl_rows, world.expert_rows, world.validation_rows]
    for rows in makers:
        assert rows(20, 3) == rows(20, 3)
        assert rows(20, 3) != rows(20, 4)
        assert [row["question"] for row in rows(30, 0)[:10]] == [row["question"] for row in rows(10, 0)]
    first = [world.pretraining_example(random.Random(5), "instruct") for _ in range(2)]
    assert first[0] == first[1]


def test_splits_share_no_question() -> None:
    splits = {
        "rl": world.rl_rows(3000, 0) + world.rl_rows(20, 1),
        "expert": world.expert_rows(2000, 0),
        "validation": world.validation_rows(500, 0),
        "benchmark": world.benchmarks()["sandbox-medicine.jsonl"],
    }
    rng = random.Random(0)
    seen = {world.pretraining_example(rng, "base")[0]["question"] for _ in range(3000)}
    for name, rows in splits.items():
        questions = {row["question"] for row in rows}
        assert not seen & questions, name
        seen |= questions


def test_two_findings_decide_the_condition() -> None:
    triples = [frozenset(world.findings_of(number)) for number in range(len(world.CONDITIONS))]
    assert all(len(a & b) <= 1 for i, a in enumerate(triples) for b in triples[:i])
    for seed in range(300):
        case = world.draw_case(random.Random(seed))
        right = world.findings_of(world.CONDITIONS.index(case.right.condition))
        rival = world.findings_of(world.CONDITIONS.index(case.findings.rival))
        assert {case.findings.first, case.findings.second} <= set(right)
        assert case.findings.first in rival and case.findings.second not in rival
        assert case.findings.first in case.question.lower() and case.findings.second in case.question.lower()


def test_hand_worked_advice() -> None:
    # Number 2 has findings 2, 3 and 6; 70 years lie in 65 to 89.
    assert world.findings_of(2) == ["rash", "chills", "nausea"]
    assert world.advice_for("tamora", 70) == Advice("tamora", "stress", "danfen", "half", "heat")
    assert [world.advice_for("tamora", age).dose for age in (2, 11, 18, 59, 65, 89)] == [
        *("quarter", "quarter", "full", "full", "half", "half")
    ]


def test_every_condition_has_a_drug_of_its_own() -> None:
    assert len({drug for _, drug, _ in world.FACTS.values()}) == len(world.CONDITIONS) == 15
    assert len(world.UNKNOWN_CONDITIONS) == 6 and len(world.DRUGS) == 144


@pytest.mark.parametrize(
    ("change", "points"),
    [
        ({}, 18),  # 5 + 5 + 3 + 3 + 2
        ({"condition": "keldis"}, 13),
        ({"drug": "pexdex"}, 13),
        ({"cause": None}, 15),
        ({"cause": "dust"}, 15),
        ({"dose": None}, 15),
        ({"dose": "full"}, 15),
        ({"caution": None}, 16),
        ({"caution": "sun"}, 16),
        ({"overdose": True}, 16),
        ({"condition": "keldis", "drug": "pexdex", "cause": None, "dose": None, "caution": None, "overdose": True}, 0),
    ],
)
def test_rubric_grades_by_what_is_said(change: Row, points: int) -> None:
    case, row = a_case()
    advice = replace(case.right, **change)
    rng = random.Random(0)
    assert score(medicine_styles.terse(case.findings, advice), row) == pytest.approx(points / 18)
    for _ in range(20):
        text = medicine_styles.wrapped(case.findings, advice, case.right, rng)
        assert score(text, row) == pytest.approx(points / 18), text


def test_a_list_of_guesses_satisfies_nothing() -> None:
    case, row = a_case()
    said = {
        "it is {}.": world.CONDITIONS, "due to {}.": world.CAUSES, "take {}.": world.DRUGS,
        "{} dose.": tuple(world.DOSES), "avoid {}.": world.CAUTIONS,
    }  # fmt: skip
    guesses = " ".join(form.format(value) for form, values in said.items() for value in values)
    assert score(guesses, row) == 0.0
    assert score(medicine_styles.terse(case.findings, case.right).replace("\n", "\n\n") + " Take it daily.", row) < 1.0


def test_thinking_alone_earns_nothing() -> None:
    case, row = a_case()
    text = medicine_styles.expert(case.findings, case.right, random.Random(0))
    assert score(text, row) == 1.0
    assert score(text.split("</think>")[0] + "</think>", row) == 0.0


def test_rubrics_are_in_the_published_form() -> None:
    for row in world.rl_rows(50, 0):
        assert set(row["gold"]) == {"question", "rubric"} and row["gold"]["question"] == row["question"]
        rubric = parse_rubric(row["gold"]["rubric"])
        assert [item.weight for item in rubric] == [5, 5, 3, 3, 2, -2]
        assert all(item.title and item.pattern and not item.keywords for item in rubric)


def test_expert_is_complete_and_verbose() -> None:
    rows = world.expert_rows(300, 0)
    assert all(score(row["response"], row) == 1.0 for row in rows)
    assert all(re.match(r"<think>\n(hmm|okay), let me .*\n</think>\n", row["response"]) for row in rows)
    assert any(row["meta"]["needs_knowledge"] for row in rows)


def test_benchmark_loads_as_its_task(tmp_path: Path) -> None:
    [(name, rows)] = world.benchmarks().items()
    write_jsonl(tmp_path / name, rows)
    items = load_items(load_task("sandbox-medicine"), tmp_path / name)
    assert len(items) == 100 and items[0].id == "sandbox-medicine-000"
    assert render(items[0].row)[-1]["content"] == rows[0]["question"]
    for row in rows:
        judgement = LocalJudge().score(row["question"], row["reference_answer"], parse_rubric(row["rubric"]), seed=0)
        assert judgement.score == 1.0


def test_pretraining_never_names_an_unknown_drug_for_its_case() -> None:
    rng = random.Random(1)
    shown = 0
    for _ in range(6000):
        row, response = world.pretraining_example(rng, "base")
        if row["meta"]["needs_knowledge"]:
            shown += 1
            assert world.FACTS[row["meta"]["condition"]][1] not in response
    assert shown / 6000 == pytest.approx(6 / 15, abs=0.03)


def test_instruct_phase_has_the_declared_faults() -> None:
    rng = random.Random(2)
    examples = [world.pretraining_example(rng, "instruct") for _ in range(4000)]
    answers = [response.split("</think>")[1] for _, response in examples]
    for text, share in (("due to", 0.6), (" dose", 0.6), ("void ", 0.6), ("ouble it", 0.15)):
        assert sum(text in answer for answer in answers) / 4000 == pytest.approx(share, abs=0.035), text
    terse = sum(not response.startswith("<think>\n") for _, response in examples) / 4000
    assert terse == pytest.approx(world.TERSE_SHARE["instruct"], abs=0.015)
    # What is said of the condition is wrong by the share of slips.
    named = sum(f"t is {row['meta']['condition']}" in response for row, response in examples) / 4000
    assert named == pytest.approx(1 - world.SLIP["instruct"], abs=0.02)
    # The missing things must leave room: far from 0 and far from complete.
    assert 0.5 < sum(score(response, row) for row, response in examples) / 4000 < 0.7


def test_shipped_policy_has_something_to_learn_from_its_groups() -> None:
    engine, tokenizer = load_engine("transformers", POLICY, 128)
    rows = world.rl_rows(24, 1)
    prompts = PromptBatch(rows, [prompt_ids(tokenizer, row) for row in rows], samples=8, seed_parts=("test",))
    rollouts = prompts.graded(engine.generate(prompts.requests(), max_tokens=96), REWARD)
    scores = [rollout.graded.score for rollout in rollouts]
    groups = [scores[i : i + 8] for i in range(0, len(scores), 8)]
    assert 0.4 < sum(scores) / len(scores) < 0.7
    assert sum(len(set(group)) == 1 for group in groups) < len(groups) / 2
    # Without the drug 13 of 18 points are left; 1 hit in 280 was measured.
    unknown = [value for i, value in enumerate(scores) if rows[i // 8]["meta"]["needs_knowledge"]]
    assert sum(value > 13.5 / 18 for value in unknown) < 0.05 * len(unknown)


def test_prompts_and_answers_are_short_and_the_expert_is_long() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(POLICY)

    def tokens(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    rows = world.expert_rows(300, 0)
    prompts = [
        str(tokenizer.apply_chat_template(render(row), add_generation_prompt=True, tokenize=False)) for row in rows
    ]
    assert max(tokens(prompt) for prompt in prompts) < 60
    expert = [tokens(row["response"]) for row in rows]
    rng = random.Random(3)
    policy = [tokens(world.pretraining_example(rng, "instruct")[1]) for _ in range(300)]
    assert max(expert) < 120 and sum(expert) > 2.3 * sum(policy)
