"""The paper's tables from scored samples: ours with its 95 % interval, the printed value beside it.

    python -m reports.tables --table table1 --scale mini --results results/mini --out
        results/mini/report/tables

A table is an entry of experiments.yaml; here its cells are filled, and table_formats.py writes it. Columns are named by
the task that was asked (sandbox-amc), never by the benchmark that it stands for.
"""

from collections.abc import Sequence
from pathlib import Path

from reference_impl.config.experiments import Column, TableEntry
from reference_impl.config.model import read_yaml
from reference_impl.files import write_text
from reports.inputs import PUBLISHED, Results, experiment, open_results, parser, printed, published_table, run_command
from reports.scores import TOKENS, column_name, expert_length, samples_of, summarise, unreadable_share
from reports.style import label
from reports.table_formats import FORMATS
from reports.table_model import Cell, Table
from reports.table_notes import notes, row_labels


def implied_values(table: str) -> dict[tuple[str, str], str]:
    """(printed row, column) → the value that the paper's other numbers imply, from known_errors.yaml."""
    known = read_yaml(PUBLISHED / "known_errors.yaml")["tables"]
    return {(error["row"], error["column"]): error["implied"] for error in known if f"table{error['table']}" == table}


def _cell(results: Results, table: str, method: str, column: Column, implied: dict[tuple[str, str], str]) -> Cell:
    paper = printed(table, method, column.header)
    if column.domain not in results.decl.method_domains(method):
        return Cell(ours=None, printed=paper)
    samples = samples_of(results, method, column)
    estimate = summarise(samples, column.value)
    row = next((row["label"] for row in published_table(table) if row["method"] == method), "")
    return Cell(
        ours=estimate.scaled(column.factor) if estimate else None,
        printed=paper,
        implied=implied.get((row, column.header)),
        unreadable=unreadable_share(samples) if column.graded else None,
        unscored=samples["item_id"].nunique() - (estimate.questions if estimate else 0),
    )


def build(results: Results, name: str) -> Table:
    """A declared table: the columns of the domains that this scale has, a row for every method."""
    entry = experiment(results, name, TableEntry)
    implied = implied_values(name)
    columns = tuple(column for column in entry.columns if column.domain in entry.domains)
    table = Table(
        name=name,
        title=entry.title,
        columns=columns,
        column_names=tuple(column_name(results, column) for column in columns),
        methods=entry.methods,
        labels=row_labels([label(results.decl, method) for method in entry.methods]),
        cells=tuple(tuple(_cell(results, name, row, column, implied) for column in columns) for row in entry.methods),
        unit=entry.unit,
    )
    table = table.model_copy(update={"notes": notes(results, table)})
    return with_expert(results, table) if entry.expert_row else table


def with_expert(results: Results, table: Table) -> Table:
    """The table with the expert's demonstrations as its first row: known lengths, nothing else."""

    def cell(column: Column) -> Cell:
        length = expert_length(results, column.domain) if column.value == TOKENS else None
        return Cell(ours=length, printed=printed(table.name, "expert", column.header))

    said = "The expert's length is the exact mean over its demonstrations, so it has no interval."
    return table.model_copy(
        update={
            "methods": ("expert", *table.methods),
            "labels": (label(results.decl, "expert"), *table.labels),
            "cells": (tuple(map(cell, table.columns)), *table.cells),
            "notes": (*table.notes, said),
        }
    )


def write(results: Results, name: str, out: Path) -> None:
    """Write a table in every format to the folder `out`."""
    table = build(results, name)
    for ending, text in FORMATS.items():
        write_text(out / f"{name}.{ending}", text(table))


def main(argv: Sequence[str] | None = None) -> None:
    """Write one table as CSV, Markdown, LaTeX and JSON."""
    arguments = parser("Write one table from scored samples.", "table").parse_args(argv)
    write(open_results(arguments), arguments.table, arguments.out)


if __name__ == "__main__":
    run_command(main)
