"""What is taken of the hub, and what a user is told where nothing can be had."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors

from reference_impl.hub import download, is_revision

HASH = "0123456789abcdef" * 2 + "01234567"
SECRET = "hf_" + "s" * 30


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """A hub whose repositories all have the same files; returns what it was asked for."""
    asked = []
    for name in ("config.json", "model-1.safetensors", "data/test-0.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")

    def snapshot_download(repository: str, **options: Any) -> str:
        asked.append((repository, options))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_files_of_a_commit_are_downloaded(snapshot: list[Any]) -> None:
    found = download("model", "someone/model", HASH, ["*.safetensors", "config.json", "merges.txt"], "give it")
    assert [path.name for path in found] == ["config.json", "model-1.safetensors"]
    patterns = ["*.safetensors", "config.json", "merges.txt"]
    assert snapshot == [("someone/model", {"repo_type": "model", "revision": HASH, "allow_patterns": patterns})]


@pytest.mark.parametrize("pattern", ["*.bin", "modeling_x.py", "*", "*.pt", "data/*", "weights.safetensors.pkl"])
def test_code_and_pickle_are_not_asked_for(snapshot: list[Any], pattern: str) -> None:
    with pytest.raises(ValueError, match=r"is not downloaded; allowed: files in "):
        download("model", "someone/model", HASH, ["config.json", pattern], "give it")
    assert not snapshot


@pytest.mark.parametrize("revision", [None, "", "main", HASH[:7], HASH.upper(), HASH + "0", HASH + "\n"])
def test_only_a_full_commit_hash_is_a_revision(snapshot: list[Any], revision: str | None) -> None:
    assert is_revision(HASH) and not is_revision(revision)
    with pytest.raises(ValueError, match=r"someone/set needs a pinned revision, a full commit hash .*: give --local"):
        download("dataset", "someone/set", revision, ["*.parquet"], "give --local PATH")
    assert not snapshot


def test_missing_files_are_named(snapshot: list[Any]) -> None:
    with pytest.raises(ValueError, match=rf"someone/set@{HASH} has no file a\.json or b/\*\.parquet: give it"):
        download("dataset", "someone/set", HASH, ["a.json", "b/*.parquet"], "give it")


def answer(kind: type[errors.HfHubHTTPError], status: int) -> Exception:
    """The client's error for an answer of the hub, with a secret in its text."""
    response: Any = SimpleNamespace(headers={}, request=None, status_code=status)
    return kind(f"GET https://user:{SECRET}@host", response=response)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (answer(errors.GatedRepoError, 403), "it is gated: accept its licence on the hub and set HF_TOKEN"),
        (answer(errors.RepositoryNotFoundError, 401), "no such repository, or a private one: set HF_TOKEN"),
        (answer(errors.RevisionNotFoundError, 404), "no such commit"),
        (answer(errors.HfHubHTTPError, 500), "the hub answers with status 500"),
        (errors.LocalEntryNotFoundError(SECRET), "the hub cannot be reached: check the network"),
        (
            caused(errors.LocalEntryNotFoundError(SECRET), errors.OfflineModeIsEnabled()),
            "not in the cache, and HF_HUB_OFFLINE is set: unset it",
        ),
        (OSError(28, "No space left on device"), "No space left on device"),
        (RuntimeError(SECRET), "RuntimeError"),
    ],
)
def test_each_failure_says_what_to_do_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ValueError, match=f"@{HASH} cannot be downloaded: {reason}.*; or give it$") as found:
        download("model", "someone/model", HASH, ["config.json"], "give it")
    assert SECRET not in str(found.value)


def test_a_client_that_is_offline_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real client, without a network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE is set: unset it; or give it"):
        download("model", "someone/model", HASH, ["config.json"], "give it")
