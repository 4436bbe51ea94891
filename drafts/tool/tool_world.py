"""The sandbox's tool-use world: function signatures and a request in, function calls out.

A miniature of ToolACE → BFCL. A prompt offers one to three functions and asks for one to three calls::

    findTrain(station: string, people: integer)
    makeList(items: array[string])

    please find a train to Oslo for 12 people and make a list of rice, tea

Categories are BFCL's: ``simple_python`` (one function), ``multiple`` (choose one of several), ``parallel``
(several calls of one function), ``parallel_multiple`` (several functions). Their ``live_`` versions use messier
wordings and fillers, which RL, expert and validation data lack and pretraining has in part. Two kinds of error
are built into the policy's pretraining, because the paper's setting has both:

* *noise*: a share of the calls has a slip (a wrong value, a missing argument, another function), which RL can
  unlearn;
* *a way of working* that the expert always uses and the policy seldom does: values that have to be worked out are
  spelled out in the think block, or written down in one go (`pipelines.sandbox.procedure`).

Every split accepts its own share of a hash of the question, so that splits are disjoint at any size and seed.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from pipelines.sandbox import tool_styles
from pipelines.sandbox.procedure import SPELLED, SPELLED_EARLY
from pipelines.sandbox.residue import residue
from pipelines.sandbox.tool_functions import FAMILIES, JSON_TYPES, Family, draw_value
from pipelines.sandbox.tool_styles import Argument, Call

NAME = "tool"
VERSION = 2

Phase = Literal["skill", "base", "instruct"]
Style = Literal["main", "second"]
Row = dict[str, Any]

TRAIN_MIX = {"simple_python": 0.35, "multiple": 0.3, "parallel": 0.175, "parallel_multiple": 0.175}
"""Shares of the categories in RL, expert, validation and pretraining data."""
BENCHMARK_SIZES = {
    "simple_python": 100, "multiple": 50, "parallel": 50, "parallel_multiple": 50,
    "live_simple": 64, "live_multiple": 160, "live_parallel": 16, "live_parallel_multiple": 24,
}  # fmt: skip
"""A quarter of BFCL's sizes, the two smallest kept."""
MESSY_SHARE = 0.35
"""Share of pretraining prompts in the words of the live sets."""
WORK_SHARE = 0.35
"""Share of calls whose function takes a value that has to be worked out."""
FLAG_SHARE = 0.4
"""Share of calls that set an optional flag, where the function has one."""
CALL_NOISE = {"skill": 0.05, "base": 0.1, "instruct": 0.2}
"""Share of pretraining calls with a slip."""
FORMAT_NOISE = {"skill": 0.0, "base": 0.02, "instruct": 0.05}
"""Share of pretraining responses with broken markup or JSON."""
TERSE_SHARE = {"skill": 0.5, "base": 0.4, "instruct": 0.95}

PREFIXES: tuple[str, ...] = ("", "", "please ", "can you ", "i want you to ", "hi, ", "well, please ", "now ")
SUFFIXES: tuple[str, ...] = ("", "", ".", ", thanks", " for me", " today", " now", "?")
# Pretraining text has messy wordings too, but never the last filler of either list.
LIVE_PREFIXES: tuple[str, ...] = ("hey ", "okay, please ", "so can you ", "hmm, ", "well wait, ")
LIVE_SUFFIXES: tuple[str, ...] = ("", " then", ", okay", " please", ", thanks again")

SPLIT_RESIDUES: dict[str, range] = {
    "benchmark": range(2), "validation": range(2, 3), "expert": range(3, 5), "rl": range(5, 10),
    "pretraining": range(10, 16),
}  # fmt: skip
"""Which questions belong to which split, by their hash modulo 16."""


@dataclass(frozen=True)
class Function:
    """One of a family's functions."""

    family: Family
    name: str
    parameter_names: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The function in BFCL's JSON."""
        pairs = list(zip(self.parameter_names, self.family.parameters, strict=True))
        properties = {
            name: JSON_TYPES.get(parameter.kind, {"type": "string"}) | {"description": parameter.description}
            for name, parameter in pairs
        }
        required = [name for name, parameter in pairs if not parameter.optional]
        return {
            "name": self.name,
            "description": self.family.description,
            "parameters": {"type": "dict", "properties": properties, "required": required},
        }


@dataclass(frozen=True)
class Problem:
    """A request with the functions offered for it and the right calls in the order of the request."""

    category: str
    question: str
    functions: tuple[Function, ...]
    calls: tuple[Call, ...]
    called: tuple[Function, ...]

    @property
    def needs_work(self) -> bool:
        return any(function.family.needs_work for function in self.called)


Draw = Callable[[random.Random], Problem]


def draw_family(rng: random.Random, excluded: Sequence[Family] = ()) -> Family:
    """A random family; :data:`WORK_SHARE` of the draws fall on those that need work."""
    work = rng.random() < WORK_SHARE
    return rng.choice([f for f in FAMILIES if f.needs_work == work and f not in excluded])


def draw_function(family: Family, rng: random.Random) -> Function:
    """One of the family's two functions."""
    variant = rng.randrange(len(family.names))
    parameter_names = tuple(parameter.names[variant % len(parameter.names)] for parameter in family.parameters)
    return Function(family, family.names[variant], parameter_names)


def draw_call(function: Function, body: str, rng: random.Random) -> tuple[str, Call]:
    """(the words of one request, the right call)."""
    arguments: list[Argument] = []
    phrases: list[str] = []
    for name, parameter in zip(function.parameter_names, function.family.parameters, strict=True):
        if parameter.optional and rng.random() >= FLAG_SHARE:
            continue
        spoken, value = draw_value(parameter.kind, rng)
        arguments.append(Argument(name, parameter.kind, spoken, value))
        phrases += [parameter.phrase] if parameter.optional else []
    words = body.format(*(argument.spoken for argument in arguments))
    return " ".join([words, *phrases]), Call(function.name, tuple(arguments))


def draw_problem(category: str, rng: random.Random, unseen_fillers: bool = True) -> Problem:
    """A random problem of one of BFCL's categories; live ones with or without the fillers new to the policy."""
    live = category.startswith("live_")
    shape = category.removeprefix("live_").removesuffix("_python")
    families = [draw_family(rng)]
    if shape == "parallel_multiple":
        families.append(draw_family(rng, families))
    called = [draw_function(family, rng) for family in families]
    offered = list(called)
    if shape in ("multiple", "parallel_multiple"):
        size = rng.choice((2, 3)) if shape == "multiple" else rng.choice((2, 2, 3))
        while len(offered) < size:
            offered.append(draw_function(draw_family(rng, [function.family for function in offered]), rng))
        rng.shuffle(offered)
    calls: list[Call] = []
    clauses: list[str] = []
    for function in called:
        head, wording = rng.choice(function.family.wordings(live))
        bodies: dict[str, Call] = {}
        size = rng.choice((2, 2, 2, 3)) if shape == "parallel" else 1
        while len(bodies) < size:  # a body said twice would be one request
            body, call = draw_call(function, wording, rng)
            bodies[body] = call
        calls += bodies.values()
        clauses.append(f"{head} {' and '.join(bodies)}")
    prefixes, suffixes = (LIVE_PREFIXES, LIVE_SUFFIXES) if live else (PREFIXES, SUFFIXES)
    if live and not unseen_fillers:
        prefixes, suffixes = prefixes[:-1], suffixes[:-1]
    prefix, suffix = rng.choice(prefixes), rng.choice(suffixes)
    question = f"{prefix}{' and '.join(clauses)}{suffix}"
    return Problem(category, question, tuple(offered), tuple(calls), tuple(called))


def draw_training_problem(rng: random.Random) -> Problem:
    """A problem of the training mixture, never a live one."""
    return draw_problem(rng.choices(list(TRAIN_MIX), weights=list(TRAIN_MIX.values()))[0], rng)


def draw_pretraining_problem(rng: random.Random) -> Problem:
    """A problem of the training mixture, :data:`MESSY_SHARE` of them in the words of the live sets."""
    category = rng.choices(list(TRAIN_MIX), weights=list(TRAIN_MIX.values()))[0]
    if rng.random() < MESSY_SHARE:
        category = f"live_{category.removesuffix('_python')}"
    return draw_problem(category, rng, unseen_fillers=False)


def draw_in_split(split: str, draw: Draw, rng: random.Random) -> Problem:
    """A problem whose question belongs to ``split``."""
    while True:
        problem = draw(rng)
        if residue(problem.question) in SPLIT_RESIDUES[split]:
            return problem


def _distinct(split: str, n: int, rng: random.Random, draw: Draw) -> list[Problem]:
    """``n`` problems of a split with different questions."""
    problems: dict[str, Problem] = {}
    while len(problems) < n:
        problem = draw_in_split(split, draw, rng)
        problems.setdefault(problem.question, problem)
    return list(problems.values())


def _row(problem: Problem, identifier: str) -> Row:
    return {
        "id": identifier,
        "prompt": "sandbox-tool",
        "question": problem.question,
        "functions": [function.as_json() for function in problem.functions],
        "gold": [call.as_json() for call in problem.calls],
        "meta": {"category": problem.category, "needs_work": problem.needs_work},
    }


def _rows(split: str, n: int, seed: int) -> list[tuple[Problem, Row]]:
    problems = _distinct(split, n, random.Random(f"tool/{split}/{seed}/{VERSION}"), draw_training_problem)
    return [(problem, _row(problem, f"tool-{split}-{i:06d}")) for i, problem in enumerate(problems)]


def rl_rows(n: int, seed: int) -> list[Row]:
    """``n`` RL prompts with their golds."""
    return [row for _, row in _rows("rl", n, seed)]


def validation_rows(n: int, seed: int) -> list[Row]:
    """``n`` prompts for choosing checkpoints, disjoint from every test set and from the training data."""
    return [row for _, row in _rows("validation", n, seed)]


def expert_rows(n: int, seed: int, style: Style = "main") -> list[Row]:
    """``n`` expert demonstrations; both experts answer the same questions."""
    return _demonstrations(_rows("expert", n, seed), style, random.Random(f"tool/expert-text/{seed}/{VERSION}"))


def aligned_rows(n: int, seed: int) -> list[Row]:
    """The ``n`` RL prompts of :func:`rl_rows`, each with the expert's demonstration."""
    return _demonstrations(_rows("rl", n, seed), "main", random.Random(f"tool/aligned-text/{seed}/{VERSION}"))


def _demonstrations(pairs: list[tuple[Problem, Row]], style: Style, rng: random.Random) -> list[Row]:
    respond = {"main": tool_styles.expert, "second": tool_styles.second_expert}[style]
    return [row | {"response": respond(problem.calls, rng)} for problem, row in pairs]


def _possible_answer(call: Call, function: Function) -> dict[str, dict[str, list[Any]]]:
    """One call in BFCL's gold format: allowed values per parameter; ``""`` means it may be left out."""
    given = {argument.name: argument.value for argument in call.arguments}
    allowed: dict[str, list[Any]] = {name: [value] for name, value in given.items()}
    # Only flags can be missing from a right call.
    left_out = {name: [False, ""] for name in function.parameter_names if name not in given}
    return {call.name: allowed | left_out}


def _benchmark_id(category: str, i: int) -> str:
    return f"{category}_{i}-{i}-0" if category.startswith("live_") else f"{category}_{i}"


def benchmarks() -> dict[str, list[Row]]:
    """File name → rows of the BFCL-like benchmark: questions and possible answers of the eight categories."""
    files: dict[str, list[Row]] = {}
    for category, size in BENCHMARK_SIZES.items():
        rng = random.Random(f"tool/{category}/{VERSION}")
        questions: list[Row] = []
        answers: list[Row] = []
        for i, problem in enumerate(_distinct("benchmark", size, rng, partial(draw_problem, category))):
            identifier = _benchmark_id(category, i)
            functions = {function.name: function for function in problem.called}
            questions.append({
                "id": identifier,
                "question": [[{"role": "user", "content": problem.question}]],
                "function": [function.as_json() for function in problem.functions],
            })  # fmt: skip
            golds = [_possible_answer(call, functions[call.name]) for call in problem.calls]
            answers.append({"id": identifier, "ground_truth": golds})
        files[f"sandbox-bfcl/BFCL_v4_{category}.json"] = questions
        files[f"sandbox-bfcl/possible_answer/BFCL_v4_{category}.json"] = answers
    return files


def pretraining_example(rng: random.Random, phase: Phase) -> tuple[Row, str]:
    """One pretraining example (row to render, response): what the policy learns before any method starts."""
    problem = draw_in_split("pretraining", draw_pretraining_problem, rng)
    # Slips land on any name of the offered functions' families: another function, or one that is not offered.
    names = [name for function in problem.functions for name in function.family.names]
    spelled = SPELLED.__getitem__ if phase == "instruct" else lambda kind: SPELLED_EARLY
    calls = [tool_styles.work_out_call(call, spelled, 0.0, rng) for call in problem.calls]
    noise = CALL_NOISE[phase]
    calls = [tool_styles.corrupt_call(call, names, rng) if rng.random() < noise else call for call in calls]
    terse = rng.random() < TERSE_SHARE[phase]
    response = tool_styles.terse(calls) if terse else tool_styles.wrapped(calls, rng)
    if rng.random() < FORMAT_NOISE[phase]:
        response = tool_styles.corrupt_format(response, rng)
    return _row(problem, "pretraining"), response
