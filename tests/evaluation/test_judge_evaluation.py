"""Tasks that a judge grades: their data, the command lines, scores beside `correct`."""

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation import generate, regrade, score
from evaluation.generate import sample_task
from evaluation.graders import RubricReference, Sample, grade
from evaluation.judging import judge_for, judge_settings
from evaluation.summary import summarise
from evaluation.tasks import Plan, load_items, read_items
from reference_impl.config import load_task
from reference_impl.config.judges import KEY_VARIABLE, parse_judge
from reference_impl.files import read_jsonl, write_jsonl
from reference_impl.judge.rubric import JUDGE_FAILED, JUDGED, LocalJudge, parse_rubric
from reference_impl.text.prompts import render
from tests.evaluation.test_generate import FakeEngine, FakeTokenizer
from tests.evaluation.test_regrade import run
from tests.support.judge_server import Handler, answer_of, serve, verdicts

RUBRIC: list[dict[str, Any]] = [
    {"description": "Names CT", "title": "Modality", "weight": 5, "keywords": ["CT"]},
    {"description": "Says without contrast", "weight": 3, "pattern": "non-?contrast"},
    {"description": "Recommends an X-ray", "weight": -2, "keywords": ["x-ray"]},
]
GOLD = {"question": "Which scan?", "rubric": RUBRIC}
ROWS = [
    {"item_id": "a", "sample": 0, "response": "<think>?</think>Non-contrast CT", "gold": GOLD},
    {"item_id": "a", "sample": 1, "response": "CT", "gold": GOLD},
    {"item_id": "b", "sample": 0, "response": "X-ray", "gold": GOLD},
    {"item_id": "b", "sample": 1, "response": "<think>CT", "gold": GOLD, "truncated": True},
]


def test_local_judge_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graded, summary = run(tmp_path, capsys, ROWS, "--task", "rar-medicine", "--judge", "{kind: local}")
    assert graded == [
        {"item_id": "a", "sample": 0, "correct": True, "reason": "judged", "extracted": "[1, 2]", "score": 1.0},
        {"item_id": "a", "sample": 1, "correct": False, "reason": "judged", "extracted": "[1]", "score": 0.625},
        {"item_id": "b", "sample": 0, "correct": False, "reason": "judged", "extracted": "[3]", "score": 0.0},
        {"item_id": "b", "sample": 1, "correct": False, "reason": "truncated", "extracted": None, "score": 0.0},
    ]
    # Question means 0.8125 and 0; their mean 0.40625, standard deviation 0.8125 / sqrt(2), standard error 0.40625.
    assert summary["score"] == pytest.approx(0.40625)
    assert summary["stderr"] == pytest.approx(0.40625)
    assert (summary["questions"], summary["samples"], summary["judge_failure_rate"]) == (2, 4, 0.0)
    assert (summary["reasons"]["judged"], summary["truncation_rate"]) == (3, 0.25)
    assert summary["judge"] == {"judge": "local, noise 0"}
    assert "accuracy" not in summary


def good(handler: Handler, number: int, payload: Any) -> None:
    """A judge that finds the first criterion only."""
    handler.complete(verdicts(payload, True, False, False), {"prompt_tokens": 100, "completion_tokens": 10})


def test_http_judge_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "sk-from-the-environment")
    with serve(good) as server:
        judge = f"{{kind: http, url: {server.url}, prices: [1, 2], cache: {tmp_path / 'verdicts.sqlite'}}}"
        graded, summary = run(tmp_path, capsys, ROWS, "--task", "judge", "--judge", judge)
        again, second = run(tmp_path, capsys, ROWS, "--task", "judge", "--judge", judge)
    assert [row["score"] for row in graded] == [0.625, 0.625, 0.625, 0.0]  # nothing to judge in the last
    assert again == graded
    assert len(server.payloads) == 3
    assert server.headers[0]["Authorization"] == "Bearer sk-from-the-environment"
    assert server.payloads[0]["model"] == "Qwen/Qwen3-30B-A3B-Instruct-2507"
    assert (summary["judge"]["calls"], second["judge"]["calls"], second["judge"]["cache_hits"]) == (3, 0, 3)
    assert summary["judge"]["cost"] == pytest.approx(3 * (100 * 1e-6 + 10 * 2e-6))


def test_failed_verdicts_are_set_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def picky(handler: Handler, number: int, payload: Any) -> None:
        if answer_of(payload) == "X-ray":
            handler.answer(400, b"refused")
        else:
            good(handler, number, payload)

    with serve(picky) as server:
        source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
        write_jsonl(source, ROWS)
        judge = f"{{kind: http, url: {server.url}}}"
        regrade.main([str(source), "--task", "judge", "--out", str(out), "--judge", judge])
    printed = capsys.readouterr()
    graded, summary = read_jsonl(out), json.loads(printed.out)
    assert [row["score"] for row in graded] == [0.625, 0.625, None, 0.0]
    assert (graded[2]["correct"], graded[2]["reason"]) == (False, JUDGE_FAILED)
    assert graded[2]["extracted"] == "status 400: refused (attempt 1)"
    # The failed one is left out, not counted as 0: question means 0.625 and 0.
    assert summary["score"] == pytest.approx(0.3125)
    assert (summary["judge_failure_rate"], summary["reasons"]["judge_failed"]) == (0.25, 1)
    assert "no score for 1 of 4 samples; the first: status 400: refused" in printed.err
    assert (tmp_path / "judge-verdicts.sqlite").is_file()


@pytest.mark.parametrize("trouble", ["budget", "credentials"])
def test_a_judge_that_stops_ends_the_command(tmp_path: Path, trouble: str) -> None:
    def locked(handler: Handler, number: int, payload: Any) -> None:
        handler.answer(401, b"who are you?")

    source, out, cache = tmp_path / "in.jsonl", tmp_path / "out.jsonl", tmp_path / "verdicts.sqlite"
    write_jsonl(source, ROWS)
    limit = ", prices: [1, 1], budget: 0.001" if trouble == "budget" else ""
    with serve(good if trouble == "budget" else locked) as server, pytest.raises(SystemExit) as error:
        judge = f"{{kind: http, url: {server.url}, cache: {cache}{limit}}}"
        regrade.main([str(source), "--task", "judge", "--out", str(out), "--judge", judge])
    expected = "of the budget of 0.001 are spent" if trouble == "budget" else "status 401: who are you?"
    assert expected in str(error.value)
    assert "the verdicts so far are in the cache" in str(error.value)
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "judge"], "judge needs a judge: --judge '{kind: local}' or '{kind: http, url: …}'"),
        (["--task", "math", "--judge", "{kind: local}"], "--judge without a task of kind judge: math"),
        (["--task", "judge", "--judge", "{kind: http}"], "--judge: url: missing key"),
        (["--task", "judge", "--judge", "{kind: local"], "--judge is not valid YAML"),
        (["--task", "rar-medicine-rating", "--judge", "{kind: local}"], "one rating needs kind http"),
    ],
)
def test_options_that_do_not_go_together(
    tmp_path: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "in.jsonl", ROWS)
    with pytest.raises(SystemExit) as error:
        regrade.main(["in.jsonl", "--out", "out.jsonl", *arguments])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        ("CT", "must be an object with question and rubric"),
        ({"question": "q"}, "must be an object with question and rubric"),
        ({"question": " ", "rubric": RUBRIC}, "a question must be text"),
        ({"question": "q", "rubric": []}, "at least one criterion"),
    ],
)
def test_gold_errors_name_the_row(tmp_path: Path, gold: Any, message: str) -> None:
    write_jsonl(tmp_path / "in.jsonl", [{"item_id": 1, "response": "x", "gold": gold}])
    with pytest.raises(SystemExit) as error:
        regrade.main(
            [
                str(tmp_path / "in.jsonl"),
                "--task",
                "judge",
                "--judge",
                "{kind: local}",
                "--out",
                str(tmp_path / "o.jsonl"),
            ]
        )
    assert "row 1: " in str(error.value)
    assert message in str(error.value)


def test_published_rows_load(reference_data: Path) -> None:
    path = reference_data / "medical" / "rar_medicine_one_row_truncated_rubric.jsonl"
    (item,) = read_items(load_task("rar-medicine"), path)
    assert isinstance(item.reference, RubricReference)
    assert item.reference.question.startswith("What is the most sensitive imaging modality")
    assert [criterion.weight for criterion in item.reference.rubric] == [5]
    assert [message["role"] for message in render(item.row)] == ["system", "user"]
    with pytest.raises(ValueError, match="rar-medicine has 2242 questions, this file has 1"):
        load_items(load_task("rar-medicine"), path)
    # Its criteria are for a model: the local judge says so instead of guessing.
    verdict = grade(Sample("CT"), item.reference, LocalJudge())
    assert (verdict.reason, verdict.score) == (JUDGE_FAILED, None)
    assert "neither pattern nor keywords" in str(verdict.extracted)


def test_row_errors(tmp_path: Path) -> None:
    path, task = tmp_path / "t.jsonl", load_task("rar-medicine")
    write_jsonl(path, [{"question": "q", "rubric": RUBRIC}, {"question": "q", "rubric": [{"description": "d"}]}])
    with pytest.raises(ValueError, match=r"t\.jsonl, row 1: rubric item 1: missing key 'weight'"):
        read_items(task, path)
    write_jsonl(path, [{"question": "q", "rubrics": RUBRIC}])
    with pytest.raises(ValueError, match="row 0: no 'rubric'; it has question, rubrics"):
        read_items(task, path)


@pytest.mark.parametrize(
    ("option", "declared", "name"),
    [
        (None, "{kind: local, noise: 0.05}", "local, noise 0.05"),
        ("{kind: local}", "{kind: local, noise: 0.05}", "local, noise 0"),
        ("{kind: http, url: 'http://localhost', model: m2}", "{kind: local}", "m2, explicit, prompt"),
    ],
)
def test_the_option_replaces_what_the_scale_declares(
    option: str | None, declared: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tasks = [load_task("rar-medicine")]
    judge = judge_for(tasks, judge_settings(tasks, option, parse_judge(declared, "scale")))
    assert judge is not None and judge.name.startswith(name)
    assert judge_settings([load_task("amc")], None) is None and judge_for([load_task("amc")], None) is None


def test_no_score_at_all_is_a_summary_too() -> None:
    reference = RubricReference("q", parse_rubric([{"description": "d", "weight": 1}]))
    verdict = grade(Sample("x"), reference, LocalJudge())
    row = {"item_id": 1, "correct": verdict.correct, "reason": verdict.reason, "score": verdict.score}
    summary = summarise([row])
    assert (summary["score"], summary["judge_failure_rate"]) == (None, 1.0)


def test_samples_and_score_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "prompt_ids", lambda tokenizer, row: tuple(str(row["question"]).encode()))
    task = load_task("rar-medicine").model_copy(update={"name": "judged", "samples_per_problem": 2, "rows": 2})
    data = tmp_path / "data.jsonl"
    write_jsonl(data, [{"question": "Which scan?", "rubric": [{"description": "d", "weight": 1, "pattern": "."}]}] * 2)
    plan = Plan(task, read_items(task, data), samples=2, max_tokens=16, judge=LocalJudge())
    rows = sample_task(plan, FakeEngine(), FakeTokenizer(), tmp_path / "partial")  # type: ignore[arg-type]
    assert {row["reason"] for row in rows} <= {JUDGED, "no_answer", "bad_format", "truncated"}
    assert all(row["score"] == float(row["correct"]) for row in rows)
    assert rows[0]["gold"]["question"] == "Which scan?"
    folder = tmp_path / "samples"
    failed = {**rows[1], "correct": False, "reason": JUDGE_FAILED, "score": None}
    write_jsonl(folder / "judged.jsonl", [{**rows[0], "score": 0.25}, failed])
    plain = {key: value for key, value in rows[0].items() if key != "score"}
    write_jsonl(folder / "math.jsonl", [{**plain, "task": "math", "correct": True}])
    table = score.score_table(folder, "medicine", "m", 0)
    assert table["score"].fillna(-1.0).tolist() == [0.25, -1.0, 1.0]
    assert table["correct"].dtype == bool
