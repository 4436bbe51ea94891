"""Where real data comes from: files of a hub dataset at a pinned revision, or local files of the same schema.

Rows are read one by one (`.jsonl`, `.json` with one array, `.parquet`): the largest data set has several gigabytes.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]

from reference_impl.files import file_hash
from reference_impl.hub import download

SUFFIXES = (".jsonl", ".json", ".parquet")
_PARQUET_ROWS = 64
_READ_CHARACTERS = 1 << 20
MAX_ROW_CHARACTERS = 64 << 20
"""Of one element of a JSON array; a file whose element never ends is broken, not large."""


@dataclass(frozen=True)
class Source:
    """Files of a hub dataset: a pattern below the repository, and the columns that are read.

    revision: a full commit hash; None where none could be established, so that the user must give one.
    """

    repository: str
    revision: str | None
    pattern: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """One row of a file, numbered from 1, or what is wrong with it."""

    number: int
    row: Mapping[str, Any] | None
    problem: str = ""


def find_files(name: str, source: Source, local: Path | None, revision: str | None) -> list[Path]:
    """The files of a source in the order of their names: local ones (a file, or a folder of them), or the hub's.

    Raises ValueError without files, without a revision that is a full commit hash, and without a way to download.
    """
    if local is None:
        instead = f"give --local {name}=PATH, or --revision {name}=HASH"
        return download("dataset", source.repository, revision or source.revision, [source.pattern], instead)
    if revision is not None:
        raise ValueError(f"{name}: a local path has no revision: give one of --local and --revision")
    if local.is_file():
        files = [local]
    else:
        files = sorted(path for path in local.glob("*") if path.suffix in SUFFIXES and path.is_file())
    if not files or files[0].suffix not in SUFFIXES:
        raise ValueError(f"{name}: {local} is no file and no folder of files that end in {', '.join(SUFFIXES)}")
    return files


def describe_file(path: Path, name: str, source: Source, local: bool, revision: str | None) -> dict[str, Any]:
    """What a manifest says of a source file: where it is from, and its SHA-256."""
    origin = {} if local else {"repository": source.repository, "revision": revision or source.revision}
    return {"source": name, "file": path.name, **origin, "sha256": file_hash(path)}


def read_records(path: Path, columns: tuple[str, ...]) -> Iterator[Record]:
    """The rows of a file, one at a time; rows that are no object are records with a problem.

    columns: what is read of a parquet file, as far as it has them. Raises ValueError for a file that cannot be read
    on: another format, damaged parquet, or a JSON array with an error in it.
    """
    if path.suffix == ".parquet":
        yield from _parquet(path, columns)
    elif path.suffix == ".json":
        yield from _array(path)
    else:
        yield from _lines(path)


class _Decoder:
    """A JSON decoder that notices NaN and infinities, which JSON does not have."""

    def __init__(self) -> None:
        self._constants: list[str] = []
        self._decoder = json.JSONDecoder(parse_constant=self._constants.append)

    def decode(self, text: str, start: int = 0) -> tuple[Any, int, str]:
        """A value, where it ends, and what is wrong with it. Raises ValueError, and RecursionError for deep nesting."""
        self._constants.clear()
        value, end = self._decoder.raw_decode(text, start)
        if self._constants:
            return value, end, f"{self._constants[0]} is not JSON"
        return value, end, "" if isinstance(value, dict) else f"expected an object, got {type(value).__name__}"


def _lines(path: Path) -> Iterator[Record]:
    decoder = _Decoder()
    with path.open("rb") as lines:  # bytes end lines at \n only: text may hold other line separators
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                value, end, problem = decoder.decode(text)
            except (ValueError, RecursionError) as error:
                yield Record(number, None, f"not JSON: {error}")
                continue
            problem = problem or ("" if end == len(text) else "not JSON: text after the object")
            yield Record(number, None if problem else value, problem)


def _array(path: Path) -> Iterator[Record]:
    """Elements of the array that a file holds, decoded as they are read."""
    decoder = _Decoder()
    with path.open(encoding="utf-8-sig") as file:
        text = _more(file, path).lstrip()
        if not text.startswith("["):
            raise ValueError(f"{path}: expected a JSON array, found {text[:40]!r}")
        position, number, after_comma = 1, 0, True
        while True:
            position = _blanks(text, position)
            if not after_comma and text.startswith(",", position):
                position, after_comma = _blanks(text, position + 1), True
            if text.startswith("]", position):
                return
            try:
                if not after_comma:
                    raise ValueError("expected a comma or the end of the array")
                value, end, problem = decoder.decode(text, position)
            except (ValueError, RecursionError) as error:  # the rest of the element may not have been read yet
                more = _more(file, path) if len(text) - position <= MAX_ROW_CHARACTERS else ""
                if not more:
                    raise ValueError(f"{path}: element {number + 1} of the array cannot be read: {error}") from None
                text, position = text[position:] + more, 0
                continue
            number, position, after_comma = number + 1, end, False
            yield Record(number, None if problem else value, problem)
            if position > _READ_CHARACTERS:
                text, position = text[position:], 0


def _more(file: TextIO, path: Path) -> str:
    try:
        return file.read(_READ_CHARACTERS)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8: {error}") from None


def _blanks(text: str, position: int) -> int:
    """The position of the next character that is no blank."""
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _parquet(path: Path, columns: tuple[str, ...]) -> Iterator[Record]:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            present = [name for name in columns if name in file.schema_arrow.names]
            number = 0
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=present):
                for row in batch.to_pylist():
                    number += 1
                    yield Record(number, row)
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path}: not a readable parquet file: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file that this project wrote. Raises ValueError where there is none."""
    if not path.is_file():
        raise ValueError(f"no {path}")
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded
