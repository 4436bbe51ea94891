"""The forest plot: differences to pure RL, on one scale a panel, beside the paper's."""

from dataclasses import replace

import pytest

from evaluation.statistics import Estimate
from reports.forest import BASELINE, Panel, Row, panels
from reports.inputs import Results
from reports.paired import main_columns
from reports.scores import Paired, difference


def row(low: float, high: float, paper: float | None) -> Row:
    return Row("A", Estimate((low + high) / 2, 1.0, low, high, 50), "", paper, "#")


@pytest.mark.parametrize(
    ("low", "high", "paper", "said"),
    [
        (1, 3, 2.0, "same sign"),
        (-3, -1, 2.0, "other sign"),
        (-1, 3, 2.0, "open"),
        (1, 3, None, ""),
        (1, 3, 0.0, ""),
    ],
)
def test_signs(low: float, high: float, paper: float | None, said: str) -> None:
    assert row(low, high, paper).agrees == said
    assert replace(row(low, high, paper), estimate=None).agrees == ""


def test_places_by_hand() -> None:
    panel = Panel("", "", "", 1, (), 40.0)
    assert [panel.place(value) for value in (-40, -10, 0, 20, 99)] == [0, 37.5, 50, 75, 100]


@pytest.mark.slow
def test_every_main_column_has_every_method_but_the_baseline(page_files: Results) -> None:
    made = panels(page_files, Paired(page_files), ["table1"])
    assert [panel.header for panel in made] == [
        *("AMC", "AIME24", "AIME25", "MMLU-Pro"),
        *("BFCL Live", "BFCL Non-live", "BFCL Overall"),
    ]
    assert [len(panel.rows) for panel in made] == [9, 9, 9, 9, 8, 8, 8] or len(made[-1].rows) == 9
    assert all("GRPO" not in part.label for panel in made for part in panel.rows)
    assert panels(page_files, Paired(page_files), ["table2"]) == [], "the main table is not shown"
    column = main_columns(page_files.decl, "math")[0]
    wanted, found = difference(page_files, ["chord_phi"], [BASELINE], column), made[0].rows[-1]
    assert wanted is not None and found.estimate is not None and found.label == "CHORD-φ"
    assert found.estimate.low == pytest.approx(100 * wanted.low)
    assert found.paper == pytest.approx(62.5 - 52.1), "Table 1, AMC"
    assert found.route == "#samples/math/chord_phi/sandbox-amc"
    for panel in made:
        known = [part.estimate for part in panel.rows if part.estimate]
        assert known and all(0 < panel.place(one.low) <= panel.place(one.high) < 100 for one in known)
