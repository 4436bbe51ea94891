"""Benchmarks from a local file or the hub."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evaluation import fetch
from reference_impl.config import Task, load_task
from reference_impl.config.tasks import Hub
from reference_impl.files import read_jsonl, write_jsonl

REVISION = "0" * 40


def hub_task(rows: int) -> Task:
    source = Hub(source="hub", repository="someone/set", revision=REVISION, split="test")
    return load_task("aime24").model_copy(update={"name": "toy", "rows": rows, "answers_sha256": None, "data": source})


def test_local_file(tmp_path: Path) -> None:
    data = tmp_path / "mine.jsonl"
    write_jsonl(data, [{"id": 1, "problem": "p", "answer": "1"}])
    target = fetch.fetch(hub_task(1), tmp_path / "out", data)
    assert target == tmp_path / "out" / "toy.jsonl"
    assert read_jsonl(target) == read_jsonl(data)
    with pytest.raises(ValueError, match="toy has 2 questions, this file has 1"):
        fetch.fetch(hub_task(2), tmp_path / "other", data)
    assert not (tmp_path / "other" / "toy.jsonl").exists()
    with pytest.raises(ValueError, match="no such file or folder"):
        fetch.fetch(hub_task(1), tmp_path / "out", tmp_path / "absent")


def test_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load_dataset(repository: str, *, revision: str, split: str) -> list[dict[str, Any]]:
        asked.append((repository, revision, split))
        return [{"problem": "p", "answer": "1"}]

    module = ModuleType("datasets")
    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    target = fetch.fetch(hub_task(1), tmp_path, None)
    assert asked == [("someone/set", REVISION, "test")]
    assert read_jsonl(target) == [{"problem": "p", "answer": "1"}]


def test_without_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"give --data PATH\. BFCL is files of a repository"):
        fetch.fetch(load_task("bfcl"), tmp_path, None)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match="install `datasets`, or give --data PATH"):
        fetch.fetch(hub_task(1), tmp_path, None)


def test_bfcl_folder(reference_data: Path, tmp_path: Path) -> None:
    fetch.main(["--task", "bfcl", "--data", str(reference_data / "bfcl"), "--out", str(tmp_path)])
    names = sorted(path.name for path in (tmp_path / "bfcl").glob("*.json"))
    assert len(names) == 8
    assert "BFCL_v4_simple_java.json" not in names
    assert len(list((tmp_path / "bfcl" / "possible_answer").iterdir())) == 8
