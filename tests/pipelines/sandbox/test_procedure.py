"""The procedure: arithmetic by hand, both ways of working, and kinds of graded frequency."""

import random
import re

import pytest

from pipelines.sandbox import procedure
from pipelines.sandbox.procedure import work_out


@pytest.mark.parametrize(
    ("spell", "text"),  # 49 → 9, 9-2 = 7, 7+5 = 12 → 2
    [(True, "7b fold timesSeven=9c minusTwo=7d plusFive=2"), (False, "7b fold timesSeven,c minusTwo,d plusFive=2")],
)
def test_both_ways_have_one_result(spell: bool, text: str) -> None:
    assert work_out(7, "b fold timesSeven,c minusTwo,d plusFive", spell, 0.0, random.Random(0)) == (text, 2)
    assert work_out(2, "e minusEight", spell, 0.0, random.Random(0)) == ("2e minusEight=4", 4)


def test_a_random_result_is_carried_on() -> None:
    rng = random.Random(0)
    values = set()
    for _ in range(50):
        text, value = work_out(7, "b fold timesSeven,c minusTwo,d plusFive", True, 1.0, rng)
        found = re.fullmatch(r"7b fold timesSeven=(\d)c minusTwo=(\d)d plusFive=(\d)", text)
        assert found is not None and int(found[3]) == value
        values.add(value)
    assert len(values) > 5


@pytest.mark.parametrize("step", ["overTwo", "plusTen", "plus", "a plusTwo"])
def test_unknown_step_is_named(step: str) -> None:
    with pytest.raises(ValueError, match=step):
        procedure.apply_step(3, step)


@pytest.mark.parametrize(("step", "result"), [("plusNine", 2), ("minusFive", 8), ("timesNine", 7)])
def test_steps_by_hand(step: str, result: int) -> None:
    assert procedure.apply_step(3, step) == result


def test_kinds_are_graded() -> None:
    shares = list(procedure.SPELLED.values())
    assert len(shares) == 21 and shares == sorted(shares, reverse=True)
    assert (shares[-1], shares[0]) == (pytest.approx(0.002), pytest.approx(0.4))


def test_levels_of_novelty_are_thirds_of_the_kinds() -> None:
    none, *thirds = procedure.LEVELS
    assert none.shares is None and none.holds(None) and not none.holds(0.4)
    assert [len(level.kinds) for level in thirds] == [7, 7, 7]
    assert sum((level.kinds for level in thirds), ()) == procedure.KINDS
    for level in thirds:
        assert [kind for kind in procedure.KINDS if level.holds(procedure.SPELLED[kind])] == list(level.kinds)
        assert not level.holds(None)


def test_a_question_is_as_new_as_its_rarest_kind() -> None:
    plain, often, rare = "a plusFour", "b fold plusOne,c minusTwo,d plusOne", "e spin timesNine,f plusOne,g plusTwo"
    assert procedure.rarest_share([plain, plain]) is None
    assert procedure.rarest_share([plain, often]) == procedure.SPELLED["plusOne"] == 0.4
    # timesNine and not the steps after it, whichever place it has
    assert procedure.rarest_share([rare, plain, often]) == procedure.SPELLED["timesNine"]


def test_every_step_of_a_problem_has_its_letter_and_every_kind_comes() -> None:
    rng = random.Random(0)
    kinds = set()
    for _ in range(300):
        operations = procedure.draw_operations(6, 2, rng)
        steps = [step for operation in operations for step in procedure.labelled_steps(operation)]
        assert "".join(step[0] for step in steps) == "abcdefghij"
        compound = [operation for operation in operations if procedure.kind_of(operation)]
        assert [len(procedure.labelled_steps(operation)) for operation in compound] == [3, 3]
        assert compound[0].split()[1] != compound[1].split()[1]  # fold, twist …: a word is found in the question
        kinds |= {procedure.kind_of(operation) for operation in compound}
    assert kinds == set(procedure.KINDS)
