"""Check what runs with one set of demonstrations read, before any trains: every row, and that none is a benchmark's.

    python -m pipelines.data.check --domain math --scale mini --expert main --data results/mini/data/math \\
        --benchmarks results/mini/benchmarks --out results/mini/data/math/checked-main.json

Files that a stage has written pass; this is for rows that were brought or changed by hand.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.data.overlap import benchmark_rows, normalise, question_text
from pipelines.data.splits import PROMPTS, VALIDATION, split_rows
from reference_impl.config import benchmark_tasks, choose, expert_file, load_declarations, load_scale
from reference_impl.files import file_hash, write_json
from reference_impl.run.rows import check_files, report

Question = tuple[str, tuple[str, ...]]
"""What makes a training question a benchmark's: its words, and the functions that it offers."""


def question(text: str, functions: Sequence[str]) -> Question:
    """The same for all copies of a question."""
    return normalise(text), tuple(sorted(functions))


def overlaps(path: Path, rows: Sequence[Mapping[str, Any]], asked: Mapping[Question, str]) -> Iterator[str]:
    """One sentence for every row that asks a benchmark's question; ``asked``: the questions, with their task."""
    for number, row in enumerate(rows, 1):
        names = [str(function["name"]) for function in row.get("functions", ())]
        task = asked.get(question(question_text(row["question"]), names))
        if task is not None:
            yield f"{path}, row {number}: its question is one of {task}"


def check(domain: str, scale_name: str, expert: str, data: Path, benchmarks: Path) -> dict[str, Any]:
    """The files' hashes, once nothing is wrong with them. Raises ValueError with everything that is."""
    decl, scale = load_declarations(), load_scale(scale_name)
    sizes = split_rows(decl, scale, domain)
    names = [PROMPTS, VALIDATION, expert_file(choose("expert", expert, decl.domains[domain].experts, "domains.yaml"))]
    found = check_files({data / name: sizes[name] for name in names}, decl.domains[domain].reward)
    sets = benchmark_rows(benchmarks, benchmark_tasks(scale.domains[domain].tasks))
    asked = {question(text, functions): task for task, rows in sets.items() for text, functions in rows}
    if faults := [fault for path, rows in found.items() for fault in overlaps(path, rows, asked)]:
        raise ValueError(report(faults))
    return {name: file_hash(data / name) for name in names}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--expert", required=True, help="role of the demonstrations, as in domains.yaml")
    parser.add_argument("--data", type=Path, required=True, help="the domain's folder")
    parser.add_argument("--benchmarks", type=Path, required=True, help="folder of the evaluation sets")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    given = parser.parse_args(argv)
    try:
        write_json(given.out, check(given.domain, given.scale, given.expert, given.data, given.benchmarks))
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
