"""What can go wrong around a training run: one line says what, and the same call goes on as if nothing had happened."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from reference_impl.run.saving import INTERRUPTED
from reference_impl.train import main
from reference_impl.trainer import Trainer
from tests.reference_impl.test_train_command import arguments
from tests.support.checkout import REPO

pytestmark = pytest.mark.slow

RESULTS = ("metrics.jsonl", "validation.jsonl", "best/model.safetensors")


@pytest.fixture(scope="module")
def undisturbed(tiny_policy: Path, smoke_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    main(arguments(tiny_policy, smoke_data, out))
    return out


def start(policy: Path, data: Path, out: Path, bytes_a_file: int | None = None) -> subprocess.Popen[str]:
    """A training run in a process of its own, which can write no file beyond ``bytes_a_file``: as on a full disk."""

    def limit() -> None:
        if bytes_a_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_a_file, bytes_a_file))

    command = [sys.executable, "-m", "reference_impl.train", *arguments(policy, data, out)]
    return subprocess.Popen(command, cwd=REPO, stderr=subprocess.PIPE, text=True, preexec_fn=limit)


def assert_goes_on(policy: Path, data: Path, out: Path, undisturbed: Path) -> None:
    main(arguments(policy, data, out))
    for name in RESULTS:
        assert (out / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert not list(out.glob("state*"))


def test_sigterm_saves_and_asks_to_be_started_again(
    tiny_policy: Path, smoke_data: Path, tmp_path: Path, undisturbed: Path
) -> None:
    process = start(tiny_policy, smoke_data, tmp_path)
    metrics = tmp_path / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while not (metrics.is_file() and metrics.read_bytes().count(b"\n")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=300)
    # On a fast machine the run may have been at its end.
    assert process.returncode in (0, INTERRUPTED), said
    if process.returncode == INTERRUPTED:
        assert "the state is saved" in said and "Traceback" not in said
        assert json.loads((tmp_path / "state/progress.json").read_text())["step"] >= 1
        assert_goes_on(tiny_policy, smoke_data, tmp_path, undisturbed)


def test_a_full_disk(tiny_policy: Path, smoke_data: Path, tmp_path: Path, undisturbed: Path) -> None:
    largest = max(path.stat().st_size for path in undisturbed.rglob("*") if path.is_file())
    process = start(tiny_policy, smoke_data, tmp_path, bytes_a_file=largest // 2)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1 and "Traceback" not in said, said
    assert "error: " in said and "the same call goes on from the last state" in said
    assert_goes_on(tiny_policy, smoke_data, tmp_path, undisturbed)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a file system that nobody can write to: /proc")
def test_results_that_cannot_be_written(tiny_policy: Path, smoke_data: Path) -> None:
    with pytest.raises(SystemExit, match=r"^error: .*/proc/chord"):
        main(arguments(tiny_policy, smoke_data, Path("/proc/chord/run")))


@pytest.mark.parametrize("fault", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_out_of_memory_says_what_to_make_smaller(
    tiny_policy: Path, smoke_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def fails(self: Trainer) -> None:
        raise fault

    monkeypatch.setattr(Trainer, "train_step", fails)
    with pytest.raises(SystemExit, match="out of memory: smaller micro_batch_tokens or rollout_batch"):
        main(arguments(tiny_policy, smoke_data, tmp_path))
