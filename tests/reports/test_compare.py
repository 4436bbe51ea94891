"""Two results folders: what both have, paired; unlike ones refused in a line."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports import compare
from reports.compare import open_folder, pairs
from tests.support.own_results import own_results, write_method


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    own_results(tmp_path / "A", grpo=20, chord_phi=30, theirs=25)
    own_results(tmp_path / "B", grpo=20, chord_phi=12, theirs=24, sft_best=3)
    return tmp_path / "A", tmp_path / "B"


def test_every_method_and_column_that_both_have(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    compare.main([str(folder) for folder in folders])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "sandbox-bfcl overall" in line]
    assert [row[1] for row in rows] == ["GRPO (Pure RL), A", "CHORD-φ, A", "theirs, A"]
    assert [row[6] for row in rows] == ["the same answers", "above", "undecided"]
    assert rows[1][5].startswith("+45.0 [") and rows[1][3] == "CHORD-φ, B"


def refusal(folders: tuple[Path, Path]) -> str:
    with pytest.raises(ValueError, match="did not ask the same of") as raised:
        pairs(*map(open_folder, folders))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def edit_scores(folder: Path, edit: Any) -> None:
    path = folder / "scores/tool/grpo/seed0.parquet"
    edit(pd.read_parquet(path)).to_parquet(path)


def test_other_graders(folders: tuple[Path, Path]) -> None:
    write_method(folders[1], "grpo", 20, graders="b" * 64)
    assert refusal(folders).endswith("of grpo in tool: sandbox-bfcl: other graders: aaaaaaaaaaaa and bbbbbbbbbbbb")


def test_other_version(folders: tuple[Path, Path]) -> None:
    write_method(folders[1], "grpo", 20, version=2)
    assert refusal(folders).endswith("sandbox-bfcl: other version: 1 and 2")


def test_other_questions(folders: tuple[Path, Path]) -> None:
    edit_scores(folders[1], lambda frame: frame.assign(item_id=frame["item_id"].replace("0", "x"))[:38])
    assert refusal(folders).endswith("sandbox-bfcl: other questions: 40 and 38, 37 in common")


def test_other_samples_per_question(folders: tuple[Path, Path]) -> None:
    edit_scores(folders[1], lambda frame: pd.concat([frame, frame.assign(sample=1)]))
    assert refusal(folders).endswith("sandbox-bfcl: 1 and 2 samples per question")


def test_another_question_under_the_same_id(folders: tuple[Path, Path]) -> None:
    path = folders[1] / "evaluations/tool/grpo/seed0/sandbox-bfcl.jsonl"
    path.write_text(re.sub('question (3|4)"', 'else"', path.read_text()))
    assert refusal(folders).endswith("sandbox-bfcl: another prompt or gold under the same id: 3, and 1 more")


def test_other_seeds(folders: tuple[Path, Path]) -> None:
    path = folders[1] / "scores/tool/grpo/seed0.parquet"
    path.rename(path.with_name("seed4.parquet"))
    assert refusal(folders).endswith("of grpo in tool: seeds [0] and [4], none in common")


def test_what_is_no_results_folder_and_nothing_in_common(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no results folder: it has no scores"):
        open_folder(tmp_path / "nothing")
    own_results(tmp_path / "C", luffy=3)
    with pytest.raises(ValueError, match="have no method in common"):
        pairs(open_folder(folders[0]), open_folder(tmp_path / "C"))
    record = folders[0] / "runs/tool/grpo/seed0/run.json"
    record.write_text(json.dumps({"scale": "smok"}))
    (folders[0] / "runs/tool/chord_phi/seed0/run.json").unlink()
    with pytest.raises(ValueError, match="did you mean 'smoke'"):
        open_folder(folders[0])
