"""A user's own files are read before anything starts, once per version; the doctor reads them too."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.ops.doctor import check_own
from pipelines.plan import Plan, load_plan, own_data
from pipelines.plan.own_data import check_once, check_own_data
from tests.support.own_data import own_row, own_scale, write_rows

ROWS = [own_row(n, shown=n % 2 == 0) for n in range(10, 50)]


def plan_of(folder: Path, rows: list[Any] = ROWS, data: dict[str, str] | None = None, **changes: Any) -> Plan:
    path = write_rows(folder / "my.jsonl", rows)
    scale = own_scale(folder, {"questions": str(path)}, **changes)
    return load_plan({"scale": str(scale), "mine": "", "data": data or {}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt_rows": 33}, r"my\.jsonl has 40 questions, the scale wants 41 \(prompt_rows 33, validation_rows 8\)"),
        ({"expert_rows": 30}, r"expert\.jsonl: the scale wants 30 demonstrations, 1\d questions beside validation's"),
        ({"experts": ["main", "aligned"]}, r"expert-aligned\.jsonl: the scale wants 16 demonstrations, \d+ questions"),
        ({"max_response_tokens": 4}, r"my\.jsonl, line 1: the response has \d+ tokens, max_response_tokens is 4"),
    ],
)
def test_what_files_lack(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    check_own_data(plan_of(tmp_path).choice)
    with pytest.raises(ValueError, match=message):
        check_own_data(plan_of(tmp_path, **changes).choice)


def test_a_held_out_question_is_no_training_question(tmp_path: Path) -> None:
    rows = [own_row(n, shown=False) for n in (11, 99)]
    data = {"own-math": str(write_rows(tmp_path / "test.jsonl", rows))}
    with pytest.raises(ValueError, match=r"my\.jsonl, line 2: its question is asked in evaluation too, for own-math$"):
        check_own_data(plan_of(tmp_path, data=data, tasks=["own-math"]).choice)


def test_files_are_read_once_per_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(own_data, "check_own_data", lambda choice: read.append(choice))
    for rows, expected in ((ROWS, 1), (ROWS, 1), (ROWS[1:], 2)):
        check_once(plan_of(tmp_path, rows).choice, tmp_path)
        assert len(read) == expected
    check_once(plan_of(tmp_path, ROWS, expert_rows=4).choice, tmp_path)
    check_once(load_plan({"scale": "smoke", "mine": ""}).choice, tmp_path)
    assert len(read) == 3


def test_other_rows_are_other_candidates_and_leave_the_runs_configuration(tmp_path: Path) -> None:
    one, same, other = (plan_of(tmp_path, rows).hashes.candidates("math") for rows in (ROWS, ROWS, ROWS[1:]))
    assert one == same != other
    before = plan_of(tmp_path).hashes.run("math", "chord_phi", 0)
    assert plan_of(tmp_path, ROWS[1:]).hashes.run("math", "chord_phi", 0) == before


def test_sets_of_demonstrations_that_there_are(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert [Path(path).name for path in plan.files.data("math")] == [
        "prompts.jsonl",
        "validation.jsonl",
        "expert.jsonl",
    ]
    with pytest.raises(ValueError, match=r"math has no demonstrations 'aligned' \(its `experts`: main\)"):
        plan.files.run_data("math", "luffy")


def test_what_a_scale_says_wrongly(tmp_path: Path) -> None:
    scale = own_scale(tmp_path, {"question": "x"})
    with pytest.raises(ValueError, match=r"files\.question: unknown key; did you mean 'questions'\?"):
        load_plan({"scale": str(scale), "mine": ""})
    scale = own_scale(tmp_path, {"questions": "x", "prompt": "mth"}, experts=["man"])
    with pytest.raises(ValueError, match=r"files\.prompt: unknown prompt 'mth'; did you mean 'math'\?"):
        load_plan({"scale": str(scale), "mine": ""})
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"data": "sandbox"}, "files: data sandbox reads none; data jsonl does"),
        ({"experts": ["man"]}, "unknown expert 'man'; did you mean 'main'"),
        ({"data_options": {"local": {"questions": "x"}}}, "data jsonl has no options"),
    ]
    for changes, message in mistakes:
        scale = own_scale(tmp_path, {"questions": "x"}, **changes)
        with pytest.raises(ValueError, match=message):
            load_plan({"scale": str(scale), "mine": ""})
    scale = own_scale(tmp_path, None)
    with pytest.raises(ValueError, match=r"data jsonl needs files: \{questions: FILE\}"):
        load_plan({"scale": str(scale), "mine": ""})
    scale = own_scale(tmp_path, {"questions": "x"}, domain="tool")
    with pytest.raises(ValueError, match="data jsonl is for the domain math or medicine"):
        load_plan({"scale": str(scale), "mine": ""})


def test_own_questions_leave_what_training_data_is_compared_with(tmp_path: Path) -> None:
    test = write_rows(tmp_path / "test.jsonl", [own_row(99, shown=False)])
    tasks = ["sandbox-amc", "sandbox-aime24"]
    without, asked = (plan_of(tmp_path, data=data, tasks=tasks) for data in ({}, {name: str(test) for name in tasks}))
    assert without.files.compared_with("math") == asked.files.compared_with("math") == ["results/my_scale/benchmarks"]
    assert asked.files.benchmark_sources(tasks) == []
    assert asked.hashes.benchmark("sandbox-amc") == (without.hashes.benchmark("sandbox-amc"))
    own = plan_of(tmp_path, data={"own-math": str(test)}, tasks=["own-math"])
    assert own.files.compared_with("math") == [] and own.options.fetch("own-math") == []


def test_the_doctor_reads_them(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    (sound,) = check_own(plan)
    assert (sound.level, sound.found) == ("OK", str(tmp_path / "my.jsonl"))
    (tmp_path / "my.jsonl").unlink()
    (found,) = check_own(plan)
    assert (found.level, found.found) == ("FAIL", f"files.questions: no such file: {tmp_path / 'my.jsonl'}")
