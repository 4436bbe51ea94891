"""Samples of one evaluation → scores.parquet: one row a sample, with now's verdict and without the texts.

    python -m evaluation.score --samples DIR --scale mini --domain math --method chord_phi --seed 0 \\
        --benchmarks results/mini/benchmarks --out seed0.parquet

Verdicts are taken from the samples where the code that gave them is still the same; else the samples are graded again.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.graders import VERDICT
from evaluation.judging import judge_for, judge_settings
from evaluation.regrade import regrade
from evaluation.reuse import GRADERS, SUMMARY
from evaluation.tasks import add_data_argument, benchmark_path
from reference_impl.config import Task, choose, load_scale, load_task
from reference_impl.config.judges import JudgeSettings
from reference_impl.files import iterate_jsonl, read_jsonl, storable, whole_file
from reference_impl.run.code import grader_code

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


Row = dict[str, Any]


def outdated(samples: Path, tasks: Sequence[Task], settings: JudgeSettings | None) -> list[Task]:
    """The tasks whose stored verdicts are of other code than now's."""
    path = samples / SUMMARY
    summary: dict[str, Row] = json.loads(path.read_bytes()) if path.is_file() else {}
    stored = [task for task in tasks if (samples / f"{task.name}.jsonl").is_file()]
    return [t for t in stored if summary.get(t.name, {}).get(GRADERS) != grader_code(t.kind, settings)]


def grade_again(samples: Path, task: Task, data: Path, settings: JudgeSettings | None, own: bool = False) -> list[Row]:
    """Now's verdict on every stored sample of a task, in their order; `own`: `data` has questions of the user's.

    Raises ValueError where the judge stops.
    """
    rows = read_jsonl(samples / f"{task.name}.jsonl")
    judge = judge_for([task], settings if task.kind == "judge" else None)
    graded = regrade(rows, task, data, judge, own)
    if judge is not None and judge.stopped is not None:
        raise ValueError(f"{judge.stopped}; the verdicts so far are in the cache, from which another run resumes")
    verdicts = [{key: row[key] for key in VERDICT if key in row} for row in graded]
    changed = sum(any(row.get(key) != value for key, value in v.items()) for row, v in zip(rows, verdicts, strict=True))
    same = f"{len(rows) - changed} of {len(rows)} verdicts the same"
    print(f"{task.name}: graded again by the code of now: {same}", file=sys.stderr)
    return verdicts


def score_table(
    samples: Path, domain: str, method: str, seed: int, again: Mapping[str, Sequence[Row]] | None = None
) -> pd.DataFrame:
    """Every sample under a folder of `<task>.jsonl`, in the order of tasks and rows.

    again: task → the verdicts that take the place of the stored ones. Raises ValueError where the folder has no samples
    or a row lacks a column.
    """
    files = sorted(samples.glob("*.jsonl"))
    if not files:
        raise ValueError(f"{samples} has no <task>.jsonl; python -m evaluation.generate writes them")
    # Column by column, a row's texts dropped at once: a million samples fit a laptop's memory.
    columns: dict[str, list[Any]] = {column: [] for column in COLUMNS}
    for path in files:
        verdicts = iter((again or {}).get(path.stem, ()))
        for stored in iterate_jsonl(path):
            row = {**stored, **next(verdicts, {})}
            # Only judges give scores between 0 and 1, or none where they failed.
            score = row.get("score", float(row["correct"])) if "correct" in row else None
            record = {"domain": domain, "method": method, "seed": seed, **row, "score": score}
            missing = [column for column in COLUMNS if column not in record]
            if missing:
                raise ValueError(f"{path}: a row lacks {', '.join(missing)}")
            for column, values in columns.items():
                values.append(storable(record[column]))
    return pd.DataFrame({column: pd.Series(values, dtype=COLUMNS[column]) for column, values in columns.items()})


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of one evaluation."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.score", description=__doc__.split("\n\n")[0])
    parser.add_argument("--samples", type=Path, required=True, help="folder that evaluation.generate wrote")
    parser.add_argument("--scale", required=True, help="scale that lists the tasks, and a judge where they need one")
    parser.add_argument("--benchmarks", type=Path, required=True, help="folder with the benchmark files")
    add_data_argument(parser)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--method", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="parquet file to write")
    arguments = parser.parse_args(argv)
    try:
        scale = load_scale(arguments.scale)
        sizes = scale.domains[choose("domain", arguments.domain, scale.domains, f"scale {arguments.scale}")]
        tasks, own = [load_task(name) for name in sizes.tasks], dict(arguments.own)
        given = {**dict(arguments.data), **own}
        settings = judge_settings(tasks, None, sizes.judge)
        again = {
            task.name: grade_again(
                arguments.samples,
                task,
                given.get(task.name) or benchmark_path(task, arguments.benchmarks),
                settings,
                task.name in own,
            )
            for task in outdated(arguments.samples, tasks, settings)
        }
        table = score_table(arguments.samples, arguments.domain, arguments.method, arguments.seed, again)
    except ValueError as error:
        sys.exit(f"error: {error}")
    with whole_file(arguments.out) as temporary:
        table.to_parquet(temporary, index=False)


if __name__ == "__main__":
    main()
