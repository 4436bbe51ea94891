"""Two sides in a column: the difference by hand, its verdict, and the same in every format."""

import csv
import io

import pandas as pd
import pytest

from evaluation.statistics import paired_difference
from reference_impl.config import load_declarations
from reports.paired import (
    ABOVE,
    BELOW,
    SAME,
    UNASKED,
    UNDECIDED,
    Pair,
    main_columns,
    make_pair,
    said_of,
    to_csv,
    to_markdown,
)

COLUMN = main_columns(load_declarations(), "math")[0]


def samples(right: list[int], seed: int = 0, tokens: int = 10) -> pd.DataFrame:
    """One answer a question."""
    rows = [
        {
            "seed": seed,
            "task": "t",
            "item_id": f"t/{i}",
            "sample": 0,
            "correct": bool(x),
            "tokens": tokens,
            "stratum": "t",
        }
        for i, x in enumerate(right)
    ]
    return pd.DataFrame(rows)


def pair(mine: pd.DataFrame, other: pd.DataFrame) -> Pair:
    return make_pair(COLUMN, "sandbox-amc", ("mine", "Mine", mine), ("grpo", "GRPO", other))


def test_the_paired_difference() -> None:
    right, wrong = [1] * 30 + [0] * 10, [1] * 12 + [0] * 28
    found, expected = pair(samples(right), samples(wrong)), paired_difference(right, wrong).scaled(100)
    assert found.value and found.baseline_value and found.difference
    assert (found.value.mean, found.baseline_value.mean, found.difference.mean) == (75, 30, 45)
    assert (found.difference.low, found.difference.high) == (expected.low, expected.high)
    assert found.detectable == expected.detectable() and (found.questions, found.seeds) == (40, 1)
    assert found.verdict == ABOVE and pair(samples(wrong), samples(right)).verdict == BELOW


def test_what_is_undecided_the_same_or_not_asked() -> None:
    right = [1, 0] * 20
    other = [0, 1, *right[2:]]
    assert pair(samples(right), samples(other)).verdict == UNDECIDED
    same = pair(samples(right), samples(right))
    assert same.verdict == SAME and same.difference is None and same.p == 1
    assert pair(samples(right), samples(right, tokens=11)).verdict == UNDECIDED
    one = pair(samples([1]), samples([0]))
    assert one.verdict == UNASKED and one.difference is None and one.detectable is None


def test_other_questions_are_no_pair() -> None:
    with pytest.raises(ValueError, match=r"mine, grpo cannot be paired in math: \[3, 2\] questions"):
        pair(samples([1, 0, 1]), samples([1, 0]))


def test_seeds_that_both_have_are_paired() -> None:
    two = pd.concat([samples([1, 0, 1, 1]), samples([1, 1, 1, 0], seed=1)], ignore_index=True)
    found = pair(two, samples([0, 0, 1, 0], seed=1))
    assert found.seeds == 1 and found.difference and found.difference.mean == 50  # (3 - 1) of 4


def test_what_is_said() -> None:
    clear, chance = [1] * 40, [1] * 20 + [0] * 20
    found = [pair(samples(clear), samples(chance)), pair(samples([0, 1, *chance[2:]]), samples(chance))]
    notes = said_of(found)
    assert "Taken as one family of 2 tests (Holm): 1 above, 0 below." in notes
    assert any(note.startswith("One seed") for note in notes)


def test_formats_hold_the_same_numbers() -> None:
    found = [pair(samples([1] * 30 + [0] * 10), samples([1] * 12 + [0] * 28)), pair(samples([1]), samples([0]))]
    (row, empty) = csv.DictReader(io.StringIO(to_csv(found)))
    assert float(row["difference"]) == 45 and float(row["baseline_value"]) == 30 and row["verdict"] == ABOVE
    assert empty["difference"] == "" and empty["difference low"] == ""
    line = to_markdown(found).splitlines()[2]
    assert line.startswith("| math: sandbox-amc | Mine | 75.0 [") and "| +45.0 [+" in line and "| above |" in line
    assert Pair.model_validate_json(found[0].model_dump_json()) == found[0]


def test_main_columns() -> None:
    columns = {domain: [c.header for c in main_columns(load_declarations(), domain)] for domain in ("math", "medicine")}
    assert columns == {"math": ["AMC", "AIME24", "AIME25", "MMLU-Pro"], "medicine": ["Score"]}
    assert main_columns(load_declarations(), "nothing") == ()
