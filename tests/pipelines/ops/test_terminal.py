"""What a call shows: a line a finished job, the time left from what was measured, and nothing lost that matters."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from snakemake.logging import LogEvent

from pipelines.ops.terminal import Progress, Terminal, duration


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def event(kind: LogEvent | None, message: str = "", level: int = logging.INFO, **more: Any) -> logging.LogRecord:
    record = logging.LogRecord("snakemake", level, "", 0, message, (), None)
    vars(record).update({"event": kind, **more} if kind else more)
    return record


def started(number: int, rule: str, run: str, text: str = "Train") -> logging.LogRecord:
    return event(LogEvent.JOB_INFO, jobid=number, rule_name=rule, wildcards={"run": run}, rule_msg=text)


@pytest.fixture
def shown(tmp_path: Path) -> Callable[[logging.LogRecord], str | None]:
    """What is shown of a record; None: nothing. As Snakemake's own filter and formatter are, but for their words."""
    terminal = Terminal(logging.Filter(), logging.Formatter("usual: %(message)s"), tmp_path / "seconds.jsonl")
    terminal.progress.clock = Clock()
    return lambda record: terminal.format(record) if terminal.filter(record) else None


def test_a_line_for_every_finished_job(shown: Callable[[logging.LogRecord], str | None]) -> None:
    stats = {"train": 2, "table1": 1, "total": 3}
    assert shown(event(LogEvent.RUN_INFO, stats=stats)) == "3 jobs: train 2, table1 1"
    assert shown(started(1, "train", "grpo", "Train: grpo on math, seed 0")) is None
    assert shown(event(LogEvent.PROGRESS, done=1, total=3)) is None
    line = shown(event(LogEvent.JOB_FINISHED, "Finished jobid: 1", job_id=1))
    assert line == "[1/3, about 2 s left] Train: grpo on math, seed 0 (0 s)"
    # A target does nothing; a job that nobody saw begin is another call's.
    shown(event(LogEvent.JOB_INFO, jobid=2, rule_name="table1", wildcards={}, rule_msg=None))
    assert shown(event(LogEvent.JOB_FINISHED, job_id=2)) is None
    assert shown(event(LogEvent.JOB_FINISHED, job_id=9)) is None


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (event(None, "Select jobs to execute..."), None),
        (event(None, "Execute 12 jobs..."), None),
        (event(None, "Select jobs to execute...", logging.WARNING), "usual: Select jobs to execute..."),
        (event(LogEvent.JOB_ERROR, "Error in rule train", logging.ERROR), "usual: Error in rule train"),
        (event(LogEvent.SHELLCMD, "python -m x"), "usual: python -m x"),
        (event(None, "Nothing to be done."), "usual: Nothing to be done."),
        (event(None, "something new"), "usual: something new"),
    ],
    ids=lambda value: str(getattr(value, "msg", value)),
)
def test_the_schedulers_noise_goes_and_nothing_else(
    shown: Callable[[logging.LogRecord], str | None], record: logging.LogRecord, expected: str | None
) -> None:
    assert shown(record) == expected


def test_time_left_is_weighted_by_what_was_measured() -> None:
    clock = Clock()
    progress = Progress({"train run=grpo": 100.0, "train run=luffy": 300.0, "score run=grpo": 4.0}, clock)
    progress.plan({"train": 3, "score": 2, "total": 5})
    progress.start(1, "train", {"run": "grpo"}, "")
    assert progress.seconds_left() == pytest.approx(100 + 2 * 200 + 2 * 4)  # its own, the others' mean
    clock.now = 60.0
    progress.start(2, "train", {"run": "luffy"}, "")
    assert progress.seconds_left() == pytest.approx((40 + 300 + 200 + 8) / 2)  # two at once
    clock.now = 160.0
    assert progress.finish(1) is not None
    assert progress.measured["train run=grpo"] == 160.0
    assert progress.seconds_left() == pytest.approx((200 + 230 + 8) / 2)


def test_seconds_are_remembered_and_damaged_lines_are_not(tmp_path: Path) -> None:
    path = tmp_path / "results" / "seconds.jsonl"
    terminal = Terminal(logging.Filter(), logging.Formatter(), path)
    clock = terminal.progress.clock = Clock()
    terminal.filter(started(1, "train", "grpo"))
    clock.now = 12.34
    terminal.filter(event(LogEvent.JOB_FINISHED, job_id=1))
    assert json.loads(path.read_text(encoding="utf-8")) == {"job": "train run=grpo", "seconds": 12.3}
    with path.open("a", encoding="utf-8") as file:
        file.write('[]\n{"job": "train run=luffy", "sec')
    again = Terminal(logging.Filter(), logging.Formatter(), path)
    assert again.progress.measured == {"train run=grpo": 12.3}


def test_a_folder_that_cannot_be_written_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file", encoding="utf-8")
    terminal = Terminal(logging.Filter(), logging.Formatter(), tmp_path / "results" / "seconds.jsonl")
    terminal.filter(started(1, "train", "grpo"))
    assert terminal.filter(event(LogEvent.JOB_FINISHED, job_id=1))


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (150, "2 min"), (5400, "1 h 30 min")])
def test_times_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
