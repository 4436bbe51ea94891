"""A figure as numbers: what is drawn, read off the drawing."""

import csv
import io
import json

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from reports.figure_data import PanelData, panels_of, to_csv


@pytest.fixture
def figure() -> Figure:
    """Two panels: a smoothed curve with its band, dots and a reference; the same curve without a name of its own."""
    drawn, (upper, lower) = plt.subplots(2, 1, height_ratios=[3, 1])
    x = np.array([1.0, 2.0, 3.0])
    upper.plot(x, [5, 1, 6], color="#0072B2", linewidth=0.6)
    upper.fill_between(x, [3, 2, 3], [5, 4, 5], color="#0072B2", alpha=0.16)
    upper.plot(x, [4, 3, 4], color="#0072B2", label="GRPO", linewidth=2)
    upper.plot(x, [4, 3, 4], "o", color="#0072B2")
    upper.axhline(2, color="#000000", linestyle=(0, (1.2, 1.4)), linewidth=1.5, label="Expert")
    upper.set(xlim=(0, 3), ylim=(0, 9), ylabel="reward")
    upper.set_title("Maths", loc="left")
    lower.plot(x, [0.1, 0.2, 0.3], color="#0072B2", linewidth=2)
    lower.yaxis.set_major_formatter(PercentFormatter(1.0))
    lower.set(xlabel="step", ylim=(-0.1, 1))
    return drawn


@pytest.fixture
def panels(figure: Figure) -> list[PanelData]:
    return panels_of(figure)


def test_a_curve_has_its_band_and_its_unsmoothed_values(panels: list[PanelData]) -> None:
    curve, reference = panels[0].series
    assert (curve.label, curve.colour, curve.dash) == ("GRPO", "#0072b2", "solid")
    assert (curve.x, curve.y) == ([1, 2, 3], [4, 3, 4])
    assert (curve.low, curve.high, curve.raw) == ([3, 2, 3], [5, 4, 5], [5, 1, 6])
    assert (reference.label, reference.x, reference.y, reference.low) == ("Expert", [0, 3], [2, 2], None)
    assert reference.dash == "1.8px,2.1px", "1.2 and 1.4 times the line's width of 1.5"


def test_a_panel_has_its_axes(panels: list[PanelData]) -> None:
    upper, lower = panels
    assert (upper.title, upper.ylabel, upper.from_zero, upper.percent) == ("Maths", "reward", True, False)
    assert (lower.xlabel, lower.from_zero, lower.percent) == ("step", False, True)
    assert upper.height == pytest.approx(0.75, abs=0.01)


def test_a_curve_without_a_name_has_that_of_its_like(panels: list[PanelData]) -> None:
    assert [series.label for series in panels[1].series] == ["GRPO"]


def test_what_is_no_number_is_nothing() -> None:
    drawn, axes = plt.subplots()
    axes.plot([1, 2], [np.nan, 3], label="A", linewidth=2)
    (panel,) = panels_of(drawn)
    assert panel.series[0].y == [None, 3] and json.dumps(panel.model_dump(), allow_nan=False)
    assert to_csv([panel]).splitlines()[1].endswith("A,1.0,,,,")


def test_csv_has_every_point(panels: list[PanelData]) -> None:
    rows = list(csv.reader(io.StringIO(to_csv(panels))))
    assert rows[1] == ["Maths", "reward", "GRPO", "1.0", "4.0", "3.0", "5.0", "5.0"]
    assert rows[-1] == ["2", "", "GRPO", "3.0", "0.3", "", "", ""]
    assert len(rows) == 1 + 3 + 2 + 3
