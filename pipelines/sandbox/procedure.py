"""A way of working that a policy can do and seldom does: three digit steps in one go, or spelled out.

``b fold*7c-2d+5`` is applied to a digit, here 7, left to right and modulo 10, in one of two ways::

    7b fold*7c-2d+5=2          in one go: beyond so small a policy, which is then right by chance
    7b fold*7=9c-2=7d+5=2      spelled out: easy for it

Every step of a problem has a letter of its own, by which it can be found: a policy of three layers hardly learns to
find a step in the middle of an operation by its place.

The expert always spells out. How often the policy does depends on the *kind* of the operation, a word: `SPELLED` runs
from two in five to one in 500, so exploration meets the procedure soon, late, or never.
"""

import random
import re
from functools import reduce

MODULUS = 10
MULTIPLIERS = (3, 7, 9)
"""Units modulo 10: other factors would send many results to 0."""
SIGNS = "+-*"
STEP = r"[-+*]\d"
LABELS = "abcdefghijklmnop"
"""Of a problem's steps, in the order of the question."""
COMPOUND_STEPS = 3
KINDS = ("fold", "twist", "spin", "braid", "weave", "loop", "coil", "knot")
"""Of a compound operation. A kind says nothing about the steps."""
MOST_FREQUENT, RAREST = 0.4, 0.002
SPELLED = {kind: MOST_FREQUENT * (RAREST / MOST_FREQUENT) ** (i / (len(KINDS) - 1)) for i, kind in enumerate(KINDS)}
"""Kind → how often the policy spells it out, evenly spaced in the logarithm."""
SPELLED_EARLY = 0.5
"""The same share, for all kinds, in the phases before the instruct phase."""


def labelled_steps(operation: str) -> list[str]:
    """The steps of an operation as they are written: ``b fold*7``, ``c-2``, ``d+5``."""
    return re.findall(rf"[{LABELS}](?: [a-z]+)?{STEP}", operation)


def kind_of(operation: str) -> str | None:
    """The kind of a compound operation; None for a plain one, which has a single step."""
    found = re.search(r" ([a-z]+)", operation)
    return found[1] if found else None


def apply_step(value: int, step: str) -> int:
    """``+d``, ``-d`` or ``*d`` applied to a digit, modulo 10. Raises ValueError for another operator."""
    operator, operand = step[0], int(step[1:])
    if operator == "+":
        return (value + operand) % MODULUS
    if operator == "-":
        return (value - operand) % MODULUS
    if operator == "*":
        return (value * operand) % MODULUS
    raise ValueError(f"unknown step {step!r}: expected +d, -d or *d")


def work_out(value: int, operation: str, spell: bool, noise: float, rng: random.Random) -> tuple[str, int]:
    """(text, result) of an operation on a digit, a compound one spelled out or in one go.

    ``noise`` is the share of written results that are random; what follows starts from what was written.
    """
    text = str(value)
    if not spell:
        value = _written(reduce(apply_step, re.findall(STEP, operation), value), noise, rng)
        return f"{text}{operation}={value}", value
    for step in labelled_steps(operation):
        value = _written(apply_step(value, step[-2:]), noise, rng)
        text += f"{step}={value}"
    return text, value


def _written(right: int, noise: float, rng: random.Random) -> int:
    return rng.randrange(MODULUS) if rng.random() < noise else right


def _draw_step(rng: random.Random) -> str:
    sign = rng.choice(SIGNS)
    return f"{sign}{rng.choice(MULTIPLIERS) if sign == '*' else rng.randint(1, 9)}"


def draw_operations(n: int, compounds: int, rng: random.Random) -> tuple[str, ...]:
    """``n`` random operations, ``compounds`` of them compound, at random places and of different kinds."""
    places = rng.sample(range(n), compounds)
    kinds = dict(zip(places, rng.sample(KINDS, compounds), strict=True))
    labels = iter(LABELS)
    operations = []
    for place in range(n):
        operation = next(labels) + (f" {kinds[place]}" if place in kinds else "") + _draw_step(rng)
        if place in kinds:
            operation += "".join(next(labels) + _draw_step(rng) for _ in range(COMPOUND_STEPS - 1))
        operations.append(operation)
    return tuple(operations)
