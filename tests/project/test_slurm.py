"""What profiles/slurm makes of jobs, seen by commands that stand in for SLURM's. Needs requirements/slurm.txt."""

import importlib.util
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.plan import load_plan
from tests.support.checkout import REPO, copy_project

pytestmark = pytest.mark.slow

PLUGIN = importlib.util.find_spec("snakemake_executor_plugin_slurm") is not None
needs_plugin = pytest.mark.skipif(not PLUGIN, reason="pip install --requirement requirements/slurm.txt")

RUNS = 'sh -c "$wrap" > "$FAKE/$id.log" 2>&1'
COMMANDS = {
    # Keeps its arguments, one a line, and runs the job at once.
    "sbatch": """
        id=$$
        printf '%s\\n' "$@" > "$FAKE/$id.sbatch"
        for word in "$@"; do case "$word" in --wrap=*) wrap="${word#--wrap=}" ;; esac; done
        export SLURM_JOB_ID=$id
        if RUN; then state=COMPLETED; else state=FAILED; fi
        echo "$id|$state" >> "$FAKE/states"
        echo $id""",
    "sacct": 'cat "$FAKE/states"',
    "squeue": 'case "$*" in *%N*) echo "node[1-2]" ;; *) cat "$FAKE/states" ;; esac',
    "sinfo": 'printf "PARTITION\\nCPU_PARTITION*\\n"',
    "sacctmgr": "echo ACCOUNT",
    "scontrol": 'case "$*" in "show hostnames node[1-2]") printf "127.0.0.1\\nnode2\\n" ;; *) exit 1 ;; esac',
    "scancel": "exit 0",
    # The command, once for every task, side by side.
    "srun": """
        printf '%s\\n' "$@" > "$FAKE/$SLURM_JOB_ID.srun"
        tasks=1
        while :; do case "$1" in
            --ntasks) tasks=$2; shift 2 ;;
            --nodes | --ntasks-per-node | --cpus-per-task | --gpus-per-node) shift 2 ;;
            -*) shift ;;
            *) break ;;
        esac; done
        for task in $(seq 2 $tasks); do "$@" & done
        "$@"
        result=$?
        wait
        exit $result""",
}


def fake_cluster(folder: Path, run: str = RUNS) -> dict[str, str]:
    """An environment in which the commands of SLURM are those above; they write to `folder`."""
    (folder / "bin").mkdir(parents=True)
    for name, body in COMMANDS.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{body.replace('RUN', run)}\n", encoding="utf-8")
        (folder / "bin" / name).chmod(0o755)
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "FAKE": str(folder)}


def submit(project: Path, cluster: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Snakemake with the profile, asking soon and often how jobs are."""
    options = ["--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1"]
    command = [sys.executable, "-m", "snakemake", *options, "--latency-wait", "5", "--retries", "0", *arguments]
    return subprocess.run(command, cwd=project, env=cluster, capture_output=True, text=True, timeout=600, check=False)


def submitted(folder: Path) -> dict[str, str]:
    """Rule → the options that its job was submitted with, in one line and without the command."""
    found = {}
    for path in folder.glob("*.sbatch"):
        words = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("--wrap=")]
        rule = re.search(r"--comment rule_(\w+?)_wildcards", " ".join(words))
        assert rule is not None
        found[rule[1]] = " ".join(words)
    return found


@needs_plugin
@pytest.mark.workflow
def test_a_job_runs_through_the_profile(tmp_path: Path) -> None:
    project, cluster = copy_project(tmp_path / "project"), fake_cluster(tmp_path / "slurm")
    target = "results/smoke/data/math/validation.jsonl"
    result = submit(project, cluster, "--config", "scale=smoke", "--", target)
    assert result.returncode == 0, result.stderr
    assert (project / target).stat().st_size > 0
    options = submitted(tmp_path / "slurm")["data"]
    assert "-A ACCOUNT -p CPU_PARTITION -t 480 --mem 4000 --ntasks=1 --cpus-per-task=1" in options
    assert "--gpus" not in options


def ready_to_train(folder: Path) -> tuple[Path, dict[str, str]]:
    """A project with (empty) files of everything that the first training and evaluation of `paper` need, and a cluster
    on which every job fails.
    """
    project, plan = copy_project(folder / "project"), load_plan({"scale": "paper"})
    made = [
        plan.files.complete_marker(plan.files.initial_checkpoint("math", "grpo", 0)),
        *plan.files.run_data("math", "grpo"),
        plan.files.checked("math", "grpo"),
    ]
    for path in made + plan.files.benchmark_sources(plan.choice.scale.domains["math"].tasks):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).touch()
    return project, fake_cluster(folder / "slurm", run="false")


@needs_plugin
@pytest.mark.workflow
def test_what_the_paper_asks_of_a_cluster(tmp_path: Path) -> None:
    """Jobs fail here, and are submitted before that."""
    project, cluster = ready_to_train(tmp_path)
    plan = load_plan({"scale": "paper"})
    train, generate = plan.files.records("grpo", ("math",))[0], plan.files.evaluations("original", ("math",))[0]
    rules = ["--allowed-rules", "train", "generate"]
    result = submit(project, cluster, *rules, "--config", "scale=paper", "--", train, generate)
    options = submitted(tmp_path / "slurm")
    assert set(options) == {"train", "generate"}, result.stderr
    for kind in ("train", "generate"):
        words, asked = options[kind], plan.options.resources(kind)
        assert f"-p GPU_PARTITION -t {asked['runtime']} --mem {asked['mem_mb']} --nodes=1" in words
        assert f"--cpus-per-task={asked['threads']}" in words and f"--gpus={asked['gpu']}" in words
        assert "ntasks-per-gpu" not in words
    assert "--gpus=2" in options["train"] and "--gpus=1" in options["generate"]


@needs_plugin
@pytest.mark.workflow
def test_a_run_on_two_machines_asks_for_both(tmp_path: Path) -> None:
    """The lines of docs/cluster.md, in the place of the profile's."""
    project, cluster = ready_to_train(tmp_path)
    profile = project / "profiles" / "slurm" / "config.yaml"
    line = re.search(
        r"^  train: (\{.*mpi.*\})$", (project / "docs" / "cluster.md").read_text("utf-8"), flags=re.MULTILINE
    )
    assert line is not None
    settings = yaml.safe_load(profile.read_text(encoding="utf-8"))
    settings["set-resources"]["train"] = yaml.safe_load(line[1])
    profile.write_text(yaml.safe_dump(settings), encoding="utf-8")
    target = load_plan({"scale": "paper"}).files.records("grpo", ("math",))[0]
    result = submit(project, cluster, "--allowed-rules", "train", "--config", "scale=paper", "--", target)
    options = submitted(tmp_path / "slurm")["train"]
    assert "--nodes=2 --ntasks=2 --cpus-per-task=16" in options and "--gpus=16" in options, result.stderr
    assert "ntasks-per-gpu" not in options


HELLO = """
import os
import sys

import torch.distributed as dist

dist.init_process_group("gloo")
# One write: two processes share this stream, and `print` sends a line's end by itself.
sys.stdout.write(f"rank {dist.get_rank()} of {dist.get_world_size()}, local {os.environ['LOCAL_RANK']}\\n")
sys.stdout.flush()
"""


def test_processes_on_several_machines_find_each_other(tmp_path: Path) -> None:
    """Two machines that are both this one: each has a torchrun of its own, and they meet at the first."""
    cluster = fake_cluster(tmp_path / "slurm") | {"SLURM_JOB_ID": "7", "MASTER_PORT": str(_free_port())}
    (tmp_path / "hello.py").write_text(HELLO, encoding="utf-8")
    script = REPO / "profiles" / "slurm" / "torchrun_nodes.sh"
    command = ["bash", str(script), "2", "-m", "--", "hello"]
    result = subprocess.run(
        command, cwd=tmp_path, env=cluster, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    assert sorted(line for line in result.stdout.splitlines() if line.startswith("rank")) == [
        "rank 0 of 2, local 0",
        "rank 1 of 2, local 0",
    ]
    words = (tmp_path / "slurm" / "7.srun").read_text(encoding="utf-8").replace("\n", " ")
    assert "--nodes 2 --ntasks 2 --ntasks-per-node 1" in words and "--gpus-per-node 1" in words


def test_processes_that_cannot_be_shared_out_are_refused(tmp_path: Path) -> None:
    cluster = fake_cluster(tmp_path / "slurm") | {"SLURM_JOB_ID": "7"}
    command = ["bash", str(REPO / "profiles" / "slurm" / "torchrun_nodes.sh"), "3", "-m", "--", "hello"]
    result = subprocess.run(command, env=cluster, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "3 processes cannot be shared out evenly to 2 machines" in result.stderr


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])
