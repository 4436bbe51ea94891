"""The samples behind a column: those of the prompt that scores higher, where a method has two."""

import dataclasses
from pathlib import Path

import pytest

from reference_impl.config import load_declarations, load_scale
from reference_impl.config.experiments import TableEntry
from reports.inputs import Results
from reports.scores import samples_of, second_prompt
from reports.tables import build
from tests.support.synthetic_results import write_scores

RIGHT = {"original": {"amc": 4, "aime24": 6}, "original_qwen": {"amc": 7, "aime24": 6}}
"""Of ten questions: another prompt is better on AMC alone; equal scores are the first prompt's."""


def results_at(root: Path, scale: str, tasks: dict[str, str]) -> Results:
    for method, right in RIGHT.items():
        rows = [
            {"task": tasks[task], "item_id": str(i), "method": method, "correct": i < number}
            for task, number in right.items()
            for i in range(10)
        ]
        write_scores(root / f"scores/math/{method}/seed0.parquet", rows)
    return Results(root, load_scale(scale), load_declarations(mine=""))


def shown(results: Results) -> dict[str, tuple[str, float]]:
    """Column → whose samples they are, and their mean."""
    entry = results.decl.experiments["table1"]
    assert isinstance(entry, TableEntry)
    found = {}
    for column in entry.columns:
        if column.header in ("AMC", "AIME24"):
            frame = samples_of(results, "original", column)
            found[column.header] = (frame["method"].iloc[0], float(frame["score"].mean()))
    return found


def test_the_higher_of_two_prompts_in_each_column(tmp_path: Path) -> None:
    results = results_at(tmp_path, "paper", {"amc": "amc", "aime24": "aime24"})
    assert shown(results) == {"AMC": ("original_qwen", 0.7), "AIME24": ("original", 0.6)}
    entry = results.decl.experiments["table1"]
    assert isinstance(entry, TableEntry)
    columns = tuple(column for column in entry.columns if column.header in ("AMC", "AIME24"))
    entry = entry.model_copy(update={"domains": ("math",), "methods": ("original",), "columns": columns})
    table = build(dataclasses.replace(results, decl=dataclasses.replace(results.decl, experiments={"t": entry})), "t")
    assert (
        "Original Model: asked with two prompts, of which each column has the higher score (A.3): Original Model, "
        "Qwen's prompt on AMC; as every other row on AIME24."
    ) in table.notes
    (tmp_path / "scores/math/original_qwen/seed0.parquet").unlink()
    with pytest.raises(ValueError, match=r"math/original_qwen/seed0\.parquet is missing; make it with"):
        shown(results)


def test_the_sandbox_has_one_prompt(tmp_path: Path) -> None:
    results = results_at(tmp_path, "mini", {"amc": "sandbox-amc", "aime24": "sandbox-aime24"})
    assert shown(results) == {"AMC": ("original", 0.4), "AIME24": ("original", 0.6)}
    column = results.decl.experiments["table1"].columns[0]  # type: ignore[attr-defined]
    assert second_prompt(results, "original", column) is None
