"""The math world: right golds, disjoint splits, an expert that is right and verbose, a chance level near nothing."""

import collections
import random
import re

import pytest

from pipelines.sandbox import knowledge, math_world
from pipelines.sandbox.math_world import Problem, expert_response, solve
from reference_impl.rewards import math_reward


def test_solution_by_hand() -> None:
    # 3+4 = 7; 7*7 = 49 → 9; fold is +6 then *7: 9+6 = 15 → 5, 5*7 = 35 → 5; 5-8 = -3 → 7
    steps, answer = solve(Problem(3, ("+4", "*7", "fold", "-8")))
    assert steps == ["1:3+4=7;", "2:7*7=9;", "3:9+6=5;5*7=5;", "4:5-8=7;"]
    assert answer == "79557"
    # A leading zero of the joined results vanishes from the integer.
    assert math_world.gold(Problem(3, ("+7", "+1"))) == "1"


def test_unknown_operation_is_named() -> None:
    with pytest.raises(ValueError, match="'/2'"):
        solve(Problem(3, ("/2",)))


def test_splits_are_deterministic_and_disjoint() -> None:
    makers = (math_world.rl_rows, math_world.expert_rows, math_world.validation_rows)
    questions = [[row["question"] for row in make(300, 0)] for make in makers]
    questions += [
        [row["problem"] for row in rows] for name, rows in math_world.benchmarks().items() if "mmlu" not in name
    ]
    everything = [question for split in questions for question in split]
    assert len(set(everything)) == len(everything) == 900 + 83 + 30 + 30 + 100
    assert [row["question"] for row in math_world.rl_rows(300, 0)] == questions[0]
    assert [row["question"] for row in math_world.rl_rows(300, 1)] != questions[0]


def test_expert_is_always_right_and_well_formatted() -> None:
    for row in math_world.expert_rows(500, 0):
        assert math_reward(row["response"], row["gold"]) == 1.0, row


def test_expert_spells_procedures_out_and_pretraining_never_does() -> None:
    expert = " ".join(row["response"] for row in math_world.expert_rows(300, 0))
    rng = random.Random(0)
    pretraining = [
        math_world.pretraining_example(rng, phase) for phase in ("skill", "base", "instruct") for _ in range(500)
    ]
    assert re.search(r"\d:\d\+6=\d;\d\*7=\d;", expert)
    assert not any(re.search(r"=\d;\d[-+*]", text) for _, text in pretraining)
    shown = [text for row, text in pretraining if any(name in row["question"] for name in math_world.PROCEDURES)]
    assert len(shown) > 300 and all(re.search(r":\d;\d;", text) for text in shown)


def test_pretraining_noise_and_retention_share() -> None:
    rng = random.Random(1)
    examples = [math_world.pretraining_example(rng, "skill") for _ in range(4000)]
    share = sum(row["prompt"] == "sandbox-mmlu-pro" for row, _ in examples) / len(examples)
    assert share == pytest.approx(math_world.KNOWLEDGE_SHARE, abs=0.02)
    steps = re.findall(r"(\d)([-+*])(\d)=(\d);", " ".join(text for _, text in examples))
    wrong = sum(math_world.apply_operation(int(a), op + b) != int(c) for a, op, b, c in steps) / len(steps)
    # A random result is right by chance once in ten: 0.06 * 0.9 = 0.054
    assert wrong == pytest.approx(0.9 * math_world.STEP_NOISE, abs=0.01)


def test_chance_level_is_below_three_percent() -> None:
    golds = collections.Counter(row["gold"] for row in math_world.rl_rows(3000, 0))
    assert golds.most_common(1)[0][1] / 3000 < 0.03


def test_training_range_and_hard_range() -> None:
    lengths = {row["meta"]["operations"] for row in math_world.rl_rows(300, 0)}
    assert lengths == set(math_world.TRAIN_LENGTHS)
    hard = math_world.benchmarks()["sandbox-aime24.jsonl"]
    assert min(problem["problem"].count(":") for problem in hard) > max(lengths)
    share = sum(row["meta"]["needs_knowledge"] for row in math_world.rl_rows(2000, 0)) / 2000
    assert share == pytest.approx(math_world.PROCEDURE_SHARE, abs=0.04)


def test_expert_phrases_vary() -> None:
    problem = Problem(3, ("+4", "*7", "fold"))
    assert len({expert_response(problem, random.Random(i)) for i in range(20)}) > 10


def test_retention_set() -> None:
    rows = knowledge.benchmark_rows()
    assert collections.Counter(row["category"] for row in rows) == dict.fromkeys(knowledge.CATEGORIES, 10)
    assert len({row["question"] for row in rows}) == len(rows) == 140
    for row in rows:
        assert row["answer"] == "ABCDEFGHIJ"[row["answer_index"]]
    answers = collections.Counter(row["answer_index"] for row in rows)
    assert max(answers.values()) / len(rows) < 0.25, "no single index may answer many questions"


def test_pretraining_shows_every_fact_mostly_right() -> None:
    rng = random.Random(0)
    seen: dict[tuple[str, str], list[bool]] = collections.defaultdict(list)
    for _ in range(4000):
        row, text = knowledge.pretraining_example(rng)
        seen[row["question"], row["gold"]].append(math_reward(text, row["gold"]) == 1.0)
    assert len(seen) == 140 and all(len(hits) > 5 for hits in seen.values())
    share = sum(map(sum, seen.values())) / 4000
    # A random word is right once in ten: 1 - 0.1 * 0.9 = 0.91
    assert share == pytest.approx(0.91, abs=0.02)
