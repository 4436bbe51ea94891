"""One line a step: to a JSON-lines file, to TensorBoard, to the terminal, and to further boards where asked."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reference_impl.files import json_line, read_jsonl, whole_file
from reference_impl.run.boards import Board, TensorBoard
from reference_impl.run.watch import Watch

Record = dict[str, float | int | None]

SECONDS_BETWEEN_LINES = 5.0


def truncate_after(path: Path, step: int) -> None:
    """Drop the records of steps after ``step``: what an interrupted run wrote beyond its last saved state.

    The file is a new one: the old may be another run's too, by a link (`run.reuse`).
    """
    lines = path.read_bytes().splitlines() if path.is_file() else []
    kept = []
    for line in lines:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break  # the interruption cut this line short
        if record["step"] <= step:
            kept.append(line + b"\n")
    with whole_file(path) as temporary:
        temporary.write_bytes(b"".join(kept))


class StepLog:
    """Writes ``metrics.jsonl`` (reproducible bit for bit), ``timings.jsonl`` (not), progress lines, TensorBoard's files
    and what is drawn on the boards given.
    """

    def __init__(self, folder: Path, name: str, watch: Watch, start: int, boards: Sequence[Board] = ()) -> None:
        """``watch`` is shown every step, also those up to ``start`` that an earlier attempt logged."""
        self.folder = folder
        self.name = name
        self.watch = watch
        self.start = start
        self.boards: list[Board] = [TensorBoard(folder / "tb", start), *boards]
        self.started = time.monotonic()
        self.printed = 0.0
        for file in ("metrics.jsonl", "timings.jsonl", "validation.jsonl"):
            # A run without a saved state validates at step 0 again, which an earlier attempt may have done.
            truncate_after(folder / file, start or -1)
        for record in read_jsonl(folder / "metrics.jsonl"):
            watch.see(record)
        for warning in watch.said:
            print(f"{name}  warning: {warning}", file=sys.stderr, flush=True)

    def step(self, metrics: Record, timings: Record) -> None:
        """Record one update."""
        step = metrics["step"]
        assert isinstance(step, int)
        self._append("metrics", metrics)
        self._append("timings", {"step": step, **timings})
        values = {**metrics, **timings}
        self._draw(
            step, {f"train/{key}": value for key, value in values.items() if value is not None and key != "step"}
        )
        for warning in self.watch.see(metrics):
            print(f"{self.name}  warning: {warning}", file=sys.stderr, flush=True)
        now = time.monotonic()
        if now - self.printed >= SECONDS_BETWEEN_LINES or step == self.watch.steps:
            self.printed = now
            print(self._line(step, metrics, now), file=sys.stderr, flush=True)

    def validation(self, record: dict[str, Any]) -> None:
        """Record one validation."""
        self._append("validation", record)
        shown = ("accuracy", "score", "response_length")
        self._draw(record["step"], {f"validation/{key}": record[key] for key in shown})

    def close(self) -> None:
        for board in self.boards:
            board.close()

    def _draw(self, step: int, values: Mapping[str, float]) -> None:
        for board in self.boards:
            board.add(step, values)

    def _append(self, name: str, record: Mapping[str, Any]) -> None:
        with (self.folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json_line(record))

    def _line(self, step: int, metrics: Record, now: float) -> str:
        left = (now - self.started) / (step - self.start) * (self.watch.steps - step)
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
        return f"{self.name}  step {step}/{self.watch.steps}  {'  '.join(parts)}  {left:.0f} s left"
