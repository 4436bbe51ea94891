"""What a call of the workflow shows: a line for every finished job, and how long the rest will take.

Snakemake's own lines (which jobs it selects, starts and finishes) stay in its log file, whole. Errors, warnings, what
training itself prints and everything unknown are shown as ever; `--verbose` and dry runs show all.
"""

import json
import logging
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from snakemake.logging import LogEvent, logger

USUAL = {"train": 130.0, "generate": 35.0}
"""Seconds of a job of a rule at `mini`, on one of two quiet cores, where nothing was measured; of any other rule: 2."""
OTHERS = 2.0
NOISE = re.compile(
    r"Select jobs to execute|Execute \d+ jobs|Using workflow specific profile|Config file .* is extended|"
    r"Assuming unrestricted shared filesystem|Building DAG of jobs|Using shell: |"
    r"Provided (cores|remote nodes|resources): |Rules claiming more threads"
)
"""What the scheduler says beside its events."""
HIDDEN = {LogEvent.JOB_INFO, LogEvent.PROGRESS, LogEvent.JOB_STARTED, LogEvent.RESOURCES_INFO}


@dataclass(frozen=True)
class Job:
    """A job that has started."""

    rule: str
    key: str
    """The rule with the job's wildcards: what its seconds are remembered under."""
    text: str
    """The rule's message; empty for a target, which does nothing."""
    started: float


@dataclass
class Progress:
    """The jobs of one call, as far as they are known."""

    measured: dict[str, float] = field(default_factory=dict)
    """Seconds of jobs of earlier calls and of this one."""
    clock: Callable[[], float] = time.monotonic
    left: Counter[str] = field(default_factory=Counter)
    """Rule → its jobs that have not ended."""
    total: int = 0
    running: dict[int, Job] = field(default_factory=dict)
    side_by_side: int = 1
    """The most jobs that have run at once."""

    def plan(self, stats: Mapping[str, Any]) -> None:
        """Snakemake's counts of jobs by rule."""
        self.left = Counter({rule: int(count) for rule, count in stats.items() if rule != "total"})
        self.total = self.left.total()

    def jobs(self) -> str:
        """What there is to do, in a line; empty for nothing but a target."""
        counts = ", ".join(f"{rule} {count}" for rule, count in self.left.most_common())
        return f"{self.total} jobs: {counts}" if self.total > 1 else ""

    def start(self, number: int, rule: str, wildcards: Mapping[str, Any], text: str) -> None:
        """A job begins."""
        key = " ".join([rule, *(f"{name}={value}" for name, value in sorted(wildcards.items()))])
        self.running[number] = Job(rule, key, text, self.clock())
        self.side_by_side = max(self.side_by_side, len(self.running))

    def finish(self, number: int) -> tuple[Job, float] | None:
        """A job has ended: it with its seconds; None for one that never began here."""
        job = self.running.pop(number, None)
        if job is None:
            return None
        seconds = self.clock() - job.started
        self.left[job.rule] -= 1
        self.measured[job.key] = seconds
        return job, seconds

    def seconds_left(self) -> float:
        """Of all jobs that have not ended, on as many cores as have been busy at once."""
        of_rule = defaultdict[str, list[float]](list)
        for key, seconds in self.measured.items():
            of_rule[key.split(" ")[0]].append(seconds)

        def usual(rule: str) -> float:
            return fmean(of_rule[rule]) if of_rule[rule] else USUAL.get(rule, OTHERS)

        waiting = Counter(self.left)
        waiting.subtract(Counter(job.rule for job in self.running.values()))
        seconds = sum(count * usual(rule) for rule, count in waiting.items())
        now = self.clock()
        for job in self.running.values():
            seconds += max(0.0, self.measured.get(job.key, usual(job.rule)) - (now - job.started))
        return seconds / self.side_by_side

    def line(self, job: Job, seconds: float) -> str:
        """What is said of a job that has ended."""
        done = self.total - self.left.total()
        rest = f", about {duration(self.seconds_left())} left" if done < self.total else ""
        return f"[{done}/{self.total}{rest}] {job.text} ({duration(seconds)})"


def duration(seconds: float) -> str:
    """A time in words: 8 s, 2 min, 1 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Terminal(logging.Filter):
    """Keeps the progress, and lets pass what is to be shown."""

    def __init__(self, usual: logging.Filter, formatter: logging.Formatter, record: Path) -> None:
        super().__init__()
        self.usual, self.formatter, self.record = usual, formatter, record
        self.progress = Progress(_remembered(record))

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown; that of a finished job becomes a line."""
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            self.progress.plan(getattr(record, "stats", {}))
            return self._becomes(record, self.progress.jobs())
        if event == LogEvent.JOB_INFO:
            words = vars(record)
            self.progress.start(words["jobid"], words["rule_name"], words["wildcards"], words["rule_msg"] or "")
        if event == LogEvent.JOB_FINISHED:
            ended = self.progress.finish(vars(record)["job_id"])
            if ended is not None:
                self._remember(*ended)
            return self._becomes(record, self.progress.line(*ended) if ended is not None and ended[0].text else "")
        if event in HIDDEN or (event is None and record.levelno < logging.WARNING and NOISE.match(str(record.msg))):
            return False
        return bool(self.usual.filter(record))

    @staticmethod
    def _becomes(record: logging.LogRecord, line: str) -> bool:
        vars(record)["line"] = line
        return bool(line)

    def format(self, record: logging.LogRecord) -> str:
        """A finished job's line; anything else as Snakemake writes it."""
        return str(getattr(record, "line", "")) or self.formatter.format(record)

    def _remember(self, job: Job, seconds: float) -> None:
        """So that a later call knows; a folder that cannot be written is another's to report."""
        try:
            self.record.parent.mkdir(parents=True, exist_ok=True)
            with self.record.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"job": job.key, "seconds": round(seconds, 1)}) + "\n")
        except OSError:
            pass


def _remembered(record: Path) -> dict[str, float]:
    """Job → seconds, of earlier calls; lines that a crash has cut are left out."""
    found: dict[str, float] = {}
    for line in record.read_text(encoding="utf-8").splitlines() if record.is_file() else ():
        try:
            entry = json.loads(line)
            found[str(entry["job"])] = float(entry["seconds"])
        except (ValueError, KeyError, TypeError):
            continue
    return found


def install(record: Path) -> None:
    """Show this call's progress so, and remember its jobs' seconds in ``record``.

    Without effect on a dry run, with `--verbose`, and where the user has chosen another logger.
    """
    for handler in logger.handlers:
        usual = next(iter(handler.filters), None)
        if handler.name != "DefaultStreamHandler" or usual is None or handler.formatter is None:
            continue
        if getattr(usual, "dryrun", False) or getattr(usual, "verbose", False) or isinstance(usual, Terminal):
            continue
        terminal = Terminal(usual, handler.formatter, record)
        handler.removeFilter(usual)
        handler.addFilter(terminal)
        handler.setFormatter(terminal)
