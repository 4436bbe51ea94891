"""How new to the policy the questions of a sandbox domain's tasks are, as a file that reports read.

    python -m pipelines.sandbox.novelty --domain math --scale mini --benchmarks results/mini/benchmarks \\
        --out results/mini/novelty/math.json

Written are the levels (`pipelines.sandbox.procedure.LEVELS`) and, by task and question, which of them a question has.
Questions that are not the world's, such as those of retention, are left out.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from evaluation.tasks import Item, benchmark_path, read_items
from pipelines.sandbox.policies import WORLDS, world_novelty
from pipelines.sandbox.procedure import LEVELS
from reference_impl.config import choose, load_scale, load_task
from reference_impl.files import write_json


def levels() -> list[dict[str, Any]]:
    """Name of every level, and how often the policy spells out its rarest and its most frequent kind; null: none."""
    shares = [level.shares or (None, None) for level in LEVELS]
    return [{"name": level.name, "low": low, "high": high} for level, (low, high) in zip(LEVELS, shares, strict=True)]


def level_of(share: float | None) -> int:
    """The number of a novelty's level."""
    return next(number for number, level in enumerate(LEVELS) if level.holds(share))


def questions_of(items: list[Item], novelty: Callable[[Any], float | None]) -> Iterator[tuple[str, int]]:
    """(id, level) of those that are the world's."""
    for item in items:
        try:
            yield item.id, level_of(novelty(item.row["question"]))
        except ValueError:  # another world's, as `novelty` says
            continue


def describe(domain: str, scale_name: str, benchmarks: Path) -> dict[str, Any]:
    """The file's content. Raises ValueError where the scale has no such domain, or its world does not tell novelty."""
    domains = load_scale(scale_name).domains
    sizes = domains[choose("domain", domain, domains, f"scale {scale_name}")]
    novelty = world_novelty(domain)
    if novelty is None:
        raise ValueError(f"the sandbox's world {domain} does not tell how new a question is")
    tasks = {name: load_task(name) for name in sizes.tasks}
    found = {
        name: dict(questions_of(read_items(task, benchmark_path(task, benchmarks)), novelty))
        for name, task in tasks.items()
    }
    return {"domain": domain, "levels": levels(), "tasks": found}


def main(argv: list[str] | None = None) -> None:
    """Write a domain's file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", choices=WORLDS, required=True)
    parser.add_argument("--scale", required=True, help="whose tasks")
    parser.add_argument("--benchmarks", type=Path, required=True, help="folder of the evaluation sets")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args(argv)
    try:
        write_json(arguments.out, describe(arguments.domain, arguments.scale, arguments.benchmarks))
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
