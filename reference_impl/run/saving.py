"""When a run saves its state beside what validation saves, and when it is asked to end.

Asked by SIGTERM, or by the clock: SLURM says when it will kill a job. Rank 0's clock decides for all. None of this is
part of a run's identity: wherever a run stops, it goes on as if it had not.
"""

import os
import signal
import subprocess
import threading
import time
from datetime import datetime
from types import FrameType
from typing import Self

from reference_impl.strategy.distributed import max_over_ranks, rank

INTERRUPTED = 75
"""Exit status of a run that was asked to end and has saved its state: sysexits' EX_TEMPFAIL, "try again"."""
END_TIME, JOB = "SLURM_JOB_END_TIME", "SLURM_JOB_ID"
"""SLURM's variables. Snakemake's job step keeps the second alone: the end is then asked of SLURM."""
SQUEUE_S = 30.0
"""SLURM's answer is waited for so long."""
STEPS_TO_SPARE = 3.0
"""How many of the longest step must fit before a job's end: one more step, and saving. Validation counts as a step."""
GO_ON, SAVE, END = range(3)


def job_end() -> float | None:
    """When SLURM will end this job, in seconds since the epoch; None outside a job, or where SLURM does not say."""
    said = os.environ.get(END_TIME, "")
    if said.isdecimal():
        return float(said)
    if not os.environ.get(JOB, "").isdecimal():
        return None
    command = ["squeue", "--noheader", "--jobs", os.environ[JOB], "--format", "%e"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SQUEUE_S).stdout
        return datetime.fromisoformat(found.strip()).timestamp()
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


class InterruptedRunError(Exception):
    """The run was asked to end before its last step; its state is saved."""


class SaveClock:
    """``with SaveClock(minutes) as clock``: after every step, ``clock.decision()`` says what to do, on every rank."""

    def __init__(self, minutes: float | None) -> None:
        """``minutes`` between two states; None: those that validation saves are enough."""
        self.minutes = minutes
        self.saved = self.step_ended = time.monotonic()
        self.longest_step = 0.0
        self.asked = False
        end = job_end() if rank() == 0 else None
        self.job_ends = None if end is None else self.saved + end - time.time()

    def __enter__(self) -> Self:
        self.handler = None
        if threading.current_thread() is threading.main_thread():  # others can have no handlers
            self.handler = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self.handler is not None:
            signal.signal(signal.SIGTERM, self.handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def decision(self) -> int:
        """GO_ON, SAVE (go on after it) or END (save first), the same on every rank."""
        now = time.monotonic()
        self.longest_step = max(self.longest_step, now - self.step_ended)
        self.step_ended = now
        return max_over_ranks(END if self.asked else self._by_the_clock(now) if rank() == 0 else GO_ON)

    def _by_the_clock(self, now: float) -> int:
        if self.job_ends is not None and now + STEPS_TO_SPARE * self.longest_step > self.job_ends:
            return END
        return SAVE if self.minutes is not None and now - self.saved >= 60 * self.minutes else GO_ON

    def restart(self) -> None:
        """A state has just been saved."""
        self.saved = self.step_ended = time.monotonic()
