"""packages/chord-losses: a wheel is built, installed elsewhere, and computes what reference_impl computes."""

import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from reference_impl.losses import chord_loss, grpo_loss, sft_loss
from reference_impl.token_weights import TOKEN_WEIGHTS
from tests.support.checkout import REPO, project_files

PACKAGE = Path("packages", "chord-losses")
MODULES = {"advantages", "losses", "mu", "response_weights", "token_weights"}

COMPUTE = """
import importlib.util, json, sys
sys.path.insert(0, sys.argv[1])
assert importlib.util.find_spec("reference_impl") is None, "the repository is in sight"
import torch
import chord_losses
from chord_losses import TOKEN_WEIGHTS, chord_loss, grpo_loss, sft_loss
from chord_losses.mu import MU_SCHEDULES
given = json.load(sys.stdin)
logprobs_BT = torch.tensor(given["logprobs"], dtype=torch.float64, requires_grad=True)
mask_BT = torch.tensor(given["mask"], dtype=torch.float64)
grpo = grpo_loss(logprobs_BT, logprobs_BT.detach(), torch.tensor(given["advantages"], dtype=torch.float64), mask_BT,
                 clip_eps=0.2, denom=given["denom"])
phi_BT = TOKEN_WEIGHTS["p_one_minus_p"](logprobs_BT.exp(), None, mask_BT)
loss = chord_loss(grpo, sft_loss(logprobs_BT, mask_BT, weights_BT=phi_BT, denom=given["denom"]), mu=0.1)
loss.backward()
print(json.dumps([loss.item(), logprobs_BT.grad.tolist(), sorted(TOKEN_WEIGHTS), sorted(MU_SCHEDULES)]))
"""
GIVEN: dict[str, Any] = {
    "logprobs": [[-0.7, -0.1, -2.3], [-1.6, -0.4, -9.0]],
    "mask": [[1, 1, 1], [1, 1, 0]],
    "advantages": [1.0, -1.0],
    "denom": 5,
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in a copy, without a network, by the backend that is there."""
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("setuptools, which builds the wheel, is not installed")
    folder = tmp_path_factory.mktemp("package")
    for path in project_files():
        if path.is_relative_to(PACKAGE) or path.parent == Path("reference_impl"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPO / path, folder / path)
    command = [sys.executable, "-m", "pip", "wheel", str(folder / PACKAGE), "--wheel-dir", str(folder / "out")]
    options = ["--no-build-isolation", "--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = (folder / "out").glob("*.whl")
    return found


def test_the_wheel_has_the_modules_as_they_are_and_says_that_it_is_typed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = {name for name in content.namelist() if name.startswith("chord_losses/")}
        assert names == {f"chord_losses/{name}.py" for name in (*MODULES, "__init__")} | {"chord_losses/py.typed"}
        for name in MODULES:
            assert content.read(f"chord_losses/{name}.py") == (REPO / "reference_impl" / f"{name}.py").read_bytes()


def test_installed_elsewhere_it_computes_the_same_loss(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    command = [sys.executable, "-m", "pip", "install", str(wheel), "--target", str(target), "--no-deps", "--no-index"]
    subprocess.run([*command, "--quiet", "--disable-pip-version-check"], check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-I", "-c", COMPUTE, str(target)],
        input=json.dumps(GIVEN),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loss, gradient, phis, schedules = json.loads(done.stdout)

    logprobs_BT = torch.tensor(GIVEN["logprobs"], dtype=torch.float64, requires_grad=True)
    mask_BT = torch.tensor(GIVEN["mask"], dtype=torch.float64)
    advantages_B = torch.tensor(GIVEN["advantages"], dtype=torch.float64)
    grpo = grpo_loss(logprobs_BT, logprobs_BT.detach(), advantages_B, mask_BT, clip_eps=0.2, denom=5)
    phi_BT = TOKEN_WEIGHTS["p_one_minus_p"](logprobs_BT.exp(), None, mask_BT)
    expected = chord_loss(grpo, sft_loss(logprobs_BT, mask_BT, weights_BT=phi_BT, denom=5), mu=0.1)
    expected.backward()
    assert logprobs_BT.grad is not None
    assert (loss, gradient) == (expected.item(), logprobs_BT.grad.tolist())
    assert phis == sorted(TOKEN_WEIGHTS) and "adaptive" in schedules
