"""Everything that exact resumption needs, written atomically."""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from reference_impl.files import read_jsonl, write_jsonl
from reference_impl.rollout.engine import Completion
from reference_impl.strategy import Strategy
from reference_impl.strategy.distributed import barrier, max_over_ranks, rank, require_same
from reference_impl.strategy.torch import TORCH_LAYOUT

PROGRESS = "progress.json"
"""A state's own file: where the run stands, whose it is, and the sizes of the others."""


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
    ahead: list[Completion] | None = None
    """This rank's responses to the next step's prompts, where they were sampled before the last update."""


def earlier(folder: Path) -> Path:
    """Where the state before the one in ``folder`` is kept."""
    return folder.with_name(folder.name + ".before")


def save_state(folder: Path, progress: Progress, strategy: Strategy, identity: str) -> None:
    """Write the resumption state of the run called ``identity`` to ``folder``, which all ranks see.

    The state before it stays beside it, for the case that a crash of the machine damages this one: no more than two are
    on the disk at any time, and a complete one at every moment.
    """
    part = folder.with_name(folder.name + ".part")
    if rank() == 0:
        shutil.rmtree(part, ignore_errors=True)
        if folder.is_dir():
            shutil.rmtree(earlier(folder), ignore_errors=True)
        part.mkdir(parents=True)
    barrier()
    strategy.save(part)
    if progress.ahead is not None:
        write_jsonl(part / _ahead_file(), map(asdict, progress.ahead))
    barrier()
    if rank() == 0:
        record = {
            "identity": identity,
            "layout": strategy.layout,
            "files": _sizes(part),
            **asdict(replace(progress, ahead=None)),
        }
        (part / PROGRESS).write_text(json.dumps(record))
        if folder.is_dir():
            folder.rename(earlier(folder))
        part.rename(folder)


def load_state(folder: Path, strategy: Strategy, identity: str) -> Progress | None:
    """Load the state in ``folder`` into ``strategy``, or where that one is damaged the state before; None without any.

    ``identity`` names configuration, code, starting policy and data. A state of another identity is left behind with
    one line on standard error: continuing would mix two runs. Raises ValueError where another strategy, or another
    number of processes, saved it: its parts fit no other; and where not all ranks see the same state.
    """
    states = [folder, earlier(folder)]
    chosen = max_over_ranks(_newest_whole(states) if rank() == 0 else 0)
    file = states[chosen % len(states)] / PROGRESS
    text = file.read_text() if chosen < len(states) and file.is_file() else ""
    # Ranks that see another state, or none, would not wait for each other after this.
    require_same(f"{file} (all machines must see the same run folder)", text)
    if not text:
        return None
    record = json.loads(text)
    if record.pop("identity") != identity:
        if rank() == 0:
            print(f"{folder} is of another configuration, code, policy or data: starting from step 0", file=sys.stderr)
        return None
    layout = record.pop("layout", TORCH_LAYOUT)  # before there was a choice
    if layout != strategy.layout:
        raise ValueError(
            f"{folder} was saved by {layout}, and this is {strategy.layout}: "
            "resume with what saved it, or remove the folder to start from step 0"
        )
    record.pop("files", None)
    strategy.load(states[chosen])
    return Progress(**record | {"ahead": _load_ahead(states[chosen] / _ahead_file())})


def _ahead_file() -> str:
    """Of a rank, in a state."""
    return f"ahead-{rank()}.jsonl"


def _load_ahead(file: Path) -> list[Completion] | None:
    """Numbers come back as they were: JSON has the shortest digits that give a float64 again."""
    if not file.is_file():
        return None
    return [_completion(**record) for record in read_jsonl(file)]


def _completion(
    token_ids: list[int], text: str, logprobs: list[float], truncated: bool, entropies: list[float]
) -> Completion:
    return Completion(tuple(token_ids), text, tuple(logprobs), truncated, tuple(entropies))


def _sizes(folder: Path) -> dict[str, int]:
    """Every file below a folder but `PROGRESS`, with its bytes."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != PROGRESS)
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(files)}


def _newest_whole(states: Sequence[Path]) -> int:
    """The place of the first state that is there and whole; their number where none is. Says which is damaged."""
    for place, state in enumerate(states):
        if not state.is_dir():
            continue
        try:
            record = json.loads((state / PROGRESS).read_text())
            found = _sizes(state)
            wrong = [name for name, size in record.get("files", found).items() if found.get(name) != size]
        except (OSError, ValueError) as error:
            wrong = [f"{PROGRESS} ({error})"]
        if not wrong:
            return place
        print(f"{state} is damaged, its {', '.join(wrong)}: trying the state before it", file=sys.stderr, flush=True)
    return len(states)
