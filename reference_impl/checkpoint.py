"""Everything that exact resumption needs, written whole or not at all."""

import json
import shutil
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from reference_impl.files import replace_folder
from reference_impl.strategy import Strategy


@dataclass
class Progress:
    """Where a run stands. Data order and sampling seeds are functions of these counters, so no RNG state is kept."""

    step: int = 0
    """Updates done."""
    rollout_batches: int = 0
    expert_batches: int = 0
    mu_state: dict[str, float] = field(default_factory=dict)
    grad_norm: float | None = None
    """Gradient norm, before clipping, of the last update."""
    best: dict[str, Any] | None = None
    """Validation record of the best checkpoint so far."""
    seconds: float = 0.0
    """Wall time spent, over all interruptions."""


def save_state(folder: Path, progress: Progress, strategy: Strategy, identity: str) -> None:
    """Write the resumption state of the run called ``identity`` to ``folder``."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    torch.save(strategy.state_dict(), part / "state.pt")
    (part / "progress.json").write_text(json.dumps({"identity": identity, **asdict(progress)}))
    replace_folder(part, folder)


def load_state(folder: Path, strategy: Strategy, identity: str) -> Progress | None:
    """Load the state in ``folder`` into ``strategy``; None where there is none.

    ``identity`` names configuration, starting policy and data. A state of another identity is left behind with one line
    on standard error: continuing would mix two runs.
    """
    if not folder.is_dir() and folder.with_name(folder.name + ".old").is_dir():
        folder.with_name(folder.name + ".old").rename(folder)  # the crash hit between two renames
    if not (folder / "progress.json").is_file():
        return None
    record = json.loads((folder / "progress.json").read_text())
    if record.pop("identity") != identity:
        print(f"{folder} is of another configuration, policy or data: starting anew", file=sys.stderr)
        return None
    strategy.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
    return Progress(**record)
