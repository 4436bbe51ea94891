"""The judge of a command line: which one, where it is, and what it may cost."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from reference_impl.config import Task
from reference_impl.config.judges import KEY_VARIABLE, JudgeSettings, parse_judge
from reference_impl.judge.build import build_judge
from reference_impl.judge.rubric import JUDGE_FAILED, Judge


def add_judge_argument(parser: argparse.ArgumentParser) -> None:
    """The option of a command that can grade with a judge."""
    parser.add_argument(
        "--judge",
        metavar="YAML",
        help="for tasks of kind judge: its settings as in a scale's file (docs/keys.md), '{kind: local}' or "
        f"'{{kind: http, url: http://localhost:8000/v1}}'; an API key is read from {KEY_VARIABLE}",
    )


def judge_settings(
    tasks: Sequence[Task], option: str | None, declared: JudgeSettings | None = None
) -> JudgeSettings | None:
    """The settings of the judge for the tasks of kind judge; None where there are none.

    option: the text of --judge. declared: a scale's settings, which the option replaces. Raises ValueError for a
    missing judge, for mistakes in its settings, and for tasks that need a judge each.
    """
    judged = [task for task in tasks if task.kind == "judge"]
    given = None if option is None else parse_judge(option, "--judge")
    if not judged:
        if given is not None:
            raise ValueError(f"--judge without a task of kind judge: {', '.join(task.name for task in tasks)}")
        return None
    settings = given or declared
    if settings is None:
        raise ValueError(f"{judged[0].name} needs a judge: --judge '{{kind: local}}' or '{{kind: http, url: …}}'")
    if len({task.aggregation for task in judged}) > 1:
        raise ValueError(f"tasks of different aggregation need a run each: {', '.join(task.name for task in judged)}")
    return settings


def judge_for(tasks: Sequence[Task], settings: JudgeSettings | None) -> Judge | None:
    """The judge with these settings, which are those of `judge_settings` for the same tasks."""
    if settings is None:
        return None
    return build_judge(settings, aggregation=next(task.aggregation for task in tasks if task.kind == "judge"))


def report_trouble(judge: Judge, rows: Sequence[Mapping[str, Any]]) -> None:
    """Say on standard error how often the judge failed, and why the first time and for good."""
    reasons = [row["extracted"] for row in rows if row["reason"] == JUDGE_FAILED]
    if reasons:
        print(f"warning: no score for {len(reasons)} of {len(rows)} samples; the first: {reasons[0]}", file=sys.stderr)
    if judge.stopped is not None:
        print(f"warning: {judge.stopped}; `python -m evaluation.regrade` scores what is missing", file=sys.stderr)
