"""The parts of the GPU smoke test, with processes made up here, and some of it for real on a CPU."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from pipelines.ops import gpu_smoke
from pipelines.ops.gpu_lease import DEVICES, LOCKS
from pipelines.ops.gpu_smoke import OVER_TIME, PARTS, WAYS, Command, Setting, changed, execute, go_through, last_error
from pipelines.plan import load_plan
from reference_impl.config import CONFIG_DIR, load_scale
from reference_impl.files import write_jsonl
from tests.support.checkout import copy_project
from tests.support.workflow_plans import planned_jobs

Fails = Callable[[str, str], bool]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pretend(fails: Fails) -> tuple[gpu_smoke.Execute, list[str]]:
    """A stand-in for `execute` that fails where ``fails(part, way)``, and what it was asked for as part/way."""
    asked: list[str] = []

    def run(command: Command, log: Path, environment: Mapping[str, str]) -> int:
        part, way = log.stem, log.parent.name
        asked.append(f"{part}/{way}")
        if fails(part, way):
            log.write_text("loading\nRuntimeError: CUDA graph capture failed\nbye\n", encoding="utf-8")
            return 1
        if command.until is not None:
            (command.until.parent / "state").mkdir(parents=True)
        elif command.writes is not None:
            write_jsonl(command.writes / "metrics.jsonl", [{"step": 1}, {"step": 2}])
            (command.writes / "run.json").write_text("{}", encoding="utf-8")
        return 0

    return run, asked


def through(fails: Fails, *names: str) -> tuple[list[gpu_smoke.Found], list[str], list[str]]:
    run, asked = pretend(fails)
    said: list[str] = []
    return go_through(names or list(PARTS), None, None, run, said.append), asked, said


def test_a_machine_on_which_everything_works() -> None:
    found, asked, said = through(lambda part, way: False)
    assert [part.part for part in found] == list(PARTS)
    assert all(part.problem is None for part in found) and all(line.startswith("ok") for line in said)
    assert asked == [f"{part}/as-declared" for part in PARTS for _ in range(2 if part == "resume" else 1)]


def test_a_part_that_fails_is_tried_with_the_ways_back_and_the_rest_takes_the_one_that_helps() -> None:
    def no_graphs(part: str, way: str) -> bool:
        return part in ("math", "tool", "resume") and way in ("as-declared", "eager")

    _, asked, said = through(no_graphs, "inputs", "math", "tool")
    assert asked == ["inputs/as-declared", "math/as-declared", "math/eager", "math/awake", "tool/awake"]
    assert said[1].startswith("FAILED  math: status 1: RuntimeError: CUDA graph capture failed (results/")
    assert said[3].startswith("ok      math, with awake") and "engine_options: {sleep: false}" in said[4]


def test_what_needs_a_part_that_failed_is_not_tried() -> None:
    found, asked, said = through(lambda part, way: part == "inputs", "inputs", "math", "evaluation")
    assert asked == ["inputs/as-declared"] and len(found) == 3
    assert "not tried: it needs inputs" in said[1] and "not tried: it needs math" in said[2]


def test_a_run_that_begins_again_instead_of_going_on_is_seen() -> None:
    run, _ = pretend(lambda part, way: False)

    def twice(command: Command, log: Path, environment: Mapping[str, str]) -> int:
        status = run(command, log, environment)
        if command.until is None and command.writes is not None:
            write_jsonl(command.writes / "metrics.jsonl", [{"step": 1}, {"step": 1}, {"step": 2}])
        return status

    (found, *_) = go_through(["resume"], "plain", None, twice, lambda text: None)
    assert found.problem == "its steps are [1, 1, 2]"


def test_the_command_reports_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = pretend(lambda part, way: part == "math" and way != "plain")
    with pytest.raises(SystemExit) as ended:
        gpu_smoke.main(["--only", "inputs", "math"], run)
    assert ended.value.code == 1
    assert "2 of 2 parts work, 1 of them as declared" in capsys.readouterr().out
    report = json.loads((gpu_smoke.WORK / "report.json").read_text(encoding="utf-8"))["parts"]
    assert [part["back"] for part in report] == [None, None, *PARTS["math"].ways]
    with pytest.raises(SystemExit, match="unknown part 'maths'; did you mean 'math'"):
        gpu_smoke.main(["--only", "maths"], run)
    with pytest.raises(SystemExit, match="unknown way back"):
        gpu_smoke.main(["--back", "graphs"], run)


@pytest.mark.parametrize("name", WAYS)
def test_every_way_back_is_a_scale_that_can_be(name: str) -> None:
    setting = Setting(name, Path("out"))
    root = setting.declarations()
    plan, scale = load_plan({"scale": "gpu-smoke", "mine": ""}, root), load_scale("gpu-smoke", root)
    launched = "torchrun" in plan.options.start_training("math", "chord_phi")
    assert launched is (name not in ("torch", "plain")) is (scale.strategy.kind == "deepspeed")
    assert (scale.engine == "vllm") is (name not in ("transformers", "plain"))
    assert scale.engine_options.enforce_eager is scale.evaluation.engine_options.enforce_eager is (name == "eager")
    assert scale.engine_options.sleep is (name != "awake")
    assert (root == CONFIG_DIR) is (name == "runner")
    assert all(way in WAYS for part in PARTS.values() for way in part.ways)


def test_changes_of_a_scale_are_key_by_key() -> None:
    assert changed({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": None, "e": 4}, "d": None}) == {"a": {"c": 2, "e": 4}}


def test_a_command_ends_at_its_limit_and_is_asked_to_end_once_it_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    log, line = Path("log"), Path("line")
    sleeps = "import time; time.sleep(60)"
    monkeypatch.setattr(gpu_smoke, "LIMIT_S", 0.5)
    assert execute(Command([sys.executable, "-c", sleeps]), log, os.environ) == OVER_TIME
    monkeypatch.setattr(gpu_smoke, "LIMIT_S", 60.0)
    assert execute(Command([sys.executable, "-c", "print('Error: no'); raise SystemExit(3)"]), log, os.environ) == 3
    assert last_error(log) == "Error: no"
    begins = f"open('line', 'w').write('1'); {sleeps}"
    assert execute(Command([sys.executable, "-c", begins], until=line), log, os.environ) == -15


def test_the_workflow_plans_the_scale_without_a_network(tmp_path: Path) -> None:
    jobs = planned_jobs(copy_project(tmp_path / "copy"), "chord_phi", "--config", "scale=gpu-smoke")
    assert "Policy: make smoke-qwen2 with random weights" in jobs
    assert {"Train: chord_phi on math, seed 0", "Train: chord_phi on tool, seed 0"} <= set(jobs)
    assert not [job for job in jobs if job.startswith(("Policy: bring", "Benchmark: fetch"))]


@pytest.mark.slow
@pytest.mark.parametrize("back", [pytest.param("transformers", marks=pytest.mark.thorough), "plain"])
def test_training_and_resumption_run_without_a_gpu(tmp_path: Path, back: str) -> None:
    """With made-up GPUs, fewer rows and shorter answers: DeepSpeed by torchrun in bf16, and plain torch."""
    folder = copy_project(tmp_path / "copy")
    path = folder / "pipelines/config/scales/gpu-smoke.yaml"
    scale = yaml.safe_load(path.read_text(encoding="utf-8"))
    few = {"prompt_rows": 4, "expert_rows": 4, "validation_rows": 2, "sft_batch": 2, "rl_prompts": 2, "group_size": 2}
    for domain in scale["domains"].values():
        domain |= {**few, "steps_divisor": domain["steps_divisor"] * 5, "max_response_tokens": 8}
    path.write_text(yaml.safe_dump(scale), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.ops.gpu_smoke", "--back", back, "--only", "inputs", "math", "resume"],
        cwd=folder,
        env={**os.environ, DEVICES: "0", LOCKS: str(tmp_path), "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 parts work" in done.stdout
