"""Reading and writing files: errors that name file and line; results that are complete or absent."""

import codecs
import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """All objects of a JSON-lines file; errors as of `iterate_jsonl`."""
    return list(iterate_jsonl(path))


def iterate_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file, with or without a byte order mark, one at a time.

    Raises ValueError naming the file and the line that is no object, no JSON, no UTF-8, nested beyond the parser's
    stack, or holds a number too long to be read.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    with path.open("rb") as lines:  # bytes end lines at \n only: model text may hold other line separators
        for number, line in enumerate(lines, 1):
            text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if not text.strip():
                continue
            try:
                row = json.loads(text.decode("utf-8"))
            except RecursionError:
                raise ValueError(f"{path}, line {number}: JSON nested too deeply") from None
            except ValueError as error:  # what json.loads raises for syntax and digits, and decode for bad UTF-8
                raise ValueError(f"{path}, line {number}: not JSON ({error})") from error
            if not isinstance(row, dict):
                raise ValueError(f"{path}, line {number}: expected an object, got {type(row).__name__}")
            yield row


def json_text(record: Mapping[str, Any], indent: int | None = None) -> str:
    """JSON text of a record. Unpaired surrogates, which UTF-8 cannot hold, make it fall back to escapes.

    Raises ValueError for NaN and infinities, which JSON does not have; what is missing is None.
    """
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(record, allow_nan=False, indent=indent)
    return text


def json_line(row: Mapping[str, Any]) -> str:
    """One row as a line, see `json_text`."""
    return json_text(row) + "\n"


def storable(value: Any) -> Any:
    """Text with escapes in the place of unpaired surrogates, which parquet cannot hold; anything else as it is."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name to write to; it takes the place of `path` once the block has ended, or goes if with an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    temporary.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name, then rename it."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON-lines file, completely or not at all."""
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as lines:
        lines.writelines(map(json_line, rows))


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON file, indented, completely or not at all."""
    write_text(path, json_text(record, indent=2) + "\n")


def replace_folder(new: Path, target: Path) -> None:
    """Put folder ``new`` in the place of ``target``; a crash leaves one complete folder or the other (as ``.old``)."""
    old = target.with_name(target.name + ".old")
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, which need not fit into memory, as hex digits. Raises ValueError where there is none."""
    if not path.is_file():
        raise ValueError(f"no file {path}")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
