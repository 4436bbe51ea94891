"""What each reading changes: every method of every reading, paired with itself."""

import csv
import dataclasses
from pathlib import Path

import pytest

from reports.inputs import Results
from reports.sensitivity import rows, write
from tests.support.own_results import own_results


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Tool use alone: every method gets 20 of 40 right, those of one reading 30."""
    found = own_results(tmp_path / "results", "")
    derived = [name for name, method in found.decl.derived.items() if "tool" in method.domains]
    right = {name: 30 if name.endswith("@not_divided") else 20 for name in derived}
    found = own_results(tmp_path / "results", "", **{found.decl.base(name): 20 for name in derived}, **right)
    scale = found.scale.model_copy(update={"domains": {"tool": found.scale.domains["tool"]}})
    return dataclasses.replace(found, scale=scale)


def test_every_reading_of_every_method(results: Results) -> None:
    found = rows(results)
    overall = [row for row in found if row.pair.column.endswith("overall")]
    assert {row.pair.name for row in overall} == {n for n, m in results.decl.derived.items() if "tool" in m.domains}
    assert {row.pair.domain for row in found} == {"tool"} and "reward_values" not in {row.reading for row in found}
    for row in overall:
        changed = row.reading == "not_divided"
        assert row.pair.verdict == ("above" if changed else "the same answers"), row.reading
        assert (row.pair.difference and row.pair.difference.mean) == (25 if changed else None)  # (30 - 20) of 40
        assert row.pair.baseline == results.decl.base(row.pair.name)


def test_files(results: Results, tmp_path: Path) -> None:
    write(results, tmp_path)
    text = (tmp_path / "sensitivity.md").read_text(encoding="utf-8")
    assert "| advantages not divided by σ | CHORD-φ | tool: sandbox-bfcl overall | 50.0 [" in text
    assert "## What is open" in text and "none counts among its claims" in text and "One seed" in text
    with (tmp_path / "sensitivity.csv").open(encoding="utf-8", newline="") as lines:
        table = list(csv.DictReader(lines))
    assert len(table) == len(rows(results)) and {row["reading"] for row in table} >= {"not_divided", "mu_tool"}
    chosen = [row for row in table if row["name"] == "grpo@not_divided" and row["column"].endswith("overall")]
    assert [float(row["difference"]) for row in chosen] == [25.0]
    page = (tmp_path / "sensitivity.html").read_text(encoding="utf-8")
    assert "snakemake --cores all sensitivity --config scale=smoke" in page and "+25.0" in page
    assert page.count("<li>") == len({row["reading"] for row in table})
