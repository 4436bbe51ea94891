"""A results folder for questions of the user's own: their record, and the runs and data of the scale that is asked.

    python -m pipelines.data.own_questions --own sandbox-amc=my.jsonl --results results/mini --out results/mini/own/1f…

Samples, scores and reports come to lie in it; what the scale was asked before stays as it is.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluation.tasks import data_override, own_items
from reference_impl.config import load_task
from reference_impl.files import file_hash, write_json

SHARED = ("runs", "data", "policies", "validations", "phi")
"""What of the scale's results does not depend on what is asked."""
RECORD = "questions.json"


def make_folder(own: Mapping[str, Path], results: Path, out: Path) -> None:
    """Link what the folders share, and write down what is asked. Raises ValueError for a file in another form."""
    asked = {
        task: {"file": str(path), "questions": len(own_items(load_task(task), path)), "sha256": _hash(path)}
        for task, path in own.items()
    }
    out.mkdir(parents=True, exist_ok=True)
    for name in SHARED:
        link = out / name
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(results / name, out), target_is_directory=True)
    write_json(out / RECORD, asked)


def _hash(path: Path) -> str | None:
    return file_hash(path) if path.is_file() else None


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; a mistake of the user's ends with one line on standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--own", type=data_override, action="append", required=True, metavar="TASK=PATH")
    parser.add_argument("--results", type=Path, required=True, help="results folder of the scale")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    arguments = parser.parse_args(argv)
    try:
        make_folder(dict(arguments.own), arguments.results, arguments.out)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
