"""One line a step: to a JSON-lines file, to TensorBoard and to the terminal."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

Record = dict[str, float | int | None]

SECONDS_BETWEEN_LINES = 5.0


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append one JSON object to a JSON-lines file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All objects of a JSON-lines file; an empty list where there is no file.

    Raises ValueError naming file and line for a line that is not JSON.
    """
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.is_file() else [], 1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not JSON ({error})") from error
    return records


def truncate_after(path: Path, step: int) -> None:
    """Drop the records of steps after ``step``: what an interrupted run wrote beyond its last saved state."""
    lines = path.read_bytes().splitlines() if path.is_file() else []
    kept = []
    for line in lines:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break  # the interruption cut this line short
        if record["step"] <= step:
            kept.append(line + b"\n")
    path.write_bytes(b"".join(kept))


class StepLog:
    """Writes ``metrics.jsonl`` (reproducible bit for bit), ``timings.jsonl`` (not), TensorBoard and progress lines."""

    def __init__(self, folder: Path, name: str, steps: int, start: int) -> None:
        self.folder = folder
        self.name = name
        self.steps = steps
        self.start = start
        self.board = SummaryWriter(str(folder / "tb"), purge_step=start + 1)
        self.started = time.monotonic()
        self.printed = 0.0
        for file in ("metrics.jsonl", "timings.jsonl", "validation.jsonl"):
            truncate_after(folder / file, start)

    def step(self, metrics: Record, timings: Record) -> None:
        """Record one update."""
        step = metrics["step"]
        assert isinstance(step, int)
        append_line(self.folder / "metrics.jsonl", metrics)
        append_line(self.folder / "timings.jsonl", {"step": step, **timings})
        for key, value in {**metrics, **timings}.items():
            if value is not None and key != "step":
                self.board.add_scalar(f"train/{key}", value, step)
        now = time.monotonic()
        if now - self.printed >= SECONDS_BETWEEN_LINES or step == self.steps:
            self.printed = now
            print(self._line(step, metrics, now), file=sys.stderr, flush=True)

    def validation(self, record: dict[str, Any]) -> None:
        """Record one look at the validation set."""
        append_line(self.folder / "validation.jsonl", record)
        for key in ("accuracy", "response_length"):
            self.board.add_scalar(f"validation/{key}", record[key], record["step"])

    def close(self) -> None:
        self.board.close()

    def _line(self, step: int, metrics: Record, now: float) -> str:
        left = (now - self.started) / (step - self.start) * (self.steps - step)
        shown = {
            "reward": metrics["reward_mean"],
            "acc": metrics["accuracy"],
            "len": metrics["response_length"],
            "entropy": metrics["entropy"],
            "mu": metrics["mu"],
            "sft": metrics["sft_loss"],
            "grad": metrics["grad_norm"],
        }
        parts = [f"{key} {value:.3g}" for key, value in shown.items() if value is not None]
        return f"{self.name}  step {step}/{self.steps}  {'  '.join(parts)}  {left:.0f} s left"
