"""Samples of one evaluation → scores.parquet: one row a sample, without the texts.

python -m evaluation.score --samples DIR --domain math --method chord_phi --seed 0 --out seed0.parquet
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reference_impl.files import iterate_jsonl, whole_file

COLUMNS = {
    "domain": "string",
    "method": "string",
    "seed": "int64",
    "task": "string",
    "item_id": "string",
    "category": "string",
    "sample": "int64",
    "correct": "bool",
    "score": "float64",
    "reason": "string",
    "tokens": "int64",
    "truncated": "bool",
}


def score_table(samples: Path, domain: str, method: str, seed: int) -> pd.DataFrame:
    """Every sample under a folder of `<task>.jsonl`, in the order of tasks and rows.

    Raises ValueError where the folder has no samples or a row lacks a column.
    """
    files = sorted(samples.glob("*.jsonl"))
    if not files:
        raise ValueError(f"{samples} has no <task>.jsonl; python -m evaluation.generate writes them")
    # Column by column, a row's texts dropped at once: a million samples fit a laptop's memory.
    columns: dict[str, list[Any]] = {column: [] for column in COLUMNS}
    for path in files:
        for row in iterate_jsonl(path):
            # Only judges give scores between 0 and 1, or none where they failed.
            score = row.get("score", float(row["correct"])) if "correct" in row else None
            record = {"domain": domain, "method": method, "seed": seed, **row, "score": score}
            missing = [column for column in COLUMNS if column not in record]
            if missing:
                raise ValueError(f"{path}: a row lacks {', '.join(missing)}")
            for column, values in columns.items():
                values.append(_storable(record[column]))
    return pd.DataFrame({column: pd.Series(values, dtype=COLUMNS[column]) for column, values in columns.items()})


def _storable(value: Any) -> Any:
    """Text with escapes in the place of unpaired surrogates, which parquet cannot hold; anything else as it is."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of one evaluation."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.score", description=__doc__.split("\n\n")[0])
    parser.add_argument("--samples", type=Path, required=True, help="folder that evaluation.generate wrote")
    parser.add_argument("--domain", required=True)
    parser.add_argument("--method", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="parquet file to write")
    arguments = parser.parse_args(argv)
    try:
        table = score_table(arguments.samples, arguments.domain, arguments.method, arguments.seed)
    except ValueError as error:
        sys.exit(f"error: {error}")
    with whole_file(arguments.out) as temporary:
        table.to_parquet(temporary, index=False)


if __name__ == "__main__":
    main()
