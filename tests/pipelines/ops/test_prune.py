"""Pruning a grid's checkpoints."""

import json
from pathlib import Path

import pytest

from pipelines.ops import prune
from reference_impl.run.first_validation import FIRST_VALIDATIONS


def trained(folder: Path, *checkpoints: str) -> Path:
    for name in checkpoints:
        (folder / name).mkdir(parents=True)
        (folder / name / "model.safetensors").write_bytes(b"12345")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text("{}", encoding="utf-8")
    return folder


def test_pruning_removes_a_grids_checkpoints_and_what_no_run_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(tmp_path / "sft-lr1", "checkpoints/step-1", "checkpoints/step-2", "best")
    (run / "metrics.jsonl").touch()
    chosen = trained(tmp_path / "sft_best", "best")
    out = tmp_path / "pruned.json"
    kept = {code: tmp_path / FIRST_VALIDATIONS / f"{code}.json" for code in ("today", "before")}
    for code, path in kept.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"made_of": {"code": code}}))
    monkeypatch.setattr(prune, "code_hash", lambda *_: "today")
    arguments = ["--runs", str(run), "--selections", str(chosen), "--results", str(tmp_path), "--out", str(out)]
    prune.main(arguments)
    record = json.loads(out.read_text(encoding="utf-8"))
    assert [Path(entry["checkpoint"]).name for entry in record["removed"]] == ["step-1", "step-2"]
    assert record["bytes"] == 10 and record["validations"] == [kept["before"].name]
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    weights = {"sft-lr1/best/model.safetensors", "sft_best/best/model.safetensors"}
    assert left == weights | {
        "sft-lr1/run.json",
        "sft-lr1/metrics.jsonl",
        "sft_best/run.json",
        "pruned.json",
        str(kept["today"].relative_to(tmp_path)),
    }
    prune.main(arguments)  # interrupted before its record: there is nothing left to remove
    assert json.loads(out.read_text(encoding="utf-8"))["removed"] == []


def test_pruning_waits_for_every_run_and_every_copy(tmp_path: Path) -> None:
    run = trained(tmp_path / "sft-lr1", "checkpoints/step-1")
    unfinished = tmp_path / "sft_light"
    unfinished.mkdir()
    for selection, message in ((unfinished, "not finished"), (trained(tmp_path / "sft_best"), "was not copied")):
        with pytest.raises(ValueError, match=message):
            prune.prune([run], [selection])
    assert (run / "checkpoints" / "step-1" / "model.safetensors").is_file()
