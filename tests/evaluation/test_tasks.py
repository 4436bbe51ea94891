"""Task files, and benchmark files in the official formats."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from evaluation import mmlu_pro
from evaluation.graders import CallsReference, ChoiceReference, MathReference
from evaluation.tasks import answers_fingerprint, benchmark_path, evenly, load_items, own_items, read_items
from pipelines.sandbox import math_world, medicine_world, tool_world
from reference_impl.config import Task, load_task, task_names
from reference_impl.config.model import parse
from reference_impl.files import json_line, read_jsonl, write_jsonl
from reference_impl.judge.prompt import AGGREGATIONS
from reference_impl.text.prompts import render

REAL = {"aime24", "aime25", "amc", "amc23", "math500", "mmlu-pro", "bfcl"}

VALID: dict[str, Any] = {
    "name": "t",
    "version": 1,
    "kind": "math",
    "benchmark": "T",
    "prompt": "math",
    "samples_per_problem": 1,
    "rows": 2,
    "data": {"source": "local"},
}


def task(kind: str, rows: int, **changes: Any) -> Task:
    return parse(Task, {**VALID, "kind": kind, "rows": rows, **changes}, "t.yaml")


@pytest.mark.parametrize("name", task_names())
def test_shipped_tasks_are_valid(name: str) -> None:
    loaded = load_task(name)
    assert loaded.name == name
    # A.1: "the temperature for both rollout and evaluation is 1.0".
    assert (loaded.temperature, loaded.top_p) == (1.0, 1.0)
    assert (loaded.data.source == "generated") is name.startswith("sandbox-")


def test_samples_of_the_paper() -> None:
    # A.2: "we report avg@32 on AIME24 and AIME 25, and avg@8 on AMC".
    samples = {name: load_task(name).samples_per_problem for name in task_names()}
    assert (samples["aime24"], samples["aime25"], samples["amc"], samples["bfcl"]) == (32, 32, 8, 1)
    assert samples["mmlu-pro"] == 1
    assert set(samples) >= REAL


def test_generated_benchmarks_ask_many_questions_a_few_times() -> None:
    """More questions are worth more than more samples of each: 560 × 2 for 83 × 8, 480 × 2 for 30 × 32."""
    sizes = {name: (load_task(name).rows, load_task(name).samples_per_problem) for name in task_names()}
    assert sizes["sandbox-amc"] == (560, 2)
    assert sizes["sandbox-aime24"] == sizes["sandbox-aime25"] == (480, 2)
    assert sizes["sandbox-bfcl"] == (514, 1)
    assert sizes["sandbox-mmlu-pro"] == (140, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"promt": "math"}, "promt: unknown key; did you mean 'prompt'?"),
        ({"kind": "maths"}, "kind: unknown value 'maths'; did you mean 'math'? (allowed: math, mmlu_pro, bfcl, judge)"),
        ({"prompt": "x"}, "prompt: unknown prompt 'x' (reference_impl.text.prompts has: math, "),
        ({"rows": "2"}, "rows: Input should be a valid integer, found '2'"),
        ({"data": {"source": "web"}}, "data: unknown value 'web' (allowed: generated, hub, local, own)"),
        ({"data": {"source": "local", "path": "x"}}, "data.path: unknown key (allowed: source, note)"),
        ({"data": {"source": "hub", "repository": "a/b", "split": "test"}}, "data.revision: missing key"),
        (
            {"data": {"source": "hub", "repository": "a/b", "split": "test", "revision": "main"}},
            "data.revision: String should match pattern '^[0-9a-f]{40}$', found 'main'",
        ),
        ({"categories": {"a": 1, "b": 2}}, "rows is 2, but the categories add up to 3"),
    ],
)
def test_task_errors(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"t.yaml: {message}")):
        parse(Task, {**VALID, **change}, "t.yaml")


def test_unknown_task() -> None:
    with pytest.raises(ValueError, match="unknown task 'aime2'; did you mean 'aime2"):
        load_task("aime2")


def test_names_are_those_of_the_functions_behind_them() -> None:
    """The model repeats them, because a plan is made without importing graders."""
    assert get_args(Task.model_fields["answer_format"].annotation) == mmlu_pro.ANSWER_FORMATS
    assert get_args(Task.model_fields["aggregation"].annotation) == tuple(AGGREGATIONS)


def test_math_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    write_jsonl(path, [{"id": 7, "problem": "p", "answer": 142.0}, {"id": 8, "question": "q", "answer": "x"}])
    items = load_items(task("math", 2), path)
    assert [item.id for item in items] == ["7", "8"]
    assert [item.reference for item in items] == [MathReference("142"), MathReference("x")]
    assert render(items[1].row)[1] == {"role": "user", "content": "q"}


def test_repeated_ids_become_row_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    write_jsonl(path, [{"id": 0, "problem": "p", "answer": 1}, {"id": 0, "problem": "q", "answer": 2}])
    assert [item.id for item in load_items(task("math", 2), path)] == ["0", "1"]


def test_mmlu_pro_rows(tmp_path: Path) -> None:
    row = {
        "question_id": 70,
        "question": "Which?",
        "options": ["a", "b"],
        "answer": "B",
        "answer_index": 1,
        "category": "law",
    }
    path = tmp_path / "t.jsonl"
    write_jsonl(path, [row])
    (item,) = load_items(task("mmlu_pro", 1, categories={"law": 1}), path)
    assert (item.id, item.category, item.gold) == ("70", "law", "1")
    assert item.reference == ChoiceReference(1, 2, "index", "wrong", "70")
    write_jsonl(path, [{**row, "answer": "A"}])
    with pytest.raises(ValueError, match="row 0: answer 'A' is not answer_index 1"):
        read_items(task("mmlu_pro", 1), path)


def test_unexpected_files(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    write_jsonl(path, [{"id": 1, "problem": "p", "answer": "1"}])
    with pytest.raises(ValueError, match=r"t\.jsonl: t has 2 questions, this file has 1"):
        load_items(task("math", 2), path)
    right = answers_fingerprint(read_items(task("math", 1), path))
    assert load_items(task("math", 1, answers_sha256=right), path)
    write_jsonl(path, [{"id": 1, "problem": "p", "answer": "2"}])
    with pytest.raises(ValueError, match=f"expected {right}"):
        load_items(task("math", 1, answers_sha256=right), path)
    write_jsonl(path, [{"id": 1, "problem": "p"}])
    with pytest.raises(ValueError, match="row 0: no 'answer'; it has id, problem"):
        read_items(task("math", 1), path)
    write_jsonl(path, [{"id": 1, "problem": "p", "answer": [1]}])
    with pytest.raises(ValueError, match=r"row 0: a gold answer must be text or a number, got \[1\]"):
        read_items(task("math", 1), path)
    with pytest.raises(ValueError, match="no such file"):
        read_items(task("math", 1), tmp_path / "absent.jsonl")


def test_fingerprint_does_not_depend_on_layout(tmp_path: Path) -> None:
    one, two = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    write_jsonl(one, [{"id": 1, "problem": "p", "answer": "033"}, {"id": 2, "problem": "q", "answer": "7"}])
    write_jsonl(two, [{"problem": "q", "answer": 7.0}, {"problem": "p", "answer": 33}])
    assert answers_fingerprint(read_items(task("math", 2), one)) == answers_fingerprint(
        read_items(task("math", 2), two)
    )


def bfcl_folder(folder: Path, version: int, name: str) -> Path:
    function = {"name": "f", "parameters": {"type": "dict", "properties": {}, "required": []}}
    turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "go"}]
    rows = [
        {"id": f"{name}_0", "question": [turns[1:]], "function": [function]},
        {"id": f"{name}_1", "question": [turns], "function": [function]},
    ]
    write_jsonl(folder / f"BFCL_v{version}_{name}.json", rows)
    golds = [{"id": row["id"], "ground_truth": [{"f": {}}]} for row in rows]
    write_jsonl(folder / "possible_answer" / f"BFCL_v{version}_{name}.json", golds)
    return folder


@pytest.mark.parametrize(("version", "name"), [(4, "simple_python"), (3, "simple")])
def test_bfcl_folder(tmp_path: Path, version: int, name: str) -> None:
    folder = bfcl_folder(tmp_path, version, name)
    bfcl = task("bfcl", 2, categories={"simple_python": 2})
    items = load_items(bfcl, folder)
    assert {item.category for item in items} == {"simple_python"}
    assert isinstance(items[0].reference, CallsReference)
    assert items[0].reference.answers == [{"f": {}}]
    plain = render({**items[0].row, "prompt": "tool-n1"})
    assert [message["role"] for message in plain] == ["system", "user"]
    assert '<tools>\n[{"name": "f"' in plain[0]["content"]
    merged = render({**items[1].row, "prompt": "tool-n1"})
    assert [message["role"] for message in merged] == ["system", "user"]
    assert merged[0]["content"] == plain[0]["content"] + "\n\nbe brief"
    with pytest.raises(ValueError, match="simple_python: 2 instead of 3"):
        load_items(bfcl.model_copy(update={"categories": {"simple_python": 3}}), folder)


def test_broken_bfcl_folder(tmp_path: Path) -> None:
    bfcl = task("bfcl", 2, categories={"simple_python": 2})
    with pytest.raises(ValueError, match=r"no BFCL_v4_simple_python\.json"):
        read_items(bfcl, tmp_path)
    bfcl_folder(tmp_path, 4, "simple_python")
    write_jsonl(tmp_path / "possible_answer" / "BFCL_v4_simple_python.json", [])
    with pytest.raises(ValueError, match="simple_python_0: it has no possible answer"):
        read_items(bfcl, tmp_path)
    write_jsonl(tmp_path / "BFCL_v3_simple_python.json", [])
    with pytest.raises(ValueError, match="several versions of simple_python"):
        read_items(bfcl, tmp_path)


def test_benchmark_path(tmp_path: Path) -> None:
    assert benchmark_path(load_task("bfcl"), tmp_path) == tmp_path / "bfcl"
    assert benchmark_path(load_task("amc"), tmp_path) == tmp_path / "amc.jsonl"


def test_evenly(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    write_jsonl(path, [{"id": i, "problem": "p", "answer": "1"} for i in range(10)])
    items = read_items(task("math", 10), path)
    assert evenly(items, None) == evenly(items, 99) == items
    assert [item.id for item in evenly(items, 4)] == ["0", "2", "5", "7"]


def test_lines_survive_odd_text(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    texts = ["\u2028 \x85 \x0b", "\ud800", "\x00", "\u202e", "é"]
    write_jsonl(path, [{"text": text} for text in texts])
    assert [row["text"] for row in read_jsonl(path)] == texts
    assert json.loads(json_line({"text": "é"})) == {"text": "é"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_line({"a": float("nan")})
    path.write_text('{"a": 1}\n[1]\n', encoding="utf-8")
    with pytest.raises(ValueError, match="line 2: expected an object, got list"):
        read_jsonl(path)
    path.write_text('{"a": 1}\n{"a": \n', encoding="utf-8")
    with pytest.raises(ValueError, match="line 2: not JSON"):
        read_jsonl(path)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("aime24", "math_benchmarks/aime24_qwen.jsonl"),
        ("aime25", "math_benchmarks/aime25_oneshot.jsonl"),
        ("amc", "math_benchmarks/amc83_aimo_validation.jsonl"),
        ("amc23", "math_benchmarks/amc23_qwen.jsonl"),
        ("math500", "math_benchmarks/math500.jsonl"),
        ("bfcl", "bfcl"),
    ],
)
def test_real_benchmarks_load(reference_data: Path, name: str, path: str) -> None:
    loaded = load_task(name)
    items = load_items(loaded, reference_data / path)
    assert len(items) == loaded.rows
    assert len({item.id for item in items}) == loaded.rows
    assert all(render(item.row) for item in items)


def test_sandbox_benchmarks_are_what_their_tasks_expect(tmp_path: Path) -> None:
    for name, rows in {**math_world.benchmarks(), **tool_world.benchmarks(), **medicine_world.benchmarks()}.items():
        write_jsonl(tmp_path / name, rows)
    for name in task_names():
        loaded = load_task(name)
        if loaded.data.source == "generated":
            items = load_items(loaded, benchmark_path(loaded, tmp_path))
            assert all(render(item.row) for item in items)


def test_a_part_of_mmlu_pro_is_not_mmlu_pro(reference_data: Path) -> None:
    path = reference_data / "mmlu_pro" / "mmlu_pro_sample_100_per_category.jsonl"
    with pytest.raises(ValueError, match="mmlu-pro has 12032 questions, this file has 1400"):
        load_items(load_task("mmlu-pro"), path)
    items = read_items(load_task("mmlu-pro"), path)
    assert {item.category for item in items} == set(load_task("mmlu-pro").categories)


def test_own_questions_may_be_any_number(tmp_path: Path) -> None:
    rows = [{"question": "1 + 1", "answer": "2"}, {"question": "half", "answer": r"\frac{1}{2}"}]
    path = tmp_path / "my.jsonl"
    write_jsonl(path, rows)
    assert [item.gold for item in own_items(task("math", 5), path)] == ["2", r"\frac{1}{2}"]


def test_every_mistake_in_own_questions_is_named(tmp_path: Path) -> None:
    path = tmp_path / "my.jsonl"
    rows: list[dict[str, Any]] = [
        {"question": "1 + 1", "answer": "2"},
        {"question": " ", "answer": "2"},
        {"question": ["1 + 1"], "answer": "2"},
        {"question": "1 + 1", "answer": "2"},
        {"question": "1 + 3", "answer": "?"},
    ]
    write_jsonl(path, rows)
    with pytest.raises(ValueError) as error:
        own_items(task("math", 5), path)
    lines = str(error.value).splitlines()
    assert {(line.split(": ")[0].removeprefix(f"{path}, "), line.split(": ")[1]) for line in lines} == {
        ("row 1", "the question is empty"),
        ("row 2", "a question must be text, got ['1 + 1']"),
        ("row 3", "the question of row 0 again"),
        ("row 4", "the grader cannot read the answer '?'"),
    }
    write_jsonl(path, [])
    with pytest.raises(ValueError, match="holds no questions"):
        own_items(task("math", 5), path)
