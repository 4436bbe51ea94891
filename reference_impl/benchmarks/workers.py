"""Two jobs side by side against one after the other, and how busy a workflow kept its cores."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reference_impl.benchmarks.pairs import REPETITIONS, Line, in_turns, medians, ratios
from reference_impl.benchmarks.setting import Setting

STEPS = 4


def work(folder: Path) -> None:
    """What a worker does each time a line reaches it: some steps of GRPO on one thread."""
    import torch

    torch.set_num_threads(1)
    setting = Setting(folder)
    with tempfile.TemporaryDirectory() as run:
        trainer = setting.trainer("grpo", setting.start, Path(run), learning_rate=0.0)
        trainer.train_step()
        print("ready", file=sys.stderr, flush=True)
        for _ in sys.stdin:
            for _ in range(STEPS):
                trainer.train_step()
            print("done", file=sys.stderr, flush=True)


class Worker:
    """A process that works when it is asked to."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "reference_impl.benchmarks.workers", str(folder)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.await_word("ready")

    def await_word(self, word: str) -> None:
        """Raises RuntimeError where the worker ends first."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.strip() == word:
                return
        raise RuntimeError(f"a worker ended with {self.process.wait()}")

    def start(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def lines(setting: Setting, repetitions: int = REPETITIONS) -> list[Line]:
    """Every line of this part, by the clock: twice the work in how much of the time."""
    workers = [Worker(setting.folder) for _ in range(2)]

    def one_after_the_other() -> None:
        for worker in workers:
            worker.start()
            worker.await_word("done")

    def side_by_side() -> None:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.await_word("done")

    seconds = in_turns({"one": one_after_the_other, "two": side_by_side}, repetitions, clock=time.perf_counter)
    for worker in workers:
        worker.end()
    return [
        Line(
            "two workers on two cores",
            "one after the other / side by side, by the clock",
            ratios(seconds["one"], seconds["two"]),
            1.8,
            "above",
            medians(seconds),
        )
    ]


if __name__ == "__main__":
    work(Path(sys.argv[1]))
