"""The forest plot of the page: each method minus pure RL in the main columns of each domain, paired by question."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.statistics import Estimate
from reference_impl.config.experiments import Column
from reports.inputs import Results, printed
from reports.scores import Paired, column_name, same_answers, tasks
from reports.style import label
from reports.table_view import as_number, route

BASELINE = "grpo"
"""Pure RL: what the paper measures its method by."""


@dataclass(frozen=True)
class Row:
    """A method's difference to the baseline, in points."""

    label: str
    estimate: Estimate | None
    """None where both gave the same answers, or too little was asked."""
    why_not: str
    paper: float | None
    """The printed difference."""
    route: str

    @property
    def agrees(self) -> str:
        """Whether the interval lies on the side of zero where the paper's difference does."""
        if self.estimate is None or not self.paper:
            return ""
        if self.estimate.low <= 0 <= self.estimate.high:
            return "open"
        return "same sign" if (self.estimate.mean > 0) == (self.paper > 0) else "other sign"


@dataclass(frozen=True)
class Panel:
    """A column's rows."""

    domain: str
    asked: str
    header: str
    """The paper's name of the column."""
    questions: int
    rows: tuple[Row, ...]
    reach: float
    """The scale goes from -reach to reach points."""

    def place(self, value: float) -> float:
        """Where a difference lies, in per cent of the scale's width."""
        return min(max(50 + 50 * value / self.reach, 0.0), 100.0)


def _printed_difference(table: str, method: str, column: Column) -> float | None:
    first, second = (as_number(printed(table, name, column.header)) for name in (method, BASELINE))
    return None if first is None or second is None else first - second


def _row(results: Results, pairs: Paired, table: str, method: str, column: Column) -> Row:
    same = same_answers(results, method, BASELINE, column.domain)
    estimate = None if same else pairs.difference(method, BASELINE, column)
    known = estimate is not None and bool(np.isfinite([estimate.low, estimate.high]).all())
    return Row(
        label(results.decl, method),
        estimate.scaled(column.factor) if estimate is not None and known else None,
        "the same answers" if same else "too little asked",
        _printed_difference(table, method, column),
        route(column.domain, method, tasks(results, column), column.categories),
    )


def _reach(rows: Sequence[Row]) -> float:
    """The largest number that the scale has to show, and a little more."""
    shown = [abs(end) for row in rows if row.estimate for end in (row.estimate.low, row.estimate.high)]
    shown += [abs(row.paper) for row in rows if row.paper is not None]
    return 1.05 * max(shown, default=1.0) or 1.0


def _panel(results: Results, pairs: Paired, name: str, methods: Sequence[str], column: Column) -> Panel:
    rows = tuple(_row(results, pairs, name, method, column) for method in methods)
    return Panel(
        results.decl.domains[column.domain].label,
        column_name(results, column),
        column.header,
        max((row.estimate.questions for row in rows if row.estimate), default=0),
        rows,
        _reach(rows),
    )


def panels(results: Results, pairs: Paired, shown: Sequence[str]) -> list[Panel]:
    """A panel a main column, of the domains whose main table is among the experiments shown."""
    found = []
    for domain in results.scale.domains:
        main = results.decl.main_table(domain)
        if main is None or main[0] not in shown:
            continue
        name, entry = main
        methods = [method for method in entry.methods if domain in results.decl.method_domains(method)]
        if BASELINE in methods:
            methods.remove(BASELINE)
            columns = [part for part in entry.columns if part.domain == domain and part.graded]
            found += [_panel(results, pairs, name, methods, part) for part in columns if tasks(results, part)]
    return found
