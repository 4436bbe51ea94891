"""Two sides in one column: both values, their difference question by question, and what it says. And this as text."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict

from evaluation.statistics import Estimate, holm
from reference_impl.config import Declarations
from reference_impl.config.experiments import Column
from reports.inputs import Results
from reports.scores import paired, same_samples, summarise
from reports.table_formats import pipe

ABOVE, BELOW, UNDECIDED = "above", "below", "undecided"
SAME, UNASKED = "the same answers", "too little asked"
ALPHA = 0.05


class Value(BaseModel):
    """A number with its 95 % interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, estimate: Estimate | None) -> "Value | None":
        """None where there is no number, or no interval."""
        if estimate is None or not pd.notna([estimate.mean, estimate.low, estimate.high]).all():
            return None
        return cls(mean=estimate.mean, low=estimate.low, high=estimate.high)

    def text(self, sign: str = "") -> str:
        """One decimal: 57.2 [47.2, 66.7]."""
        return f"{self.mean:{sign}.1f} [{self.low:{sign}.1f}, {self.high:{sign}.1f}]"


class Pair(BaseModel):
    """A side against a baseline in one column, in points (or as the unit says)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    domain: str
    column: str
    """What was asked."""
    unit: str
    name: str
    """The side's name; the next, how it is called."""
    label: str
    baseline: str
    baseline_label: str
    value: Value | None
    baseline_value: Value | None
    difference: Value | None
    """None where too little is asked for an interval, or where both gave the same answers."""
    verdict: str
    detectable: float | None
    """The true difference that so much data finds four times in five."""
    p: float
    """Two-sided."""
    questions: int
    seeds: int


def main_columns(decl: Declarations, domain: str) -> tuple[Column, ...]:
    """The graded columns of a domain in its main table; none where no table has any."""
    main = decl.main_table(domain)
    columns = main[1].columns if main else ()
    return tuple(column for column in columns if column.domain == domain and column.graded)


def main_column(decl: Declarations, domain: str) -> Column:
    """The first of them that asks whole benchmarks. Raises ValueError where there is none."""
    for column in main_columns(decl, domain):
        if not column.categories:
            return column
    raise ValueError(f"no table of experiments.yaml has a graded column of {domain}")


def make_pair(
    column: Column,
    asked: str,
    side: tuple[str, str, pd.DataFrame],
    baseline: tuple[str, str, pd.DataFrame],
) -> Pair:
    """Name, label and samples of both sides on a column's questions → their comparison.

    Raises ValueError where they answered different questions, or have no seed in common.
    """
    (name, label, samples), (other, other_label, others) = side, baseline
    same = same_samples(samples.reset_index(drop=True), others.reset_index(drop=True))
    refusal = f"{name}, {other} cannot be paired in {column.domain}"
    estimate = None if same else paired([samples], [others], column.value, refusal)
    estimate = None if estimate is None else estimate.scaled(column.factor)
    difference = Value.of(estimate)
    sides = [summarise(frame, column.value) for frame in (samples, others)]
    values = [Value.of(found and found.scaled(column.factor)) for found in sides]
    seeds = set(samples["seed"]) & set(others["seed"])
    return Pair(
        domain=column.domain,
        column=asked,
        unit=column.unit,
        name=name,
        label=label,
        baseline=other,
        baseline_label=other_label,
        value=values[0],
        baseline_value=values[1],
        difference=difference,
        verdict=SAME if same and len(samples) else _verdict(difference),
        detectable=estimate.detectable() if estimate is not None and difference is not None else None,
        p=1.0 if estimate is None or difference is None else _two_sided(estimate),
        questions=samples["item_id"].nunique(),
        seeds=len(seeds),
    )


def _verdict(difference: Value | None) -> str:
    if difference is None:
        return UNASKED
    return ABOVE if difference.low > 0 else BELOW if difference.high < 0 else UNDECIDED


def _two_sided(estimate: Estimate) -> float:
    return min(1.0, 2 * min(estimate.p_above(0.0), estimate.p_below(0.0)))


def said_of(pairs: Sequence[Pair], results: Results | None = None) -> list[str]:
    """What must be said under the pairs: how many would be found as one family, seeds, and what the scale is."""
    tested = [pair for pair in pairs if pair.difference is not None]
    notes = ["Differences are paired question by question; the verdict is that of the 95 % interval."]
    if len(tested) > 1:
        adjusted = holm([pair.p for pair in tested])
        kept = [pair.verdict for pair, p in zip(tested, adjusted, strict=True) if p <= ALPHA]
        counts = ", ".join(f"{kept.count(verdict)} {verdict}" for verdict in (ABOVE, BELOW))
        notes.append(f"Taken as one family of {len(tested)} tests (Holm): {counts}.")
    if tested and min(pair.seeds for pair in tested) == 1:
        notes.append("One seed: this knows the noise of the questions and not that of training; seeds='[0,1,2]'.")
    if results is not None:
        notes.append(f"Scale {results.scale.name}: {results.scale.description}")
    return notes


def to_markdown(pairs: Iterable[Pair]) -> str:
    """A pipe table, a row a pair."""
    header = ["what was asked", "", "value", "against", "value", "difference [95 %]", "verdict", "finds", "n", "seeds"]
    lines = [pipe(header), pipe(["---"] * len(header))]
    for pair in pairs:
        lines.append(
            pipe(
                [
                    f"{pair.domain}: {pair.column}",
                    pair.label,
                    pair.value.text() if pair.value else "–",
                    pair.baseline_label,
                    pair.baseline_value.text() if pair.baseline_value else "–",
                    pair.difference.text("+") if pair.difference else "–",
                    pair.verdict,
                    f"{pair.detectable:.1f}" if pair.detectable is not None else "–",
                    str(pair.questions),
                    str(pair.seeds),
                ]
            )
        )
    return "\n".join(lines) + "\n"


def to_csv(pairs: Iterable[Pair]) -> str:
    """A row a pair, a column for every number."""
    rows = [flat_row(pair.model_dump()) for pair in pairs]
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(flat_row(dict.fromkeys(Pair.model_fields))), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


VALUES = ("value", "baseline_value", "difference")


def flat_row(row: dict[str, Any]) -> dict[str, Any]:
    """A pair's fields with a value's three numbers as `value`, `value low`, `value high`."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if key in VALUES:
            flat |= {f"{key}{end}": (value or {}).get(part) for part, end in PARTS}
        else:
            flat[key] = value
    return flat


PARTS = (("mean", ""), ("low", " low"), ("high", " high"))
