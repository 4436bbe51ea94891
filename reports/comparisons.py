"""What decides a claim: one difference with its 95 % interval, from scored samples or from a run's logs.

Each kind of comparison in claims.yaml is one function here, in COMPARISONS, named by the key that only it has.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from evaluation.statistics import Estimate, estimate_mean, interval, paired_difference
from reference_impl.config import Declarations
from reference_impl.config.experiments import Column, TableEntry
from reports.inputs import ROOT, Results, printed, published_table
from reports.scores import column_name, difference, expert_length, same_answers, samples_of, summarise
from reports.style import label

CLAIMS = ROOT / "reports" / "claims.yaml"
HOLDS, FAILS, UNDECIDED, UNTESTED = "holds", "does not hold", "undecided", "not testable here"
LEVEL = 0.95
ALPHA = (1 - LEVEL) / 2
"""Of a one-sided test: a 95 % interval beside zero, on one side of it."""
KEY = ["seed", "step"]
CURVE_UNITS = {"reward_mean": "reward", "response_length": "tokens", "entropy": "nats"}
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """`more` minus `less`, in `unit`, with its 95 % interval and what it decides."""

    text: str
    unit: str
    estimate: Estimate | None
    """None where this scale asks no such question, or too few, or where both sides are one checkpoint."""
    paper: float | None = None
    """The printed difference in the same unit, None where it is read off a figure."""
    margin: float = 0.0
    """What `more` may lie below `less` and still count as no less, in `unit`."""
    why_not: str = "too little asked at this scale"
    """Why there is no estimate."""
    p_holds: float = 1.0
    """One-sided p-value against `more` lying at -margin or below; adjusted where a claim makes several comparisons."""
    p_fails: float = 1.0
    """The same against `more` lying at -margin or above."""

    @classmethod
    def of(
        cls,
        text: str,
        unit: str,
        estimate: Estimate | None,
        paper: float | None = None,
        margin: float = 0.0,
        trials: int = 1,
    ) -> "Comparison":
        """Without numbers where the data were too few for an interval (one question, steps without spread).

        ``trials``: places that were looked at to choose these two; their number multiplies the p-values (Bonferroni),
        and the interval is as much wider.
        """
        if estimate is None or not np.isfinite([estimate.low, estimate.high]).all():
            return cls(text, unit, None, paper, margin)
        p_holds, p_fails = (min(1.0, trials * p) for p in (estimate.p_above(-margin), estimate.p_below(-margin)))
        return cls(text, unit, estimate.at_level(1 - (1 - LEVEL) / trials), paper, margin, "", p_holds, p_fails)

    @classmethod
    def of_one_checkpoint(cls, text: str, unit: str) -> "Comparison":
        """Both sides gave the very same answers: there is nothing to compare."""
        return cls(text, unit, None, why_not="both are one checkpoint here, or runs from one")

    @property
    def verdict(self) -> str:
        if self.estimate is None:
            return UNTESTED
        if self.p_holds <= ALPHA:
            return HOLDS
        return FAILS if self.p_fails <= ALPHA else UNDECIDED

    @property
    def mean(self) -> float | None:
        return None if self.estimate is None else self.estimate.mean

    @property
    def low(self) -> float | None:
        return None if self.estimate is None else self.estimate.low

    @property
    def high(self) -> float | None:
        return None if self.estimate is None else self.estimate.high

    @property
    def detectable(self) -> float | None:
        """The true difference that a comparison of this size finds four times in five."""
        return None if self.estimate is None else self.estimate.detectable()

    @property
    def power(self) -> float | None:
        """How often a comparison of this size would find the paper's printed difference, were it true here."""
        if self.estimate is None or self.paper is None or self.paper + self.margin <= 0:
            return None
        return self.estimate.power(self.paper + self.margin)

    @property
    def printed(self) -> str | None:
        """The paper's difference, for reading."""
        if self.paper is None:
            return None
        return f"{self.paper:+,.0f}" if self.unit == "tokens" else f"{self.paper:+,.1f}"


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


def _contrast(entry: Entry) -> tuple[list[str], list[str]]:
    """The methods that count for and against: of a difference of two differences, four."""
    beyond = entry.get("beyond", {})
    return [entry["more"], *filter(None, [beyond.get("less")])], [entry["less"], *filter(None, [beyond.get("more")])]


def _printed_difference(column: Column, entry: Entry) -> float | None:
    plus, minus = ([printed(entry["table"], name, column.header) for name in side] for side in _contrast(entry))
    if None in (*plus, *minus):
        return None
    first, second = (sum(float(str(cell).replace(",", "")) for cell in side) for side in (plus, minus))
    return round(first - second, 6)


def _minus_known(known: Estimate, estimate: Estimate | None, sign: int) -> Estimate | None:
    """sign x (known - estimate) for a number without error of its own."""
    if estimate is None:
        return None
    low, high = sorted(sign * (known.mean - value) for value in (estimate.low, estimate.high))
    return replace(estimate, mean=sign * (known.mean - estimate.mean), low=low, high=high)


def compare_scores(results: Results, entry: Entry) -> Comparison:
    """Two methods on the questions of a table's column, paired by question and seed; or, with `beyond`, whether two
    differ by more than two others.
    """
    column, more, less = _column(results.decl, entry), str(entry["more"]), str(entry["less"])
    assert column is not None, "only what is declared is decided"
    domain = column.domain
    if "expert" in (more, less):
        other, sign = (less, 1) if more == "expert" else (more, -1)
        mean = summarise(samples_of(results, other, column), column.value)
        estimate = _minus_known(expert_length(results, domain), mean, sign)
    else:
        estimate = difference(results, *_contrast(entry), column)
    place = column_name(results, column) if column.graded else f"{results.decl.domains[domain].label.lower()} (tokens)"
    names = [label(results.decl, more), label(results.decl, less)]
    if "beyond" in entry:
        other = " − ".join(label(results.decl, entry["beyond"][side]) for side in ("more", "less"))
        names = [" − ".join(names), other]
    text = f"{_relation(names[0], names[1], entry, column.unit)} on {place}"
    if "beyond" not in entry and same_answers(results, more, less, domain):
        return Comparison.of_one_checkpoint(text, column.unit)
    shown = None if estimate is None else estimate.scaled(column.factor)
    return Comparison.of(text, column.unit, shown, _printed_difference(column, entry), float(entry.get("margin", 0)))


def _scores_needed(decl: Declarations, entry: Entry) -> Needs:
    column = _column(decl, entry)
    methods = frozenset({name for side in _contrast(entry) for name in side} - {"expert"})
    return Needs(column.domain if column else None, methods, scored=True)


def _inside(frame: pd.DataFrame, part: Entry, length: float, step: str = "paper_step") -> pd.DataFrame:
    """The rows in a share of `length`, which is in the same steps; a window from 0 on has what was before step 1."""
    share = frame[step] / length
    return frame[((share > part["from"]) | ((share == 0) & (part["from"] == 0))) & (share <= part["to"])]


def _over_seeds(pairs_S: np.ndarray) -> Estimate:
    """Runs are the independent observations: t over their differences."""
    return estimate_mean(pairs_S)


def _paired_steps(differences: np.ndarray) -> Estimate | None:
    """The mean of one run's differences step by step. Neighbouring steps are alike, so that there are fewer independent
    ones: n (1 - r) / (1 + r), r the correlation of neighbours where it is positive.
    """
    n = len(differences)
    if n < 3 or differences.std() == 0:
        return None
    centred = differences - differences.mean()
    r = min(0.95, max(0.0, float((centred[1:] * centred[:-1]).sum() / (centred**2).sum())))
    independent = max(2.0, n * (1 - r) / (1 + r))
    return interval(float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(independent), independent - 1)


def _step_difference(more: pd.DataFrame, less: pd.DataFrame, value: str) -> Estimate | None:
    """Difference of two windows of steps.

    Over the common seeds where there are several. Else over steps: one by one where both windows have the same, at
    which runs draw the same prompts with the same seeds; as separate samples (Welch) where they have not.
    """
    first, second = (frame.set_index(["seed", "paper_step"])[value].astype(float).dropna() for frame in (more, less))
    seeds = sorted(set(first.index.get_level_values(0)) & set(second.index.get_level_values(0)))
    if len(seeds) > 1:
        means = [series.groupby(level=0).mean()[seeds] for series in (first, second)]
        return _over_seeds((means[0] - means[1]).to_numpy())
    if first.index.equals(second.index):
        return _paired_steps((first - second).to_numpy())
    if len(first) < 2 or len(second) < 2 or first.std() == second.std() == 0:
        return None
    found = stats.ttest_ind(first, second, equal_var=False)
    return interval(
        float(first.mean() - second.mean()), abs((first.mean() - second.mean()) / found.statistic), found.df
    )


def _steps(part: Entry, length: float) -> str:
    if part["from"] == part["to"] == 0:
        return "0"
    return f"{part['from'] * length:,.0f}–{part['to'] * length:,.0f}"


def _sides(results: Results, entry: Entry, length: float) -> tuple[str, str, str]:
    """Both sides' names, and which steps they are of."""
    sides = [entry["more"], entry["less"]]
    more, less = (label(results.decl, side["run"]) for side in sides)
    first, second = (_steps(side, length) for side in sides)
    if first == second:
        return more, less, f"the paper's steps {first}"
    return f"{more} at {first}", f"{less} at {second}", "the paper's steps"


def compare_steps(results: Results, entry: Entry) -> Comparison:
    """A logged quantity in two windows of one or two runs.

    A window is a share of the shorter run, so that runs of different length are compared at the same steps of the
    paper, at which they draw the same prompts and their schedules stand where the paper's do.
    """
    value, domain = entry["value"], entry["domain"]
    sides = [entry["more"], entry["less"]]
    frames = [results.metrics(domain, side["run"]) for side in sides]
    length = min(float(frame["paper_step"].max()) for frame in frames)
    windows = [_inside(frame, side, length) for frame, side in zip(frames, sides, strict=True)]
    more, less, steps = _sides(results, entry, length)
    unit, what = CURVE_UNITS[value], value.replace("_mean", "").replace("_", " ")
    text = f"{what}: {_relation(more, less, entry, unit)} ({steps}), {domain}"
    if sides[0]["run"] != sides[1]["run"] and frames[0][[*KEY, value]].equals(frames[1][[*KEY, value]]):
        return Comparison.of_one_checkpoint(text, unit)
    return Comparison.of(
        text, unit, _step_difference(windows[0], windows[1], value), margin=float(entry.get("margin", 0))
    )


def _steps_needed(_: Declarations, entry: Entry) -> Needs:
    return Needs(entry["domain"], frozenset(entry[side]["run"] for side in ("more", "less")), scored=False)


def curve_points(accuracy: np.ndarray) -> dict[str, int]:
    """Index of the start, the lowest point after it, the highest point after that, and the last."""
    lowest = 1 + int(np.argmin(accuracy[1:]))
    highest = lowest + int(np.argmax(accuracy[lowest:]))
    return {"start": 0, "lowest": lowest, "highest": highest, "last": len(accuracy) - 1}


def _answers(frame: pd.DataFrame, path: str) -> np.ndarray:
    """Mean score of every validation question (S, N), over the validations of each seed: all ask the same ones.

    Raises ValueError for records of a run that did not keep them.
    """
    if "scores" not in frame or frame["scores"].isna().any():
        raise ValueError(f"{path}: validation.jsonl has no scores of single questions; train the run again")
    return np.stack([np.mean(part["scores"].tolist(), axis=0) for _, part in frame.groupby("seed")])


def _answer_difference(more: pd.DataFrame, less: pd.DataFrame, path: str) -> Estimate | None:
    """Paired by question and, over the common seeds, by run; in points."""
    seeds = set(more["seed"]) & set(less["seed"])
    if not seeds:
        return None
    first, second = (_answers(frame[frame["seed"].isin(seeds)], path) for frame in (more, less))
    return paired_difference(first, second).scaled(100)


def compare_epochs(results: Results, entry: Entry) -> Comparison:
    """Two points of a validation curve, question by question.

    The lowest and the highest point are chosen by their values: as many were looked at as there are epochs.
    """
    run, domain = entry["epochs"], entry["domain"]
    frame = results.validation(domain, run)
    accuracy = frame.pivot_table(index="seed", columns="epoch", values="accuracy").dropna(axis="columns")
    points = curve_points(accuracy.to_numpy(dtype=float).mean(axis=0))
    unknown = {entry["more"], entry["less"]} - set(points)
    if unknown:
        raise ValueError(f"{CLAIMS}: unknown points {sorted(unknown)} of a curve; allowed are {list(points)}")
    epochs = [accuracy.columns[points[entry[side]]] for side in ("more", "less")]
    names = [f"{entry[side]} (epoch {epoch:g})" for side, epoch in zip(("more", "less"), epochs, strict=True)]
    text = f"{label(results.decl, run)}: {names[0]} > {names[1]}"
    parts = [frame[frame["epoch"] == epoch] for epoch in epochs]
    estimate = _answer_difference(parts[0], parts[1], f"{domain}/{run}")
    return Comparison.of(text, "points", estimate, trials=max(len(accuracy.columns) - 1, 1))


def _epochs_needed(_: Declarations, entry: Entry) -> Needs:
    return Needs(entry["domain"], frozenset({entry["epochs"]}), scored=False)


def compare_validation(results: Results, entry: Entry) -> Comparison:
    """Validation accuracy in two windows of one or two runs, question by question.

    Windows are shares of the shorter run. More validations ask the same questions again.
    """
    domain = entry["domain"]
    sides = [entry["more"], entry["less"]]
    frames = [results.validation(domain, side["run"]) for side in sides]
    length = min(int(frame["step"].max()) for frame in frames)
    parts = [_inside(frame, side, length, "step") for frame, side in zip(frames, sides, strict=True)]
    more, less, steps = _sides(results, entry, length * results.scale.domains[domain].steps_divisor)
    text = f"validation accuracy: {_relation(more, less, entry, 'points')} ({steps}), {domain}"
    estimate = _answer_difference(parts[0], parts[1], f"{domain}/{sides[0]['run']}, {sides[1]['run']}")
    return Comparison.of(text, "points", estimate, margin=float(entry.get("margin", 0)))


@dataclass(frozen=True)
class Kind:
    """How a kind of comparison is made, and of what."""

    compare: Callable[[Results, Entry], Comparison]
    needs: Callable[[Declarations, Entry], Needs]


COMPARISONS = {
    "table": Kind(compare_scores, _scores_needed),
    "value": Kind(compare_steps, _steps_needed),
    "epochs": Kind(compare_epochs, _epochs_needed),
    "validation": Kind(compare_validation, _steps_needed),
}


def _kind(entry: Entry) -> Kind:
    kinds = [kind for kind in COMPARISONS if kind in entry]
    if len(kinds) != 1:
        raise ValueError(f"{CLAIMS}: a comparison has exactly one of {list(COMPARISONS)}, got {dict(entry)}")
    return COMPARISONS[kinds[0]]


def compare(results: Results, entry: Entry) -> Comparison:
    """The comparison that an entry of claims.yaml asks for, by the key that names its kind."""
    return _kind(entry).compare(results, entry)


def needs(decl: Declarations, entry: Entry) -> Needs:
    """What the comparison of an entry is computed from."""
    return _kind(entry).needs(decl, entry)
