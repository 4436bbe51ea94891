"""Replay: the command line and its file formats."""

import json
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
        ({"item_id": 1, "response": 5, "gold": "1"}, "response must be text or a list of calls, got int"),
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
    expected = {"qwen_math_cot_100x8": 91.125, "aime24_deepscaler_1p5b_4x32_trimmed": 95.3125}
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
    assert summary["reasons"]["bad_format"] == 70  # where the harness guessed
    assert len(summary["categories"]) == 14
