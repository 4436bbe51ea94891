"""Grade stored completions again, without a model.

    python -m evaluation.regrade FILE.jsonl --task T [--data PATH] --out OUT.jsonl

Rows in: `item_id` (text or an integer; 1 and "1" are the same), `response`; optional `sample` (0), `gold` (instead of
the task's own), `n_options` (mmlu_pro), `truncated` (false), `category`; null is absent, and a `response` that is null
is empty. A question has one row a sample. Rows out: `item_id`, `sample`, `correct`, `reason`, `extracted`.
The summary, with its 95 % interval, is one JSON object on standard output; fractions, not per cent. Where rows hold a
verdict already, `same` says how many verdicts have stayed (`correct`, and a judge's `score`).

Tasks: `math` (every row has its gold), `mmlu_pro` (gold and n_options in the rows, or --data; an index or a
letter is read), `bfcl` (--data is a folder in BFCL's layout; the category follows from the item id;
`response` is text, or the list of calls of a function-calling model), `judge` (--judge says which one; a gold is
an object with `question` and `rubric`; rows out have a `score`), and every benchmark of evaluation/tasks by name
(--data, or golds in the rows).
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
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
    Verdict,
    grade_all,
)
from evaluation.judging import add_judge_argument, judge_for, judge_settings, report_trouble
from evaluation.summary import summarise
from evaluation.tasks import Item, load_items, own_items, read_items, rubric_reference
from reference_impl.config import Task, choose, load_task, task_names
from reference_impl.config.model import parse
from reference_impl.files import json_text, read_jsonl, write_jsonl
from reference_impl.judge.rubric import Judge
from reference_impl.text.answers import gold_text

GENERIC = ("math", "mmlu_pro", "bfcl", "judge")
# Number of options of a question that does not say: MMLU-Pro's most frequent one.
DEFAULT_OPTIONS = 10


def resolve_task(name: str) -> Task:
    """A benchmark by name, or one of the generic tasks, which expect no particular set of questions."""
    choose("task", name, dict.fromkeys((*GENERIC, *task_names())), "evaluation/tasks")
    if name not in GENERIC:
        return load_task(name)
    generic = {"name": name, "version": 1, "kind": name, "benchmark": name, "prompt": "math", "samples_per_problem": 1}
    return parse(Task, {**generic, "rows": 0, "data": {"source": "local"}, "answer_format": "any"}, name)


def regrade(
    rows: Sequence[Mapping[str, Any]], task: Task, data: Path | None, judge: Judge | None = None, own: bool = False
) -> list[dict[str, Any]]:
    """Verdicts of stored completions, in their order: item_id, sample, correct, reason, extracted, category,
    truncated; score where a judge gives it. ``own``: ``data`` has questions of the user's, any number of them.

    Raises ValueError naming the row that lacks something or asks for an unknown item.
    """
    rows = _checked(rows)
    items = _items(rows, task, data, own)
    samples = [Sample(row["response"], row["truncated"]) for row in rows]
    references = []
    for number, row in enumerate(rows, 1):
        try:
            references.append(_reference(row, task, items))
        except ValueError as error:
            raise ValueError(f"row {number}: {error}") from None
    verdicts = grade_all(samples, references, judge)
    return [
        _record(row, sample, verdict, reference, items)
        for row, sample, verdict, reference in zip(rows, samples, verdicts, references, strict=True)
    ]


def _record(
    row: Mapping[str, Any], sample: Sample, verdict: Verdict, reference: Reference, items: Mapping[str, Item]
) -> dict[str, Any]:
    item = items.get(str(row["item_id"]))
    category = reference.category if isinstance(reference, CallsReference) else item and item.category
    return {
        "item_id": row["item_id"],
        "sample": row["sample"],
        "correct": verdict.correct,
        "reason": verdict.reason,
        "extracted": verdict.extracted,
        "category": category if row["category"] is None else row["category"],
        "truncated": sample.truncated,
        **({"score": verdict.score} if isinstance(reference, RubricReference) else {}),
    }


def _items(rows: Sequence[Mapping[str, Any]], task: Task, data: Path | None, own: bool) -> dict[str, Item]:
    """The task's questions by id, from `data`; for the generic bfcl task only the categories that occur."""
    if data is None:
        return {}
    if own:
        items = own_items(task, data)
    elif task.name not in GENERIC:
        items = load_items(task, data)
    elif task.kind == "bfcl":
        categories = dict.fromkeys(bfcl.category_of(str(row.get("item_id"))) for row in rows)
        items = [item for category in categories for item in _one_category(task, data, category)]
    else:
        items = read_items(task, data)
    return {item.id: item for item in items}


def _one_category(task: Task, data: Path, category: str) -> list[Item]:
    return read_items(task.model_copy(update={"categories": {category: 0}}), data)


def _checked(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with defaults for what they leave out.

    Raises ValueError naming the row that lacks a key or has an unusable value, and both rows of a sample that is
    given twice.
    """
    checked = []
    seen: dict[tuple[str, int], int] = {}
    for number, row in enumerate(rows, 1):
        try:
            checked.append(_checked_row(row))
        except ValueError as error:
            raise ValueError(f"row {number}: {error}") from None
        key = str(checked[-1]["item_id"]), checked[-1]["sample"]
        first = seen.setdefault(key, number)
        if first != number:
            raise ValueError(f"rows {first} and {number}: both are sample {key[1]} of item {key[0]!r}")
    return checked


def _checked_row(row: Mapping[str, Any]) -> dict[str, Any]:
    for key in ("item_id", "response"):
        if key not in row:
            raise ValueError(f"no {key!r}; it has {', '.join(row)}")
    identity, category = row["item_id"], row.get("category")
    sample = 0 if row.get("sample") is None else row["sample"]
    truncated = "false" if row.get("truncated") is None else str(row["truncated"]).lower()
    if isinstance(identity, bool) or not isinstance(identity, str | int):
        raise ValueError(f"item_id must be text or an integer, got {identity!r:.80}")
    if isinstance(sample, bool) or not isinstance(sample, int) or sample < 0:
        raise ValueError(f"sample must be an integer from 0, got {sample!r:.80}")
    if truncated not in ("true", "false"):
        raise ValueError(f"truncated must be true or false, got {row['truncated']!r:.80}")
    if category is not None and not isinstance(category, str):
        raise ValueError(f"category must be text, got {category!r:.80}")
    return {**row, "sample": sample, "truncated": truncated == "true", "category": category or None}


def _reference(row: Mapping[str, Any], task: Task, items: Mapping[str, Item]) -> Reference:
    """What a row is graded against: its own gold where it has one, else the gold of the task's question."""
    item = items.get(str(row["item_id"]))
    gold = row.get("gold")
    if gold is None:
        if item is None:
            missing = (
                f"item {row['item_id']!r} is not in --data" if items else "the row has no gold and --data is missing"
            )
            raise ValueError(f"no gold for {task.name}: {missing}")
        return item.reference
    if task.kind == "math":
        return MathReference(gold_text(gold))
    if task.kind == "judge":
        return rubric_reference(gold)
    if task.kind == "mmlu_pro":
        own = item.reference.n_options if item and isinstance(item.reference, ChoiceReference) else DEFAULT_OPTIONS
        n_options = own if row.get("n_options") is None else row["n_options"]
        if isinstance(n_options, bool) or not isinstance(n_options, int) or n_options < 1:
            raise ValueError(f"n_options must be an integer from 1, got {n_options!r:.80}")
        seed = f"{row['item_id']}/{row['sample']}"
        index = mmlu_pro.index_of(gold, n_options)
        return ChoiceReference(index, n_options, task.answer_format, task.on_failure, seed)
    if item is None or not isinstance(item.reference, CallsReference):
        raise ValueError(f"item {row['item_id']!r} is not in --data, and a gold alone does not describe its functions")
    bfcl.check_answers(item.reference.functions, gold)
    return CallsReference(item.reference.category, item.reference.functions, gold)


def unchanged(rows: Sequence[Mapping[str, Any]], graded: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """{"same": how many verdicts are as they were stored}; empty where the rows have none."""
    pairs = [(row, new) for row, new in zip(rows, graded, strict=True) if "correct" in row]
    same = sum(row["correct"] == new["correct"] and row.get("score") == new.get("score") for row, new in pairs)
    return {"same": same} if pairs else {}


def main(argv: Sequence[str] | None = None) -> None:
    """Regrade a file."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.regrade",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="stored completions, JSON lines")
    parser.add_argument("--task", required=True, help=f"one of {', '.join(dict.fromkeys((*GENERIC, *task_names())))}")
    parser.add_argument("--data", type=Path, help="the task's questions: a file, or a folder in BFCL's layout")
    parser.add_argument("--own", action="store_true", help="--data has questions of your own, any number of them")
    parser.add_argument("--out", type=Path, required=True, help="verdicts to write, JSON lines")
    add_judge_argument(parser)
    arguments = parser.parse_args(argv)
    try:
        task = resolve_task(arguments.task)
        judge = judge_for([task], judge_settings([task], arguments.judge))
        rows = read_jsonl(arguments.file)
        graded = regrade(rows, task, arguments.data, judge, arguments.own)
        if judge is not None and judge.stopped is not None:
            raise ValueError(f"{judge.stopped}; the verdicts so far are in the cache, from which another run resumes")
        summary = {"task": arguments.task, **summarise(graded), **unchanged(rows, graded)}
    except ValueError as error:
        sys.exit(f"error: {arguments.file}: {error}")
    columns = ("item_id", "sample", "correct", "reason", "extracted", "score")
    write_jsonl(arguments.out, ({column: row[column] for column in columns if column in row} for row in graded))
    if judge is not None:
        summary["judge"] = judge.report()
        report_trouble(judge, graded)
    print(json_text(summary, indent=2))


if __name__ == "__main__":
    main()
