"""A run's data rows, checked before anything is loaded: every fault of every file in one report, by file and row."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reference_impl.files import read_jsonl
from reference_impl.judge.rubric import parse_rubric
from reference_impl.text.answers import as_integer, gold_text
from reference_impl.text.prompts import PROMPTS, render
from reference_impl.text.tool_calls import calls_from_json

Row = Mapping[str, Any]

SHOWN = 20
"""Faults that a report lists; it counts the others."""


def _math_gold(gold: Any) -> None:
    if isinstance(gold, bool) or as_integer(gold_text(gold)) is None:
        raise ValueError(f"gold {gold!r:.80} is no integer, which the reward for math compares with")


def _tool_gold(gold: Any) -> None:
    if not isinstance(gold, list) or not calls_from_json(gold):
        raise ValueError(f'gold {gold!r:.80} is no list of calls: [{{"name": …, "arguments": {{…}}}}, …]')


def _judged_gold(gold: Any) -> None:
    if not isinstance(gold, Mapping) or not isinstance(gold.get("question"), str):
        raise ValueError(f"gold {gold!r:.80} is no object with question and rubric")
    parse_rubric(gold.get("rubric"))


GOLDS: dict[str, Callable[[Any], None]] = {"math": _math_gold, "tool": _tool_gold, "judge": _judged_gold}
"""Reward → what raises ValueError for a gold that it cannot compare with."""


def check_files(files: Mapping[Path, int], reward: str) -> dict[Path, list[dict[str, Any]]]:
    """The rows of a run's files: prompts, validation and demonstrations, each with the number of rows expected.

    Raises ValueError with all faults: a file that is missing or no JSON lines, a wrong number of rows, a row without a
    key, an id or a question that another row has, a question that no prompt can be made of, an empty demonstration,
    and a gold that ``reward`` cannot compare with.
    """
    found: dict[Path, list[dict[str, Any]]] = {}
    faults: list[str] = []
    for path, expected in files.items():
        if not path.is_file():
            faults.append(f"no data file {path}: the workflow's `data` rule makes it")
            continue
        try:
            found[path] = read_jsonl(path)
        except ValueError as error:
            faults.append(str(error))
            continue
        faults += row_faults(path, found[path], reward)
        if len(found[path]) != expected:
            faults.append(f"{path}: {len(found[path])} rows, but this scale expects {expected}")
    if faults:
        raise ValueError(report(faults))
    return found


def report(faults: Sequence[str]) -> str:
    """The first faults, one a line, and how many there are more."""
    more = len(faults) - SHOWN
    return "\n".join([*faults[:SHOWN], *([f"… and {more} more"] if more > 0 else [])])


def row_faults(path: Path, rows: Iterable[Row], reward: str) -> list[str]:
    """What is wrong with the rows of a file, one sentence a fault."""
    content = "response" if path.name.startswith("expert") else "gold"
    seen: dict[tuple[str, str], int] = {}
    return [
        f"{path}, row {number}: {fault}"
        for number, row in enumerate(rows, 1)
        for fault in _faults(row, number, content, reward, seen)
    ]


def question_key(row: Row) -> str:
    """What makes two rows the same question: its text and, for tool use, the functions offered."""
    return json.dumps([row.get("question"), row.get("functions")], sort_keys=True)


def _faults(row: Row, number: int, content: str, reward: str, seen: dict[tuple[str, str], int]) -> Iterator[str]:
    missing = [key for key in ("id", "prompt", "question", content) if key not in row]
    if missing:
        yield f"missing {', '.join(missing)} (has: {', '.join(row)})"
        return
    if not isinstance(row["id"], str) or not row["id"].strip():
        yield f"id {row['id']!r:.80} is no text"
    for what, key in (("id", str(row["id"])), ("question", question_key(row))):
        first = seen.setdefault((what, key), number)
        if first != number:
            yield f"{what} {row[what]!r:.80} is that of row {first} too"
    yield from _prompt_faults(row)
    if content == "response" and (not isinstance(row["response"], str) or not row["response"].strip()):
        yield f"response {row['response']!r:.80} is no text: a demonstration has nothing to teach"
    if content == "gold":
        try:
            GOLDS[reward](row["gold"])
        except ValueError as error:
            yield str(error)


def _prompt_faults(row: Row) -> Iterator[str]:
    question, prompt = row["question"], row["prompt"]
    if prompt not in PROMPTS:
        yield f"unknown prompt {prompt!r:.80} (known: {', '.join(PROMPTS)})"
        return
    turns = question if isinstance(question, list) else [{"role": "user", "content": question}]
    texts = [turn.get("content") if isinstance(turn, Mapping) else None for turn in turns]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        yield f"question {question!r:.80} is no text"
        return
    try:
        render(row)
    except (KeyError, TypeError, AttributeError) as error:
        yield f"no prompt {prompt!r} can be made of it ({type(error).__name__}: {error})"
