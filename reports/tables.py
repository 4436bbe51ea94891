"""The paper's tables from scored samples: ours with its 95 % interval, the printed value beside it.

    python -m reports.tables --table table1 --scale mini --results results/mini --out
        results/mini/report/tables

One small function a table, in TABLES; each returns a `Table`, which table_formats.py writes as CSV, Markdown
and LaTeX. Columns are named by the task that was asked (sandbox-amc), never by the benchmark that it stands
for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from evaluation.statistics import Estimate
from reference_impl.files import write_text
from reports import table_formats
from reports.inputs import (
    PUBLISHED,
    Results,
    experiment,
    load_yaml,
    open_results,
    parser,
    printed,
    published_table,
    run_command,
)
from reports.scores import TOKENS, summarise, unreadable_share
from reports.style import label
from reports.table_columns import COLUMNS, Column
from reports.table_notes import notes, row_labels


@dataclass(frozen=True)
class Cell:
    """Ours and the paper's."""

    ours: Estimate | None
    """In per cent (a judge's score: times 100) or tokens; None where nothing was asked."""
    printed: str | None
    """The printed string; None where the paper has no such row."""
    implied: str | None = None
    """What the paper's other numbers imply, where the printed cell contradicts them."""
    unreadable: float | None = None
    """Share of answers that the grader could not read."""
    unscored: int = 0
    """Questions left out because the judge failed on an answer to them."""


@dataclass(frozen=True)
class Table:
    """A table ready to be written: rows are methods, cells[row][column]."""

    name: str
    title: str
    columns: tuple[Column, ...]
    column_names: tuple[str, ...]
    methods: tuple[str, ...]
    labels: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    unit: str
    notes: tuple[str, ...]


def implied_values(table: str) -> dict[tuple[str, str], str]:
    """(printed row, column) → the value that the paper's other numbers imply, from known_errors.yaml."""
    known = load_yaml(PUBLISHED / "known_errors.yaml")["tables"]
    return {(error["row"], error["column"]): error["implied"] for error in known if f"table{error['table']}" == table}


def _printed_label(table: str, method: str) -> str:
    return next((row["label"] for row in published_table(table) if row["method"] == method), "")


def _cell(results: Results, table: str, method: str, column: Column, implied: dict[tuple[str, str], str]) -> Cell:
    samples = column.selection.samples(results, method)
    estimate = summarise(samples, column.value)
    return Cell(
        ours=estimate.scaled(column.factor) if estimate else None,
        printed=printed(table, method, column.header),
        implied=implied.get((_printed_label(table, method), column.header)),
        unreadable=unreadable_share(samples) if column.graded else None,
        unscored=samples["item_id"].nunique() - (estimate.questions if estimate else 0),
    )


def build(results: Results, table: str, unit: str) -> Table:
    """A table whose rows are the methods declared for it in experiments.yaml."""
    declared = experiment(results, table)
    methods = tuple(declared["methods"])
    implied = implied_values(table)
    used = [column for column in COLUMNS[table] if column.selection.domain in declared["domains"]]
    cells = tuple(
        tuple(
            _cell(results, table, method, column, implied)
            if column.selection.domain in results.decl.method_domains(method)
            else Cell(None, printed(table, method, column.header))
            for column in used
        )
        for method in methods
    )
    labels = row_labels([label(results.decl, method) for method in methods])
    return Table(
        name=table,
        title=declared["title"],
        columns=tuple(used),
        column_names=tuple(column.name(results) for column in used),
        methods=methods,
        labels=labels,
        cells=cells,
        unit=unit,
        notes=notes(results, table, dict(zip(methods, labels, strict=True)), used, cells),
    )


ACCURACY = "accuracy, %"


def expert_length(results: Results, domain: str) -> Estimate:
    """Mean length of the expert's demonstrations in tokens: a known number of this data set, without an
    interval.
    """
    manifest = results.manifest(domain)
    mean = float(manifest["expert_length_mean"])
    return Estimate(mean, 0.0, mean, mean, int(manifest["expert_rows"]))


def with_expert(results: Results, table: Table) -> Table:
    """The table with the expert's demonstrations as its first row: known lengths, nothing else."""

    def cell(column: Column) -> Cell:
        length = expert_length(results, column.selection.domain) if column.value == TOKENS else None
        return Cell(length, printed(table.name, "expert", column.header))

    return replace(
        table,
        methods=("expert", *table.methods),
        labels=(label(results.decl, "expert"), *table.labels),
        cells=(tuple(map(cell, table.columns)), *table.cells),
        notes=(
            *table.notes,
            "The expert's length is the exact mean over its demonstrations, so it has no interval.",
        ),
    )


def table1(results: Results) -> Table:
    """Accuracy of every method on every benchmark."""
    return build(results, "table1", ACCURACY)


def table2(results: Results) -> Table:
    """Average response length, with the expert's demonstrations as the first row."""
    return with_expert(results, build(results, "table2", "tokens"))


def table3(results: Results) -> Table:
    """BFCL where μ follows the reward (B.1)."""
    return build(results, "table3", ACCURACY)


def table4(results: Results) -> Table:
    """BFCL with other token weights (B.2)."""
    return build(results, "table4", ACCURACY)


def table5(results: Results) -> Table:
    """Math with other token weights, under the relaxed protocol (B.2)."""
    return build(results, "table5", ACCURACY)


def table6(results: Results) -> Table:
    """BFCL after learning from either of two experts (B.3)."""
    return build(results, "table6", ACCURACY)


def table7(results: Results) -> Table:
    """The judge's score and the response length on medical questions, with the expert's length (B.4)."""
    return with_expert(results, build(results, "table7", "mean score × 100; tokens"))


def table8(results: Results) -> Table:
    """Math of a weaker policy (B.5)."""
    return build(results, "table8", ACCURACY)


def table9(results: Results) -> Table:
    """BFCL of a mixture of experts (B.6)."""
    return build(results, "table9", ACCURACY)


def table10(results: Results) -> Table:
    """BFCL by category, with its averages."""
    return build(results, "table10", ACCURACY)


def table11(results: Results) -> Table:
    """MMLU-Pro by category, with its overall accuracy."""
    return build(results, "table11", ACCURACY)


def table12(results: Results) -> Table:
    """BFCL of the methods that mix demonstrations into groups (D.1)."""
    return build(results, "table12", ACCURACY)


def scaling(results: Results) -> Table:
    """Math after four times the expert data (D.3)."""
    return build(results, "scaling", ACCURACY)


TABLES: dict[str, Callable[[Results], Table]] = {
    "table1": table1,
    "table2": table2,
    "table3": table3,
    "table4": table4,
    "table5": table5,
    "table6": table6,
    "table7": table7,
    "table8": table8,
    "table9": table9,
    "table10": table10,
    "table11": table11,
    "table12": table12,
    "scaling": scaling,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Write one table as CSV, Markdown and LaTeX."""
    arguments = parser("Write one table of the paper from scored samples.", "table", TABLES).parse_args(argv)
    table = TABLES[arguments.table](open_results(arguments))
    for ending, write in table_formats.FORMATS.items():
        write_text(arguments.out / f"{table.name}.{ending}", write(table))


if __name__ == "__main__":
    run_command(main)
