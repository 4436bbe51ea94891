"""The judge of a command line: which one, where it is, and what it may cost."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.tasks import Task
from reference_impl.judge.build import DEFAULT_CACHE, KEY_VARIABLE, PAPER_MODEL, SETTINGS, build_judge
from reference_impl.judge.rubric import JUDGE_FAILED, Judge

OPTION_SETTINGS = {
    "judge": "kind",
    "judge_noise": "noise",
    "judge_url": "url",
    "judge_model": "model",
    "judge_cache": "cache",
    "judge_concurrency": "concurrency",
    "judge_timeout": "timeout_s",
    "judge_prices": "prices",
    "judge_budget": "budget",
}
"""Option of the command line → setting of `build_judge`."""


def add_judge_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of a command that can grade with a judge."""
    group = parser.add_argument_group("judge", f"for tasks of kind judge; an API key is read from {KEY_VARIABLE}")
    group.add_argument(
        "--judge", choices=tuple(SETTINGS), help="patterns and keywords of the rubric, or a language model"
    )
    group.add_argument("--judge-noise", type=float, metavar="P", help="local: share of verdicts turned over (0)")
    group.add_argument("--judge-url", help="http: an OpenAI-compatible endpoint, such as http://localhost:8000/v1")
    group.add_argument("--judge-model", help=f"http: the model to ask for (the paper's: {PAPER_MODEL})")
    group.add_argument("--judge-cache", help=f"http: file that keeps verdicts ({DEFAULT_CACHE})")
    group.add_argument("--judge-concurrency", type=int, metavar="N", help="http: most requests at once (8)")
    group.add_argument("--judge-timeout", type=float, metavar="SECONDS", help="http: limit of one request (120)")
    group.add_argument(
        "--judge-prices", type=float, nargs=2, metavar=("IN", "OUT"), help="http: prices of a million tokens (0 0)"
    )
    group.add_argument("--judge-budget", type=float, help="http: limit of the cost; no call is made that could pass it")


def judge_for(
    tasks: Sequence[Task], arguments: argparse.Namespace, declared: Mapping[str, Any] | None = None
) -> Judge | None:
    """The judge for the tasks of kind judge; None where there are none.

    declared: a scale's settings for `build_judge`, each of which an option replaces; another kind replaces them all.
    Raises ValueError for a missing judge, and for options that do not go together.
    """
    judged = [task for task in tasks if task.kind == "judge"]
    options = {name: value for name, value in vars(arguments).items() if name in OPTION_SETTINGS and value is not None}
    if not judged:
        if options:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in options)
            raise ValueError(f"{flags} without a task of kind judge: {', '.join(task.name for task in tasks)}")
        return None
    given = {OPTION_SETTINGS[name]: value for name, value in options.items()}
    settings = dict(declared or {})
    settings = given if given.get("kind", settings.get("kind")) != settings.get("kind") else settings | given
    if "kind" not in settings:
        raise ValueError(f"{judged[0].name} needs a judge: --judge {' or --judge '.join(SETTINGS)}")
    aggregations = {task.aggregation for task in judged}
    if len(aggregations) > 1:
        raise ValueError(f"tasks of different aggregation need a run each: {', '.join(task.name for task in judged)}")
    return build_judge(settings, aggregation=aggregations.pop())


def report_trouble(judge: Judge, rows: Sequence[Mapping[str, Any]]) -> None:
    """Say on standard error how often the judge failed, and why the first time and for good."""
    reasons = [row["extracted"] for row in rows if row["reason"] == JUDGE_FAILED]
    if reasons:
        print(f"warning: no score for {len(reasons)} of {len(rows)} samples; the first: {reasons[0]}", file=sys.stderr)
    if judge.stopped is not None:
        print(f"warning: {judge.stopped}; `python -m evaluation.regrade` scores what is missing", file=sys.stderr)
