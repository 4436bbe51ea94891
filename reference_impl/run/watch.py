"""What makes a run pointless without stopping it: noticed while it trains, said once, and kept in ``run.json``."""

import math
import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

Record = Mapping[str, float | int | None]

WINDOW_SHARE, SHORTEST_WINDOW = 0.05, 5
"""Steps over which a metric is averaged: this share of a run, and no fewer than so many."""
HIGH: dict[str, tuple[float, str]] = {
    "zero_variance_share": (0.95, "of the groups have equal rewards: RL has hardly anything to learn from"),
    "format_failure_rate": (0.9, "of the responses are badly formatted: no reward says which are better"),
    "truncation_rate": (0.9, "of the responses are cut at the token limit"),
}
"""Metric → the share from which on it is worth a word, and which."""
COLLAPSE = 0.1
"""Entropy has collapsed below this share of what it was at the start."""
IDLE_PHI = 0.02
"""Mean phi below which the expert's tokens hardly count."""


@dataclass
class Watch:
    """Sees every step of a run."""

    steps: int
    """Of the run."""
    phi: str
    """Name of the run's token weights."""
    said: list[str] = field(default_factory=list)
    """The warnings so far."""
    means: dict[str, deque[float]] = field(default_factory=dict)
    start_entropy: float | None = None
    found: set[str] = field(default_factory=set)

    @property
    def window(self) -> int:
        return max(SHORTEST_WINDOW, math.ceil(WINDOW_SHARE * self.steps))

    def see(self, record: Record) -> list[str]:
        """What is to be said after a step, of which nothing was said before."""
        news = []
        for metric, sentence in self._findings(record):
            if metric not in self.found:
                self.found.add(metric)
                news.append(f"from step {record['step']} on: {sentence}")
        self.said += news
        return news

    def _findings(self, record: Record) -> list[tuple[str, str]]:
        """(metric, sentence) for everything that is so over the last window."""
        found = []
        for metric, (limit, sentence) in HIGH.items():
            mean = self._mean(metric, record)
            if mean is not None and mean >= limit:
                found.append((metric, f"{100 * mean:.0f} % {sentence}"))
        accuracy = self._mean("accuracy", record)
        if accuracy == 0:
            found.append(("accuracy", f"no correct sample in {self.window} steps"))
        entropy = self._mean("entropy", record)
        if entropy is not None:
            self.start_entropy = self.start_entropy if self.start_entropy is not None else entropy
            if entropy < COLLAPSE * self.start_entropy:
                found.append(("entropy", f"entropy has collapsed: {entropy:.2g} nats, {self.start_entropy:.2g} before"))
        phi = self._mean("phi_mean", record) if self.phi != "none" else None
        if phi is not None and phi < IDLE_PHI:
            found.append(("phi_mean", f"mean phi is {phi:.2g}: {self.phi} hardly teaches here"))
        return found

    def _mean(self, metric: str, record: Record) -> float | None:
        """Over the last window of steps that have it; None before there are so many, and in a step without."""
        value = record.get(metric)
        if value is None:
            return None
        values = self.means.setdefault(metric, deque(maxlen=self.window))
        values.append(value)
        return statistics.fmean(values) if len(values) == self.window else None
