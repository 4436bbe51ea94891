"""Reading and writing files: errors that name file and line; results that are whole or absent."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """All objects of a JSON-lines file. Raises ValueError naming the file and the line that is none."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    rows = []
    with path.open(encoding="utf-8") as lines:  # not splitlines(): model text may hold other line separators
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}: not JSON ({error})") from error
            if not isinstance(row, dict):
                raise ValueError(f"{path}, line {number}: expected an object, got {type(row).__name__}")
            rows.append(row)
    return rows


def json_line(row: Mapping[str, Any]) -> str:
    """One row as a line. Unpaired surrogates, which UTF-8 cannot hold, make the line fall back to escapes."""
    line = json.dumps(row, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:
        line = json.dumps(row)
    return line + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON-lines file, whole or not at all."""
    write_text(path, "".join(map(json_line, rows)))


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON file, indented, whole or not at all."""
    write_text(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def replace_folder(new: Path, target: Path) -> None:
    """Put folder ``new`` in the place of ``target``; a crash leaves one whole folder or the other (as ``.old``)."""
    old = target.with_name(target.name + ".old")
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, as hex digits. Raises ValueError where there is none."""
    if not path.is_file():
        raise ValueError(f"no file {path}")
    return hashlib.sha256(path.read_bytes()).hexdigest()
