"""What decides numbers, as hashes: what is made of the same, by the same code on the same machine, is the same.

Free of torch.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reference_impl.files import file_hash

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = "manifest.json"
"""Beside a policy: where it came from, which no number follows from."""


def hash_of(value: Mapping[str, Any]) -> str:
    """SHA-256 of JSON-ready values, as 64 hex digits; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def code_hash(*packages: str) -> str:
    """SHA-256 over the Python files of this project's packages. A commit would not do: files may have changed since."""
    files = (path for package in packages for path in (ROOT / package).rglob("*.py"))
    return hash_of({path.relative_to(ROOT).as_posix(): file_hash(path) for path in files})


def weights_hash(checkpoint: Path) -> str:
    """SHA-256 over all shards of a checkpoint's weights. Raises ValueError for a folder without any."""
    weights = {path.name: file_hash(path) for path in sorted(checkpoint.glob("*.safetensors"))}
    if not weights:
        raise ValueError(f"{checkpoint} is not a checkpoint folder: it has no safetensors")
    return hashlib.sha256(json.dumps(weights).encode()).hexdigest()


def checkpoint_hash(checkpoint: Path, weights: str) -> str:
    """SHA-256 over all that sampling reads of a checkpoint: weights, shape, tokenizer, chat template, end of turn.

    ``weights`` is its `weights_hash`, which takes its time with large ones.
    """
    others = (path for path in checkpoint.iterdir() if path.is_file() and path.suffix != ".safetensors")
    files = {path.name: file_hash(path) for path in others if path.name != MANIFEST}
    return hash_of({"weights": weights, "files": files})
