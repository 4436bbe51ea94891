"""Whatever a row of a source holds, it becomes a candidate, is left out by a filter, or is quarantined."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.data import openr1_math, rar_medicine, toolace, trinity_toolace
from pipelines.data.overlap import QuestionIndex
from pipelines.data.quarantine import FilteredError, MalformedError, Tally, what_is_left
from pipelines.data.stage import Files, Limits, write_candidates
from reference_impl.files import json_line, read_jsonl
from tests.support.real_data import (
    Row,
    medical_o1_row,
    openr1_row,
    rar_row,
    toolace_row,
    trinity_rl_row,
    trinity_sft_row,
)

ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    2.5,
    "",
    " ",
    "x",
    "[]",
    "\ud800",
    [],
    [None],
    ["x"],
    [[1]],
    {},
    {"from": 1},
    10**400,
)
STAGES: dict[str, tuple[Callable[[Any, Limits], Row], Row]] = {
    "openr1": (openr1_math.candidate, openr1_row(3)),
    "toolace": (toolace.candidate, toolace_row(3)),
    "trinity-rl": (trinity_toolace.prompt, trinity_rl_row(3)),
    "trinity-sft": (trinity_toolace.demonstration, {**trinity_sft_row(3), "id": 3}),
    "rar": (rar_medicine.prompt, rar_row(3)),
    "medical-o1": (rar_medicine.demonstration, medical_o1_row(3)),
}


def mutants(value: Any) -> Iterator[Any]:
    """Copies of JSON data with one part replaced by something odd, or missing."""
    yield from ODD
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            missing = copy.copy(value)
            del missing[key]
            yield missing
            for part in mutants(value[key]):
                changed = copy.copy(value)
                changed[key] = part
                yield changed


@pytest.mark.parametrize("name", STAGES)
def test_any_row_is_kept_left_out_or_quarantined(name: str) -> None:
    convert, row = STAGES[name]
    outcomes = {"kept": 0, "not": 0}
    for mutant in mutants(row):
        if not isinstance(mutant, dict):
            continue  # the reader's concern
        try:
            json_line(convert(mutant, Limits(100)))
            outcomes["kept"] += 1
        except (MalformedError, FilteredError) as error:
            assert str(error)
            outcomes["not"] += 1
    assert min(outcomes.values()) > 5


def test_numbers_that_json_has_not_are_quarantined(tmp_path: Path) -> None:
    """1e999 is JSON, and infinity once it is read."""
    system = toolace_row(1)["system"].replace('"description": "How many."', '"default": 1e999')
    rows = [toolace_row(1) | {"system": system}, toolace_row(2)]
    assert "1e999" in system
    (tmp_path / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    files = Files({"toolace": tmp_path / "data.json"}, {})
    write_candidates(toolace.STAGE, tmp_path / "out", QuestionIndex({}), Limits(100), files)
    assert len(read_jsonl(tmp_path / "out" / "candidates.jsonl")) == 1
    (entry,) = read_jsonl(tmp_path / "out" / "quarantine.jsonl")
    assert (entry["file"], entry["row"], entry["reason"]) == ("data.json", 1, "cannot be stored")


def test_the_quarantine_says_why_no_row_is_left(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(json.dumps([toolace_row(1) | {"conversations": None}]), encoding="utf-8")
    files = Files({"toolace": tmp_path / "data.json"}, {})
    with pytest.raises(ValueError, match="0 of 1 rows are left; left out: 1 quarantined"):
        write_candidates(toolace.STAGE, tmp_path / "out", QuestionIndex({}), Limits(100), files)
    (entry,) = read_jsonl(tmp_path / "out" / "quarantine.jsonl")
    assert (entry["row"], entry["detail"]) == (1, "None")
    assert not (tmp_path / "out" / "candidates.jsonl").exists()


def test_account() -> None:
    tally = Tally(rows=10, kept=6)
    tally.filtered.update(["long", "long", "late"])
    tally.malformed("f", 3, MalformedError("no text", "x" * 1000))
    assert len(tally.quarantine[0]["detail"]) == 300
    assert what_is_left(tally.report()) == "6 of 10 rows are left; left out: 1 late, 2 long, 1 quarantined (no text)"
    assert what_is_left(Tally(rows=1, kept=1).report()) == "1 of 1 rows are left; left out: none"
