"""Benchmarks as data: `tasks/<name>.yaml` says what a task is, a file in the official format holds its
questions.

A file whose number of rows, categories or gold answers differ from what the task expects is an error, because
a score on another set of questions is another score.
"""

import dataclasses
import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from evaluation import bfcl, mmlu_pro
from evaluation.graders import CallsReference, ChoiceReference, MathReference, Reference, RubricReference
from reference_impl.config import choose
from reference_impl.files import read_jsonl
from reference_impl.hub import is_revision
from reference_impl.judge.prompt import AGGREGATIONS
from reference_impl.judge.rubric import parse_rubric
from reference_impl.text.answers import as_integer, gold_text
from reference_impl.text.prompts import PROMPTS

TASKS_DIR = Path(__file__).with_name("tasks")
KINDS = ("math", "mmlu_pro", "bfcl", "judge")
SOURCES = ("generated", "hub", "local")
ON_FAILURE = ("wrong", "random")


@dataclass(frozen=True)
class DataSource:
    """Where a benchmark's questions come from.

    `generated`: made by this project's data stage. `hub`: a dataset at a pinned revision. `local`: a file
    that the user brings, where no revision could be established. A local file of the same format always
    serves instead.
    """

    source: str
    repository: str | None = None
    revision: str | None = None
    split: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Task:
    """One benchmark as it is sampled and graded."""

    name: str
    version: int
    kind: str
    benchmark: str | list[str]
    """The paper's benchmark that it stands for; several where one set of questions serves them all."""
    prompt: str
    samples_per_problem: int
    rows: int
    data: DataSource
    temperature: float = 1.0
    top_p: float = 1.0
    categories: Mapping[str, int] = field(default_factory=dict)
    """Expected number of questions per category, for kinds that have categories."""
    answers_sha256: str | None = None
    """Fingerprint of the gold answers, see `answers_fingerprint`; the file's layout does not matter."""
    answer_format: str = "index"
    """mmlu_pro: how a choice is read, one of mmlu_pro.ANSWER_FORMATS."""
    on_failure: str = "wrong"
    """mmlu_pro: what an unreadable answer counts as; `random` is the official harness's guess, seeded."""
    aggregation: str = "explicit"
    """judge: how a model's verdicts become a score, one of judge_prompt.AGGREGATIONS."""


@dataclass(frozen=True)
class Item:
    """One question: the row that renders its prompt, and what its samples are graded against."""

    id: str
    category: str | None
    row: Mapping[str, Any]
    gold: Any
    reference: Reference


def task_names() -> list[str]:
    """Every task that has a file."""
    return sorted(path.stem for path in TASKS_DIR.glob("*.yaml"))


def load_task(name: str) -> Task:
    """The task called `name`. Raises ValueError naming the known tasks, or what is wrong with its file."""
    choose("task", name, task_names(), str(TASKS_DIR))
    path = TASKS_DIR / f"{name}.yaml"
    return parse_task(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))


def parse_task(values: Mapping[str, Any], source: str) -> Task:
    """A checked task from the content of its file. Raises ValueError naming `source` and the key."""
    fields = _checked(Task, values, source)
    data = DataSource(**_checked(DataSource, fields["data"], f"{source}: data"))
    task = Task(**{**fields, "data": data})
    for what, value, allowed in (
        ("kind", task.kind, KINDS),
        ("prompt", task.prompt, tuple(PROMPTS)),
        ("data source", data.source, SOURCES),
        ("answer_format", task.answer_format, mmlu_pro.ANSWER_FORMATS),
        ("on_failure", task.on_failure, ON_FAILURE),
        ("aggregation", task.aggregation, tuple(AGGREGATIONS)),
    ):
        choose(what, value, allowed, source)
    if data.source == "hub" and not (data.repository and data.split and is_revision(data.revision)):
        raise ValueError(f"{source}: a hub source needs repository, split and a revision of 40 hex digits, got {data}")
    if task.categories and sum(task.categories.values()) != task.rows:
        raise ValueError(f"{source}: rows is {task.rows}, but the categories add up to {sum(task.categories.values())}")
    return task


def _checked(cls: type, values: Mapping[str, Any], source: str) -> dict[str, Any]:
    known = {field.name: field for field in dataclasses.fields(cls)}
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{source}: unknown key {key!r}{hint} (allowed: {', '.join(known)})")
    for name, spec in known.items():
        required = spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise ValueError(f"{source}: missing key {name!r}")
    return dict(values)


def benchmark_path(task: Task, folder: Path) -> Path:
    """Where a benchmarks folder keeps a task: `<task>.jsonl`, or a folder `<task>` in BFCL's layout."""
    return folder / task.name if task.kind == "bfcl" else folder / f"{task.name}.jsonl"


def load_items(task: Task, path: Path) -> list[Item]:
    """All questions of a task from a file (BFCL: a folder) in the official format, in the file's order.

    Raises ValueError where a row lacks something, and where the rows are not those that the task expects.
    """
    items = read_items(task, path)
    _check_expected(task, items, path)
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
