"""Two training processes under ZeRO-3, each with an engine of its own, through the command that the workflow calls."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.sandbox import math_world
from reference_impl.config import CONFIG_DIR
from reference_impl.files import read_jsonl, write_jsonl
from reference_impl.rollout import load_engine
from tests.conftest import REPO
from tests.with_vllm.reference import load_reference, logprob_error, requests_of


def command(folder: Path, policy: Path, scale: dict[str, Any]) -> list[str]:
    """`reference_impl.train` on a scale of its own, with data and declarations in ``folder``."""
    if not (folder / "config").exists():
        shutil.copytree(CONFIG_DIR, folder / "config")
    values = yaml.safe_load((CONFIG_DIR / "scales/smoke.yaml").read_text(encoding="utf-8")) | scale
    sizes = values["domains"]["math"]
    values["domains"] = {"math": sizes}
    (folder / f"config/scales/{values['name']}.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    write_jsonl(folder / "prompts.jsonl", math_world.rl_rows(sizes["prompt_rows"], 0))
    write_jsonl(folder / "expert.jsonl", math_world.expert_rows(sizes["expert_rows"], 0))
    write_jsonl(folder / "validation.jsonl", math_world.validation_rows(sizes["validation_rows"], 0))
    options = {
        "run": "chord_phi",
        "domain": "math",
        "scale": values["name"],
        "seed": "0",
        "policy": str(policy),
        "data": str(folder),
        "out": str(folder / values["name"]),
        "declarations": str(folder / "config"),
    }
    return ["reference_impl.train", *(part for key, value in options.items() for part in (f"--{key}", value))]


def train(launcher: list[str], arguments: list[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(
        [sys.executable, *launcher, *arguments], cwd=REPO, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def folder(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of one process of plain torch, called alone."""
    folder = tmp_path_factory.mktemp("ranks")
    train(["-m"], command(folder, policy, {"name": "alone", "engine": "vllm"}))
    return folder


@pytest.mark.parametrize("placement", ["colocated", pytest.param("dedicated", marks=pytest.mark.thorough)])
def test_two_processes_with_an_engine_each_train_as_one(policy: Path, folder: Path, placement: str) -> None:
    strategy = {"kind": "deepspeed", "zero_stage": 3, "processes": 2}
    options = {"placement": placement}
    launcher = {"train": "torchrun --standalone --nproc-per-node {processes} -m --"}
    together = {"name": placement, "engine": "vllm", "engine_options": options, "strategy": strategy}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"]
    train(torchrun, command(folder, policy, together | {"launcher": launcher}))
    expected, found = (read_jsonl(folder / name / "metrics.jsonl") for name in ("alone", placement))
    assert len(expected) == len(found) == 3
    for one, two in zip(expected, found, strict=True):
        assert two["engine_kl"] < 1e-9 and two["engine_ess"] == pytest.approx(1.0, abs=1e-6)
        for key, value in one.items():
            assert two[key] == (None if value is None else pytest.approx(value, rel=1e-4, abs=1e-6)), key
    alone, shared = (read_jsonl(folder / name / "validation.jsonl") for name in ("alone", placement))
    assert [record["accuracy"] for record in alone] == [record["accuracy"] for record in shared]
    assert json.loads((folder / placement / "run.json").read_text())["config"]["strategy"]["processes"] == 2


def test_exported_checkpoint_is_one_of_vllms(running_engine: Any, folder: Path) -> None:
    running_engine.close()  # a process holds one engine
    engine: Any
    engine, _ = load_engine("vllm", folder / "colocated/best", 64)
    requests = requests_of(folder / "colocated/best")
    completions = engine.generate(requests, max_tokens=16)
    assert logprob_error(load_reference(folder / "colocated/best"), requests, completions) < 1e-4
    engine.close()
