"""Tool use from the authors' public splits of ToolACE: prompts of the RL split, demonstrations of the SFT split.

    python -m pipelines.data.trinity_toolace --domain tool --scale paper --revision rl=HASH --revision sft=HASH \\
        --benchmarks results/paper/benchmarks --out results/paper/data/tool

The RL split has the columns that the authors' preparation writes and their workflow reads (Trinity-RFT,
examples/grpo_toolcall/get_toolace_data.py): `tools` and `answer` as JSON texts, `conversations`, `raw_system`. The SFT
split has `messages` (examples/mix_chord/mix_chord_toolace.yaml), whose system message is taken to list the functions
between <tools> tags, as the RL prompts of that workflow do. Demonstrations by another expert (`second`) and of the RL
prompts (`aligned`) are in neither split: those are asked for, or read from stored answers, as `pipelines.data.toolace`
does it.
"""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.data import toolace
from pipelines.data.quarantine import FilteredError, MalformedError, list_column, text_column
from pipelines.data.sources import Source
from pipelines.data.splits import PROMPTS, VALIDATION
from pipelines.data.stage import Limits, Pool, Row, Stage, arguments, run
from pipelines.data.toolace_calls import functions_of
from reference_impl.config import expert_file
from reference_impl.rewards import grade_tool
from reference_impl.text.strict_json import strict_json
from reference_impl.text.tool_calls import Call, calls_from_json, parse_tool_call

# No full commit hash could be established, nor the names of the files: the user gives one, or files.
RL = Source("datajuicer/Trinity-ToolAce-RL-split", None, "*", ("tools", "conversations", "answer"))
SFT = Source("datajuicer/Trinity-ToolAce-SFT-split", None, "*", ("messages",))
_TOOLS = re.compile(r"<tools>(.*)</tools>", re.DOTALL)


def prompt(row: Mapping[str, Any], limits: Limits) -> Row:
    """A question of the RL split, the functions offered, and the calls that answer it."""
    turns = list_column(row, "conversations", dict)
    if [turn.get("from") for turn in turns] not in (["user"], ["human"]):
        raise FilteredError("that is no single turn")
    question = text_column(turns[0], "value").strip()
    functions = _functions(_json(row, "tools"))
    answer = _json(row, "answer")
    try:
        calls = calls_from_json(answer)
    except ValueError as error:
        raise MalformedError("unreadable calls", str(error)) from None
    return _row(question, functions, calls, None)


def demonstration(row: Mapping[str, Any], limits: Limits) -> Row:
    """A question of the SFT split with the expert's response, which is unchanged, and the calls that it makes."""
    messages = list_column(row, "messages", dict)
    if [message.get("role") for message in messages] != ["system", "user", "assistant"]:
        raise FilteredError("that is no single turn")
    system, question, response = (text_column(message, "content").strip() for message in messages)
    listed = _TOOLS.search(system)
    if listed is None:
        raise MalformedError("no <tools> in the system message", system[:200])
    functions = _functions(_values(listed.group(1)))
    try:
        calls = parse_tool_call(response)
    except ValueError as error:
        raise MalformedError("unreadable calls", str(error)) from None
    found = _row(question, functions, calls, limits.tokens(response))
    if not grade_tool(response, found["gold"]).correct:
        raise FilteredError("whose response is not a think block and calls")
    if not limits.allow(found["meta"]["response_tokens"]):
        raise FilteredError("with a response beyond the token limit")
    return {**found, "response": response}


def _row(question: str, functions: list[dict[str, Any]], calls: Sequence[Call], tokens: int | None) -> Row:
    """A candidate. Raises MalformedError for a call of a function that is not offered, FilteredError for an argument
    that it does not declare, and where there is no call.
    """
    if not calls:
        raise FilteredError("whose first answer is no call")
    declared = {function["name"]: function["parameters"]["properties"] for function in functions}
    other = [call.name for call in calls if call.name not in declared]
    if other:
        raise MalformedError("a call of a function that is not offered", other[0][:200])
    if any(key not in declared[call.name] for call in calls for key in call.arguments):
        raise FilteredError("whose calls have an argument that the function does not declare")
    return {
        "prompt": "tool-n1",
        "question": question,
        "functions": functions,
        "gold": [{"name": call.name, "arguments": call.arguments} for call in calls],
        "meta": {"calls": len(calls), "response_tokens": tokens},
    }


def _functions(entries: Any) -> list[dict[str, Any]]:
    """The functions as BFCL writes them; each may stand in an object of `type` and `function`."""
    if isinstance(entries, list):
        entries = [entry.get("function", entry) if isinstance(entry, dict) else entry for entry in entries]
    try:
        return functions_of(entries)
    except ValueError as error:
        raise MalformedError("unreadable functions", str(error)) from None


def _json(row: Mapping[str, Any], column: str) -> Any:
    """What a column's JSON text says; a column that is no text is taken as it is."""
    value = row.get(column)
    if not isinstance(value, str):
        return value
    try:
        return strict_json(value)
    except ValueError as error:
        raise MalformedError(f"{column} is no JSON", str(error)) from None


def _values(text: str) -> list[Any]:
    """The JSON values of a text one after the other; a single list is what is in it."""
    found, position, decoder = [], 0, json.JSONDecoder()
    text = text.strip()
    try:
        while position < len(text):
            value, position = decoder.raw_decode(text, position)
            found.append(value)
            position += len(text[position:]) - len(text[position:].lstrip())
    except (ValueError, RecursionError) as error:
        raise MalformedError("unreadable functions", str(error)) from None
    return found[0] if len(found) == 1 and isinstance(found[0], list) else found


def assign(ids: Mapping[str, Sequence[str]], sizes: Mapping[str, int]) -> dict[str, Sequence[str]]:
    """Validation and RL prompts of the RL split, demonstrations of the SFT split; `aligned` has the prompts' own."""
    first, last = sizes[VALIDATION], sizes[VALIDATION] + sizes[PROMPTS]
    prompts = ids["rl"][first:last]
    experts = {name: ids["sft"] for name in sizes if name not in (VALIDATION, PROMPTS)}
    aligned = {name: prompts for name in sizes if name == expert_file("aligned")}
    return {VALIDATION: ids["rl"][:first], PROMPTS: prompts, **experts, **aligned}


def demonstrations(
    name: str, rows: Sequence[Row], wanted: int, limits: Limits, options: argparse.Namespace
) -> list[Row]:
    """The main expert's are the SFT split's; any other's are stored answers, or asked for."""
    if name == expert_file("main"):
        return list(rows[:wanted])
    asked = [{key: value for key, value in row.items() if key != "response"} for row in rows]
    return toolace.demonstrations(name, asked, wanted, limits, options)


STAGE = Stage(
    "trinity-toolace",
    1,
    ("tool",),
    # Demonstrations are read first, so that no prompt has a question of theirs.
    {"sft": Pool(SFT, demonstration), "rl": Pool(RL, prompt)},
    assign,
    held_out="sft",
    prompts_apart=False,
    shown=("main",),
    demonstrate=demonstrations,
)


def main(argv: list[str] | None = None) -> None:
    """Write the data of the tool domain."""
    run(STAGE, toolace.with_expert(arguments(STAGE, __doc__), argv))


if __name__ == "__main__":
    main()
