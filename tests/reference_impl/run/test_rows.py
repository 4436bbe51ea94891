"""Faults of data rows: each kind, all at once, and none in what the sandbox writes."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.sandbox.policies import WORLDS, load_world
from reference_impl.config import load_declarations
from reference_impl.files import write_jsonl
from reference_impl.run.rows import SHOWN, check_files, row_faults

MATH = {"id": "a", "prompt": "math", "question": "1 + 1?", "gold": "2"}
TOOL = {
    "id": "a",
    "prompt": "sandbox-tool",
    "question": "light",
    "functions": [{"name": "light", "parameters": {"properties": {}, "required": []}}],
    "gold": [{"name": "light", "arguments": {}}],
}
JUDGED = {
    "id": "a",
    "prompt": "medicine",
    "question": "why?",
    "gold": {"question": "why?", "rubric": [{"description": "d", "weight": 1}]},
}
EXPERT = {"id": "a", "prompt": "math", "question": "1 + 1?", "response": "2"}


@pytest.mark.parametrize(
    ("name", "reward", "row", "change", "said"),
    [
        ("prompts", "math", MATH, {"gold": "1/2"}, "gold '1/2' is no integer"),
        ("prompts", "math", MATH, {"gold": True}, "gold True is no integer"),
        ("prompts", "math", MATH, {"gold": None}, "must be text or a number, got None"),
        ("prompts", "math", MATH, {"gold": ...}, "missing gold (has: id, prompt, question)"),
        ("prompts", "math", MATH, {"id": ""}, "id '' is no text"),
        ("prompts", "math", MATH, {"id": 7}, "id 7 is no text"),
        ("prompts", "math", MATH, {"question": 7}, "question 7 is no text"),
        ("prompts", "math", MATH, {"question": "  "}, "question '  ' is no text"),
        ("prompts", "math", MATH, {"question": [{"role": "user"}]}, "is no text"),
        ("prompts", "math", MATH, {"prompt": "maths"}, "unknown prompt 'maths'"),
        ("prompts", "tool", TOOL, {"gold": []}, "is no list of calls"),
        ("prompts", "tool", TOOL, {"gold": [{"name": "light", "level": 3}]}, "expected {"),
        ("prompts", "tool", TOOL, {"functions": ...}, "no prompt 'sandbox-tool' can be made of it"),
        ("prompts", "tool", TOOL, {"functions": [{"name": "light"}]}, "can be made of it (KeyError: 'parameters')"),
        ("prompts", "judge", JUDGED, {"gold": {"question": "why?"}}, "a rubric must be a list"),
        ("prompts", "judge", JUDGED, {"gold": "x"}, "is no object with question and rubric"),
        ("expert", "math", EXPERT, {"response": " \n"}, "a demonstration has nothing to teach"),
        ("expert-large", "math", EXPERT, {"response": None}, "a demonstration has nothing to teach"),
    ],
)
def test_faults_of_a_row(name: str, reward: str, row: dict[str, Any], change: dict[str, Any], said: str) -> None:
    path = Path(f"{name}.jsonl")
    assert row_faults(path, [row], reward) == []
    changed = {key: value for key, value in {**row, **change}.items() if value is not ...}
    (fault,) = row_faults(path, [changed], reward)
    assert fault.startswith(f"{path}, row 1: ") and said in fault


def test_what_two_rows_may_not_share() -> None:
    path = Path("prompts.jsonl")
    assert row_faults(path, [TOOL, {**TOOL, "id": "b", "functions": [*TOOL["functions"]] * 2}], "tool") == []
    assert row_faults(path, [MATH, {**MATH, "question": "2 + 2?"}, {**MATH, "id": "b"}], "math") == [
        f"{path}, row 2: id 'a' is that of row 1 too",
        f"{path}, row 3: question '1 + 1?' is that of row 1 too",
    ]


def test_one_report_over_all_files(tmp_path: Path) -> None:
    prompts, validation, expert, missing = (tmp_path / f"{name}.jsonl" for name in ("prompts", "v", "expert", "x"))
    write_jsonl(prompts, [{**MATH, "gold": "x"}])
    validation.write_text("{\n")
    write_jsonl(expert, [EXPERT])
    with pytest.raises(ValueError) as raised:
        check_files({prompts: 1, validation: 1, expert: 2, missing: 1}, "math")
    lines = str(raised.value).splitlines()
    assert [line.partition(":")[0].partition(",")[0] for line in lines[:3]] == [
        str(prompts),
        str(validation),
        str(expert),
    ]
    assert f"{expert}: 1 rows, but this scale expects 2" in lines and f"no data file {missing}" in lines[-1]


def test_a_long_report_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    write_jsonl(path, [{**MATH, "id": str(i), "question": f"{i}?", "gold": "x"} for i in range(SHOWN + 5)])
    with pytest.raises(ValueError, match=rf"(?s)row {SHOWN}: .*\n… and 5 more$"):
        check_files({path: SHOWN + 5}, "math")


@pytest.mark.parametrize("name", WORLDS)
def test_what_the_sandbox_writes_has_none(name: str) -> None:
    world, reward = load_world(name), load_declarations().domains[name].reward
    for file, rows in (("prompts", world.rl_rows(60, 0)), ("expert", world.expert_rows(60, 0))):
        stored = [json.loads(json.dumps(row)) for row in rows]
        assert row_faults(Path(f"{file}.jsonl"), stored, reward) == []
