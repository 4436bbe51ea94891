"""Where real data comes from: files of a hub dataset at a pinned revision, or local files of the same schema.

Rows of `.jsonl` and `.parquet` are read one by one: the largest data set has several gigabytes. A `.json` file holds
one array, which has to fit into memory: the data sets that come so have some ten thousand rows.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]

from reference_impl.files import file_hash
from reference_impl.hub import download

SUFFIXES = (".jsonl", ".json", ".parquet")
_PARQUET_ROWS = 64


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
    on: damaged parquet, or a JSON file with an error in it or without an array.
    """
    if path.suffix == ".parquet":
        yield from _parquet(path, columns)
    elif path.suffix == ".json":
        yield from _array(path)
    else:
        yield from _lines(path)


def _lines(path: Path) -> Iterator[Record]:
    with path.open("rb") as lines:  # bytes end lines at \n only: text may hold other line separators
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield _record(number, _loads(line.decode("utf-8-sig")))
                except (ValueError, RecursionError) as error:
                    yield Record(number, None, f"not JSON: {error}")


def _loads(text: str) -> Any:
    """JSON, which has no NaN and no infinities. Raises ValueError for text that is none."""

    def refused(constant: str) -> Any:
        raise ValueError(f"{constant} is no number of JSON")

    return json.loads(text, parse_constant=refused)


def _array(path: Path) -> Iterator[Record]:
    try:
        rows = _loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(rows, list):
        raise ValueError(f"{path}: expected a JSON array, got {type(rows).__name__}")
    yield from map(_record, range(1, len(rows) + 1), rows)


def _record(number: int, value: Any) -> Record:
    if isinstance(value, dict):
        return Record(number, value)
    return Record(number, None, f"expected an object, got {type(value).__name__}")


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
