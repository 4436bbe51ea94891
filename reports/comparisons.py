"""What decides a claim: one difference with its 95 % interval, from scored samples or from a run's logs.

Each kind of comparison in claims.yaml is one function here, in COMPARISONS, named by the key that only it has.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from evaluation.statistics import Estimate, minimum_detectable_difference
from reference_impl.config import Declarations
from reference_impl.config.experiments import Column, TableEntry
from reports.inputs import ROOT, Results, printed, published_table
from reports.scores import TOKENS, column_name, difference, expert_length, samples_of, summarise
from reports.style import label

CLAIMS = ROOT / "reports" / "claims.yaml"
HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
LEVEL = 0.95
CURVE_UNITS = {"reward_mean": "reward", "response_length": "tokens", "entropy": "nats"}
Entry = Mapping[str, Any]


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
    margin: float = 0.0
    """What `more` may lie below `less` and still count as no less, in `unit`."""

    @property
    def verdict(self) -> str:
        """From the interval alone."""
        if self.low is None or self.high is None or self.low <= -self.margin <= self.high:
            return UNDECIDED
        return HOLDS if self.low > -self.margin else FAILS

    def checked(self) -> "Comparison":
        """Without numbers where the data were too few for an interval (one question, steps without spread)."""
        if self.low is not None and self.high is not None and np.isfinite([self.low, self.high]).all():
            return self
        return replace(self, mean=None, low=None, high=None, detectable=None)


@dataclass(frozen=True)
class Needs:
    """What a comparison is computed from: methods of one domain, scored or only trained."""

    domain: str | None
    """None where experiments.yaml declares no such column: nothing here can decide it."""
    methods: frozenset[str]
    scored: bool


def _relation(more: str, less: str, entry: Entry, unit: str) -> str:
    return f"{more} ≥ {less} − {entry['margin']:g} {unit}" if "margin" in entry else f"{more} > {less}"


def _column(decl: Declarations, entry: Entry) -> Column | None:
    """The declared column; None where only the paper's table has it. Raises ValueError where neither has."""
    table = decl.experiments.get(entry["table"])
    headers = {column.header: column for column in table.columns} if isinstance(table, TableEntry) else {}
    printed_headers = [name for row in published_table(entry["table"])[:1] for name in row]
    known = list(dict.fromkeys([*headers, *printed_headers[2:]]))  # after method and label
    if entry["column"] not in known:
        raise ValueError(f"{CLAIMS}: {entry['table']} has no column {entry['column']!r}; it has {known}")
    return headers.get(entry["column"])


def _printed_difference(column: Column, entry: Entry) -> str | None:
    cells = [printed(entry["table"], entry[side], column.header) for side in ("more", "less")]
    if None in cells:
        return None
    first, second = (float(str(cell).replace(",", "")) for cell in cells)
    return f"{first - second:+,.0f}" if column.value == TOKENS else f"{first - second:+,.1f}"


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


def compare_scores(results: Results, entry: Entry) -> Comparison:
    """Two methods on the questions of a table's column, paired by question and seed."""
    column, more, less = _column(results.decl, entry), str(entry["more"]), str(entry["less"])
    assert column is not None, "only what is declared is decided"
    domain = column.domain
    if "expert" in (more, less):
        other, sign = (less, 1) if more == "expert" else (more, -1)
        mean = summarise(samples_of(results, other, column), column.value)
        estimate = _minus_known(expert_length(results, domain), mean, sign)
    else:
        estimate = difference(results, more, less, column)
    place = column_name(results, column) if column.graded else f"{results.decl.domains[domain].label.lower()} (tokens)"
    text = f"{_relation(label(results.decl, more), label(results.decl, less), entry, column.unit)} on {place}"
    paper, margin = _printed_difference(column, entry), float(entry.get("margin", 0))
    if estimate is None:
        return Comparison(text, column.unit, None, None, None, paper, margin=margin)
    shown = estimate.scaled(column.factor)
    return Comparison(text, column.unit, shown.mean, shown.low, shown.high, paper, _detectable(shown), margin)


def _scores_needed(decl: Declarations, entry: Entry) -> Needs:
    column = _column(decl, entry)
    methods = frozenset({entry["more"], entry["less"]} - {"expert"})
    return Needs(column.domain if column else None, methods, scored=True)


def _window(frame: pd.DataFrame, value: str, part: Entry, length: float) -> pd.Series:
    """Values of the steps in a share of `length`, which is in the paper's steps, with seed as index."""
    share = frame["paper_step"] / length
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


def _steps(part: Entry, length: float) -> str:
    return f"{part['from'] * length:,.0f}–{part['to'] * length:,.0f}"


def compare_steps(results: Results, entry: Entry) -> Comparison:
    """A logged quantity in two windows of one or two runs.

    A window is a share of the shorter run, so that runs of different length are compared at the same steps of the
    paper, at which they draw the same prompts and their schedules stand where the paper's do.
    """
    value, domain = entry["value"], entry["domain"]
    sides = [entry["more"], entry["less"]]
    frames = [results.metrics(domain, side["run"]) for side in sides]
    length = min(float(frame["paper_step"].max()) for frame in frames)
    windows = [_window(frame, value, side, length) for frame, side in zip(frames, sides, strict=True)]
    found = _step_difference(*windows)
    mean, low, high = found if found else (None, None, None)
    more, less = (label(results.decl, side["run"]) for side in sides)
    first, second = (_steps(side, length) for side in sides)
    if first == second:
        steps = f"the paper's steps {first}"
    else:
        more, less, steps = f"{more} at {first}", f"{less} at {second}", "the paper's steps"
    unit, what = CURVE_UNITS[value], value.replace("_mean", "").replace("_", " ")
    text = f"{what}: {_relation(more, less, entry, unit)} ({steps}), {domain}"
    return Comparison(text, unit, mean, low, high, None, margin=float(entry.get("margin", 0)))


def _steps_needed(_: Declarations, entry: Entry) -> Needs:
    return Needs(entry["domain"], frozenset(entry[side]["run"] for side in ("more", "less")), scored=False)


def _validation_half(errors: Sequence[float], pairs: np.ndarray, tail: float) -> float:
    """Half width of a difference of two validation accuracies.

    All validations and all seeds ask the same questions, of which validation.jsonl has only the standard error: the two
    errors are added as if the questions differed, and the spread over seeds is added to them. Too wide rather
    than too narrow.
    """
    half = float(stats.norm.ppf(tail) * math.hypot(*errors))
    if len(pairs) > 1:
        half = float(np.hypot(half, stats.t.ppf(tail, len(pairs) - 1) * pairs.std(ddof=1) / np.sqrt(len(pairs))))
    return half


def _points(text: str, pairs: np.ndarray, half: float) -> Comparison:
    mean = float(pairs.mean())
    return Comparison(text, "points", 100 * mean, 100 * (mean - half), 100 * (mean + half), None)


def curve_points(accuracy: np.ndarray) -> dict[str, int]:
    """Index of the start, the lowest point after it, the highest point after that, and the last."""
    lowest = 1 + int(np.argmin(accuracy[1:]))
    highest = lowest + int(np.argmax(accuracy[lowest:]))
    return {"start": 0, "lowest": lowest, "highest": highest, "last": len(accuracy) - 1}


def compare_epochs(results: Results, entry: Entry) -> Comparison:
    """Two points of a validation curve.

    The lowest and the highest point are chosen by their values, so the interval is widened for the number of
    points (Bonferroni).
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
    epochs = accuracy.columns
    names = [f"{entry[side]} (epoch {epochs[index]:g})" for side, index in (("more", first), ("less", second))]
    text = f"{label(results.decl, run)}: {names[0]} > {names[1]}"
    return _points(text, pairs, _validation_half([error_X[first], error_X[second]], pairs, tail))


def _epochs_needed(_: Declarations, entry: Entry) -> Needs:
    return Needs(entry["domain"], frozenset({entry["epochs"]}), scored=False)


def compare_validation(results: Results, entry: Entry) -> Comparison:
    """Validation accuracy of two runs, mean over the validations in the same window of both.

    The window is a share of the shorter run. More validations ask the same questions again, so that they do not narrow
    the interval.
    """
    domain, window = entry["domain"], entry["validation"]
    frames = [results.validation(domain, entry[side]) for side in ("more", "less")]
    length = min(int(frame["step"].max()) for frame in frames)
    shares = [frame["step"] / length for frame in frames]
    inside = [
        frame[(share > window["from"]) & (share <= window["to"])] for frame, share in zip(frames, shares, strict=True)
    ]
    means = [frame.groupby("seed")["accuracy"].mean() for frame in inside]
    seeds = sorted(set(means[0].index) & set(means[1].index))
    names = [label(results.decl, entry[side]) for side in ("more", "less")]
    divisor = results.scale.domains[domain].steps_divisor
    text = f"validation accuracy: {' > '.join(names)} (the paper's steps {_steps(window, length * divisor)}), {domain}"
    if not seeds:
        return Comparison(text, "points", None, None, None, None)
    pairs = (means[0] - means[1])[seeds].to_numpy(dtype=float)
    errors = [float(np.sqrt((frame["stderr"].astype(float) ** 2).mean())) for frame in inside]
    return _points(text, pairs, _validation_half(errors, pairs, 0.5 + LEVEL / 2))


def _validation_needed(_: Declarations, entry: Entry) -> Needs:
    return Needs(entry["domain"], frozenset({entry["more"], entry["less"]}), scored=False)


@dataclass(frozen=True)
class Kind:
    """How a kind of comparison is made, and of what."""

    compare: Callable[[Results, Entry], Comparison]
    needs: Callable[[Declarations, Entry], Needs]


COMPARISONS = {
    "table": Kind(compare_scores, _scores_needed),
    "value": Kind(compare_steps, _steps_needed),
    "epochs": Kind(compare_epochs, _epochs_needed),
    "validation": Kind(compare_validation, _validation_needed),
}


def _kind(entry: Entry) -> Kind:
    kinds = [kind for kind in COMPARISONS if kind in entry]
    if len(kinds) != 1:
        raise ValueError(f"{CLAIMS}: a comparison has exactly one of {list(COMPARISONS)}, got {dict(entry)}")
    return COMPARISONS[kinds[0]]


def compare(results: Results, entry: Entry) -> Comparison:
    """The comparison that an entry of claims.yaml asks for, by the key that names its kind."""
    return _kind(entry).compare(results, entry).checked()


def needs(decl: Declarations, entry: Entry) -> Needs:
    """What the comparison of an entry is computed from."""
    return _kind(entry).needs(decl, entry)
