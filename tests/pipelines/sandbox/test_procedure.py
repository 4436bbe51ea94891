"""The procedure: arithmetic by hand, both ways of working, and kinds of graded frequency."""

import random
import re

import pytest

from pipelines.sandbox import procedure
from pipelines.sandbox.procedure import work_out


@pytest.mark.parametrize(
    ("spell", "text"),
    [(True, "7*7=9a-2=7b+5=2"), (False, "7*7a-2b+5=2")],  # 49 → 9, 9-2 = 7, 7+5 = 12 → 2
)
def test_both_ways_have_one_result(spell: bool, text: str) -> None:
    assert work_out(7, "*7a-2b+5", spell, 0.0, random.Random(0)) == (text, 2)
    assert work_out(2, "-8", spell, 0.0, random.Random(0)) == ("2-8=4", 4)


def test_a_random_result_is_carried_on() -> None:
    rng = random.Random(0)
    for _ in range(50):
        text, value = work_out(7, "*7a-2b+5", True, 1.0, rng)
        found = re.fullmatch(r"7\*7=(\d)a-2=(\d)b\+5=(\d)", text)
        assert found is not None and int(found[3]) == value


def test_unknown_step_is_named() -> None:
    with pytest.raises(ValueError, match="'/2'"):
        procedure.apply_step(3, "/2")


def test_kinds_are_graded() -> None:
    shares = list(procedure.SPELLED.values())
    assert len(shares) == 21 and shares == sorted(shares, reverse=True)
    assert (shares[-1], shares[0]) == (pytest.approx(0.002), pytest.approx(0.4))


def test_compound_operations_have_each_sign_once() -> None:
    rng = random.Random(0)
    operations = [procedure.draw_compound(rng, "ab") for _ in range(3000)]
    assert all(sorted(step[0] for step in procedure.steps_of(o)) == sorted("+-*") for o in operations)
    assert {procedure.steps_of(o)[0] for o in operations} == set(procedure.KINDS)
    assert not procedure.is_compound("+4") and procedure.is_compound(operations[0])
