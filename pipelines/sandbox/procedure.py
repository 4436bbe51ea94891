"""A way of working that a policy can do and seldom does: three digit steps in one go, or spelled out.

``b fold timesSeven,c minusTwo,d plusFive`` is applied to a digit, here 7, left to right and modulo 10, in one of two
ways::

    7b fold timesSeven,c minusTwo,d plusFive=2      in one go: beyond so small a policy, which is then right by chance
    7b fold timesSeven=9c minusTwo=7d plusFive=2    spelled out: easy for it

A step is one word, and every step of a problem has a letter of its own, by which it can be found: a policy of three
layers hardly learns to find a step by its place, or the second of two signs by a letter.

The expert always spells out. How often the policy does depends on the *kind* of the operation, its first step:
`SPELLED` runs from two in five to one in 500, so exploration meets the procedure soon, late, or never.
"""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

MODULUS = 10
NUMBERS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
OPERANDS = {"plus": tuple(range(1, 10)), "minus": tuple(range(1, 10)), "times": (3, 7, 9)}
"""Operator → its operands. Factors are units modulo 10: others would send many results to 0."""
STEP = rf"(?:{'|'.join(OPERANDS)})(?:{'|'.join(NUMBERS)})"
LABELS = "abcdefghijklmnop"
"""Of a problem's steps, in the order of the question."""
COMPOUND_STEPS = 3
WORDS = ("fold", "twist", "spin", "braid", "weave", "loop", "coil", "knot")
"""One of them opens a compound operation, and says nothing about its steps."""
KINDS = tuple(operator + NUMBERS[operand] for operator, operands in OPERANDS.items() for operand in operands)
"""Of a compound operation: its first step."""
MOST_FREQUENT, RAREST = 0.4, 0.002
SPELLED = {kind: MOST_FREQUENT * (RAREST / MOST_FREQUENT) ** (i / (len(KINDS) - 1)) for i, kind in enumerate(KINDS)}
"""Kind → how often the policy spells it out, evenly spaced in the logarithm: sums often, products hardly ever."""
SPELLED_EARLY = 0.5
"""The same share, for all kinds, in the phases before the instruct phase."""


@dataclass(frozen=True)
class Level:
    """How new to a policy what a question needs is: its rarest kind is one of these."""

    name: str
    kinds: tuple[str, ...]
    """The most frequent first; none: of questions without a compound operation."""

    @property
    def shares(self) -> tuple[float, float] | None:
        """How often the rarest and the most frequent of them are spelled out."""
        return (SPELLED[self.kinds[-1]], SPELLED[self.kinds[0]]) if self.kinds else None

    def holds(self, share: float | None) -> bool:
        """Whether a question of this novelty (`rarest_share`) is one of it."""
        if self.shares is None or share is None:
            return share is None and self.shares is None
        return self.shares[0] <= share <= self.shares[1]


LEVELS = (
    Level("no procedure needed", ()),
    *(
        Level(name, KINDS[len(KINDS) * third // 3 : len(KINDS) * (third + 1) // 3])
        for third, name in enumerate(("often", "seldom", "rarely"))
    ),
)
"""No procedure, and the kinds in thirds, by how often the policy spells them out."""


def labelled_steps(operation: str) -> list[str]:
    """The steps of an operation as they are written: ``b fold timesSeven``, ``c minusTwo``, ``d plusFive``."""
    return operation.split(",")


def kind_of(operation: str) -> str | None:
    """The kind of a compound operation; None for a plain one, which has a single step."""
    first, *others = labelled_steps(operation)
    return first.split()[-1] if others else None


def rarest_share(operations: Iterable[str]) -> float | None:
    """How often the policy spells out the rarest kind among some operations: what a question is as new as. None: all
    are plain, so none needs the procedure.
    """
    return min((SPELLED[kind] for kind in map(kind_of, operations) if kind is not None), default=None)


def apply_step(value: int, step: str) -> int:
    """``plusFour``, ``minusTwo``, ``timesSeven`` … applied to a digit, modulo 10. Raises ValueError for other words."""
    if re.fullmatch(STEP, step) is None:
        raise ValueError(f"unknown step {step!r}: expected plusFour, minusTwo, timesSeven …")
    cut = re.search("[A-Z]", step).start()  # type: ignore[union-attr]
    operand = NUMBERS.index(step[cut:])
    return {"plus": value + operand, "minus": value - operand, "times": value * operand}[step[:cut]] % MODULUS


def work_out(value: int, operation: str, spell: bool, noise: float, rng: random.Random) -> tuple[str, int]:
    """(text, result) of an operation on a digit, a compound one spelled out or in one go.

    ``noise`` is the share of written results that are random; what follows starts from what was written.
    """
    text = str(value)
    if not spell:
        value = _written(reduce(apply_step, re.findall(STEP, operation), value), noise, rng)
        return f"{text}{operation}={value}", value
    for step in labelled_steps(operation):
        value = _written(apply_step(value, step.split()[-1]), noise, rng)
        text += f"{step}={value}"
    return text, value


def _written(right: int, noise: float, rng: random.Random) -> int:
    return rng.randrange(MODULUS) if rng.random() < noise else right


def _draw_step(rng: random.Random) -> str:
    operator = rng.choice(tuple(OPERANDS))
    return operator + NUMBERS[rng.choice(OPERANDS[operator])]


def draw_operations(n: int, compounds: int, rng: random.Random) -> tuple[str, ...]:
    """``n`` random operations, ``compounds`` of them compound, at random places and with different words."""
    places = rng.sample(range(n), compounds)
    openings = dict(zip(places, rng.sample(WORDS, compounds), strict=True))
    labels = iter(LABELS)
    operations = []
    for place in range(n):
        opening = f"{openings[place]} " if place in openings else ""
        steps = [f"{next(labels)} {opening}{_draw_step(rng)}"]
        if place in openings:
            steps += [f"{next(labels)} {_draw_step(rng)}" for _ in range(COMPOUND_STEPS - 1)]
        operations.append(",".join(steps))
    return tuple(operations)
