"""The math world: right golds, disjoint splits, an expert that is right and verbose, a chance level near nothing."""

import collections
import random
import re

import pytest

from pipelines.sandbox import knowledge, math_world, procedure
from pipelines.sandbox.math_world import Problem, expert_response, solve, write_solution
from reference_impl.rewards import math_reward


def test_solution_by_hand() -> None:
    # 3+4 = 7; 7*7 = 49 → 9, 9-2 = 7, 7+5 = 12 → 2; 2-8 = -6 → 4
    problem = Problem(3, ("a plusFour", "b fold timesSeven,c minusTwo,d plusFive", "e minusEight"))
    assert (
        problem.question
        == "Start with 3;a plusFour;b fold timesSeven,c minusTwo,d plusFive;e minusEight. Join all results."
    )
    assert math_world.parse_question(problem.question) == problem
    steps, answer = solve(problem)
    assert steps == ["3a plusFour=7;", "7b fold timesSeven=9c minusTwo=7d plusFive=2;", "2e minusEight=4;"]
    assert answer == "724"
    in_one_go, same = write_solution(problem, random.Random(0), lambda kind: 0.0, noise=0.0)
    assert (
        in_one_go == ["3a plusFour=7;", "7b fold timesSeven,c minusTwo,d plusFive=2;", "2e minusEight=4;"]
        and same == answer
    )
    # A leading zero of the joined results vanishes from the integer.
    assert math_world.gold(Problem(3, ("a plusSeven", "b plusOne"))) == "1"


def test_splits_are_deterministic_and_disjoint() -> None:
    makers = (math_world.rl_rows, math_world.expert_rows, math_world.validation_rows)
    questions = [[row["question"] for row in make(300, 0)] for make in makers]
    questions += [
        [row["problem"] for row in rows] for name, rows in math_world.benchmarks().items() if "mmlu" not in name
    ]
    everything = [question for split in questions for question in split]
    assert len(set(everything)) == len(everything) == 900 + 560 + 480 + 480 + 100
    assert [row["question"] for row in math_world.rl_rows(300, 0)] == questions[0]
    assert [row["question"] for row in math_world.rl_rows(300, 1)] != questions[0]


def test_expert_is_always_right_and_well_formatted() -> None:
    for row in math_world.expert_rows(500, 0):
        assert math_reward(row["response"], row["gold"]) == 1.0, row


def spelled_share(kinds: tuple[str, ...], texts: list[str]) -> float:
    """How often compound operations of these kinds are spelled out."""
    written = re.findall(rf"\d[a-z] [a-z]+ ({procedure.STEP})([=,])", " ".join(texts))
    spelled = [sign == "=" for kind, sign in written if kind in kinds]
    assert len(spelled) > 100
    return sum(spelled) / len(spelled)


def test_the_expert_spells_everything_out_and_the_policy_by_kind() -> None:
    rng = random.Random(0)
    kinds = tuple(procedure.SPELLED)  # most frequent first
    shown = {
        phase: [math_world.pretraining_example(rng, phase)[1] for _ in range(6000)] for phase in ("skill", "instruct")
    }
    assert spelled_share(kinds, [row["response"] for row in math_world.expert_rows(300, 0)]) == 1.0
    assert spelled_share(kinds[:7], shown["skill"]) == pytest.approx(procedure.SPELLED_EARLY, abs=0.05)
    for part in (kinds[:7], kinds[7:14], kinds[14:]):
        expected = sum(procedure.SPELLED[kind] for kind in part) / len(part)
        assert spelled_share(part, shown["instruct"]) == pytest.approx(expected, abs=0.03)


def test_novelty_of_the_benchmark_of_the_training_range() -> None:
    shares = [math_world.novelty(row["problem"]) for row in math_world.benchmarks()["sandbox-amc.jsonl"]]
    counts = [sum(level.holds(share) for share in shares) for level in procedure.LEVELS]
    # Every question has one level, and every level enough questions to compare methods on.
    assert sum(counts) == len(shares) == 560 and min(counts) > 50
    weights = math_world.COMPOUND_WEIGHTS
    assert counts[0] / 560 == pytest.approx(weights[0] / sum(weights), abs=0.06)
    with pytest.raises(ValueError, match="not a question of the math world"):
        math_world.novelty("What is 2 + 2?")


def test_pretraining_noise_and_retention_share() -> None:
    rng = random.Random(1)
    examples = [math_world.pretraining_example(rng, "skill") for _ in range(4000)]
    share = sum(row["prompt"] == "sandbox-mmlu-pro" for row, _ in examples) / len(examples)
    assert share == pytest.approx(math_world.KNOWLEDGE_SHARE, abs=0.02)
    steps = re.findall(rf"(\d)[a-z] ({procedure.STEP})=(\d);", " ".join(text for _, text in examples))
    wrong = sum(procedure.apply_step(int(a), step) != int(b) for a, step, b in steps) / len(steps)
    # A random result is right by chance once in ten: 0.06 * 0.9 = 0.054
    assert wrong == pytest.approx(0.9 * math_world.STEP_NOISE, abs=0.01)


def test_chance_level_is_below_three_percent() -> None:
    golds = collections.Counter(row["gold"] for row in math_world.rl_rows(3000, 0))
    assert golds.most_common(1)[0][1] / 3000 < 0.03


def test_training_range_and_hard_range() -> None:
    lengths = {row["meta"]["operations"] for row in math_world.rl_rows(300, 0)}
    assert lengths == set(math_world.TRAIN_LENGTHS)
    hard = math_world.benchmarks()["sandbox-aime24.jsonl"]
    assert min(problem["problem"].count(";") for problem in hard) > max(lengths)
    counts = collections.Counter(row["meta"]["compounds"] for row in math_world.rl_rows(2000, 0))
    for compounds, weight in enumerate(math_world.COMPOUND_WEIGHTS):
        assert counts[compounds] / 2000 == pytest.approx(weight / 100, abs=0.04)


def test_expert_phrases_vary() -> None:
    problem = Problem(3, ("a plusFour", "b fold timesSeven,c minusTwo,d plusFive", "e minusEight"))
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
