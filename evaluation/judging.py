"""The judge of a command line: which one, where it is, and what it may cost."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.tasks import Task
from reference_impl.config import choose
from reference_impl.judge import JUDGE_FAILED, Judge, LocalJudge
from reference_impl.judge_cache import VerdictCache
from reference_impl.judge_cost import Prices
from reference_impl.judge_http import HttpJudge
from reference_impl.judge_transport import Endpoint

JUDGES = ("local", "http")
KEY_VARIABLE = "CHORD_JUDGE_API_KEY"
# B.4: "We use Qwen3-30B-3A-Instruct as the judge model"; its full name as in the authors' Trinity-RFT documentation.
PAPER_MODEL = "Qwen/Qwen3-30B-A3B-Instruct-2507"


def add_judge_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of a command that can grade with a judge."""
    group = parser.add_argument_group("judge", f"for tasks of kind judge; an API key is read from {KEY_VARIABLE}")
    group.add_argument("--judge", choices=JUDGES, help="patterns and keywords of the rubric, or a language model")
    group.add_argument("--judge-noise", type=float, metavar="P", help="local: share of verdicts turned over (0)")
    group.add_argument("--judge-url", help="http: an OpenAI-compatible endpoint, such as http://localhost:8000/v1")
    group.add_argument("--judge-model", help=f"http: the model to ask for (the paper's: {PAPER_MODEL})")
    group.add_argument("--judge-cache", type=Path, help="http: file that keeps verdicts (judge-verdicts.sqlite)")
    group.add_argument("--judge-concurrency", type=int, metavar="N", help="http: most requests at once (8)")
    group.add_argument("--judge-timeout", type=float, metavar="SECONDS", help="http: limit of one request (120)")
    group.add_argument(
        "--judge-prices", type=float, nargs=2, metavar=("IN", "OUT"), help="http: prices of a million tokens (0 0)"
    )
    group.add_argument("--judge-budget", type=float, help="http: limit of the cost; no call is made that could pass it")


def judge_for(tasks: Sequence[Task], arguments: argparse.Namespace) -> Judge | None:
    """The judge for the tasks of kind judge; None where there are none.

    Raises ValueError for a missing judge, and for options that do not go together.
    """
    judged = [task for task in tasks if task.kind == "judge"]
    given = {name for name, value in vars(arguments).items() if name.startswith("judge") and value is not None}
    if not judged:
        if given:
            raise ValueError(f"{_flags(given)} without a task of kind judge: {', '.join(task.name for task in tasks)}")
        return None
    if arguments.judge is None:
        raise ValueError(f"{judged[0].name} needs a judge: --judge {' or --judge '.join(JUDGES)}")
    choose("judge", arguments.judge, JUDGES, "--judge")
    aggregations = {task.aggregation for task in judged}
    if len(aggregations) > 1:
        raise ValueError(f"tasks of different aggregation need a run each: {', '.join(task.name for task in judged)}")
    (aggregation,) = aggregations
    if arguments.judge == "local":
        foreign = given - {"judge", "judge_noise"}
        if foreign:
            raise ValueError(f"{_flags(foreign)}: not for --judge local")
        if aggregation != "explicit":
            raise ValueError(f"{judged[0].name} asks for one rating, which only --judge http gives")
        return LocalJudge(arguments.judge_noise or 0.0)
    if "judge_noise" in given:
        raise ValueError("--judge-noise: not for --judge http")
    return _http_judge(arguments, aggregation)


def _http_judge(arguments: argparse.Namespace, aggregation: str) -> HttpJudge:
    if arguments.judge_url is None:
        raise ValueError("--judge http needs --judge-url, such as http://localhost:8000/v1")
    prompt, completion = arguments.judge_prices or (0.0, 0.0)
    endpoint = Endpoint(
        arguments.judge_url,
        arguments.judge_model or PAPER_MODEL,
        os.environ.get(KEY_VARIABLE),
        timeout_s=120.0 if arguments.judge_timeout is None else arguments.judge_timeout,
    )
    return HttpJudge(
        endpoint,
        cache=VerdictCache(arguments.judge_cache or Path("judge-verdicts.sqlite")),
        prices=Prices(prompt, completion, arguments.judge_budget),
        aggregation=aggregation,
        concurrency=8 if arguments.judge_concurrency is None else arguments.judge_concurrency,
    )


def _flags(names: set[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in sorted(names))


def report_trouble(judge: Judge, rows: Sequence[Mapping[str, Any]]) -> None:
    """Say on standard error how often the judge failed, and why the first time and for good."""
    reasons = [row["extracted"] for row in rows if row["reason"] == JUDGE_FAILED]
    if reasons:
        print(f"warning: no score for {len(reasons)} of {len(rows)} samples; the first: {reasons[0]}", file=sys.stderr)
    if judge.stopped is not None:
        print(f"warning: {judge.stopped}; `python -m evaluation.regrade` scores what is missing", file=sys.stderr)
