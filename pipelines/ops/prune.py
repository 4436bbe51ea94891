"""Remove the checkpoints of a grid's runs once every selection has copied the one that it chose.

    python -m pipelines.ops.prune --runs results/paper/runs/math/sft-lr1e-06/seed0 … \\
        --selections results/paper/runs/math/sft_best/seed0 … --results results/paper \\
        --out results/paper/pruned/math/sft/seed0.json

A run keeps its record, its curves, its validation and `best/`; a selection keeps its copy. Validations at step 0 that
are kept for later runs, and that other code than today's has measured, go too: no run reads them. `--out` lists what
was removed, and how large the checkpoints were.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reference_impl.files import write_json
from reference_impl.run.first_validation import FIRST_VALIDATIONS, remove_stale
from reference_impl.run.identity import code_hash

CHECKPOINTS = "checkpoints"
"""Folder of a run's checkpoints beside `best/` (reference_impl.run.validation)."""


def prune(runs: Sequence[Path], selections: Sequence[Path]) -> dict[str, Any]:
    """Remove them and say what was removed.

    Raises ValueError, with nothing removed, for a run that has not ended and for a selection without its copy.
    """
    for folder in (*runs, *selections):
        if not (folder / "run.json").is_file():
            raise ValueError(f"{folder} is not finished: it has no run.json")
    for folder in selections:
        if not list((folder / "best").glob("*.safetensors")):
            raise ValueError(f"{folder / 'best'} has no weights: its checkpoint was not copied")
    removed = []
    for checkpoint in (path for run in runs for path in sorted((run / CHECKPOINTS).glob("*"))):
        size = sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file())
        removed.append({"checkpoint": str(checkpoint), "bytes": size})
        shutil.rmtree(checkpoint)
    return {"removed": removed, "bytes": sum(entry["bytes"] for entry in removed)}


def main(argv: Sequence[str] | None = None) -> None:
    """Prune one grid; what is not as it should be ends with one line on standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="run folders of the grid")
    parser.add_argument(
        "--selections", type=Path, nargs="+", required=True, help="run folders of all that chose from it"
    )
    parser.add_argument("--results", type=Path, required=True, help="results folder of the scale")
    parser.add_argument("--out", type=Path, required=True, help="record to write")
    arguments = parser.parse_args(argv)
    try:
        removed = prune(arguments.runs, arguments.selections)
        validations = remove_stale(arguments.results / FIRST_VALIDATIONS, code_hash("reference_impl"))
        write_json(arguments.out, {**removed, "validations": validations})
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
