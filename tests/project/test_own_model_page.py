"""docs/own_model.md, followed in a copy: its CPU part typed as it stands, its GPU part estimated and planned."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reference_impl.files import read_jsonl
from tests.support.checkout import REPO, copy_project, typed, user_environment
from tests.support.workflow_plans import planned

pytestmark = [pytest.mark.slow, pytest.mark.workflow]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The copy, and what each command of the CPU part said."""
    folder = copy_project(tmp_path_factory.mktemp("own-model"))
    (folder / ".venv").symlink_to(Path(sys.prefix))
    environment = user_environment()
    said = []
    for language, text in BLOCK.findall((REPO / "docs" / "own_model.md").read_text(encoding="utf-8")):
        if language in ("python", "yaml"):
            (folder / text.split()[1]).write_text(text, encoding="utf-8")  # "# NAME" is its first line
        elif not language:
            for command in text.strip().splitlines():
                # The stamps of `make` are those of another folder: what it starts is what is tried.
                started = re.sub(r"^make doctor scale=", "python -m pipelines.ops.doctor --scale ", command)
                said.append(typed(folder, started, environment))
    return folder, said


def test_the_commands_say_what_the_page_says(followed: tuple[Path, list[str]]) -> None:
    folder, said = followed
    _, _, doctor, plan, answer = said
    assert "OK    your data of math: my_train.jsonl" in doctor
    assert "Train: chord_phi on math, seed 0" in plan
    assert "# CHORD-φ against Original Model" in answer and "math: own-math | CHORD-φ |" in answer
    results = folder / "results" / "my_scale"
    run = results / "runs" / "math" / "chord_phi" / "seed0"
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert (record["config"]["policy"], record["config"]["data"]) == ("my-model", "jsonl")
    assert (run / "best" / "model.safetensors").is_file() and len(read_jsonl(run / "metrics.jsonl")) == 3
    mine = {row["question"] for row in read_jsonl(folder / "my_train.jsonl")}
    assert {row["question"] for row in read_jsonl(results / "data" / "math" / "prompts.jsonl")} <= mine
    (own,) = (results / "own").iterdir()
    assert len(read_jsonl(own / "evaluations" / "math" / "chord_phi" / "seed0" / "own-math.jsonl")) == 8
    assert (own / "report" / "compare.md").is_file() and any((own / "scores").rglob("*.parquet"))


def test_other_questions_leave_training_and_other_rows_do_not(followed: tuple[Path, list[str]]) -> None:
    folder, _ = followed
    call = ("chord_phi", "--config", "scale=my_scale.yaml")
    rows = (folder / "my_train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "other.jsonl").write_text('{"question": "What is 4 + 4?", "answer": 8}\n', encoding="utf-8")
    jobs = planned(folder, *call, "data={own-math: other.jsonl}")
    assert "Evaluate: chord_phi on math, seed 0, every task" in jobs
    assert not {job for job in jobs if job.startswith("Train")}
    (folder / "my_train.jsonl").write_text("".join(rows[:-1]), encoding="utf-8")
    assert "Train: chord_phi on math, seed 0" in planned(folder, *call, "data={own-math: other.jsonl}")
    (folder / "my_train.jsonl").write_text("".join([*rows, rows[0]]), encoding="utf-8")
    with pytest.raises(AssertionError, match=r"my_train\.jsonl, line 49: its question is that of line 1 too"):
        planned(folder, *call, "data={own-math: other.jsonl}")
    (folder / "my_train.jsonl").write_text("".join(rows), encoding="utf-8")


def test_the_gpu_part_is_planned_and_estimated(followed: tuple[Path, list[str]]) -> None:
    folder, _ = followed
    (gpu,) = (
        text for language, text in BLOCK.findall((REPO / "docs" / "own_model.md").read_text()) if language == "sh"
    )
    assert gpu.count("scale=my_gpu.yaml") == 3
    jobs = planned(
        folder,
        "compare",
        "--config",
        "scale=my_gpu.yaml",
        "data={own-math: my_test.jsonl}",
        "methods=[chord_phi, original]",
    )
    assert {"Policy: bring my-model", "Train: chord_phi on math, seed 0"} <= jobs
    command = [sys.executable, "-m", "pipelines.ops.estimate", "--scale", "my_gpu.yaml", "--target", "chord_phi"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert re.search(r"train math/chord_phi +my-model", done.stdout), done.stdout
