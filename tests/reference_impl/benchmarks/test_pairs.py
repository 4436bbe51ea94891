"""Comparisons in turns: what is divided by what, and what is said of it."""

from pathlib import Path

import pytest

from reference_impl.benchmarks.pairs import Line, in_turns, keep, kept, medians, ratios, table


def line(*values: float, better: str = "above") -> Line:
    return Line("a step", "theirs / ours", values, 2.0, better, {"theirs": 3.0, "ours": 1.25})  # type: ignore[arg-type]


def test_ways_run_in_turns_and_the_first_round_is_not_counted() -> None:
    now, order = [0.0], []

    def way(name: str, seconds: float) -> None:
        order.append(name)
        now[0] += seconds

    found = in_turns({"a": lambda: way("a", 1), "b": lambda: way("b", 3)}, 2, clock=lambda: now[0])
    assert found == {"a": [1, 1], "b": [3, 3]} and order == ["a", "b"] * 3
    assert ratios(found["b"], found["a"]) == [3, 3] and medians(found) == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("values", "better", "met"),
    [((1.0, 2.0, 9.0), "above", True), ((1.0, 1.9, 9.0), "above", False), ((1.0, 1.9, 9.0), "below", True)],
)
def test_the_median_decides(values: tuple[float, ...], better: str, met: bool) -> None:
    assert line(*values, better=better).met is met


def test_a_row_says_median_range_target_and_what_was_missed() -> None:
    row = table([line(1.0, 1.5, 4.0)]).splitlines()[-1]
    assert row == "| a step | theirs / ours | 1.5 (1–4), 3 | ≥ 2 | **no** | theirs 3, ours 1.25 |"


def test_a_part_is_kept_and_read_again(tmp_path: Path) -> None:
    assert kept(tmp_path, "steps") is None
    keep(tmp_path, "steps", [line(1.0, 2.0, 3.0)], {"torch": "2"})
    found = kept(tmp_path, "steps")
    assert found is not None and found[1] == {"torch": "2"}
    assert table(found[0]) == table([line(1.0, 2.0, 3.0)])
