"""What a run was made of: `run.json`."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "math-verify")


def code_revision() -> str | None:
    """The git commit of this code, with ``-dirty`` where it was changed; None outside a checkout."""
    root = Path(__file__).resolve().parent
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip()


def environment() -> dict[str, Any]:
    """Package versions and hardware."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    return {
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "hardware": {"device": device, "cpus": os.cpu_count(), "threads": torch.get_num_threads()},
        "code_revision": code_revision(),
    }
