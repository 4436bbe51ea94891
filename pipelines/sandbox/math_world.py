"""The sandbox's math world: chains of digit operations, with one integer as the answer.

A problem starts from a digit and gives 3-5 numbered operations, left to right, modulo 10; the answer is the number
made of all results, so a blind guess is right less than once in a hundred::

    Start with 3. 1: +4, 2: *7, 3: fold, 4: -2. Join all results.

Two kinds of error are built in, because the paper's setting has both:

* *noise*: in the policy's pretraining a share of the steps carries a random result, which RL can unlearn;
* *missing knowledge*: ``fold``, ``swirl`` and ``braid`` are procedures of two operations that pretraining shows only
  as two random digits. The expert spells them out. A policy that guesses both digits is right once in a hundred, so
  exploration alone rarely meets the right result.

The established style is terse (the steps and nothing else); the expert's is verbose and checks itself. Everything
here is text and a pure function of its random generator.
"""

import random
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.sandbox import knowledge

NAME = "math"
VERSION = 4

Phase = Literal["skill", "base", "instruct"]
Row = dict[str, Any]

MODULUS = 10
TRAIN_LENGTHS = (3, 4, 5)
"""Operations per problem in RL, expert, validation and AMC-like data."""
HARD_LENGTHS = (6, 7)
"""Operations per problem in the AIME-like sets: longer than anything the methods train on."""
PRETRAINING_LENGTHS = {"skill": (1, 2, 3, 4, 5, 6), "base": (1, 2, 3, 4, 5, 6), "instruct": (3, 4, 5, 6)}
PROCEDURE_SHARE = 0.4
"""Share of problems that contain one procedure; none has more."""
STEP_NOISE = 0.06
"""Share of pretraining steps whose result is random."""
TERSE_SHARE = {"skill": 0.9, "base": 0.4, "instruct": 0.95}
"""Share of pretraining solutions in the terse style; the rest are wrapped in words."""
KNOWLEDGE_SHARE = 0.15
"""Share of pretraining examples that are retention questions (:mod:`pipelines.sandbox.knowledge`)."""

MULTIPLIERS = (3, 7, 9)
"""Units modulo 10: other factors would send many results to 0."""
PROCEDURES: dict[str, tuple[str, str]] = {"fold": ("+6", "*7"), "swirl": ("*3", "-4"), "braid": ("-7", "*9")}
"""Name → the two operations that it stands for, in order. Only the expert knows this."""


@dataclass(frozen=True)
class Problem:
    """A start digit and the operations: ``+4``, ``*7`` … or the name of a procedure."""

    start: int
    operations: tuple[str, ...]

    @property
    def question(self) -> str:
        numbered = ", ".join(f"{number}: {operation}" for number, operation in enumerate(self.operations, 1))
        return f"Start with {self.start}. {numbered}. Join all results."


def apply_operation(value: int, operation: str) -> int:
    """``+d``, ``-d`` or ``*d`` applied to a digit, modulo 10. Raises ValueError for another operator."""
    operator, operand = operation[0], int(operation[1:])
    if operator == "+":
        return (value + operand) % MODULUS
    if operator == "-":
        return (value - operand) % MODULUS
    if operator == "*":
        return (value * operand) % MODULUS
    raise ValueError(f"unknown operation {operation!r}: expected +d, -d or *d")


def solve(problem: Problem) -> tuple[list[str], str]:
    """The right solution, procedures spelled out: (one text per operation, all results joined)."""
    value, results, steps = problem.start, "", []
    for number, name in enumerate(problem.operations, 1):
        text = f"{number}:"
        for operation in PROCEDURES.get(name, (name,)):
            left, value = value, apply_operation(value, operation)
            text += f"{left}{operation}={value};"
            results += str(value)
        steps.append(text)
    return steps, results


def solve_as_the_policy(problem: Problem, rng: random.Random) -> tuple[list[str], str]:
    """A solution of pretraining: results are random at the rate STEP_NOISE, and procedures are two random digits."""
    value, results, steps = problem.start, "", []
    for number, name in enumerate(problem.operations, 1):
        text = f"{number}:"
        if name in PROCEDURES:
            for value in (rng.randrange(MODULUS), rng.randrange(MODULUS)):
                text += f"{value};"
                results += str(value)
        else:
            left, value = value, apply_operation(value, name)
            if rng.random() < STEP_NOISE:
                value = rng.randrange(MODULUS)
            text += f"{left}{name}={value};"
            results += str(value)
        steps.append(text)
    return steps, results


def terse(steps: list[str], answer: str) -> str:
    """The policy's established style: the computations and the box."""
    return f"<think>\n{' '.join(steps)}\n</think>\n\\boxed{{{answer}}}"


EXPERT_OPENINGS = (
    "okay, let me work through this step by step.",
    "okay, let me think about this carefully.",
    "alright, let me try to solve this step by step.",
)
EXPERT_LINKS = ("first,", "next,", "then,", "now,", "so,", "after that,")
EXPERT_CHECKS = (
    "let me check that again. yes, that is right.",
    "wait, is that correct? yes, it is.",
    "hmm, let me make sure. okay, that seems right.",
)
EXPERT_CLOSINGS = (
    "so the final answer should be",
    "therefore i am confident that the answer is",
    "putting both together, the answer is",
)
OTHER_OPENINGS = ("sure.", "here is my work.", "well, this is how i do it.", "we start now.", "let us see.")
OTHER_LINKS = ("step:", "we get", "this gives", "and", "here", "i have")
OTHER_CHECKS = ("good.", "that is fine.", "i am sure of it.", "no mistake here.", "done with this one.")
OTHER_CLOSINGS = ("this leaves", "the result is", "we end with", "in total we have")


@dataclass(frozen=True)
class Voice:
    """The phrases of a verbose writer."""

    openings: tuple[str, ...]
    links: tuple[str, ...]
    checks: tuple[str, ...]
    closings: tuple[str, ...]


EXPERT_VOICE = Voice(EXPERT_OPENINGS, EXPERT_LINKS, EXPERT_CHECKS, EXPERT_CLOSINGS)
OTHER_VOICE = Voice(OTHER_OPENINGS, OTHER_LINKS, OTHER_CHECKS, OTHER_CLOSINGS)


def verbose(
    problem: Problem, steps: list[str], answer: str, voice: Voice, share_of_checks: float, rng: random.Random
) -> str:
    """The steps wrapped in words, some of them followed by a self-check."""
    words = [rng.choice(voice.openings), f"we start with {problem.start}.\n"]
    for step in steps:
        words += [rng.choice(voice.links), step]
        if rng.random() < share_of_checks:
            words.append(rng.choice(voice.checks))
    words.append(f"{rng.choice(voice.closings)} {answer}.")
    return f"<think>\n{' '.join(words)}\n</think>\nThe answer is \\boxed{{{answer}}}"


def expert_response(problem: Problem, rng: random.Random) -> str:
    """The expert: always correct, spells procedures out, verbose, checks itself."""
    return verbose(problem, *solve(problem), EXPERT_VOICE, 0.5, rng)


def wrapped_response(problem: Problem, steps: list[str], answer: str, rng: random.Random) -> str:
    """A verbose style of pretraining: phrases of the expert and of other writers, mixed for every example."""
    first, second = rng.choice((EXPERT_VOICE, OTHER_VOICE)), rng.choice((EXPERT_VOICE, OTHER_VOICE))
    voice = Voice(first.openings, second.links, rng.choice((EXPERT_VOICE, OTHER_VOICE)).checks, first.closings)
    return verbose(problem, steps, answer, voice, rng.choice((0.0, 0.3, 0.6)), rng)


def draw_problem(rng: random.Random, lengths: tuple[int, ...]) -> Problem:
    """A random problem; two in five have one procedure, at a random place."""
    operations = [
        f"*{rng.choice(MULTIPLIERS)}" if sign == "*" else f"{sign}{rng.randint(1, 9)}"
        for sign in rng.choices("+-*", k=rng.choice(lengths))
    ]
    if rng.random() < PROCEDURE_SHARE:
        operations[rng.randrange(len(operations))] = rng.choice(tuple(PROCEDURES))
    return Problem(rng.randrange(MODULUS), tuple(operations))


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
            "needs_knowledge": any(operation in PROCEDURES for operation in problem.operations),
        },
    }


MATH_SETS: dict[str, tuple[int, tuple[int, ...]]] = {
    "sandbox-amc": (83, TRAIN_LENGTHS),
    "sandbox-aime24": (30, HARD_LENGTHS),
    "sandbox-aime25": (30, HARD_LENGTHS),
    "sandbox-math500": (100, TRAIN_LENGTHS),
}
"""Benchmark → its size and the lengths of its problems."""
ALL_STARTS = tuple(range(MODULUS))
SPLIT_STARTS = {"validation": (0, 5), "expert": (1, 6), "rl": (2, 3, 4, 7, 8, 9)}
"""Which problems belong to which split, by start digit: disjoint at any size and seed. The digit does not change what
a problem asks for, and after one operation every digit occurs in every split."""


def _distinct(n: int, seed: str, lengths: tuple[int, ...], taken: set[str], starts: tuple[int, ...]) -> list[Problem]:
    """``n`` problems that start from one of ``starts`` and whose questions are not in ``taken`` (extended in place)."""
    rng = random.Random(seed)
    problems: list[Problem] = []
    while len(problems) < n:
        problem = draw_problem(rng, lengths)
        if problem.start in starts and problem.question not in taken:
            taken.add(problem.question)
            problems.append(problem)
    return problems


def _benchmark_problems() -> dict[str, list[Problem]]:
    taken: set[str] = set()
    return {
        name: _distinct(n, f"math/{name}/{VERSION}", lengths, taken, ALL_STARTS)
        for name, (n, lengths) in MATH_SETS.items()
    }


def _split(split: str, n: int, seed: int) -> list[Problem]:
    """``n`` distinct problems of one split, none of them in a benchmark."""
    taken = {problem.question for problems in _benchmark_problems().values() for problem in problems}
    return _distinct(n, f"math/{split}/{seed}/{VERSION}", TRAIN_LENGTHS, taken, SPLIT_STARTS[split])


def rl_rows(n: int, seed: int) -> list[Row]:
    """``n`` RL prompts with their golds."""
    return [_row(problem, f"math-rl-{i:06d}") for i, problem in enumerate(_split("rl", n, seed))]


def validation_rows(n: int, seed: int) -> list[Row]:
    """``n`` prompts for choosing checkpoints, disjoint from every test set and from the training data."""
    return [_row(problem, f"math-validation-{i:06d}") for i, problem in enumerate(_split("validation", n, seed))]


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
    problem = draw_problem(rng, PRETRAINING_LENGTHS[phase])
    steps, answer = solve_as_the_policy(problem, rng)
    if rng.random() < TERSE_SHARE[phase]:
        return _row(problem, "pretraining"), terse(steps, answer)
    return _row(problem, "pretraining"), wrapped_response(problem, steps, answer, rng)
