"""The training command of two processes: its inputs, and a launcher for each of two machines, both of them this one."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from pipelines.sandbox import math_world
from reference_impl.config import CONFIG_DIR
from reference_impl.files import write_jsonl
from tests.support.checkout import REPO

SIZES = {
    "steps_divisor": 250,  # 6 RL steps
    "prompt_rows": 6,
    "expert_rows": 6,
    "validation_rows": 3,
    "sft_batch": 3,
    "rl_prompts": 3,
    "group_size": 2,
    "max_response_tokens": 24,
}


def write_inputs(folder: Path) -> None:
    """Data and declarations of a small run."""
    shutil.copytree(CONFIG_DIR, folder / "config")
    scale = yaml.safe_load((folder / "config/scales/smoke.yaml").read_text(encoding="utf-8"))
    scale["strategy"] = {"kind": "deepspeed", "zero_stage": 2, "processes": 2}
    scale["launcher"] = {"train": "torchrun --standalone --nproc-per-node {processes} -m --"}
    scale["micro_batch_tokens"] = 300
    scale["domains"]["math"] |= SIZES
    (folder / "config/scales/pair.yaml").write_text(yaml.safe_dump(scale), encoding="utf-8")
    write_jsonl(folder / "data/prompts.jsonl", math_world.rl_rows(6, 0))
    write_jsonl(folder / "data/expert.jsonl", math_world.expert_rows(6, 0))
    write_jsonl(folder / "data/validation.jsonl", math_world.validation_rows(3, 0))


def arguments(policy: Path, folder: Path, out: Path) -> list[str]:
    """The command's options, for the inputs in ``folder``."""
    options = {"run": "chord_phi", "domain": "math", "scale": "pair", "seed": "0", "policy": str(policy)}
    options |= {"declarations": str(folder / "config"), "data": str(folder / "data"), "out": str(out)}
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def train_on_two_machines(
    folder: Path, accident: str, rank: int, first: list[str], second: list[str]
) -> list[tuple[int, str]]:
    """Exit status and standard error of both machines' torchrun, each with one process and arguments of its own.

    The accident (tests/support/deepspeed_command.py) meets the process of the given rank.
    """
    launcher = ["torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d"]
    launcher += ["--rdzv-endpoint", f"localhost:{free_port()}", "--local-addr", "localhost"]
    started = [*launcher, "-m", "--", "tests.support.deepspeed_command", accident, str(rank)]
    return run_together(folder, [[*started, *own] for own in (first, second)])


def deepspeed_on_two_machines(folder: Path, options: list[str]) -> list[tuple[int, str]]:
    """Exit status and standard error of both machines' `deepspeed --no_ssh`, each with one process."""
    hosts = folder / "hosts.txt"
    hosts.write_text("first slots=1\nsecond slots=1\n", encoding="utf-8")
    # The module is what the command `deepspeed` calls.
    launcher = ["deepspeed.launcher.runner", "--hostfile", str(hosts), "--no_ssh", "--no_local_rank"]
    launcher += ["--master_addr", "127.0.0.1", "--master_port", str(free_port())]
    train = ["--module", "reference_impl.train", *options]
    return run_together(folder, [[*launcher, "--node_rank", str(place), *train] for place in range(2)])


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


def run_together(folder: Path, modules: Iterable[Sequence[str]]) -> list[tuple[int, str]]:
    """Exit status and standard error of `python -m` with each of the arguments, started at the same time."""
    started = []
    for number, module in enumerate(modules):
        errors = folder / f"errors-{number}"
        with errors.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", *module],
                cwd=REPO,
                env={**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"},
                stdout=subprocess.DEVNULL,
                stderr=stream,
            )
        started.append((process, errors))
    try:
        return [(process.wait(timeout=300), errors.read_text(encoding="utf-8")) for process, errors in started]
    finally:
        for process, _ in started:
            process.terminate()  # not kill: a launcher must have the time to end its own processes
