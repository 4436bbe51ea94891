"""Hashes of what decides numbers: the same for the same, another for anything that changes a sample."""

import shutil
from pathlib import Path

import pytest

from reference_impl.run import identity
from reference_impl.run.identity import checkpoint_hash, code_hash, hash_of, weights_hash


def test_code_is_known_by_what_stands_in_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "ROOT", tmp_path)
    for path, text in {"a/x.py": "1", "a/b/y.py": "2", "c/z.py": "3", "a/notes.txt": "4"}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    alone, both = code_hash("a"), code_hash("a", "c")
    (tmp_path / "a/notes.txt").write_text("another text")
    assert (code_hash("a"), code_hash("a", "c"), code_hash("c", "a")) == (alone, both, both)
    (tmp_path / "c/z.py").write_text("4")
    assert code_hash("a") == alone and code_hash("a", "c") != both
    (tmp_path / "a/b/y.py").rename(tmp_path / "a/b/v.py")
    assert code_hash("a") != alone, "its name is how it is imported"


def test_a_checkpoint_is_known_by_all_that_sampling_reads(tiny_policy: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_policy, tmp_path / "copy"))
    (folder / "manifest.json").write_text("{}")
    weights = weights_hash(tiny_policy)
    known = checkpoint_hash(tiny_policy, weights)
    assert checkpoint_hash(folder, weights_hash(folder)) == known, "neither its place nor its manifest"
    assert checkpoint_hash(folder, "other") != known
    for name in ("config.json", "tokenizer.json", "generation_config.json"):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(before + b" ")
        assert checkpoint_hash(folder, weights) != known, name
        (folder / name).write_bytes(before)
    with pytest.raises(ValueError, match="is not a checkpoint folder: it has no safetensors"):
        weights_hash(tmp_path)


def test_order_of_keys_does_not_matter() -> None:
    assert hash_of({"a": 1, "b": [1, 2]}) == hash_of({"b": [1, 2], "a": 1}) != hash_of({"a": 1, "b": [2, 1]})
