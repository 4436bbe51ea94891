"""What a report reads: the files of one scale's results folder, and nothing else.

A file that is not there is a ValueError that names it and the command that makes it, never an empty cell.
"""

import argparse
import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from reference_impl.config import Declarations, Scale, choose, load_declarations, load_scale
from reference_impl.config.experiments import Experiment
from reference_impl.config.model import read_yaml
from reference_impl.files import read_jsonl

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "reports" / "published"
E = TypeVar("E", bound=Experiment)
TASKS = ROOT / "evaluation" / "tasks"


@cache
def task_benchmarks(task: str) -> tuple[str, ...]:
    """The paper's benchmarks that a task stands for (`benchmark` in evaluation/tasks/<task>.yaml: one or a list)."""
    named = read_yaml(TASKS / f"{task}.yaml")["benchmark"]
    return (named,) if isinstance(named, str) else tuple(named)


@cache
def published_table(name: str) -> tuple[dict[str, str], ...]:
    """Rows of a printed table, printed strings as they are (reports/published/README.md); none of one of the user's."""
    path = PUBLISHED / f"{name}.csv"
    if not path.is_file():
        return ()
    with path.open(encoding="utf-8", newline="") as lines:
        return tuple(csv.DictReader(lines))


def printed(table: str, method: str, column: str) -> str | None:
    """The printed cell of a method, or None where the paper has no such row or no such cell."""
    for row in published_table(table):
        if row["method"] == method:
            return row[column] or None
    return None


@dataclass(frozen=True)
class OwnQuestions:
    """What was asked instead of a task's questions."""

    file: str
    questions: int


@dataclass(frozen=True)
class Results:
    """One scale's results folder with the declarations that made it."""

    root: Path
    scale: Scale
    decl: Declarations
    seeds: tuple[int, ...] | None = None
    """Seeds to report; None: every seed that is there."""

    def task(self, domain: str, benchmark: str) -> str | None:
        """This scale's task that stands for a benchmark of the paper, or None where it has none."""
        if domain not in self.scale.domains:
            return None
        found = [task for task in self.scale.domains[domain].tasks if benchmark in task_benchmarks(task)]
        if len(found) > 1:
            raise ValueError(f"scale {self.scale.name}, {domain}: both {found} stand for {benchmark}; keep one of them")
        return found[0] if found else None

    def missing(self, path: Path) -> ValueError:
        """The error for a file that is not there. A run's files come with its run.json, the one that has a
        rule.
        """
        target = path.with_name("run.json") if "runs" in path.parts else path
        return ValueError(
            f"{path} is missing; make it with: snakemake --cores all {target} --config scale={self.scale.asked_as}"
            + (f" reading={self.decl.reading}" if self.decl.reading else "")
        )

    def require(self, path: Path) -> Path:
        """`path`, or the error that says how to make it."""
        if not path.exists():
            raise self.missing(path)
        return path

    def json(self, path: Path) -> dict[str, Any]:
        """A JSON object of the results folder."""
        loaded: dict[str, Any] = json.loads(self.require(path).read_text(encoding="utf-8"))
        return loaded

    @property
    def own_questions(self) -> dict[str, OwnQuestions]:
        """Task → the user's own questions; empty in a folder of the benchmarks' answers."""
        path = self.root / "questions.json"
        recorded = self.json(path) if path.is_file() else {}
        return {task: OwnQuestions(entry["file"], entry["questions"]) for task, entry in recorded.items()}

    def manifest(self, domain: str) -> dict[str, Any]:
        """What the data stage says of a domain: expert_length_mean (tokens), expert_rows and so on."""
        return self.json(self.root / "data" / domain / "manifest.json")

    def by_seed(self, pattern: str) -> dict[int, Path]:
        """Seed → file for a path below the root in which {seed} stands for seed<k>."""
        if self.seeds is not None:
            return {seed: self.require(self.root / pattern.format(seed=f"seed{seed}")) for seed in self.seeds}
        found = {_seed_of(path): path for path in self.root.glob(pattern.format(seed="seed*"))}
        if not found:
            raise self.missing(self.root / pattern.format(seed=f"seed{self.scale.seeds[0]}"))
        return dict(sorted(found.items()))

    def scores(self, domain: str, method: str) -> pd.DataFrame:
        """Scored samples of a method in a domain, all seeds, one row a sample, with the stratum of its
        question.
        """
        files = self.by_seed(f"scores/{domain}/{method}/{{seed}}.parquet")
        frames = [_parquet(path, path.stat().st_mtime_ns).assign(seed=seed) for seed, path in files.items()]
        return pd.concat(frames, ignore_index=True)

    def metrics(self, domain: str, method: str) -> pd.DataFrame:
        """metrics.jsonl of a run, all seeds, one row a step."""
        return self._lines(f"runs/{domain}/{method}/{{seed}}/metrics.jsonl")

    def validation(self, domain: str, method: str) -> pd.DataFrame:
        """validation.jsonl of a run, all seeds, one row a validation."""
        return self._lines(f"runs/{domain}/{method}/{{seed}}/validation.jsonl")

    def _lines(self, pattern: str) -> pd.DataFrame:
        frames = []
        for seed, path in self.by_seed(pattern).items():
            rows = read_jsonl(path)
            if not rows:
                raise ValueError(f"{path} holds no rows")
            frames.append(pd.DataFrame(rows).assign(seed=seed))
        return pd.concat(frames, ignore_index=True)


@cache
def _parquet(path: Path, modified: int) -> pd.DataFrame:
    """scores.parquet, read once per version of it, since every cell of a table asks for the same few files.

    item_id is made unique over tasks; stratum is the task with the category, where it has one.
    """
    frame = pd.read_parquet(path)
    stratum = frame["task"].str.cat(frame["category"].fillna("").astype(str), sep="/")
    return frame.assign(item_id=frame["task"].str.cat(frame["item_id"].astype(str), sep="/"), stratum=stratum)


def _seed_of(path: Path) -> int:
    part = next(part for part in reversed(path.parts) if part.startswith("seed"))
    return int(part.removeprefix("seed").split(".")[0])


def experiment(results: Results, name: str, kind: type[E]) -> E:
    """The declaration of a table, figure or page, with the domains that this scale has."""
    known = {name: entry for name, entry in results.decl.experiments.items() if isinstance(entry, kind)}
    entry = known[choose("name", name, known, "experiments.yaml")]
    return entry.model_copy(update={"domains": tuple(name for name in entry.domains if name in results.scale.domains)})


def parser(description: str, what: str) -> argparse.ArgumentParser:
    """The command line that tables and figures share."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument(f"--{what}", required=True, help=f"which {what} of experiments.yaml")
    made.add_argument("--out", required=True, type=Path, help="folder to write to")
    add_common(made)
    return made


def add_common(made: argparse.ArgumentParser) -> None:
    """--scale, --results and --seeds."""
    made.add_argument("--scale", required=True, help="a scale of pipelines/config/scales")
    made.add_argument("--results", required=True, type=Path, help="the scale's results folder")
    made.add_argument("--seeds", type=int, nargs="+", help="seeds to report; by default every seed that is there")


def open_results(arguments: argparse.Namespace) -> Results:
    """The results folder that a command line names."""
    seeds = tuple(arguments.seeds) if arguments.seeds else None
    return Results(arguments.results, load_scale(arguments.scale), load_declarations(), seeds)


def run_command(command: Callable[[Sequence[str] | None], None]) -> None:
    """Run a command; what the user can mend is one line on standard error, not a traceback."""
    try:
        command(None)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error
