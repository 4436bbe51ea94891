"""What an edit of the code makes again, in words: the finished runs and scores whose mathematics is no longer now's."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from pipelines.plan.choice import Choice
from reference_impl.config import load_task, resolve_run
from reference_impl.run.code import grader_code, run_code


def changed_code(choice: Choice, results: Path) -> list[str]:
    """One line for every part of the mathematics that has changed since runs or samples in ``results`` were made."""
    changed: dict[str, list[str]] = defaultdict(list)
    for part, where in (*_runs(choice, results), *_graders(choice, results)):
        changed[part].append(where)
    return [f"{part} changed since: {_listed(places)}" for part, places in sorted(changed.items())]


def _runs(choice: Choice, results: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(results.glob("runs/*/*/seed*[0-9]/run.json")):
        domain, run, seed = path.parts[-4:-1]
        recorded = json.loads(path.read_bytes())
        if run not in choice.training_runs or domain not in choice.scale.domains or "code" not in recorded:
            continue
        number = int(seed.removeprefix("seed"))
        config = resolve_run(choice.declarations, choice.scale, run, domain, number)
        if recorded["config_hash"] == config.hash():
            now = run_code(config)
            for part in sorted(now):
                if recorded["code"].get(part) != now[part]:
                    yield f"the code of {part} has", f"{run} trains again on {domain}, seed {number}"


def _graders(choice: Choice, results: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(results.glob("evaluations/*/*/seed*[0-9]/summary.json")):
        domain, method, seed = path.parts[-4:-1]
        if domain not in choice.scale.domains:
            continue
        sizes = choice.scale.domains[domain]
        for task, summary in json.loads(path.read_bytes()).items():
            if task in sizes.tasks and "graders" in summary:
                kind = load_task(task).kind
                if summary["graders"] != grader_code(kind, sizes.judge):
                    yield (
                        f"the graders of {kind} have",
                        f"{task} of {method}, seed {seed.removeprefix('seed')}, is graded again",
                    )


def _listed(places: list[str]) -> str:
    more = len(places) - 1
    return places[0] + (f", and {more} more" if more else "")
