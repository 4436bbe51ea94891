"""A user's own files become what every stage writes: prompts, validation, demonstrations, manifest."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.data import jsonl
from pipelines.sandbox.policies import SHIPPED
from reference_impl.files import read_jsonl
from tests.support.own_data import own_row, own_scale, write_rows
from tests.support.real_data import benchmarks_folder, described

ROWS = [own_row(n, shown=n % 2 == 0) for n in range(10, 50)]


def write(folder: Path, scale: Path, *options: str, domain: str = "math") -> Path:
    out = folder / "data"
    benchmarks = benchmarks_folder(folder / "b", domain, ["Which one?"])
    policy = SHIPPED / f"sandbox-{domain}"
    command = ["--domain", domain, "--scale", str(scale), "--out", str(out), "--benchmarks", str(benchmarks)]
    jsonl.main([*command, "--tokenizer", str(policy), *options])
    return out


def test_splits_of_one_file(tmp_path: Path) -> None:
    scale = own_scale(tmp_path, {"questions": str(write_rows(tmp_path / "my.jsonl", ROWS))}, prompt_rows=30)
    out = write(tmp_path, scale)
    files = {name: read_jsonl(out / f"{name}.jsonl") for name in ("prompts", "validation", "expert")}
    assert {name: len(rows) for name, rows in files.items()} == {"prompts": 30, "validation": 8, "expert": 8}
    asked = {name: {row["question"] for row in rows} for name, rows in files.items()}
    assert not asked["validation"] & (asked["prompts"] | asked["expert"])
    shown = {row["question"]: row["response"] for row in ROWS if "response" in row}
    assert all(shown[row["question"]] == row["response"] for row in files["expert"])
    assert all("response" not in row and row["prompt"] == "math" for row in files["prompts"])
    assert all(row["meta"]["response_tokens"] > 5 for row in files["expert"])
    manifest = described(out)
    assert (manifest["source"], manifest["world"], manifest["prompts_rows"]) == ("jsonl", "math", 30)
    assert manifest["sources"]["source_rows"] == manifest["sources"]["kept_rows"] == 40


def test_splits_do_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    found = []
    for name, rows in (("one", ROWS), ("other", ROWS[::-1])):
        folder = tmp_path / name
        folder.mkdir()
        scale = own_scale(folder, {"questions": str(write_rows(folder / "my.jsonl", rows))})
        found.append({path.name: path.read_text() for path in write(folder, scale).glob("[pve]*.jsonl")})
    assert found[0] == found[1] and len(found[0]) == 3


def test_demonstrations_of_a_file_of_their_own_and_aligned_ones(tmp_path: Path) -> None:
    questions = write_rows(tmp_path / "my.jsonl", [own_row(n) for n in range(10, 40)])
    shown = write_rows(tmp_path / "shown.jsonl", [own_row(n) for n in range(30, 60)])
    scale = own_scale(tmp_path, {"questions": str(questions), "demonstrations": str(shown)})
    out = write(tmp_path, scale)
    held = {row["question"] for row in read_jsonl(out / "validation.jsonl")}
    expert = read_jsonl(out / "expert.jsonl")
    assert {row["id"].split("-")[0] for row in expert} == {"demonstrations"}
    assert not held & {row["question"] for row in expert}

    scale = own_scale(tmp_path, {"questions": str(questions)}, experts=["main", "aligned"])
    out = write(tmp_path, scale)
    prompts, aligned = read_jsonl(out / "prompts.jsonl"), read_jsonl(out / "expert-aligned.jsonl")
    assert [row["id"] for row in aligned] == [row["id"] for row in prompts]


def test_a_judged_domain(tmp_path: Path) -> None:
    rubric = [{"description": "Names CT.", "weight": 5, "keywords": ["CT"]}]
    rows: list[dict[str, Any]] = [
        {"question": f"Which scan for case {n}?", "answer": rubric, "response": "<think>Hm.</think> CT."}
        for n in range(30)
    ]
    scale = own_scale(tmp_path, {"questions": str(write_rows(tmp_path / "my.jsonl", rows))}, domain="medicine")
    prompts = read_jsonl(write(tmp_path, scale, domain="medicine") / "prompts.jsonl")
    assert prompts[0]["prompt"] == "medicine"
    assert prompts[0]["gold"] == {"question": prompts[0]["question"], "rubric": rubric}


def test_mistakes_end_in_lines_and_write_nothing(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "my.jsonl", [*ROWS, own_row(90) | {"answer": 1}, own_row(91) | {"answer": "x"}])
    scale = own_scale(tmp_path, {"questions": str(path)})
    with pytest.raises(SystemExit, match=r"error: .*my\.jsonl, line 41: the reward .*\n.*my\.jsonl, line 42: answer: "):
        write(tmp_path, scale)
    assert not (tmp_path / "data").exists()
    with pytest.raises(SystemExit, match=r"data jsonl needs files: \{questions: FILE\}"):
        write(tmp_path, Path("smoke"))
