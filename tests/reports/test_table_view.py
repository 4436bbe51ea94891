"""Tables as the page shows them: differences, what was asked, where samples are."""

import pytest

from reference_impl.config import load_declarations
from reports.inputs import Results
from reports.scores import Paired, difference
from reports.table_view import as_number, base_of, column_groups, route, shared_task, table_view
from reports.tables import build


def test_a_route_names_what_was_asked() -> None:
    assert route("math", "grpo", ["sandbox-amc"]) == "#samples/math/grpo/sandbox-amc"
    assert route("tool", "grpo", ["a", "b"], ["x y", "z"]) == "#samples/tool/grpo/a+b/x%20y+z"


def test_what_all_headers_share_is_said_once() -> None:
    assert shared_task(["sandbox-bfcl live", "sandbox-bfcl overall"]) == "sandbox-bfcl"
    assert shared_task(["sandbox-amc", "sandbox-bfcl live"]) == "" == shared_task(["sandbox-amc live"])
    assert shared_task(["sandbox-amc", "sandbox-amc live"]) == "", "the first would have no name left"


def test_printed_numbers() -> None:
    assert (as_number("1,395"), as_number("62.5"), as_number("–"), as_number(None)) == (1395.0, 62.5, None, None)


def test_the_base_model_is_the_one_that_nothing_was_trained_for() -> None:
    decl = load_declarations()
    assert base_of(decl, ["expert", "sft_best", "original", "grpo"]) == "original"
    assert base_of(decl, ["original_moe", "grpo_moe"]) == "original_moe"
    assert base_of(decl, ["grpo", "sft_best"]) is None, "a selection of trained checkpoints is trained"


@pytest.mark.slow
def test_upper_headers_span_their_columns(page_files: Results) -> None:
    assert column_groups(build(page_files, "table1")) == (("Math & general reasoning", 4), ("Tool use", 3))


@pytest.mark.slow
def test_differences_are_those_of_the_claims_and_of_the_printed_cells(page_files: Results) -> None:
    view = table_view(page_files, Paired(page_files), "table1", page_files.decl.experiments["table1"])
    row = next(row for row in view.rows if row.method == "chord_phi")
    for at, column in enumerate(view.table.columns):
        wanted = difference(page_files, ["chord_phi"], ["original"], column)
        change = row.cells[at].change
        assert wanted is not None and change is not None
        assert (change.mean, change.low, change.high) == pytest.approx(
            (100 * wanted.mean, 100 * wanted.low, 100 * wanted.high)
        )
    base = next(row for row in view.rows if row.method == "original")
    assert view.base == "Original Model" and all(cell.change is None for cell in base.cells)
    first, before = row.cells[0].cell.printed, base.cells[0].cell.printed
    assert first and before and row.cells[0].printed_change == pytest.approx(float(first) - float(before))


@pytest.mark.slow
def test_under_a_column_stands_what_was_asked(page_files: Results) -> None:
    view = table_view(page_files, Paired(page_files), "table2", page_files.decl.experiments["table2"])
    math = view.columns[0]
    assert math.questions == 83 + 30 + 30 and math.samples == "8–32", "AMC 8, AIME 32 of each"
    assert math.unreadable == "", "a length is not graded"
    assert [row.cells[0].route for row in view.rows if row.method == "expert"] == [""]
    wide = table_view(page_files, Paired(page_files), "table11", page_files.decl.experiments["table11"])
    assert wide.wide and wide.groups == (("sandbox-mmlu-pro", 15),) and wide.columns[0].name == "business"
    assert wide.columns[0].unreadable and "low confidence" not in wide.rows[0].label
