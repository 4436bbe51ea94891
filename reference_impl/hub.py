"""Files of the hub by huggingface_hub: weights, configurations, tokenizers and rows; never code, never pickle.

The client finds the user's token (HF_TOKEN) and the cache (HF_HOME), and works offline on what is cached. Its own error
messages are not passed on: they may hold addresses with credentials.
"""

import re
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Literal

_REVISION = re.compile(r"[0-9a-f]{40}")
_SUFFIXES = frozenset({".safetensors", ".json", ".jsonl", ".parquet", ".jinja", ".model", ".txt"})


def is_revision(text: str | None) -> bool:
    """Whether ``text`` is a full commit hash: tags, branches and short hashes may come to mean other files."""
    return text is not None and _REVISION.fullmatch(text) is not None


def download(
    kind: Literal["model", "dataset"], repository: str, revision: str | None, patterns: Sequence[str], instead: str
) -> list[Path]:
    """Download the files that match ``patterns``, unless they are cached. Returns their paths, sorted.

    Args:
        patterns: as of fnmatch, where * matches / too; each ends in one of the suffixes that are data.
        instead: what the user can do without the hub, the end of every message.

    Raises ValueError without a full commit hash, for a pattern that may match code or pickle, for a repository that is
    gated, unknown or out of reach, and where no file matches.
    """
    if not is_revision(revision):
        raise ValueError(
            f"{repository} needs a pinned revision, a full commit hash of 40 hex digits, got {revision!r}: {instead}"
        )
    unsafe = [pattern for pattern in patterns if PurePath(pattern).suffix not in _SUFFIXES]
    if unsafe:
        raise ValueError(f"{repository}: {unsafe[0]!r} is not downloaded; allowed: files in {', '.join(_SUFFIXES)}")
    # Takes a third of a second to import, and only what downloads needs it.
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(repository, repo_type=kind, revision=revision, allow_patterns=list(patterns)))
    except Exception as error:  # the client's own, its HTTP library's, the disk's: they have no class in common
        raise ValueError(f"{repository}@{revision} cannot be downloaded: {_reason(error)}; or {instead}") from error
    files = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    if not files:
        raise ValueError(f"{repository}@{revision} has no file {' or '.join(patterns)}: {instead}")
    return files


def _reason(error: Exception) -> str:
    """What is wrong, and what to do about it, in words of our own."""
    from huggingface_hub import errors

    reasons: tuple[tuple[type[Exception], str], ...] = (
        (errors.GatedRepoError, "it is gated: accept its licence on the hub and set HF_TOKEN"),
        (errors.RepositoryNotFoundError, "no such repository, or a private one: set HF_TOKEN"),
        (errors.RevisionNotFoundError, "no such commit: check the revision"),
        (errors.OfflineModeIsEnabled, "not in the cache, and HF_HUB_OFFLINE is set: unset it"),
        (errors.LocalEntryNotFoundError, "the hub cannot be reached: check the network"),
    )
    for found in (error.__cause__, error):
        for kind, reason in reasons:
            if isinstance(found, kind):
                return reason
    if isinstance(error, errors.HfHubHTTPError):
        return f"the hub answers with status {error.response.status_code}"
    return getattr(error, "strerror", None) or type(error).__name__
