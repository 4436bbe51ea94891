"""A way of working that a policy can do and seldom does: three digit steps in one go, or spelled out.

``*7a-2b+5`` is applied to a digit, here 7, left to right and modulo 10, in one of two ways::

    7*7a-2b+5=2          in one go: beyond so small a policy, which is then right by chance
    7*7=9a-2=7b+5=2      spelled out: easy for it

The letters, each once in a question, let a step be found: a policy of three layers hardly learns to find a step in the
middle of an operation by its place.

The expert always spells out. How often the policy does depends on the *kind* of the operation, its first step:
`SPELLED` runs from two in five to one in 500, so exploration meets the procedure soon, late, or never.
"""

import random
import re
from functools import reduce

MODULUS = 10
MULTIPLIERS = (3, 7, 9)
"""Units modulo 10: other factors would send many results to 0."""
SIGNS = "+-*"
STEP = r"[-+*]\d"
LABELS = "abcd"
"""Of the later steps of a problem's compound operations, in the order of the question."""
KINDS = tuple(f"{sign}{digit}" for sign in SIGNS for digit in (MULTIPLIERS if sign == "*" else range(1, 10)))
"""Of a compound operation: its first step."""
MOST_FREQUENT, RAREST = 0.4, 0.002
SPELLED = {kind: MOST_FREQUENT * (RAREST / MOST_FREQUENT) ** (i / (len(KINDS) - 1)) for i, kind in enumerate(KINDS)}
"""Kind → how often the policy spells it out, evenly spaced in the logarithm: sums often, products hardly ever."""
SPELLED_EARLY = 0.5
"""The same share, for all kinds, in the phases before the instruct phase."""


def steps_of(operation: str) -> list[str]:
    """The steps of an operation: one, or those of a compound one."""
    return re.findall(STEP, operation)


def is_compound(operation: str) -> bool:
    return len(steps_of(operation)) > 1


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
    if is_compound(operation) and not spell:
        value = _written(reduce(apply_step, steps_of(operation), value), noise, rng)
        return f"{text}{operation}={value}", value
    for label, step in re.findall(rf"([{LABELS}]?)({STEP})", operation):
        value = _written(apply_step(value, step), noise, rng)
        text += f"{label}{step}={value}"
    return text, value


def _written(right: int, noise: float, rng: random.Random) -> int:
    return rng.randrange(MODULUS) if rng.random() < noise else right


def draw_step(sign: str, rng: random.Random) -> str:
    return f"{sign}{rng.choice(MULTIPLIERS) if sign == '*' else rng.randint(1, 9)}"


def draw_compound(rng: random.Random, labels: str) -> str:
    """A compound operation, its kind drawn evenly, each sign once; ``labels`` are the letters of its later steps."""
    kind = rng.choice(KINDS)
    others = rng.sample([sign for sign in SIGNS if sign != kind[0]], len(SIGNS) - 1)
    return kind + "".join(label + draw_step(sign, rng) for label, sign in zip(labels, others, strict=True))
