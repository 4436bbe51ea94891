"""Bring a benchmark into a benchmarks folder, checked: from the hub at its pinned revision, or from a file.

python -m evaluation.fetch --task aime24 --out results/paper/benchmarks
python -m evaluation.fetch --task bfcl --data gorilla/berkeley-function-call-leaderboard/bfcl_eval/data --out …
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from pyarrow.parquet import read_table  # type: ignore[import-untyped]

from evaluation.tasks import benchmark_path, load_items
from reference_impl.config import Task, load_task, task_names
from reference_impl.config.tasks import Hub, Local
from reference_impl.files import read_jsonl, write_jsonl
from reference_impl.hub import download

SPLIT_FILES = (".jsonl", ".parquet", "-*.parquet")
"""How repositories of data sets call the files of a split: test.jsonl, test-00000-of-00001.parquet."""


def fetch(task: Task, out: Path, data: Path | None) -> Path:
    """Write a task's file (BFCL: its folder) under `out` and return it.

    Args:
        data: a local file of the official format, instead of the task's own source.

    Raises ValueError where there is no source, and for questions that are not those of the task.
    """
    target = benchmark_path(task, out)
    part = target.with_name(f".{target.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    if data is not None:
        _copy(task, data, part)
    elif isinstance(task.data, Hub):
        _download(task.data, part)
    else:
        notes = {"generated": "The data stage makes it", "own": "It has no questions but your own"}
        where = (isinstance(task.data, Local) and task.data.note) or notes.get(task.data.source, "")
        raise ValueError(f"{task.name} has no pinned source on the hub; give --data PATH. {where}")
    load_items(task, part)
    if target.is_dir():
        shutil.rmtree(target)
    part.replace(target)
    return target


def _copy(task: Task, data: Path, part: Path) -> None:
    if not data.exists():
        raise ValueError(f"{data}: no such file or folder")
    if task.kind != "bfcl":
        shutil.copyfile(data, part)
        return
    shutil.rmtree(part, ignore_errors=True)
    for category in task.categories:
        names = ["simple", category] if category == "simple_python" else [category]
        for file in (path for name in names for path in data.glob(f"**/BFCL_v[0-9]_{name}.json")):
            if file.parent in (data, data / "possible_answer"):
                copy = part / file.relative_to(data)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)


def _download(source: Hub, part: Path) -> None:
    patterns = [f"{folder}{source.split}{tail}" for folder in ("", "data/") for tail in SPLIT_FILES]
    files = download("dataset", source.repository, source.revision, patterns, "give --data PATH")
    tables = (read_jsonl(file) if file.suffix == ".jsonl" else read_table(file).to_pylist() for file in files)
    write_jsonl(part, chain.from_iterable(tables))


def main(argv: Sequence[str] | None = None) -> None:
    """Fetch one benchmark."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.fetch", description=__doc__.split("\n\n")[0])
    parser.add_argument("--task", required=True, help=f"one of {', '.join(task_names())}")
    parser.add_argument("--data", type=Path, help="a local file (BFCL: folder) of the official format")
    parser.add_argument("--out", type=Path, required=True, help="benchmarks folder to write to")
    arguments = parser.parse_args(argv)
    try:
        print(fetch(load_task(arguments.task), arguments.out, arguments.data))
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
