"""Replay: the command line and its file formats."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from evaluation import regrade
from evaluation.regrade import resolve_task
from reference_impl.files import read_jsonl, write_jsonl


def run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: list[dict[str, Any]], *arguments: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_jsonl(source, rows)
    regrade.main([str(source), "--out", str(out), *arguments])
    return read_jsonl(out), json.loads(capsys.readouterr().out)


def test_math(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"item_id": 1, "response": r"\boxed{42}", "gold": "42"},
        {"item_id": 1, "sample": 1, "response": r"\boxed{43}", "gold": 42},
        {"item_id": "b", "sample": 0, "response": "<think>", "gold": 7.0, "truncated": True},
        {"item_id": "b", "sample": 1, "response": "none", "gold": "7"},
    ]
    graded, summary = run(tmp_path, capsys, rows, "--task", "math")
    assert graded == [
        {"item_id": 1, "sample": 0, "correct": True, "reason": "correct", "extracted": "42"},
        {"item_id": 1, "sample": 1, "correct": False, "reason": "wrong", "extracted": "43"},
        {"item_id": "b", "sample": 0, "correct": False, "reason": "truncated", "extracted": None},
        {"item_id": "b", "sample": 1, "correct": False, "reason": "bad_format", "extracted": None},
    ]
    # Two questions with means 1/2 and 0: mean 1/4, standard deviation sqrt(1/8), standard error 1/4.
    assert summary["accuracy"] == pytest.approx(0.25)
    assert summary["stderr"] == pytest.approx(0.25)
    assert summary["low"] < 0.25 < summary["high"]
    assert (summary["questions"], summary["samples"]) == (2, 4)
    assert (summary["format_failure_rate"], summary["truncation_rate"]) == (0.25, 0.25)
    assert summary["reasons"]["wrong"] == 1


def test_mmlu_pro_without_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"item_id": 5, "response": r"\boxed{1}", "gold": "B", "n_options": 4, "category": "law"},
        {"item_id": 6, "response": "The answer is (D)", "gold": 3, "n_options": 4, "category": "math"},
    ]
    graded, summary = run(tmp_path, capsys, rows, "--task", "mmlu_pro")
    assert [row["correct"] for row in graded] == [True, True]
    assert summary["categories"] == {"law": 1.0, "math": 1.0}


def test_named_benchmark_reads_as_its_task_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"item_id": 6, "response": "The answer is (D)", "gold": 3, "n_options": 4}]
    graded, _ = run(tmp_path, capsys, rows, "--task", "mmlu-pro")
    assert graded[0]["reason"] == "bad_format"  # the paper asks for the index in a box


def test_a_gold_in_the_row_overrides_the_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data.jsonl"
    write_jsonl(data, [{"id": "x", "problem": "p", "answer": "1"}])
    rows = [
        {"item_id": "x", "sample": 0, "response": r"\boxed{1}"},
        {"item_id": "x", "sample": 1, "response": r"\boxed{1}", "gold": "2"},
    ]
    graded, _ = run(tmp_path, capsys, rows, "--task", "math", "--data", str(data))
    assert [row["correct"] for row in graded] == [True, False]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"item_id": 1, "response": "x"},
            "row 1: no gold for math: the row has no gold and --data is missing",
        ),
        ({"item_id": 1, "gold": "1"}, "row 1: no 'response'"),
        ({"response": "x", "gold": "1"}, "row 1: no 'item_id'"),
        ({"item_id": None, "response": "x", "gold": "1"}, "row 1: item_id must be text or an integer, got None"),
        ({"item_id": [1], "response": "x", "gold": "1"}, "row 1: item_id must be text or an integer, got [1]"),
        ({"item_id": True, "response": "x", "gold": "1"}, "row 1: item_id must be text or an integer, got True"),
        ({"item_id": 1, "sample": -1, "response": "x", "gold": "1"}, "row 1: sample must be an integer from 0, got -1"),
        ({"item_id": 1, "sample": "0", "response": "x", "gold": "1"}, "sample must be an integer from 0, got '0'"),
        ({"item_id": 1, "response": "x", "gold": "1", "truncated": "no"}, "truncated must be true or false, got 'no'"),
        ({"item_id": 1, "response": "x", "gold": "1", "category": ["a"]}, "row 1: category must be text, got ['a']"),
        ({"item_id": 1, "response": "x", "gold": [1]}, "a gold answer must be text or a number"),
    ],
)
def test_errors_name_the_row(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    source = tmp_path / "in.jsonl"
    write_jsonl(source, [row])
    with pytest.raises(SystemExit) as error:
        regrade.main([str(source), "--task", "math", "--out", str(tmp_path / "out.jsonl")])
    assert message in str(error.value)
    assert not (tmp_path / "out.jsonl").exists()


def stops_with(tmp_path: Path, content: bytes, *arguments: str) -> str:
    """The one line with which the command ends for a file of that content."""
    source = tmp_path / "in.jsonl"
    source.write_bytes(content)
    with pytest.raises(SystemExit) as error:
        regrade.main([str(source), *(arguments or ("--task", "math")), "--out", str(tmp_path / "out.jsonl")])
    message = str(error.value)
    assert message.startswith("error: ") and "\n" not in message
    return message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"item_id": 2, "response": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "JSON nested too deeply"),
        (b'{"item_id": 2, "response": "\xff", "gold": "1"}', "can't decode byte 0xff"),
        (b'{"item_id": 2, "response": "x", "gold": ' + b"9" * 5000 + b"}", "4300 digits"),
        (b'{"item_id": 2, "response": ', "not JSON"),
    ],
)
def test_unreadable_lines_are_named(tmp_path: Path, line: bytes, message: str) -> None:
    good = b'{"item_id": 1, "response": "x", "gold": "1"}\n'
    stopped = stops_with(tmp_path, good + line + b"\n")
    assert f"{tmp_path / 'in.jsonl'}, line 2: " in stopped and message in stopped


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b'\xef\xbb\xbf{"item_id": 1, "response": "\\\\boxed{5}", "gold": "5"}\n')
    regrade.main([str(source), "--task", "math", "--out", str(out)])
    assert [row["correct"] for row in read_jsonl(out)] == [True]


def test_unpaired_surrogates_cost_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [
        {"item_id": 1, "response": "\\boxed{\ud800}", "gold": "5"},
        {"item_id": "\ud801", "response": "\\boxed{5}", "gold": "5", "category": "\ud802"},
        {"item_id": "\ud802", "response": "\\boxed{5}", "gold": "\ud800", "category": "\ud802"},
    ]
    graded, summary = run(tmp_path, capsys, rows, "--task", "math")
    assert [(row["item_id"], row["correct"]) for row in graded] == [(1, False), ("\ud801", True), ("\ud802", False)]
    assert summary["questions"] == 3
    _, summary = run(tmp_path, capsys, rows[1:], "--task", "math")
    assert summary["categories"] == {"\ud802": 0.5}


def test_a_sample_given_twice_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row: dict[str, Any] = {"item_id": 1, "response": "\\boxed{5}", "gold": "5"}
    rows = [row, {**row, "item_id": 2}, {**row, "item_id": "1", "sample": 0}]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    assert "rows 1 and 3: both are sample 0 of item '1'" in stops_with(tmp_path, content)
    _, summary = run(tmp_path, capsys, [row, {**row, "item_id": "1", "sample": 1}], "--task", "math")
    assert summary["questions"] == 1  # 1 and "1" are the same question


def test_one_question_has_no_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_jsonl(source, [{"item_id": 1, "response": "\\boxed{5}", "gold": "5"}])
    regrade.main([str(source), "--task", "math", "--out", str(out)])
    text = capsys.readouterr().out
    summary = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert summary["stderr"] is None and summary["minimum_detectable_difference"] is None
    assert summary["accuracy"] == 1.0


def test_odd_responses_are_graded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    responses = [None, 5, {"a": 1}, ["\\boxed{5}"], True, "", "<think>a</think>\\boxed{5}"]
    rows = [{"item_id": index, "response": response, "gold": 5} for index, response in enumerate(responses)]
    rows += [{**rows[0], "item_id": "t", "truncated": True}, {**rows[1], "item_id": "u", "truncated": "true"}]
    rows += [{"item_id": "f", "response": "<think>\\boxed{5}", "gold": 5, "truncated": "false", "sample": None}]
    graded, _ = run(tmp_path, capsys, rows, "--task", "math")
    assert [row["reason"] for row in graded] == [
        "no_answer", "bad_format", "bad_format", "bad_format", "bad_format", "no_answer", "correct",
        "truncated", "truncated", "correct",
    ]  # fmt: skip


def test_golds_and_options_of_mmlu_pro(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [
        {"item_id": index, "response": r"\boxed{5}", "gold": gold, "n_options": None}
        for index, gold in enumerate([5, 5.0, "5", "5.0", "(F)", "f"])
    ]
    graded, _ = run(tmp_path, capsys, rows, "--task", "mmlu_pro")
    assert all(row["correct"] for row in graded)
    for wrong in ([10], "10", 0, True, 4.0):
        content = json.dumps({**rows[0], "n_options": wrong}).encode()
        stopped = stops_with(tmp_path, content, "--task", "mmlu_pro")
        assert f"row 1: n_options must be an integer from 1, got {wrong!r}" in stopped


def test_pass_at_k_and_what_can_be_detected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # 30 questions of four samples: one right, three right, none right, ten times each.
    right = [1, 3, 0] * 10
    rows: list[dict[str, Any]] = [
        {"item_id": item, "sample": k, "response": r"\boxed{1}", "gold": 1 if k < count else 2}
        for item, count in enumerate(right)
        for k in range(4)
    ]
    _, summary = run(tmp_path, capsys, rows, "--task", "math")
    # pass@1 = (1/4 + 3/4 + 0) / 3; pass@4 = two questions of three.
    assert summary["pass_at_k"] == pytest.approx({"1": 1 / 3, "4": 2 / 3})
    # Question means 1/4, 3/4, 0: variance (10 x (1/144 + 25/144 + 16/144)) / 29 = 420/144/29 = 0.100575; two methods
    # of that spread: sqrt(0.201149) = 0.448497, times the 0.5292 of a paired t test of 30 with power 0.8.
    assert summary["minimum_detectable_difference"] == pytest.approx(0.5292 * 0.448497, abs=1e-4)
    # Within a question c (4 - c) / (4 x 3): 1/4, 1/4, 0, mean 1/6; between: 0.100575 - (1/6) / 4 = 0.058908.
    assert summary["variance"] == pytest.approx({"between_questions": 0.058908, "within_question": 1 / 6}, abs=1e-5)
    _, summary = run(tmp_path, capsys, rows[::4], "--task", "math")
    assert set(summary["pass_at_k"]) == {"1"} and summary["variance"] is None
    _, summary = run(tmp_path, capsys, rows[:8], "--task", "math")
    assert summary["minimum_detectable_difference"] is None  # two questions tell nothing below 1


BFCL_FUNCTION = {
    "name": "a.f",
    "parameters": {"type": "dict", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
}


@pytest.fixture
def bfcl_data(tmp_path: Path) -> Path:
    folder = tmp_path / "bfcl"
    question = {"id": "multiple_0", "question": [[{"role": "user", "content": "go"}]], "function": [BFCL_FUNCTION]}
    write_jsonl(folder / "BFCL_v4_multiple.json", [question])
    write_jsonl(
        folder / "possible_answer" / "BFCL_v4_multiple.json",
        [{"id": "multiple_0", "ground_truth": [{"a.f": {"x": [1]}}]}],
    )
    return folder


def test_shapes_of_function_calling_results(
    bfcl_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {"x": 1}
    shapes: list[Any] = [
        [shape]
        for given in (arguments, json.dumps(arguments))
        for shape in (
            {"a_f": given},
            {"a.f": given},
            {"name": "a_f", "arguments": given},
            {"name": "a_f", "parameters": given},
            {"id": "call_1", "name": "a_f", "arguments": given},
            {"type": "function", "function": {"name": "a_f", "arguments": given}},
            {"id": "call_1", "type": "function", "function": {"name": "a_f", "arguments": given}},
        )
    ]
    shapes += [json.dumps(shape) for shape in shapes]
    rows = [{"item_id": "multiple_0", "sample": k, "response": shape} for k, shape in enumerate(shapes)]
    graded, _ = run(tmp_path, capsys, rows, "--task", "bfcl", "--data", str(bfcl_data))
    assert [shapes[row["sample"]] for row in graded if not row["correct"]] == []
    assert len(graded) == 28


def test_responses_without_calls(bfcl_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected: list[tuple[Any, str]] = [
        (None, "no_answer"),
        ("", "no_answer"),
        ([], "no_answer"),
        ("[]", "no_answer"),
        (7, "bad_format"),
        ({"a.f": {"x": 1}}, "bad_format"),
        ([7], "bad_format"),
        ([{"a.f": "{"}], "bad_format"),
        ("[" * 5000, "bad_format"),
        ([{"a.f": {"x": 2}}], "wrong"),
        ('[{"a.f": "{\\"x\\": 2}"}]', "wrong"),
    ]
    rows = [{"item_id": "multiple_0", "sample": k, "response": case[0]} for k, case in enumerate(expected)]
    graded, _ = run(tmp_path, capsys, rows, "--task", "bfcl", "--data", str(bfcl_data))
    assert [row["reason"] for row in graded] == [reason for _, reason in expected]


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        ([{"a.f": {"x": 1}}], "a.f, x: accepted values must be a list, got 1"),
        ([{"b": {"x": [1]}}], "the gold calls 'b'; the question offers a.f"),
        ([{}], "an accepted call is an object with one function name"),
        ([{"a.f": [1]}], "the accepted parameters of a.f must be an object"),
        ([], "a BFCL gold is a list"),
        ("x", "a BFCL gold is a list"),
    ],
)
def test_golds_that_are_no_bfcl_golds(bfcl_data: Path, tmp_path: Path, gold: Any, message: str) -> None:
    content = json.dumps({"item_id": "multiple_0", "response": "[a.f(x=1)]", "gold": gold}).encode()
    assert f"row 1: {message}" in stops_with(tmp_path, content, "--task", "bfcl", "--data", str(bfcl_data))


def test_deeply_nested_calls(bfcl_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nested: Any = 1
    for _ in range(sys.getrecursionlimit() - 400):
        nested = [nested]
    rows = [{"item_id": "multiple_0", "response": [{"a.f": {"x": nested}}]}]
    graded, _ = run(tmp_path, capsys, rows, "--task", "bfcl", "--data", str(bfcl_data))
    assert [row["correct"] for row in graded] == [False]


def test_unknown_task_and_empty_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown task 'amc3'; did you mean 'amc"):
        resolve_task("amc3")
    source = tmp_path / "in.jsonl"
    source.touch()
    with pytest.raises(SystemExit, match="no samples"):
        regrade.main([str(source), "--task", "math", "--out", str(tmp_path / "out.jsonl")])


def test_hostile_completions_do_not_disturb_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = [r"\boxed{9^{9^{9^9}}}", r"\boxed{10^{10^{10}}}", "\\boxed{" + "{" * 10_000, "a" * 1_000_000]
    good = {"response": r"so \boxed{\frac{2}{4}}", "gold": r"\frac{1}{2}"}
    rows = [
        row
        for index, text in enumerate(hostile)
        for row in (
            {"item_id": 2 * index, "response": text, "gold": "42"},
            {"item_id": 2 * index + 1, **good},
        )
    ]
    graded, summary = run(tmp_path, capsys, rows, "--task", "math")
    assert [row["correct"] for row in graded] == [False, True] * 4
    assert summary["accuracy"] == 0.5


def test_published_figures(reference_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # 91.0 as published: a gold of text, which all eight samples write otherwise, and 10{,}000 once.
    expected = {"qwen_math_cot_100x8": 92.125, "aime24_deepscaler_1p5b_4x32_trimmed": 95.3125}
    for name, accuracy in expected.items():
        rows = [
            {"item_id": row["problem_id"], "sample": sample, "response": response, "gold": row["gold"]}
            for row in read_jsonl(reference_data / "graded_responses" / f"{name}.jsonl")
            for sample, response in enumerate(row["responses"])
        ]
        _, summary = run(tmp_path, capsys, rows, "--task", "math")
        assert 100 * summary["accuracy"] == pytest.approx(accuracy)


def test_bfcl(reference_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replay = read_jsonl(reference_data / "bfcl_replay" / "prompt_gpt-4o-mini-2024-07-18_python.jsonl")
    rows = [{"item_id": row["id"], "response": row["result"]} for row in replay]
    graded, summary = run(tmp_path, capsys, rows, "--task", "bfcl", "--data", str(reference_data / "bfcl"))
    assert [row["correct"] for row in graded] == [row["v4_valid"] for row in replay]
    # 1,968 of 2,351; live 1,047 of 1,351 and non-live 921 of 1,000 from the counts of the replay file.
    assert summary["accuracy"] == pytest.approx(1968 / 2351)
    assert summary["averages"] == pytest.approx({"live": 1047 / 1351, "non_live": 0.921})


def test_mmlu_pro(reference_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = reference_data / "mmlu_pro" / "mmlu_pro_sample_100_per_category.jsonl"
    rows = [
        {"item_id": row["question_id"], "response": row["response_llama31_8b_instruct_5shot"]}
        for row in read_jsonl(path)
    ]
    _, summary = run(tmp_path, capsys, rows, "--task", "mmlu_pro", "--data", str(path))
    assert (
        summary["reasons"]["bad_format"] == 82
    )  # 70 where the harness guessed, 12 that chose nothing by a lone letter
    assert len(summary["categories"]) == 14


def test_the_summary_says_how_many_stored_verdicts_have_stayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"response": "\\boxed{7}", "gold": "7"}
    rows = [{**row, "item_id": 1, "correct": True}, {**row, "item_id": 2, "correct": False}]
    write_jsonl(tmp_path / "in.jsonl", rows)
    for source, expected in ((rows, 1), ([{**row, "item_id": 1}], None)):
        write_jsonl(tmp_path / "in.jsonl", source)
        regrade.main([str(tmp_path / "in.jsonl"), "--task", "math", "--out", str(tmp_path / "out.jsonl")])
        assert json.loads(capsys.readouterr().out).get("same") == expected
