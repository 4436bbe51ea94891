"""The path of the large scales, run for real in miniature: a scale shaped like `paper`, on CPU.

A model from a folder of the user's, OpenR1-Math, ToolACE and benchmarks from local files, DeepSpeed ZeRO-2 in two
processes that torchrun starts, leased (made-up) GPUs, a grid, what is selected from it, one CHORD method, pruning,
evaluation, report.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.ops.gpu_lease import DEVICES, LOCKS, VISIBLE
from reference_impl.files import file_hash, read_jsonl, write_jsonl
from tests.support.checkout import copy_project
from tests.support.real_data import openr1_row, toolace_row

pytestmark = [pytest.mark.slow, pytest.mark.workflow]

SCALE = "cluster"
MODEL = "Tiny-Qwen2"
RESULTS = f"results/{SCALE}"
SIZES = {
    "steps_divisor": 100,  # 15 RL steps of the paper's 1,500, a validation after every second
    "prompt_rows": 8,
    "expert_rows": 8,
    "validation_rows": 4,
    "sft_batch": 4,
    "rl_prompts": 2,
    "group_size": 2,
}
TOKENS = {"math": 80, "tool": 400}
TASKS = {"math": ["aime24", "amc", "mmlu-pro"], "tool": ["bfcl"]}
QUESTIONS = {
    "aime24": [{"id": n, "problem": f"Find ${n} + 2$.", "answer": f"{n + 2:03d}"} for n in range(3)],
    "amc": [{"id": n, "problem": f"Find ${n} + 7$.", "answer": float(n + 7)} for n in range(3)],
    "mmlu-pro": [
        {
            "question_id": n,
            "question": f"Which is the {name} of {n}?",
            "options": ["one", "two", "three"],
            "answer": "ABC"[n],
            "answer_index": n,
            "category": name,
        }
        for n, name in enumerate(("business", "law", "math"))
    ],
}
"""Rows in the benchmarks' own formats."""
CALLS: dict[str, dict[str, Any]] = {
    "": {
        "id": "multiple_0",
        "question": [[{"role": "user", "content": "Add 1 and 2."}]],
        "function": [
            {
                "name": "add",
                "description": "Add two numbers.",
                "parameters": {
                    "type": "dict",
                    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                    "required": ["a", "b"],
                },
            }
        ],
    },
    "possible_answer": {"id": "multiple_0", "ground_truth": [{"add": {"a": [1], "b": [2]}}]},
}
"""BFCL's two folders → the one row of its one file."""
CALLS_TASK = {"rows": 1, "categories": {"multiple": 1}}


Change = Callable[[dict[str, Any]], None]


def rewrite(path: Path, change: Change) -> None:
    """Load a YAML file, let `change` edit it, and write it back."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")


def small_paper(document: dict[str, Any]) -> None:
    """The scale `paper` with sizes that a CPU can do."""
    document |= {"name": SCALE, "engine": "transformers", "micro_batch_tokens": 512, "rollout_batch": 8}
    document["learning_rate_factor"] = 1000  # or nothing changes in bfloat16
    del document["engine_options"]
    document["strategy"]["processes"] = 2
    document["resources"] = {"train": {"gpu": 2, "mem_mb": 1000}, "generate": {"gpu": 1, "mem_mb": 1000}}
    del document["domains"]["medicine"]
    for name, sizes in document["domains"].items():
        sizes |= SIZES | {"max_response_tokens": TOKENS[name], "tasks": TASKS[name]}
        sizes["policies"] = dict.fromkeys(sizes["policies"], MODEL)
    document["evaluation"] = {"max_items": None, "max_samples": 2}


def small_task(rows: list[dict[str, Any]]) -> Change:
    """A benchmark that has as many questions as we wrote down."""

    def change(task: dict[str, Any]) -> None:
        task.pop("answers_sha256", None)
        task["rows"] = len(rows)
        if "categories" in task:
            task["categories"] = {row["category"]: 1 for row in rows}

    return change


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_policy: Path) -> Path:
    """A copy of the repository with a scale, a model, data and benchmarks of its own; the tests share its results."""
    folder = copy_project(tmp_path_factory.mktemp("cluster"))
    config = folder / "pipelines" / "config"
    shape = json.loads((tiny_policy / "config.json").read_text(encoding="utf-8"))
    (config / "scales" / f"{SCALE}.yaml").write_bytes((config / "scales" / "paper.yaml").read_bytes())
    rewrite(config / "scales" / f"{SCALE}.yaml", small_paper)
    entry = {
        "repository": "nobody/tiny",
        "parameters": 10**5,
        "hidden_size": shape["hidden_size"],
        "intermediate_size": shape["intermediate_size"],
        "layers": shape["num_hidden_layers"],
        "heads": shape["num_attention_heads"],
        "kv_heads": shape["num_key_value_heads"],
        "head_dim": shape["hidden_size"] // shape["num_attention_heads"],
        "vocabulary": shape["vocab_size"],
        "context": shape["max_position_embeddings"],
    }
    rewrite(config / "models.yaml", lambda models: models.update({MODEL: entry}))

    def one_table(experiments: dict[str, Any]) -> None:
        columns = [column for column in experiments["table1"]["columns"] if column["domain"] == "math"]
        methods = ["original", "sft_best", "chord_phi"]
        table = experiments["table1"] | {"domains": ["math"], "methods": methods, "columns": columns}
        experiments.clear()
        experiments.update(headline=["table1"], table1=table)

    rewrite(config / "experiments.yaml", one_table)
    rewrite(config / "methods.yaml", lambda methods: methods["sft"].update(grid={"learning_rate": [1e-6, 1e-5]}))
    mine = folder / "mine"
    for task, rows in QUESTIONS.items():
        rewrite(folder / "evaluation" / "tasks" / f"{task}.yaml", small_task(rows))
        write_jsonl(mine / f"{task}.jsonl", rows)
    rewrite(folder / "evaluation" / "tasks" / "bfcl.yaml", lambda task: task.update(CALLS_TASK))
    for name, row in CALLS.items():
        write_jsonl(mine / "bfcl" / name / "BFCL_v4_multiple.json", [row])
    write_jsonl(mine / "openr1.jsonl", [openr1_row(n) for n in range(100, 160)])
    write_jsonl(mine / "few.jsonl", [openr1_row(n, answer="x" if n % 2 else str(n + 1)) for n in range(100, 110)])
    write_jsonl(mine / "wrong.jsonl", [{"question": "1 + 1?", "reply": "2"}])
    write_jsonl(mine / "toolace.jsonl", [toolace_row(n) for n in range(10, 70)])
    (mine / "model").symlink_to(tiny_policy)
    return folder


@dataclass(frozen=True)
class Ended:
    """A call of Snakemake: its exit status, and what it printed on both streams."""

    status: int
    output: str


def start(folder: Path, *arguments: str, gpus: str = "made-up-0,made-up-1", **changes: Any) -> subprocess.Popen[str]:
    """Call Snakemake as a user with two GPUs would; `changes` replace what stands after `--config`."""
    given = {
        "scale": SCALE,
        "policies": {MODEL: "mine/model"},
        "data": {**{task: f"mine/{task}.jsonl" for task in QUESTIONS}, "bfcl": "mine/bfcl"},
        "data_options": {
            "math": {"local": {"openr1": "mine/openr1.jsonl"}},
            "tool": {"local": {"toolace": "mine/toolace.jsonl"}, "answers": "mine/answers"},
        },
        **changes,
    }
    config = [f"{key}={json.dumps(value)}" for key, value in given.items()]
    environment = {key: value for key, value in os.environ.items() if key != VISIBLE}
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, "--config", *config],
        cwd=folder,
        env=environment | {DEVICES: gpus, LOCKS: str(folder / "locks")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(job: subprocess.Popen[str]) -> Ended:
    output, _ = job.communicate(timeout=1200)
    return Ended(job.returncode, output)


def math_data(file: str) -> dict[str, Any]:
    return {"data_options": {"math": {"local": {"openr1": f"mine/{file}"}}}}


DATA = f"{RESULTS}/data"
CHORD = f"{RESULTS}/runs/math/chord_phi/seed0"


@pytest.fixture(scope="module")
def refused(project: Path) -> dict[str, Ended]:
    """Calls with inputs that cannot be used, before any other call."""
    calls = {
        "no such model": ended(start(project, "--dry-run", policies={MODEL: "mine/modle"})),
        "wrong schema": ended(start(project, f"{DATA}/math/candidates.jsonl", **math_data("wrong.jsonl"))),
        "too few rows": ended(start(project, f"{DATA}/math/prompts.jsonl", **math_data("few.jsonl"))),
        "no answers": ended(start(project, f"{DATA}/tool/expert.jsonl")),
        "too few GPUs": ended(start(project, f"{CHORD}/run.json", gpus="made-up-0")),
    }
    assert not (project / CHORD).exists()
    return calls


@dataclass(frozen=True)
class Interrupted:
    """A call whose training job lost its launcher: what was left behind."""

    call: Ended
    step: int
    """Updates in the saved state."""
    metrics: str
    record: bool


@pytest.fixture(scope="module")
def interrupted(project: Path, refused: dict[str, Ended]) -> Interrupted:
    """The training of CHORD-φ, killed as soon as it has saved a state."""
    call = start(project, f"{CHORD}/run.json")
    state = project / CHORD / "state" / "progress.json"
    deadline = time.monotonic() + 300
    while not state.is_file():
        assert call.poll() is None and time.monotonic() < deadline, ended(call).output
        time.sleep(0.02)
    os.kill(launcher_of(project, "chord_phi"), signal.SIGKILL)
    result = ended(call)
    step = json.loads(state.read_text(encoding="utf-8"))["step"]
    metrics = (project / CHORD / "metrics.jsonl").read_text(encoding="utf-8")
    return Interrupted(result, step, metrics, (project / CHORD / "run.json").exists())


def launcher_of(folder: Path, run: str) -> int:
    """The process of this checkout's torchrun that trains a run."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
            if words[1].endswith("/torchrun") and run in words and process.joinpath("cwd").readlink() == folder:
                return int(process.name)
        except (OSError, IndexError):  # not ours, or it has ended
            continue
    raise AssertionError(f"no torchrun of {run}")


@pytest.fixture(scope="module")
def finished(project: Path, interrupted: Interrupted) -> Ended:
    """The default target and the data of the tool domain, once ToolACE's questions are answered."""
    candidates = read_jsonl(project / DATA / "tool" / "candidates.jsonl")
    answers = [
        {"id": row["id"], "response": f"<think>So.</think><tool_call>{json.dumps(row['gold'])}</tool_call>"}
        for row in candidates
    ]
    for expert in ("DeepSeek-R1", "Qwen2.5-72B-Instruct"):
        write_jsonl(project / "mine" / "answers" / f"{expert}.jsonl", answers)
    return ended(start(project, "all", f"{DATA}/tool/manifest.json", "--resources", "gpu=2"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("no such model", f"policies.{MODEL}: 'mine/modle' is neither a commit hash of 40 hex digits nor a folder"),
        ("wrong schema", "error: openr1-math-220k: 0 of 1 rows are left; left out: 1 quarantined (no text in problem)"),
        ("too few rows", "error: prompts.jsonl needs 8 rows of openr1-math-220k, 1 remain for it."),
        ("no answers", "demonstrations are needed; of "),
        ("too few GPUs", "error: the job needs 2 GPUs, and 1 can be used here (made-up-0)."),
    ],
)
def test_inputs_that_cannot_be_used_are_named_before_anything_is_trained(
    refused: dict[str, Ended], call: str, message: str
) -> None:
    assert refused[call].status != 0
    assert message in refused[call].output, refused[call].output
    assert "Traceback" not in refused[call].output


def test_a_training_job_that_loses_its_launcher_stops_and_goes_on_from_its_state(
    project: Path, interrupted: Interrupted, finished: Ended
) -> None:
    assert interrupted.call.status != 0 and not interrupted.record
    assert 2 <= interrupted.step < 15
    metrics = (project / CHORD / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in metrics] == list(range(1, 16))
    assert metrics[: interrupted.step] == interrupted.metrics.splitlines()[: interrupted.step]
    log = (project / RESULTS / "logs" / "train" / "math" / "chord_phi" / "seed0.log").read_text(encoding="utf-8")
    assert f"step {interrupted.step + 1}/15" in log and " step 1/15" not in log


def test_every_job_ran_once_and_left_its_files(project: Path, finished: Ended) -> None:
    assert finished.status == 0, finished.output
    results = project / RESULTS
    runs = ["chord_phi", "sft-lr1e-05", "sft-lr1e-06", "sft_best", "sft_light"]
    assert sorted(path.name for path in (results / "runs" / "math").iterdir()) == runs
    for run in ("chord_phi", "sft_best", "sft_light"):
        best = results / "runs" / "math" / run / "seed0" / "best"
        assert {path.name for path in best.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    for method in ("original", "sft_best", "chord_phi"):
        folder = results / "evaluations" / "math" / method / "seed0"
        # Three questions each; two samples of 32 and 8, and MMLU-Pro's one.
        assert [len(read_jsonl(folder / f"{task}.jsonl")) for task in TASKS["math"]] == [6, 6, 3]
        assert (results / "scores" / "math" / method / "seed0.parquet").is_file()
    table = (results / "report" / "tables" / "table1.csv").read_text(encoding="utf-8")
    assert all(label in table for label in ("Original Model", "SFT-best", "CHORD-φ"))
    assert "CHORD-φ" in (results / "report" / "index.html").read_text(encoding="utf-8")
    left = [path for pattern in ("*.part", "*.old", ".*.tmp", "state") for path in results.rglob(pattern)]
    assert not left, "nothing half-made, and no state of a finished run"
    assert {path.name for path in project.glob("locks/*/*.lock")} == {"made-up-0.lock", "made-up-1.lock"}


def test_the_record_says_what_ran(project: Path, finished: Ended) -> None:
    record = json.loads((project / CHORD / "run.json").read_text(encoding="utf-8"))
    policy = json.loads((project / RESULTS / "policies" / MODEL / "manifest.json").read_text(encoding="utf-8"))
    data = json.loads((project / DATA / "math" / "manifest.json").read_text(encoding="utf-8"))
    assert (record["status"], record["method"], record["scale"], record["seed"]) == ("complete", "chord_phi", SCALE, 0)
    config = record["config"]
    assert config["strategy"] == {
        "processes_of": {},
        "kind": "deepspeed",
        "zero_stage": 2,
        "precision": "bf16",
        "offload": "optimizer",
        "activation_checkpointing": True,
        "processes": 2,
    }
    assert (config["policy"], config["data"], config["engine"]) == (MODEL, "openr1_math", "transformers")
    assert (config["steps"], config["mu"]["value"], config["phi"]["name"]) == (15, 0.1, "p_one_minus_p")
    weights = {"model.safetensors": policy["sha256"]["model.safetensors"]}
    assert record["policy_hash"] == hashlib.sha256(json.dumps(weights).encode()).hexdigest()
    assert record["data_hash"] == {name: data["sha256"][name] for name in ("prompts", "validation", "expert")}
    assert policy["local"] and policy["sha256"]["config.json"] == file_hash(project / "mine/model/config.json")
    assert record["best"]["checkpoint"] == "best" and record["expert_rows_cut"] == 0


def test_demonstrations_of_the_tool_domain_come_from_the_experts_answers(project: Path, finished: Ended) -> None:
    manifest = json.loads((project / DATA / "tool" / "manifest.json").read_text(encoding="utf-8"))
    counts = {key: manifest[f"{key}_rows"] for key in ("prompts", "validation", "expert", "expert_second")}
    assert counts == {"prompts": 8, "validation": 4, "expert": 8, "expert_second": 8}
    assert manifest["expert_aligned_rows"] == 8 and manifest["sources"]["source_rows"] == 60


def test_only_the_grids_checkpoints_are_pruned_and_the_record_lists_them(project: Path, finished: Ended) -> None:
    record = json.loads((project / RESULTS / "pruned" / "math" / "sft" / "seed0.json").read_text(encoding="utf-8"))
    # Three epochs of 8 demonstrations in batches of 4: a checkpoint after the steps 2, 4 and 6 of every run.
    assert [entry["checkpoint"] for entry in record["removed"]] == [
        f"{RESULTS}/runs/math/sft-lr{rate}/seed0/checkpoints/step-{step:06d}"
        for rate in ("1e-06", "1e-05")
        for step in (2, 4, 6)
    ]
    assert record["bytes"] == sum(entry["bytes"] for entry in record["removed"]) > 0
    assert not list((project / RESULTS).glob("runs/math/sft-*/seed0/checkpoints/*"))
    chosen = json.loads((project / RESULTS / "runs/math/sft_best/seed0/run.json").read_text(encoding="utf-8"))
    assert len(chosen["selected_from"]) == 6


def test_a_second_call_does_nothing(project: Path, finished: Ended) -> None:
    again = ended(start(project))
    assert again.status == 0 and "Nothing to be done" in again.output, again.output
