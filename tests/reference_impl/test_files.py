"""Files are complete or absent, and hashed however large they are."""

import hashlib
from pathlib import Path

import pytest

from reference_impl.files import file_hash, whole_file


def test_a_file_is_whole_or_absent_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with pytest.raises(ValueError, match="half-way"), whole_file(path) as temporary:
        temporary.write_text("a", encoding="utf-8")
        raise ValueError("half-way")
    assert not list(tmp_path.iterdir())
    with whole_file(path) as temporary:
        temporary.write_text("b", encoding="utf-8")
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.jsonl"]


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"x" * 3_000_000)
    expected = hashlib.sha256(b"x" * 3_000_000).hexdigest()
    monkeypatch.delattr(Path, "read_bytes")  # a checkpoint need not fit into memory
    assert file_hash(path) == expected
    with pytest.raises(ValueError, match="no file"):
        file_hash(tmp_path / "nothing")
