"""The transcription of the paper's tables: recompute what can be recomputed, and find exactly the known
errors.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from reference_impl.config import load_declarations

PUBLISHED = Path(__file__).resolve().parents[2] / "reports" / "published"
KNOWN = yaml.safe_load((PUBLISHED / "known_errors.yaml").read_text(encoding="utf-8"))

# Questions per category: BFCL's single-turn AST categories and MMLU-Pro's 12,032 questions.
LIVE = {"Live Simple": 258, "Live Multiple": 1053, "Live Parallel": 16, "Live Parallel Multiple": 24}
NON_LIVE = {
    "Non-live Simple": 400,
    "Non-live Multiple": 200,
    "Non-live Parallel": 200,
    "Non-live Parallel Multiple": 200,
}
MMLU_PRO = {
    "Biology": 717, "Business": 789, "Chemistry": 1132, "Comp. Sci.": 410, "Econ.": 844, "Engineering": 969,
    "Health": 818, "History": 381, "Law": 1101, "Math": 1351, "Other": 924, "Philosophy": 499,
    "Physics": 1299, "Psych.": 798,
}  # fmt: skip
# Table: (rows, columns)
SIZES = {
    1: (10, 7), 2: (9, 2), 3: (8, 3), 4: (6, 3), 5: (6, 3), 6: (8, 3), 7: (5, 2), 8: (5, 3), 9: (5, 3),
    10: (9, 11), 11: (10, 15), 12: (7, 3),
}  # fmt: skip
Row = dict[str, str]
Error = tuple[int, str, str, str, str]


def rows(table: int) -> list[Row]:
    with (PUBLISHED / f"table{table}.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def weighted(row: Row, sizes: dict[str, int]) -> float:
    return sum(float(row[name]) * size for name, size in sizes.items()) / sum(sizes.values())


def bfcl_averages(table: int, row: Row, prefix: str = "") -> Iterator[Error]:
    """Overall = the mean of Live (1351 instances) and Non-live (1000): each cell is rounded to 0.05 either
    way.
    """
    live, non_live, overall = (float(row[prefix + name]) for name in ("Live", "Non-live", "Overall"))
    if abs((live * 1351 + non_live * 1000) / 2351 - overall) > 0.1:
        yield (
            table,
            row["label"],
            prefix + "Live",
            "average",
            f"{(overall * 2351 - non_live * 1000) / 1351:.1f}",
        )


def category_averages(row: Row) -> Iterator[Error]:
    if abs(weighted(row, LIVE) - float(row["Live Avg"])) > 0.1:
        yield 10, row["label"], "Live Avg", "average", f"{weighted(row, LIVE):.1f}"
    if abs(weighted(row, NON_LIVE) - float(row["Non-live Avg"])) > 0.1:
        rest = sum(200 * float(row[name]) for name in NON_LIVE if name != "Non-live Simple")
        yield (
            10,
            row["label"],
            "Non-live Simple",
            "average",
            f"{(float(row['Non-live Avg']) * 1000 - rest) / 400:.1f}",
        )


def is_count(printed: str, questions: int) -> bool:
    """Whether some whole number of correct questions rounds (either way) to the printed percentage."""
    half_unit = 0.5 * 10 ** -len(printed.partition(".")[2]) + 1e-9
    nearest = round(float(printed) * questions / 100)
    return abs(100 * nearest / questions - float(printed)) <= half_unit


def uncounted(table: int, row: Row, sizes: dict[str, int]) -> Iterator[Error]:
    wrong = [name for name, size in sizes.items() if not is_count(row[name], size)]
    if wrong:
        yield table, row["label"], "*", "count", "whole numbers of questions"


def reprints() -> Iterator[Error]:
    """Every number of Tables 3, 4, 6, 10, 11 and 12 that Table 1 also gives."""
    first = {row["method"] or row["label"]: row for row in rows(1)}
    pairs = {
        "Live": "BFCL Live",
        "Non-live": "BFCL Non-live",
        "Overall": "BFCL Overall",
        "Live Avg": "BFCL Live",
    }
    pairs["Non-live Avg"] = "BFCL Non-live"
    for table in (3, 4, 6, 10, 12):
        for row in rows(table):
            other = first.get(row["method"] or row["label"])
            for column in sorted(set(pairs) & set(row)) if other else []:
                if other and row[column] != other[pairs[column]]:
                    yield table, row["label"], column, "reprint", other[pairs[column]]
    for row in rows(11):
        other = first[row["method"] or row["label"].split(" (")[0]]
        if abs(float(row["Overall Acc."]) - float(other["MMLU-Pro"])) > 0.05 + 1e-9:
            yield 11, row["label"], "Overall Acc.", "reprint", other["MMLU-Pro"]


def all_errors() -> Iterator[Error]:
    for table in (3, 4, 6, 9, 12):
        for row in rows(table):
            yield from bfcl_averages(table, row)
    for row in rows(1):
        yield from bfcl_averages(1, row, "BFCL ")
    for row in rows(10):
        yield from category_averages(row)
        yield from bfcl_averages(10, {**row, "Live": row["Live Avg"], "Non-live": row["Non-live Avg"]})
        yield from uncounted(10, row, LIVE | NON_LIVE)
    for row in rows(11):
        if abs(weighted(row, MMLU_PRO) - float(row["Overall Acc."])) > 0.01:
            yield 11, row["label"], "Overall Acc.", "average", f"{weighted(row, MMLU_PRO):.2f}"
        yield from uncounted(11, row, MMLU_PRO)
    yield from reprints()


def test_the_errors_found_are_exactly_the_known_ones() -> None:
    known = {(e["table"], e["row"], e["column"], e["kind"], e["implied"]) for e in KNOWN["tables"]}
    assert set(all_errors()) == known


def test_known_errors_quote_the_printed_cell() -> None:
    for error in KNOWN["tables"]:
        row = next(row for row in rows(error["table"]) if row["label"] == error["row"])
        if error["column"] == "*":
            wrong = [name for name, size in MMLU_PRO.items() if not is_count(row[name], size)]
            assert error["printed"] == f"{len(wrong)} of {len(MMLU_PRO)} cells"
        else:
            assert row[error["column"]] == error["printed"]


@pytest.mark.parametrize("table", range(1, 13))
def test_shape_and_cells(table: int) -> None:
    found = rows(table)
    assert (len(found), len(found[0]) - 2) == SIZES[table]
    for row in found:
        cells = [value for name, value in row.items() if name not in ("method", "label")]
        assert all(cell == "-" or float(cell.replace(",", "")) >= 0 for cell in cells), row
    keys = [row["method"] for row in found if row["method"]]
    assert len(keys) == len(set(keys)), f"a method stands twice in table {table}"


def test_every_row_names_a_declared_method() -> None:
    declared = {*load_declarations().methods, "expert"}
    for path in sorted(PUBLISHED.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as lines:
            assert {row["method"] for row in csv.DictReader(lines)} <= declared, path.name


def test_numbers_from_the_text_are_not_more_than_it_says() -> None:
    """D.3: AIME "from 15% to approximately 24%" with more SFT data, and "from 24% to 33%" with CHORD on top."""
    with (PUBLISHED / "scaling.csv").open(encoding="utf-8", newline="") as lines:
        found = {row["method"]: (row["AIME"], row["AMC"]) for row in csv.DictReader(lines)}
    assert found == {"sft_best": ("15", ""), "sft_best_large": ("24", ""), "chord_phi_large": ("33", "")}


def test_printed_precision_is_kept() -> None:
    first = {row["method"]: row for row in rows(1)}
    assert (first["original"]["AIME25"], first["sft_light"]["AIME25"]) == ("6.66", "7.80")
    assert rows(2)[0] == {"method": "expert", "label": "Expert Data", "Math": "6,132", "Tool-use": "315"}


def test_improvements_named_in_the_text() -> None:
    """Section 4.2: CHORD-mu over SFT-best + RL by +2.4 on AMC, +1.0 on AIME24, +1.6 on AIME25."""
    first = {row["method"]: row for row in rows(1)}
    gains = [float(first["chord_mu"][c]) - float(first["sft_best_rl"][c]) for c in ("AMC", "AIME24", "AIME25")]
    assert gains == pytest.approx([2.4, 1.0, 1.6])
