"""Benchmarks from a local file or the hub."""

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import huggingface_hub
import pyarrow.parquet  # type: ignore[import-untyped]
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


@pytest.mark.parametrize("name", ["test.jsonl", "data/test-00000-of-00001.parquet"])
def test_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Rows of the split as they are, whatever its file is called; integers and leading zeros stay what they are."""
    rows = [{"problem": "p", "answer": "033", "options": ["a", "b"], "year": 2024}]
    asked: list[Any] = []

    def snapshot_download(repository: str, *, repo_type: str, revision: str, allow_patterns: list[str]) -> str:
        asked.append((repository, repo_type, revision, allow_patterns))
        folder = tmp_path / "snapshot"
        write_jsonl(folder / "train.jsonl", [{"problem": "of another split"}])
        if name.endswith(".jsonl"):
            write_jsonl(folder / name, rows)
        else:
            (folder / name).parent.mkdir()
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / name)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert read_jsonl(fetch.fetch(hub_task(1), tmp_path, None)) == rows
    ((repository, repo_type, revision, patterns),) = asked
    assert (repository, repo_type, revision) == ("someone/set", "dataset", REVISION)
    assert any(fnmatch(name, pattern) for pattern in patterns) and not any("train" in pattern for pattern in patterns)


def test_without_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"give --data PATH\. BFCL is files of a repository"):
        fetch.fetch(load_task("bfcl"), tmp_path, None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(ValueError, match=r"has no file test\.jsonl .*: give --data PATH"):
        fetch.fetch(hub_task(1), tmp_path, None)


def test_bfcl_folder(reference_data: Path, tmp_path: Path) -> None:
    fetch.main(["--task", "bfcl", "--data", str(reference_data / "bfcl"), "--out", str(tmp_path)])
    names = sorted(path.name for path in (tmp_path / "bfcl").glob("*.json"))
    assert len(names) == 8
    assert "BFCL_v4_simple_java.json" not in names
    assert len(list((tmp_path / "bfcl" / "possible_answer").iterdir())) == 8
