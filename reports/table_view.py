"""A table as the page shows it: each value with its difference to the base model, the paper's beside both, what was
asked under each column, and where a cell's samples are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import pandas as pd

from evaluation.statistics import Estimate
from reference_impl.config import Declarations
from reference_impl.config.experiments import Experiment
from reports.inputs import Results
from reports.pages import data_uri, low_confidence
from reports.scores import Paired, samples_of, tasks, unreadable_share
from reports.table_model import Cell, Table

DOWNLOADS = {"csv": "text/csv", "md": "text/markdown", "tex": "application/x-tex"}
WIDE = 9
"""Tables of more columns are set smaller, so that they fit a screen of 1,280 pixels."""


@dataclass(frozen=True)
class CellView:
    """A cell with what it is opened and compared by."""

    cell: Cell
    route: str
    """Where its samples are in the page's browser; empty where it has none."""
    change: Estimate | None
    """Ours minus the base model's, paired by question; None for the base model itself, or where nothing was asked."""
    printed_change: float | None
    """The same of the printed values."""


@dataclass(frozen=True)
class RowView:
    """A method's row."""

    method: str
    label: str
    doubtful: bool
    """Whether its declaration says that it is of low confidence."""
    cells: tuple[CellView, ...]


@dataclass(frozen=True)
class ColumnView:
    """A column's header, and what stands under it."""

    name: str
    """What was asked here, without what all columns of its group share."""
    header: str
    """The paper's name of it."""
    questions: int
    samples: str
    """Samples a question, of every seed."""
    unreadable: str
    """The least and the largest share of unreadable answers among the rows; empty where nothing is graded."""


@dataclass(frozen=True)
class TableView:
    """A table as the page shows it."""

    name: str
    paper: str
    table: Table
    reading: str
    groups: tuple[tuple[str, int], ...]
    """The upper header, the paper's or the task that all columns share: text and number of columns it spans."""
    columns: tuple[ColumnView, ...]
    rows: tuple[RowView, ...]
    base: str
    """Label of the base model, which differences are to; empty where the table has none."""
    downloads: dict[str, str]
    """Ending → data URI."""

    @property
    def wide(self) -> bool:
        return len(self.columns) > WIDE


def column_groups(table: Table) -> tuple[tuple[str, int], ...]:
    """Neighbouring columns under the same upper header."""
    groups: list[tuple[str, int]] = []
    for column in table.columns:
        if groups and groups[-1][0] == column.group:
            groups[-1] = (column.group, groups[-1][1] + 1)
        else:
            groups.append((column.group, 1))
    return tuple(groups)


def shared_task(names: Sequence[str]) -> str:
    """The first word of all names where it is one and the same and something follows it; else empty."""
    firsts = {name.partition(" ")[0] for name in names}
    return firsts.pop() if len(names) > 1 and len(firsts) == 1 and all(" " in name for name in names) else ""


def base_of(decl: Declarations, methods: Sequence[str]) -> str | None:
    """The first method that nothing was trained for: the model that the others began with."""
    known = [decl.methods[name] for name in methods if name in decl.methods]
    return next((method.name for method in known if not method.trains and not method.select), None)


def as_number(printed: str | None) -> float | None:
    """A printed cell as a number, where it is one."""
    try:
        return None if printed is None else float(printed.replace(",", ""))
    except ValueError:
        return None


def route(domain: str, method: str, asked: Sequence[str], categories: Sequence[str] = ()) -> str:
    """Where samples are in the page's browser: #samples/domain/method/task+task/category+category."""
    parts = [domain, method, "+".join(map(quote, asked)), *filter(None, ["+".join(map(quote, categories))])]
    return "#samples/" + "/".join(parts)


def _cell(results: Results, pairs: Paired, table: Table, row: int, at: int, base: str | None) -> CellView:
    method, column, cell = table.methods[row], table.columns[at], table.cells[row][at]
    asked = tasks(results, column)
    there = cell.ours is not None and method in results.decl.methods and asked
    before = table.cells[table.methods.index(base)][at].printed if base and base != method else None
    printed, printed_base = as_number(cell.printed), as_number(before)
    change = pairs.difference(method, base, column) if there and base and base != method else None
    return CellView(
        cell,
        route(column.domain, method, asked, column.categories) if there else "",
        change.scaled(column.factor) if change else None,
        None if printed is None or printed_base is None else printed - printed_base,
    )


def _several(values: pd.Series) -> str:
    """One number, or the least and the largest."""
    low, high = int(values.min()), int(values.max())
    return f"{low}" if low == high else f"{low}–{high}"


def _column(results: Results, table: Table, at: int, shared: str) -> ColumnView:
    column, name = table.columns[at], table.column_names[at]
    rows = [row[at] for row in table.cells]
    methods = [method for method, row in zip(table.methods, rows, strict=True) if row.ours and method != "expert"]
    frames = [samples_of(results, method, column) for method in methods]
    shares = [share for frame in frames if column.graded and (share := unreadable_share(frame)) is not None]
    count = frames[0].groupby(["seed", "item_id"]).size() if frames and len(frames[0]) else pd.Series([0])
    low, high = (f"{100 * share:.0f}" for share in (min(shares), max(shares))) if shares else ("", "")
    return ColumnView(
        name=name.removeprefix(shared).lstrip() if shared else name,
        header=column.header,
        questions=frames[0]["item_id"].nunique() if frames else 0,
        samples=_several(count),
        unreadable=low if low == high else f"{low}–{high}",
    )


def table_view(results: Results, pairs: Paired, name: str, entry: Experiment) -> TableView:
    """A table from its files; missing ones are an error that says how to make them."""

    def content(ending: str) -> bytes:
        return results.require(results.root / "report" / "tables" / f"{name}.{ending}").read_bytes()

    table, decl = Table.model_validate_json(content("json")), results.decl
    base, shared = base_of(decl, table.methods), shared_task(table.column_names)
    groups = tuple((f"{shared} {group}".strip(), span) for group, span in column_groups(table))
    rows = tuple(
        RowView(
            method,
            table.labels[row],
            method in decl.methods and bool(low_confidence(decl.methods[method].paper)),
            tuple(_cell(results, pairs, table, row, at, base) for at in range(len(table.columns))),
        )
        for row, method in enumerate(table.methods)
    )
    return TableView(
        name=name,
        paper=entry.paper,
        table=table,
        reading=entry.reading,
        groups=groups,
        columns=tuple(_column(results, table, at, shared) for at in range(len(table.columns))),
        rows=rows,
        base=table.labels[table.methods.index(base)] if base else "",
        downloads={ending: data_uri(content(ending), kind) for ending, kind in DOWNLOADS.items()},
    )
