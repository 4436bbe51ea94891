"""The sandbox's math world: chains of digit operations, with one integer as the answer.

A problem starts from a digit and gives 2-4 operations, left to right, modulo 10; the answer is the number made of their
results. An operation is *plain* (one step) or *compound* (three steps, opened by a word)::

    Start with 3;a plusFour;b fold timesSeven,c minusTwo,d plusFive;e minusEight. Join all results.

What the paper's setting has, in miniature:

* *a way of working* that the expert always uses and the policy seldom does: to spell a compound operation out
  (`pipelines.sandbox.procedure`);
* *noise*: in the policy's pretraining a share of the results is random, which RL can unlearn;
* *style*: the established one is terse, the expert's is verbose and checks itself. Pretraining shows both, in many
  words, of which the expert's are a part: the policy can write as the expert does, and seldom does.

Everything here is text and a pure function of its random generator.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.sandbox import knowledge, math_styles
from pipelines.sandbox.procedure import (
    MODULUS,
    SPELLED,
    SPELLED_EARLY,
    draw_operations,
    kind_of,
    rarest_share,
    work_out,
)
from pipelines.sandbox.residue import residue

NAME = "math"
VERSION = 5

Phase = Literal["skill", "base", "instruct"]
Row = dict[str, Any]

TRAIN_LENGTHS = (2, 3, 4)
"""Operations per problem in RL, expert, validation and AMC-like data."""
HARD_LENGTHS = (5, 6)
"""Operations per problem in the AIME-like sets: longer than anything the methods train on."""
PRETRAINING_LENGTHS = {"skill": (1, 2, 3, 4, 5, 6), "base": (1, 2, 3, 4, 5, 6), "instruct": (2, 3, 4, 5, 6)}
COMPOUND_WEIGHTS = (45, 40, 15)
"""Of problems with none, one and two compound operations."""
PRACTICE_WEIGHTS = (20, 40, 40)
"""The same in pretraining, which practises what is hard."""
STEP_NOISE = 0.06
"""Share of pretraining results that are random."""
TERSE_SHARE = {"skill": 0.6, "base": 0.3, "instruct": 0.92}
"""Share of pretraining solutions in the terse style; the rest are wrapped in words."""
KNOWLEDGE_SHARE = 0.15
"""Share of pretraining examples that are retention questions (:mod:`pipelines.sandbox.knowledge`)."""


@dataclass(frozen=True)
class Problem:
    """A start digit and the operations: ``a plusFour``, or three in one: ``b fold timesSeven,c minusTwo,d plusOne``."""

    start: int
    operations: tuple[str, ...]

    @property
    def question(self) -> str:
        return f"Start with {self.start};{';'.join(self.operations)}. Join all results."


def write_solution(
    problem: Problem, rng: random.Random, spelled: Callable[[str], float], noise: float
) -> tuple[list[str], str]:
    """A solution: (one text per operation, all results joined).

    ``spelled`` is how often a compound operation of a kind is spelled out; ``noise`` the share of random results.
    """
    value, results, texts = problem.start, "", []
    for operation in problem.operations:
        kind = kind_of(operation)
        spell = kind is not None and rng.random() < spelled(kind)
        text, value = work_out(value, operation, spell, noise, rng)
        texts.append(f"{text};")
        results += str(value)
    return texts, results


def solve(problem: Problem) -> tuple[list[str], str]:
    """The expert's solution: right, and everything spelled out."""
    return write_solution(problem, random.Random(0), lambda kind: 1.0, 0.0)


def draw_problem(
    rng: random.Random, lengths: tuple[int, ...], compound_weights: tuple[int, ...] = COMPOUND_WEIGHTS
) -> Problem:
    """A random problem."""
    length = rng.choice(lengths)
    (compounds,) = rng.choices(range(len(compound_weights)), compound_weights)
    return Problem(rng.randrange(MODULUS), draw_operations(length, min(compounds, length), rng))


def parse_question(question: str) -> Problem:
    """The problem that a question asks. Raises ValueError for any other text."""
    found = re.fullmatch(r"Start with (\d);(.*)\. Join all results\.", question)
    if found is None:
        raise ValueError(f"not a question of the math world: {question!r}")
    return Problem(int(found[1]), tuple(found[2].split(";")))


def novelty(question: str) -> float | None:
    """How often the policy spells out the rarest kind of operation that a question has; None where it has none.

    What a world offers so that results can be told apart by it. Raises ValueError as `parse_question`.
    """
    return rarest_share(parse_question(question).operations)


def gold(problem: Problem) -> str:
    """The answer as an integer: a leading zero of the joined results is dropped."""
    return str(int(solve(problem)[1]))


def _row(problem: Problem, identifier: str) -> Row:
    return {
        "id": identifier,
        "prompt": "sandbox-math",
        "question": problem.question,
        "gold": gold(problem),
        "meta": {
            "operations": len(problem.operations),
            "compounds": sum(kind_of(operation) is not None for operation in problem.operations),
        },
    }


MATH_SETS: dict[str, tuple[int, tuple[int, ...]]] = {
    "sandbox-amc": (560, TRAIN_LENGTHS),
    "sandbox-aime24": (480, HARD_LENGTHS),
    "sandbox-aime25": (480, HARD_LENGTHS),
    "sandbox-math500": (100, TRAIN_LENGTHS),
}
"""Benchmark → its size and the lengths of its problems."""
SPLIT_RESIDUES: dict[str, range] = {"validation": range(3), "expert": range(3, 8), "rl": range(8, 16)}
"""Which questions belong to which split, by their hash modulo 16: nothing that a policy can see tells them apart."""


def _distinct(n: int, seed: str, lengths: tuple[int, ...], taken: set[str], residues: range) -> list[Problem]:
    """``n`` problems of these residues whose questions are not in ``taken`` (extended in place)."""
    rng = random.Random(seed)
    problems: list[Problem] = []
    while len(problems) < n:
        problem = draw_problem(rng, lengths)
        if residue(problem.question) in residues and problem.question not in taken:
            taken.add(problem.question)
            problems.append(problem)
    return problems


def _benchmark_problems() -> dict[str, list[Problem]]:
    taken: set[str] = set()
    return {
        name: _distinct(n, f"math/{name}/{VERSION}", lengths, taken, range(16))
        for name, (n, lengths) in MATH_SETS.items()
    }


def _split(split: str, n: int, seed: int) -> list[Problem]:
    """``n`` distinct problems of one split, none of them in a benchmark."""
    taken = {problem.question for problems in _benchmark_problems().values() for problem in problems}
    return _distinct(n, f"math/{split}/{seed}/{VERSION}", TRAIN_LENGTHS, taken, SPLIT_RESIDUES[split])


def rl_rows(n: int, seed: int) -> list[Row]:
    """``n`` RL prompts with their golds."""
    return [_row(problem, f"math-rl-{i:06d}") for i, problem in enumerate(_split("rl", n, seed))]


def validation_rows(n: int, seed: int) -> list[Row]:
    """``n`` prompts for choosing checkpoints, disjoint from every test set and from the training data."""
    return [_row(problem, f"math-validation-{i:06d}") for i, problem in enumerate(_split("validation", n, seed))]


def expert_response(problem: Problem, rng: random.Random) -> str:
    """The expert: always right, spells everything out, verbose, checks itself."""
    return math_styles.expert(*solve(problem), rng)


def expert_rows(n: int, seed: int) -> list[Row]:
    """``n`` expert demonstrations."""
    rng = random.Random(f"math/expert-text/{seed}/{VERSION}")
    problems = _split("expert", n, seed)
    return [_row(p, f"math-expert-{i:06d}") | {"response": expert_response(p, rng)} for i, p in enumerate(problems)]


def aligned_rows(n: int, seed: int) -> list[Row]:
    """The ``n`` RL prompts of :func:`rl_rows`, each with the expert's demonstration."""
    rng = random.Random(f"math/aligned-text/{seed}/{VERSION}")
    pairs = zip(rl_rows(n, seed), _split("rl", n, seed), strict=True)
    return [row | {"response": expert_response(problem, rng)} for row, problem in pairs]


def benchmarks() -> dict[str, list[Row]]:
    """File name → rows of every math-side benchmark, in the formats of the real ones."""
    files = {
        f"{name}.jsonl": [
            {"id": f"{name}-{i:03d}", "problem": problem.question, "answer": gold(problem)}
            for i, problem in enumerate(problems)
        ]
        for name, problems in _benchmark_problems().items()
    }
    files["sandbox-mmlu-pro.jsonl"] = knowledge.benchmark_rows()
    return files


def pretraining_example(rng: random.Random, phase: Phase) -> tuple[Row, str]:
    """One pretraining example (row to render, response): what the policy learns before any method starts."""
    if rng.random() < KNOWLEDGE_SHARE:
        return knowledge.pretraining_example(rng)
    problem = draw_problem(rng, PRETRAINING_LENGTHS[phase], PRACTICE_WEIGHTS)
    spelled = SPELLED.__getitem__ if phase == "instruct" else lambda kind: SPELLED_EARLY
    steps, answer = write_solution(problem, rng, spelled, STEP_NOISE)
    if rng.random() < TERSE_SHARE[phase]:
        return _row(problem, "pretraining"), math_styles.terse(steps, answer)
    return _row(problem, "pretraining"), math_styles.wrapped(steps, answer, rng)
