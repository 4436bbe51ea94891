"""The rows of a user's own files, read and checked: every mistake of every file in one report, by file and line.

A row is {"question": text, "answer": …, "response": text, or left out}. An answer is what the domain's reward compares
with: an integer for math; for a judge the text of a reference answer, or a rubric.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.data.overlap import normalise
from pipelines.data.sources import Record, read_records
from pipelines.data.stage import Limits
from reference_impl.config.judges import HttpJudgeSettings, LocalJudgeSettings
from reference_impl.config.model import hint
from reference_impl.config.scales import OwnFiles
from reference_impl.judge.rubric import answer_to_judge, parse_rubric
from reference_impl.rewards import grade_math
from reference_impl.run.rows import GOLDS
from reference_impl.text.answers import as_integer, gold_text
from reference_impl.text.prompts import render

KEYS = ("question", "answer", "response")
PROMPTS = {"math": "math", "judge": "medicine"}
"""Reward → how a question is asked where `files` does not say."""


@dataclass(frozen=True)
class Asked:
    """What decides whether rows are sound."""

    files: OwnFiles
    reward: str
    judge: LocalJudgeSettings | HttpJudgeSettings | None
    limits: Limits
    held_out: Mapping[str, str]
    """Normalised question → the task that evaluation asks it for."""

    @property
    def paths(self) -> dict[str, Path]:
        """Pool → file."""
        named = {"questions": self.files.questions, "demonstrations": self.files.demonstrations}
        return {name: Path(path).expanduser() for name, path in named.items() if path is not None}

    @property
    def prompt(self) -> str:
        """How a question is asked."""
        return self.files.prompt or PROMPTS[self.reward]


def gold(reward: str, question: str, answer: Any) -> Any:
    """An answer as the reward compares with it. Raises ValueError for one that it cannot."""
    if reward == "judge":
        rubric = answer
        if isinstance(answer, str) and answer.strip():
            rubric = [{"title": "Reference", "description": f"Agrees with the answer: {answer.strip()}", "weight": 1}]
        found: Any = {"question": question, "rubric": rubric}
    else:
        found = None if isinstance(answer, bool | type(None)) else gold_text(answer)
        found = as_integer(found) if isinstance(found, str) and as_integer(found) is not None else answer
    GOLDS[reward](found)
    return found


def faults(asked: Asked) -> list[str]:
    """Everything that is wrong with the files, one sentence a fault."""
    return [*_prompt_faults(asked.prompt), *(fault for name in asked.paths for fault in _file_faults(asked, name))]


def questions(path: Path) -> list[tuple[str, bool]]:
    """Question and whether it has a response, of the rows of a sound file."""
    rows = (record.row for record in read_records(path, KEYS))
    return [(row["question"].strip(), row.get("response") is not None) for row in rows if row is not None]


def _prompt_faults(prompt: str) -> Iterator[str]:
    try:
        render({"prompt": prompt, "question": "?"})
    except KeyError as error:
        yield f"files.prompt: {prompt} asks for {error}, which rows of your own do not have"


def _file_faults(asked: Asked, name: str) -> Iterator[str]:
    path = asked.paths[name]
    if not path.is_file():
        yield f"files.{name}: no such file: {path}"
        return
    seen: dict[str, int] = {}
    records: Iterable[Record] = read_records(path, KEYS)
    for record in records:
        for fault in _row_faults(asked, name, record, seen):
            yield f"{path}, line {record.number}: {fault}"
    if not seen:
        yield f"{path} holds no questions"


def _row_faults(asked: Asked, name: str, record: Record, seen: dict[str, int]) -> Iterator[str]:
    row = record.row
    if row is None:
        yield record.problem
        return
    for key in row:
        if key not in KEYS:
            yield f"unknown key {key!r}{hint(key, KEYS)} (allowed: {', '.join(KEYS)})"
    needed = KEYS if name == "demonstrations" else KEYS[:2]
    missing = [key for key in needed if row.get(key) is None]
    if missing:
        yield f"missing {', '.join(missing)} (has: {', '.join(row)})"
    question, response = row.get("question"), row.get("response")
    if question is not None:
        yield from _question_faults(asked, question, record.number, seen)
    if isinstance(question, str) and row.get("answer") is not None:
        yield from _answer_faults(asked, question, row["answer"], response)
    if response is not None:
        yield from _response_faults(asked, response)


def _question_faults(asked: Asked, question: Any, number: int, seen: dict[str, int]) -> Iterator[str]:
    if not isinstance(question, str) or not question.strip():
        yield f"question {question!r:.80} is no text"
        return
    key = normalise(question)
    first = seen.setdefault(key, number)
    if first != number:
        yield f"its question is that of line {first} too"
    if key in asked.held_out:
        yield f"its question is asked in evaluation too, for {asked.held_out[key]}"


def _answer_faults(asked: Asked, question: str, answer: Any, response: Any) -> Iterator[str]:
    try:
        found = gold(asked.reward, question, answer)
    except (ValueError, OverflowError) as error:
        yield f"answer: {error}"
        return
    if asked.reward == "judge" and isinstance(asked.judge, LocalJudgeSettings):
        for number, item in enumerate(parse_rubric(found["rubric"]), 1):
            if item.pattern is None and not item.keywords:
                yield f"answer: rubric item {number} has neither pattern nor keywords, which the local judge needs"
    if asked.reward == "math" and isinstance(response, str) and response.strip():
        graded = grade_math(response, found)
        if not graded.correct:
            yield f"the reward does not call the response right: its answer is not {found}"
        elif not graded.well_formatted:
            yield "the response is not one <think>…</think> and then a text with the answer in \\boxed{}"


def _response_faults(asked: Asked, response: Any) -> Iterator[str]:
    if not isinstance(response, str) or not response.strip():
        yield f"response {response!r:.80} is no text: a demonstration has nothing to teach"
        return
    if asked.reward == "judge" and answer_to_judge(response, truncated=False) is None:
        yield "the response has no text after its think block, which is all that a judge reads"
    tokens = asked.limits.tokens(response)
    if not asked.limits.allow(tokens):
        yield f"the response has {tokens} tokens, max_response_tokens is {asked.limits.max_tokens}"


def held_out(tasks: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """Normalised question → task, of the questions that evaluation asks in the place of a task's."""
    return {normalise(text): task for task, asked in tasks.items() for text in asked if isinstance(text, str)}
