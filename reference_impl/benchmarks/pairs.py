"""Ways to do the same, measured in turns in one process, and what is said of them: ratios, never seconds alone.

Machines are shared and noisy, so a way's time means little by itself. Each repetition runs every way once, one after
the other, and gives one ratio; a line is the median of the repetitions' ratios with their range.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

REPETITIONS = 9
"""At least, of every line."""


@dataclass(frozen=True)
class Line:
    """One comparison: ``values`` are the repetitions' ratios; ``seconds`` the ways' medians, to know what was done."""

    name: str
    ways: str
    """What is divided by what."""
    values: Sequence[float]
    target: float
    better: Literal["above", "below"]
    """The side of the target that is wanted."""
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool:
        return self.median >= self.target if self.better == "above" else self.median <= self.target


def in_turns(
    ways: Mapping[str, Callable[[], object]],
    repetitions: int = REPETITIONS,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Seconds of every repetition of every way, by default of this process's CPU; one unmeasured repetition first."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repetition in range(repetitions + 1):
        for name, way in ways.items():
            started = clock()
            way()
            if repetition:
                seconds[name].append(clock() - started)
    return seconds


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """``over`` divided by ``under``, repetition by repetition."""
    return [one / other for one, other in zip(over, under, strict=True)]


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in seconds.items()}


def table(lines: Sequence[Line]) -> str:
    """Markdown, a row a line."""
    rows = [
        "| what | ratio of | median (range), repetitions | target | met | seconds, medians |",
        "|---|---|---|---|---|---|",
    ]
    for line in lines:
        spread = f"{line.median:.3g} ({min(line.values):.3g}–{max(line.values):.3g}), {len(line.values)}"
        sign = "≥" if line.better == "above" else "≤"
        seconds = ", ".join(f"{name} {value:.3g}" for name, value in line.seconds.items())
        met = "yes" if line.met else "**no**"
        rows.append(f"| {line.name} | {line.ways} | {spread} | {sign} {line.target:g} | {met} | {seconds} |")
    return "\n".join(rows)


def keep(folder: Path, part: str, lines: Sequence[Line], versions: Mapping[str, str]) -> None:
    """Write a part's lines, so that the others can be measured another time."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"versions": versions, "lines": [asdict(line) for line in lines]}, indent=1)
    (folder / f"{part}.json").write_text(text + "\n", encoding="utf-8")


def kept(folder: Path, part: str) -> tuple[list[Line], dict[str, str]] | None:
    """What `keep` wrote; None where the part was never measured."""
    path = folder / f"{part}.json"
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return [Line(**line) for line in found["lines"]], found["versions"]
