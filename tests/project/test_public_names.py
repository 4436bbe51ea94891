"""Names that other projects import: they stay where they are, whatever moves around them."""

import importlib
import subprocess
import sys

import pytest

from tests.support.checkout import REPO

pytestmark = pytest.mark.slow

PUBLIC = {
    "reference_impl.losses": [
        "sft_loss",
        "grpo_loss",
        "chord_loss",
        "demonstration_loss",
        "approx_kl",
        "clip_fraction",
    ],
    "reference_impl.token_weights": ["TOKEN_WEIGHTS"],
    "reference_impl.advantages": ["group_advantages"],
    "reference_impl.rewards": ["math_reward"],
    "reference_impl.config": ["load_declarations", "load_scale", "resolve_run"],
    "reference_impl.strategy": ["Strategy", "TorchStrategy", "load_strategy"],
    "reference_impl.mu": ["MU_SCHEDULES", "scale_params"],
}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_stay_importable(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in PUBLIC[module] if not hasattr(found, name)] == []


@pytest.mark.parametrize("command", ["reference_impl.train", "evaluation.regrade"])
def test_public_commands_stay_callable(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", command, "--help"], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and f"python -m {command}" in done.stdout
