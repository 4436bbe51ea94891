"""The questions of a benchmark: `tasks/<name>.yaml` says what it is, a file in the official format holds them.

A file whose number of rows, categories or gold answers differ from what the task expects is an error, because
a score on another set of questions is another score.
"""

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation import bfcl, mmlu_pro
from evaluation.graders import (
    CallsReference,
    ChoiceReference,
    MathReference,
    Reference,
    RubricReference,
    Sample,
    grade_all,
)
from reference_impl.config import Task
from reference_impl.files import read_jsonl
from reference_impl.judge.rubric import Judge, parse_rubric
from reference_impl.text.answers import as_integer, gold_text


@dataclass(frozen=True)
class Item:
    """One question: the row that renders its prompt, and what its samples are graded against."""

    id: str
    category: str | None
    row: Mapping[str, Any]
    gold: Any
    reference: Reference


@dataclass(frozen=True)
class Plan:
    """What is sampled of one task."""

    task: Task
    items: Sequence[Item]
    samples: int
    max_tokens: int
    judge: Judge | None = None
    graders: str = ""
    """Hash of the code that gives the verdicts (`reference_impl.run.code`)."""

    def requests(self) -> list[tuple[Item, int]]:
        """Every (question, sample number), in the order of the file."""
        return [(item, sample) for item in self.items for sample in range(self.samples)]

    def header(self) -> dict[str, Any]:
        """What must be the same for stored samples to be taken over, beside the weights."""
        return {
            "task": self.task.name,
            "version": self.task.version,
            "questions": items_fingerprint(self.items),
            "samples": self.samples,
            "max_tokens": self.max_tokens,
            "temperature": self.task.temperature,
            "top_p": self.task.top_p,
            "judge": None if self.judge is None else self.judge.name,
        }


def benchmark_path(task: Task, folder: Path) -> Path:
    """Where a benchmarks folder keeps a task: `<task>.jsonl`, or a folder `<task>` in BFCL's layout."""
    return folder / task.name if task.kind == "bfcl" else folder / f"{task.name}.jsonl"


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """`--data TASK=PATH` and `--own TASK=PATH`, as often as there are tasks."""
    options = {"--data": "another copy of a task's file", "--own": "your own questions instead of a task's"}
    for option, what in options.items():
        parser.add_argument(option, type=data_override, action="append", default=[], metavar="TASK=PATH", help=what)


def questions(task: Task, benchmarks: Path, data: Mapping[str, Path], own: Mapping[str, Path]) -> list[Item]:
    """What is asked of a task: the user's own questions, else the benchmark's, from the user's copy or from its folder.

    Raises ValueError as `own_items` and `load_items` do.
    """
    if task.name in own:
        return own_items(task, own[task.name])
    return load_items(task, data.get(task.name) or benchmark_path(task, benchmarks))


def data_override(text: str) -> tuple[str, Path]:
    """TASK=PATH of a command line: (task, another file for it). Raises ArgumentTypeError for anything else."""
    task, separator, path = text.partition("=")
    if not separator or not path:
        raise argparse.ArgumentTypeError(f"expected TASK=PATH, got {text!r}")
    return task, Path(path)


def load_items(task: Task, path: Path) -> list[Item]:
    """All questions of a task from a file (BFCL: a folder) in the official format, in the file's order.

    Raises ValueError where a row lacks something, and where the rows are not those that the task expects.
    """
    items = read_items(task, path)
    _check_expected(task, items, path)
    return items


def own_items(task: Task, path: Path) -> list[Item]:
    """A user's own questions in the form of a task, any number of them.

    Raises ValueError naming every question that is no text or stands twice, every answer to a math question that the
    grader would not take, and for a file without questions.
    """
    items = read_items(task, path)
    if not items:
        raise ValueError(f"{path} holds no questions")
    problems, seen = [], dict[str, int]()
    boxed = [Sample(f"\\boxed{{{item.gold}}}", truncated=False) for item in items if task.kind == "math"]
    own = grade_all(boxed, [item.reference for item in items][: len(boxed)])
    problems += [
        f"{path}, row {index}: the grader cannot read the answer {items[index].gold!r:.80}"
        for index, verdict in enumerate(own)
        if not verdict.correct
    ]
    for index, item in enumerate(items):
        question = item.row["question"]
        if not question or (isinstance(question, str) and not question.strip()):
            problems.append(f"{path}, row {index}: the question is empty")
        elif not isinstance(question, str) and task.kind != "bfcl":
            problems.append(f"{path}, row {index}: a question must be text, got {question!r:.80}")
        asked = json.dumps({**item.row, "id": ""}, sort_keys=True)
        if asked in seen:
            problems.append(f"{path}, row {index}: the question of row {seen[asked]} again")
        seen.setdefault(asked, index)
    if problems:
        raise ValueError("\n".join(problems))
    return items


def read_items(task: Task, path: Path) -> list[Item]:
    """Questions of a file, whatever their number. Raises ValueError naming file and row it cannot read."""
    if task.kind == "bfcl":
        return _read_bfcl(task, path)
    make = {"math": _math_item, "mmlu_pro": _mmlu_pro_item, "judge": _judge_item}[task.kind]
    rows = read_jsonl(path)
    items = []
    for index, (row, identity) in enumerate(zip(rows, _identities(rows), strict=True)):
        try:
            items.append(make(task, row, identity))
        except KeyError as error:
            raise ValueError(f"{path}, row {index}: no {error}; it has {', '.join(row)}") from None
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}, row {index}: {error}") from None
    return items


def _identities(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ids of a file's rows: the first column that tells them apart, else their numbers (AMC repeats ids)."""
    for column in ("question_id", "id", "unique_id"):
        values = {str(row[column]): None for row in rows if column in row}
        if len(values) == len(rows):
            return list(values)
    return [str(index) for index in range(len(rows))]


def _math_item(task: Task, row: Mapping[str, Any], identity: str) -> Item:
    question = row["problem"] if "problem" in row else row["question"]
    gold = gold_text(row["answer"])
    rendered = {"id": identity, "prompt": task.prompt, "question": question}
    return Item(identity, None, rendered, gold, MathReference(gold))


def _mmlu_pro_item(task: Task, row: Mapping[str, Any], identity: str) -> Item:
    options = [str(option) for option in row["options"]]
    gold = mmlu_pro.index_of(row["answer_index"], len(options))
    if mmlu_pro.index_of(row["answer"], len(options)) != gold:
        raise ValueError(f"answer {row['answer']!r} is not answer_index {gold}")
    rendered = {"id": identity, "prompt": task.prompt, "question": row["question"], "options": options}
    reference = ChoiceReference(gold, len(options), task.answer_format, task.on_failure, identity)
    return Item(identity, str(row["category"]), rendered, str(gold), reference)


def _judge_item(task: Task, row: Mapping[str, Any], identity: str) -> Item:
    gold = {"question": row["question"], "rubric": row["rubric"]}
    rendered = {"id": identity, "prompt": task.prompt, "question": row["question"]}
    return Item(identity, None, rendered, gold, rubric_reference(gold))


def rubric_reference(gold: Any) -> RubricReference:
    """The reference of a gold {"question", "rubric"}. Raises ValueError for anything else and for a bad rubric."""
    if not isinstance(gold, Mapping) or not {"question", "rubric"} <= set(gold):
        raise ValueError(f"the gold of a judged question must be an object with question and rubric, got {gold!r:.80}")
    question = gold["question"]
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"a question must be text, got {question!r:.80}")
    return RubricReference(question, parse_rubric(gold["rubric"]))


def _read_bfcl(task: Task, folder: Path) -> list[Item]:
    items: list[Item] = []
    for category in task.categories or bfcl.CATEGORIES:
        questions = _bfcl_file(folder, category)
        golds = _bfcl_file(folder / "possible_answer", category)
        try:
            answers = {row["id"]: row["ground_truth"] for row in read_jsonl(golds)}
        except KeyError as error:
            raise ValueError(f"{golds}: a row lacks {error}") from None
        for row in read_jsonl(questions):
            try:
                if row["id"] not in answers:
                    raise ValueError("it has no possible answer")
                items.append(_bfcl_item(task, row, category, answers[row["id"]]))
            except (KeyError, IndexError, TypeError, AttributeError) as error:
                raise ValueError(f"{questions}: {row.get('id')!r} is not in BFCL's form ({error!r})") from None
            except ValueError as error:
                raise ValueError(f"{questions}: {row['id']}: {error}") from None
    return items


def _bfcl_file(folder: Path, category: str) -> Path:
    """BFCL_v<version>_<category>.json; version 3 calls simple_python `simple`."""
    names = [category, "simple"] if category == "simple_python" else [category]
    for name in names:
        found = sorted(folder.glob(f"BFCL_v[0-9]_{name}.json"))
        if len(found) > 1:
            raise ValueError(f"{folder} holds several versions of {category}: {', '.join(path.name for path in found)}")
        if found:
            return found[0]
    raise ValueError(f"{folder}: no BFCL_v4_{category}.json; BFCL's layout has one file a category")


def _bfcl_item(task: Task, row: Mapping[str, Any], category: str, answers: Sequence[Mapping[str, Any]]) -> Item:
    bfcl.check_answers(row["function"], answers)
    turns = row["question"][0]
    question = turns[0]["content"] if len(turns) == 1 else turns
    rendered = {"id": row["id"], "prompt": task.prompt, "question": question, "functions": row["function"]}
    return Item(row["id"], category, rendered, answers, CallsReference(category, row["function"], answers))


def _check_expected(task: Task, items: Sequence[Item], path: Path) -> None:
    if len(items) != task.rows:
        raise ValueError(f"{path}: {task.name} has {task.rows} questions, this file has {len(items)}")
    counts = Counter(item.category for item in items)
    wrong = {name: (counts[name], n) for name, n in task.categories.items() if counts[name] != n}
    if wrong:
        listed = ", ".join(f"{name}: {found} instead of {n}" for name, (found, n) in wrong.items())
        raise ValueError(f"{path}: {task.name} with other category sizes than expected: {listed}")
    found_hash = answers_fingerprint(items)
    if task.answers_sha256 not in (None, found_hash):
        raise ValueError(
            f"{path}: the gold answers are not those of {task.name}: their fingerprint is {found_hash}, "
            f"expected {task.answers_sha256}"
        )


def answers_fingerprint(items: Sequence[Item]) -> str:
    """SHA-256 over the sorted gold answers, one a line: the same in any order and layout."""
    golds = sorted(json.dumps(_canonical(item.gold), sort_keys=True) for item in items)
    return hashlib.sha256("\n".join(golds).encode()).hexdigest()


def items_fingerprint(items: Sequence[Item]) -> str:
    """SHA-256 over prompts and golds in their order: whether two evaluations ask the same."""
    content = json.dumps([[item.id, item.row, item.gold] for item in items], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _canonical(gold: Any) -> Any:
    """Integers alike ("033" and "33" in two copies of AIME), anything else as it is."""
    return (as_integer(gold) or gold) if isinstance(gold, str) else gold


def evenly(items: Sequence[Item], limit: int | None) -> list[Item]:
    """At most `limit` questions, spread evenly, so that a capped run still meets every category."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[index * len(items) // limit] for index in range(limit)]
