"""Tests of what only a GPU has: `make test-gpu`; elsewhere they are skipped, each with its reason."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import REPO
from tests.with_vllm.widened import widen_policy

HERE = Path(__file__).parent
LIMIT_S = 600
"""Of one process: what hangs is a failure."""
Work = Callable[..., dict[str, Any]]


def reason_to_skip(item: pytest.Item) -> str | None:
    """What a test needs and this machine has not; None: nothing. Marks: ``gpus(number)``, ``packages(name, …)``."""
    needed = next((mark.args[0] for mark in item.iter_markers("gpus")), 1)
    if torch.cuda.device_count() < needed:
        return f"{needed} GPU{'s' if needed > 1 else ''} needed, {torch.cuda.device_count()} here: make test-gpu"
    names = [name for mark in item.iter_markers("packages") for name in mark.args]
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} not installed here: make test-gpu VENV=…" if missing else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        reason = reason_to_skip(item) if HERE in item.path.parents else None
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped sandbox policy with attention heads of 32 dimensions, which GPU kernels know."""
    shipped = REPO / "pipelines/sandbox/policies/sandbox-math"
    return widen_policy(shipped, tmp_path_factory.mktemp("policy") / "sandbox-math")


@pytest.fixture
def work(policy: Path, tmp_path: Path) -> Work:
    """Let processes of their own do a part of tests/with_gpu/worker.py: a process holds one engine, and may die."""

    def call(part: str, *options: str, processes: int = 0) -> dict[str, Any]:
        launcher = ["-m", "tests.with_gpu.worker"]
        if processes:
            launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
            launcher += ["-m", "--", "tests.with_gpu.worker"]
        done = subprocess.run(
            [sys.executable, *launcher, part, str(policy), str(tmp_path), *options],
            cwd=REPO,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return dict(json.loads((tmp_path / f"{part}.json").read_text(encoding="utf-8")))

    return call
