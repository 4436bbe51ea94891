"""The paper's claims, decided by intervals: holds, does not hold, or undecided. Nothing here is decided by
hand.

    python -m reports.claims --scale mini --results results/mini --out results/mini/report/claims.csv

claims.yaml says which comparisons decide a claim; there are three kinds, in COMPARISONS.
"""

import argparse
import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from evaluation.statistics import Estimate, minimum_detectable_difference
from reference_impl.files import write_text
from reports.inputs import ROOT, Results, add_common, load_yaml, open_results, printed, run_command
from reports.scores import difference, score
from reports.style import label
from reports.tables import COLUMNS, Column, expert_length

CLAIMS = ROOT / "reports" / "claims.yaml"
HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
LEVEL = 0.95
CURVE_UNITS = {"reward_mean": "reward", "response_length": "tokens", "entropy": "nats"}


@dataclass(frozen=True)
class Comparison:
    """`more` minus `less`, with its 95 % interval, in `unit`."""

    text: str
    unit: str
    mean: float | None
    """None where this scale asks no such question, or too few."""
    low: float | None
    high: float | None
    paper: str | None
    """The printed difference in the same unit, None where it is read off a figure."""
    detectable: float | None = None
    """The true difference that a comparison of this size finds four times in five."""

    @property
    def verdict(self) -> str:
        """From the interval alone."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return UNDECIDED
        return HOLDS if self.low > 0 else FAILS

    def checked(self) -> "Comparison":
        """Without numbers where the data were too few for an interval (one question, steps without spread)."""
        if self.low is not None and self.high is not None and np.isfinite([self.low, self.high]).all():
            return self
        return replace(self, mean=None, low=None, high=None, detectable=None)


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper with what decides it."""

    id: str
    section: str
    paper: str
    note: str
    comparisons: tuple[Comparison, ...]

    @property
    def verdict(self) -> str:
        """Holds if all comparisons do; does not hold if one of them is refuted."""
        return combine([comparison.verdict for comparison in self.comparisons])


def combine(verdicts: Sequence[str]) -> str:
    """The verdict on a claim that makes several comparisons."""
    if FAILS in verdicts:
        return FAILS
    return HOLDS if all(verdict == HOLDS for verdict in verdicts) else UNDECIDED


def _column(entry: Mapping[str, Any]) -> Column:
    headers = {column.header: column for column in COLUMNS.get(entry["table"], ())}
    if entry["column"] not in headers:
        raise ValueError(f"{CLAIMS}: {entry['table']} has no column {entry['column']!r}; it has {list(headers)}")
    return headers[entry["column"]]


def _printed_difference(table: str, column: str, more: str, less: str) -> str | None:
    cells = [printed(table, method, column) for method in (more, less)]
    if None in cells:
        return None
    first, second = (float(str(cell).replace(",", "")) for cell in cells)
    return f"{first - second:+,.1f}" if table != "table2" else f"{first - second:+,.0f}"


def _minus_known(known: Estimate, estimate: Estimate | None, sign: int) -> Estimate | None:
    """sign x (known - estimate) for a number without error of its own."""
    if estimate is None:
        return None
    low, high = sorted(sign * (known.mean - value) for value in (estimate.low, estimate.high))
    return replace(estimate, mean=sign * (known.mean - estimate.mean), low=low, high=high)


def _detectable(estimate: Estimate) -> float | None:
    """Minimum detectable difference with the spread over questions (and seeds) that was observed."""
    if estimate.questions < 2 or estimate.se == 0:
        return None
    spread = estimate.se**2 * estimate.questions
    return minimum_detectable_difference(estimate.questions, 1, between=spread, within=0.0)


def compare_scores(results: Results, entry: Mapping[str, Any]) -> Comparison:
    """Two methods on the questions of a table's column, paired by question and seed."""
    column, more, less = _column(entry), str(entry["more"]), str(entry["less"])
    domain, accuracy = column.selection.domain, column.value == "correct"
    if "expert" in (more, less):
        other, sign = (less, 1) if more == "expert" else (more, -1)
        estimate = _minus_known(
            expert_length(results, domain), score(results, other, column.selection, column.value), sign
        )
    else:
        estimate = difference(results, more, less, column.selection, column.value)
    asked = column.name(results) or column.header
    place = asked if accuracy else f"{results.decl.domains[domain].label.lower()} (tokens)"
    text = f"{label(results.decl, more)} > {label(results.decl, less)} on {place}"
    unit = "points" if accuracy else "tokens"
    paper = _printed_difference(entry["table"], entry["column"], more, less)
    if estimate is None:
        return Comparison(text, unit, None, None, None, paper)
    shown = estimate.scaled(100) if accuracy else estimate
    return Comparison(text, unit, shown.mean, shown.low, shown.high, paper, _detectable(shown))


def _steps_between(frame: pd.DataFrame, value: str, part: Mapping[str, Any]) -> pd.Series:
    """Values of the steps in a share of the run, with seed as index."""
    share = frame["step"] / frame["step"].max()
    inside = frame[(share > part["from"]) & (share <= part["to"])].dropna(subset=[value])
    return inside.set_index("seed")[value].astype(float)


def _step_difference(more: pd.Series, less: pd.Series) -> tuple[float, float, float] | None:
    """Difference of two windows of steps: Welch over steps for one seed, paired over the common seeds for
    several.
    """
    seeds = sorted(set(more.index) & set(less.index))
    if len(seeds) > 1:
        pairs = (more.groupby(level=0).mean() - less.groupby(level=0).mean())[seeds].to_numpy()
        half = stats.t.ppf(0.5 + LEVEL / 2, len(pairs) - 1) * pairs.std(ddof=1) / np.sqrt(len(pairs))
        return float(pairs.mean()), float(pairs.mean() - half), float(pairs.mean() + half)
    if len(more) < 2 or len(less) < 2 or more.std() == less.std() == 0:
        return None
    interval = stats.ttest_ind(more, less, equal_var=False).confidence_interval(LEVEL)
    return float(more.mean() - less.mean()), float(interval.low), float(interval.high)


def compare_steps(results: Results, entry: Mapping[str, Any]) -> Comparison:
    """A logged quantity in two windows of one or two runs."""
    value, domain = entry["value"], entry["domain"]
    sides = [entry["more"], entry["less"]]
    windows = [_steps_between(results.metrics(domain, side["run"]), value, side) for side in sides]
    names = [
        f"{label(results.decl, side['run'])} at {100 * side['from']:g}–{100 * side['to']:g} % of its steps"
        for side in sides
    ]
    found = _step_difference(*windows)
    mean, low, high = found if found else (None, None, None)
    what = value.replace("_mean", "").replace("_", " ")
    return Comparison(f"{what}: {names[0]} > {names[1]}, {domain}", CURVE_UNITS[value], mean, low, high, None)


def curve_points(accuracy: np.ndarray) -> dict[str, int]:
    """Index of the start, the lowest point after it, the highest point after that, and the last."""
    lowest = 1 + int(np.argmin(accuracy[1:]))
    highest = lowest + int(np.argmax(accuracy[lowest:]))
    return {"start": 0, "lowest": lowest, "highest": highest, "last": len(accuracy) - 1}


def compare_epochs(results: Results, entry: Mapping[str, Any]) -> Comparison:
    """Two points of a validation curve.

    The lowest and the highest point are chosen by looking, so the interval is widened for the number of
    points looked at (Bonferroni). All looks and all seeds ask the same questions, of which validation.jsonl has
    only the standard error: the two errors are added as if the questions differed, and the spread over seeds is
    added to them. Too wide rather than too narrow.
    """
    run, domain = entry["epochs"], entry["domain"]
    frame = results.validation(domain, run)
    accuracy = frame.pivot_table(index="seed", columns="epoch", values="accuracy").dropna(axis="columns")
    values_SX = accuracy.to_numpy(dtype=float)
    points = curve_points(values_SX.mean(axis=0))
    unknown = {entry["more"], entry["less"]} - set(points)
    if unknown:
        raise ValueError(f"{CLAIMS}: unknown points {sorted(unknown)} of a curve; allowed are {list(points)}")
    first, second = points[entry["more"]], points[entry["less"]]
    pairs = values_SX[:, first] - values_SX[:, second]
    tail = 1 - (1 - LEVEL) / 2 / max(values_SX.shape[1] - 1, 1)
    errors = frame.pivot_table(index="seed", columns="epoch", values="stderr")[accuracy.columns]
    error_X = np.sqrt((errors.to_numpy(dtype=float) ** 2).mean(axis=0))
    half = stats.norm.ppf(tail) * np.hypot(error_X[first], error_X[second])
    if len(pairs) > 1:
        over_seeds = stats.t.ppf(tail, len(pairs) - 1) * pairs.std(ddof=1) / np.sqrt(len(pairs))
        half = np.hypot(half, over_seeds)
    mean = float(pairs.mean())
    epochs = accuracy.columns
    names = [f"{entry[side]} (epoch {epochs[index]:g})" for side, index in (("more", first), ("less", second))]
    text = f"{label(results.decl, run)}: {names[0]} > {names[1]}"
    return Comparison(text, "points", 100 * mean, 100 * (mean - float(half)), 100 * (mean + float(half)), None)


COMPARISONS: dict[str, Callable[[Results, Mapping[str, Any]], Comparison]] = {
    "table": compare_scores,
    "value": compare_steps,
    "epochs": compare_epochs,
}


def compare(results: Results, entry: Mapping[str, Any]) -> Comparison:
    """Dispatch on the key that names the kind of comparison."""
    kinds = [kind for kind in COMPARISONS if kind in entry]
    if len(kinds) != 1:
        raise ValueError(f"{CLAIMS}: a comparison has exactly one of {list(COMPARISONS)}, got {dict(entry)}")
    return COMPARISONS[kinds[0]](results, entry).checked()


def decide(results: Results, path: Path = CLAIMS) -> list[Claim]:
    """Every claim of claims.yaml with its verdict on these results."""
    return [
        Claim(
            id=entry["id"],
            section=entry["section"],
            paper=entry["paper"],
            note=entry.get("note", ""),
            comparisons=tuple(compare(results, part) for part in entry["comparisons"]),
        )
        for entry in load_yaml(path)
    ]


def to_csv(claims: Sequence[Claim]) -> str:
    """One row a comparison."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["claim", "section", "claim verdict", "comparison", "verdict", "difference", "low", "high"]
    writer.writerow([*head, "unit", "paper", "detectable"])
    for claim in claims:
        for part in claim.comparisons:
            shown = (part.mean, part.low, part.high, part.detectable)
            *numbers, detectable = ["" if value is None else f"{value:.4f}" for value in shown]
            row = [claim.id, claim.section, claim.verdict, part.text, part.verdict, *numbers]
            writer.writerow([*row, part.unit, part.paper or "", detectable])
    return out.getvalue()


def main(argv: Sequence[str] | None = None) -> None:
    """Write every claim with its verdict as CSV."""
    made = argparse.ArgumentParser(description="Decide the paper's claims on these results.")
    made.add_argument("--out", required=True, type=Path, help="CSV file to write")
    add_common(made)
    arguments = made.parse_args(argv)
    write_text(arguments.out, to_csv(decide(open_results(arguments))))


if __name__ == "__main__":
    run_command(main)
