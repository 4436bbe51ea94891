"""Tool use from ToolACE (4.1): single-turn questions whose first answer is a call; the expert's demonstrations of them.

    python -m pipelines.data.toolace --domain tool --scale paper --benchmarks results/paper/benchmarks \\
        --answers answers --ask DeepSeek-R1 --url https://host/v1 --model deepseek-reasoner \\
        --prices 0.55 2.19 --budget 50 --file expert.jsonl --out results/paper/data/tool

ToolACE brings golds but no reasoning, so an expert (domains.yaml names it) is asked through an OpenAI-compatible
endpoint, or its answers are in a file already: `<answers>/<expert>.jsonl`. An endpoint serves one expert, `--ask`;
files of another expert's demonstrations are made from its stored answers. Answers whose calls are not exactly the gold
ones are rejected. The API key is in the environment variable CHORD_EXPERT_API_KEY.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.data.expert_endpoint import Answers, Expert, demonstrate, locked
from pipelines.data.quarantine import FilteredError, MalformedError, list_column, text_column
from pipelines.data.sources import Source
from pipelines.data.stage import Limits, Pool, Row, Stage, arguments, run, split_one_pool
from pipelines.data.toolace_calls import read_calls, read_functions
from reference_impl.config import choose, expert_file, load_declarations
from reference_impl.judge.client import Endpoint
from reference_impl.judge.cost import Prices
from reference_impl.rewards import grade_tool

KEY_VARIABLE = "CHORD_EXPERT_API_KEY"
"""The environment variable with the API key; there is no other way to give one."""
TOOLACE = Source(
    repository="Team-ACE/ToolACE",
    revision="6bda777c88d21e5a204703c1ee45597a8fa4f734",
    pattern="data.json",
    columns=("system", "conversations"),
)


def candidate(row: Mapping[str, Any], limits: Limits) -> Row:
    """A question, the functions offered, and the calls that answer it.

    The rest of the system prompt is left out: it describes ToolACE's own notation. As in the authors' published
    preparation, what follows the first answer is left out too: it is no part of a single turn.
    """
    turns = list_column(row, "conversations", dict)
    if len(turns) < 2:
        raise MalformedError("fewer than two turns", f"{len(turns)}")
    if [turn.get("from") for turn in turns[:2]] != ["user", "assistant"]:
        raise MalformedError("not a user's turn and an assistant's", repr([turn.get("from") for turn in turns[:2]]))
    question, answer = text_column(turns[0], "value").strip(), text_column(turns[1], "value").strip()
    if not (answer.startswith("[") and answer.endswith("]")):
        raise FilteredError("whose first answer is no call")
    try:
        functions = read_functions(text_column(row, "system"))
    except ValueError as error:
        raise MalformedError("unreadable functions", str(error)) from None
    declared = {function["name"]: function["parameters"]["properties"] for function in functions}
    try:
        calls = read_calls(answer, list(declared))
    except ValueError as error:
        raise MalformedError("unreadable calls", str(error)) from None
    if any(key not in declared[call.name] for call in calls for key in call.arguments):
        raise FilteredError("whose calls have an argument that the function does not declare")
    return {
        "prompt": "tool-n1",
        "question": question,
        "functions": functions,
        "gold": [{"name": call.name, "arguments": call.arguments} for call in calls],
        "meta": {"calls": len(calls), "response_tokens": None},
    }


def demonstrations(
    name: str, rows: Sequence[Row], wanted: int, limits: Limits, options: argparse.Namespace
) -> list[Row]:
    """`wanted` demonstrations by the expert that domains.yaml names for this file: right calls, within the limit.

    The endpoint is asked if it serves that expert (`--ask`); any other's demonstrations are of its stored answers.
    """
    if options.answers is None:
        raise ValueError(f"{name} needs --answers FOLDER, where the expert's answers are stored")
    source = _sources()[name]
    path = options.answers / f"{source}.jsonl"

    def accept(row: Mapping[str, Any], response: str) -> bool:
        return grade_tool(response, row["gold"]).correct and limits.allow(limits.tokens(response))

    with locked(path):
        if options.ask == source:
            answers = Answers(path, options.model)
            expert = _expert(options, limits, answers)
        else:
            answers, expert = Answers(path, None), None
        found = demonstrate(rows, wanted, accept, answers, expert, options.tries)
    for row in found:
        row["meta"]["response_tokens"] = limits.tokens(row["response"])
    if expert is not None:
        print(f"{name}: {wanted} demonstrations; {expert.client.report()}")
    return found


def _sources() -> dict[str, str]:
    """File of demonstrations → the expert whose they are."""
    experts = load_declarations().domains["tool"].experts
    return {expert_file(role): expert.source for role, expert in experts.items()}


def _expert(options: argparse.Namespace, limits: Limits, answers: Answers) -> Expert:
    key = os.environ.get(KEY_VARIABLE)
    endpoint = Endpoint(options.url, options.model, key, timeout_s=options.timeout, max_tokens=limits.max_tokens)
    prices = Prices(options.prices[0], options.prices[1], options.budget)
    return Expert(endpoint, answers, concurrency=options.concurrency, prices=prices)


def check_endpoint(options: argparse.Namespace) -> None:
    """Raise ValueError for an endpoint that is not said in full, or serves no expert of the domain."""
    given = {"--ask": options.ask, "--url": options.url, "--model": options.model}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given):
        return
    if missing:
        raise ValueError(
            f"{', '.join(missing)} missing: an endpoint is said by --ask EXPERT (one of "
            f"{', '.join(dict.fromkeys(_sources().values()))}), --url ADDRESS and --model (its name for that expert)"
        )
    choose("expert", options.ask, dict.fromkeys(_sources().values()), "--ask: experts of tool in domains.yaml")


STAGE = Stage(
    "toolace",
    2,
    ("tool",),
    {"toolace": Pool(TOOLACE, candidate)},
    split_one_pool,
    demonstrate=demonstrations,
    shown=(),
)


def with_expert(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line with the expert's options; a mistake in them ends with one line on standard error."""
    expert = parser.add_argument_group("the expert")
    expert.add_argument("--answers", type=Path, help="folder of its answers, `<expert>.jsonl`; they are added there")
    expert.add_argument("--ask", metavar="EXPERT", help="the expert that the endpoint serves; no other is asked")
    expert.add_argument("--url", help="the endpoint's address up to and without /chat/completions")
    expert.add_argument("--model", help="the endpoint's name of the expert")
    expert.add_argument("--tries", type=int, default=4, help="answers to a question before it is given up (default 4)")
    expert.add_argument("--concurrency", type=int, default=8, help="requests at once (default 8)")
    expert.add_argument("--timeout", type=float, default=1800.0, help="seconds a request may take (default 1800)")
    expert.add_argument(
        "--prices", type=float, nargs=2, default=(0.0, 0.0), metavar=("IN", "OUT"), help="of a million tokens"
    )
    expert.add_argument("--budget", type=float, help="most that all answers in the file may cost together")
    options = parser.parse_args(argv)
    try:
        check_endpoint(options)
    except ValueError as error:
        sys.exit(f"error: {error}")
    return options


def main(argv: list[str] | None = None) -> None:
    """Write the data of the tool domain."""
    run(STAGE, with_expert(arguments(STAGE, __doc__), argv))


if __name__ == "__main__":
    main()
