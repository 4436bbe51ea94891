"""Everything that exact resumption needs, written atomically."""

import json
import shutil
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reference_impl.files import replace_folder
from reference_impl.strategy import Strategy
from reference_impl.strategy.distributed import barrier, rank, require_same
from reference_impl.strategy.torch import TORCH_LAYOUT


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
    """Write the resumption state of the run called ``identity`` to ``folder``, which all ranks see."""
    part = folder.with_name(folder.name + ".part")
    if rank() == 0:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    barrier()
    strategy.save(part)
    barrier()
    if rank() == 0:
        record = {"identity": identity, "layout": strategy.layout, **asdict(progress)}
        (part / "progress.json").write_text(json.dumps(record))
        replace_folder(part, folder)


def load_state(folder: Path, strategy: Strategy, identity: str) -> Progress | None:
    """Load the state in ``folder`` into ``strategy``; None where there is none.

    ``identity`` names configuration, starting policy and data. A state of another identity is left behind with one line
    on standard error: continuing would mix two runs. Raises ValueError where another strategy, or another number of
    processes, saved it: its parts fit no other; and where not all ranks see the same state.
    """
    if rank() == 0 and not folder.is_dir() and folder.with_name(folder.name + ".old").is_dir():
        folder.with_name(folder.name + ".old").rename(folder)  # the crash hit between two renames
    barrier()
    file = folder / "progress.json"
    text = file.read_text() if file.is_file() else ""
    # Ranks that see another state, or none, would not wait for each other after this.
    require_same(f"{file} (all machines must see the same run folder)", text)
    if not text:
        return None
    record = json.loads(text)
    if record.pop("identity") != identity:
        if rank() == 0:
            print(f"{folder} is of another configuration, policy or data: starting from step 0", file=sys.stderr)
        return None
    layout = record.pop("layout", TORCH_LAYOUT)  # before there was a choice
    if layout != strategy.layout:
        raise ValueError(
            f"{folder} was saved by {layout}, and this is {strategy.layout}: "
            "resume with what saved it, or remove the folder to start from step 0"
        )
    strategy.load(folder)
    return Progress(**record)
