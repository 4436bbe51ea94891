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
from reports.scores import LIVE, NON_LIVE, Selection, summarise, unreadable_share
from reports.style import label

UNREADABLE_NOTE = 0.05
"""Shares of unreadable answers above this are named under the table: the score then measures format as well.
"""
NAMED = 4


@dataclass(frozen=True)
class Column:
    """One column of the paper and the questions that stand for it here."""

    header: str
    """The paper's column, as in reports/published."""
    selection: Selection
    part: str = ""
    """Which part of the task's questions, as the column is named here: 'live', 'biology'."""
    value: str = "correct"
    """correct (per cent) or tokens."""
    group: str = ""
    """The paper's header above several columns."""

    def name(self, results: Results) -> str:
        """What was asked: the task's name and the part of it."""
        return " ".join(filter(None, [" + ".join(self.selection.tasks(results)), self.part]))


@dataclass(frozen=True)
class Cell:
    """Ours and the paper's."""

    ours: Estimate | None
    """In per cent or tokens; None where nothing was asked."""
    printed: str | None
    """The printed string; None where the paper has no such row."""
    implied: str | None = None
    """What the paper's other numbers imply, where the printed cell contradicts them."""
    unreadable: float | None = None
    """Share of answers that the grader could not read."""


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


MATH_TESTS = ("AMC", "AIME24", "AIME25")
MMLU_SUBJECTS = {
    "Business": "business", "Law": "law", "Psych.": "psychology", "Biology": "biology",
    "Chemistry": "chemistry", "History": "history", "Other": "other", "Health": "health",
    "Econ.": "economics", "Math": "math", "Physics": "physics", "Comp. Sci.": "computer science",
    "Philosophy": "philosophy", "Engineering": "engineering",
}  # fmt: skip
"""Table 11's header → MMLU-Pro's category."""
BFCL_PARTS = (
    ("Live", "Simple", "live_simple"),
    ("Live", "Multiple", "live_multiple"),
    ("Live", "Parallel", "live_parallel"),
    ("Live", "Parallel Multiple", "live_parallel_multiple"),
    ("Non-live", "Simple", "simple_python"),
    ("Non-live", "Multiple", "multiple"),
    ("Non-live", "Parallel", "parallel"),
    ("Non-live", "Parallel Multiple", "parallel_multiple"),
)
"""Table 10's two header lines → BFCL's category."""


def _bfcl(header: str, part: str, categories: tuple[str, ...], group: str = "") -> Column:
    return Column(header, Selection("tool", ("BFCL",), categories), part, group=group)


def implied_values(table: str) -> dict[tuple[str, str], str]:
    """(printed row, column) → the value that the paper's other numbers imply, from known_errors.yaml."""
    known = load_yaml(PUBLISHED / "known_errors.yaml")["tables"]
    return {(error["row"], error["column"]): error["implied"] for error in known if f"table{error['table']}" == table}


def _printed_label(table: str, method: str) -> str:
    return next((row["label"] for row in published_table(table) if row["method"] == method), "")


def _cell(results: Results, table: str, method: str, column: Column, implied: dict[tuple[str, str], str]) -> Cell:
    samples = column.selection.samples(results, method)
    accuracy = column.value == "correct"
    estimate = summarise(samples, column.value)
    return Cell(
        ours=estimate.scaled(100) if estimate and accuracy else estimate,
        printed=printed(table, method, column.header),
        implied=implied.get((_printed_label(table, method), column.header)),
        unreadable=unreadable_share(samples) if accuracy else None,
    )


def _notes(
    results: Results,
    table: str,
    methods: Sequence[str],
    columns: Sequence[Column],
    cells: Sequence[Sequence[Cell]],
) -> list[str]:
    notes = []
    seeds = max((cell.ours.seeds for row in cells for cell in row if cell.ours), default=1)
    spread = "questions" if seeds == 1 else f"questions and {seeds} seeds"
    notes.append(f"Intervals: 95 %, over {spread}.")
    hard = sorted(
        (
            (
                cell.unreadable,
                f"{label(results.decl, method)} on {column.name(results)} {cell.unreadable:.0%}",
            )
            for method, row in zip(methods, cells, strict=True)
            for column, cell in zip(columns, row, strict=True)
            if cell.unreadable and cell.unreadable > UNREADABLE_NOTE and len(column.selection.categories) != 1
        ),
        reverse=True,
    )
    if hard:
        more = f" (and {len(hard) - NAMED} more above {UNREADABLE_NOTE:.0%})" if len(hard) > NAMED else ""
        named = "; ".join(text for _, text in hard[:NAMED])
        notes.append(f"Most answers that the grader could not read, for their format or length: {named}{more}.")
    for domain in dict.fromkeys(column.selection.domain for column in columns):
        if same := _identical_answers(results, methods, domain):
            notes.append(
                f"Answer for answer the same in the {domain} domain: {'; '.join(same)}. They are one checkpoint, or "
                "runs from one checkpoint: validation chose the same for both."
            )
    if any(cell.implied for row in cells for cell in row):
        notes.append("†: printed so, but the paper's own averages imply the value in parentheses.")
    absent = [row["label"] for row in published_table(table) if not row["method"]]
    if absent:
        notes.append(f"Rows of the paper without a run here: {', '.join(absent)}.")
    return notes


def _identical_answers(results: Results, methods: Sequence[str], domain: str) -> list[str]:
    """Groups of methods whose every stored answer has the same verdict and length, as ``A = B``."""
    groups: dict[str, list[str]] = {}
    for method in methods:
        if domain in results.decl.method_domains(method):
            samples = results.scores(domain, method)[["seed", "task", "item_id", "sample", "correct", "tokens"]]
            groups.setdefault(samples.to_csv(index=False), []).append(label(results.decl, method))
    return [" = ".join(group) for group in groups.values() if len(group) > 1]


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
    return Table(
        name=table,
        title=declared["title"],
        columns=tuple(used),
        column_names=tuple(column.name(results) for column in used),
        methods=methods,
        labels=tuple(label(results.decl, method) for method in methods),
        cells=cells,
        unit=unit,
        notes=tuple(_notes(results, table, methods, used, cells)),
    )


def _math(name: str) -> Column:
    return Column(name, Selection("math", (name,)), group="Math & general reasoning")


BFCL_ALL = LIVE + NON_LIVE
COLUMNS: dict[str, tuple[Column, ...]] = {
    "table1": (
        *map(_math, (*MATH_TESTS, "MMLU-Pro")),
        _bfcl("BFCL Live", "live", LIVE, "Tool use"),
        _bfcl("BFCL Non-live", "non-live", NON_LIVE, "Tool use"),
        _bfcl("BFCL Overall", "overall", BFCL_ALL, "Tool use"),
    ),
    "table2": (
        Column("Math", Selection("math", MATH_TESTS), "length", "tokens"),
        Column("Tool-use", Selection("tool", ("BFCL",)), "length", "tokens"),
    ),
    "table10": (
        *(_bfcl(f"{group} {name}", category, (category,), group) for group, name, category in BFCL_PARTS),
        _bfcl("Live Avg", "live", LIVE, "Average"),
        _bfcl("Non-live Avg", "non-live", NON_LIVE, "Average"),
        _bfcl("Overall", "overall", BFCL_ALL, "Average"),
    ),
    "table11": (
        *(Column(header, Selection("math", ("MMLU-Pro",), (name,)), name) for header, name in MMLU_SUBJECTS.items()),
        Column("Overall Acc.", Selection("math", ("MMLU-Pro",)), "overall"),
    ),
}
"""What each table's columns ask. BFCL's and MMLU-Pro's averages weigh every question alike (B.8, B.9)."""
ACCURACY = "accuracy, %"


def expert_length(results: Results, domain: str) -> Estimate:
    """Mean length of the expert's demonstrations in tokens: a known number of this data set, without an
    interval.
    """
    manifest = results.manifest(domain)
    mean = float(manifest["expert_length_mean"])
    return Estimate(mean, 0.0, mean, mean, int(manifest["expert_rows"]))


def table1(results: Results) -> Table:
    """Accuracy of every method on every benchmark."""
    return build(results, "table1", ACCURACY)


def table2(results: Results) -> Table:
    """Average response length, with the expert's demonstrations as the first row."""
    table = build(results, "table2", "tokens")
    expert = tuple(
        Cell(expert_length(results, column.selection.domain), printed("table2", "expert", column.header))
        for column in table.columns
    )
    return replace(
        table,
        methods=("expert", *table.methods),
        labels=(label(results.decl, "expert"), *table.labels),
        cells=(expert, *table.cells),
        notes=(
            *table.notes,
            "The expert's length is the exact mean over its demonstrations, so it has no interval.",
        ),
    )


def table10(results: Results) -> Table:
    """BFCL by category, with its averages."""
    return build(results, "table10", ACCURACY)


def table11(results: Results) -> Table:
    """MMLU-Pro by category, with its overall accuracy."""
    return build(results, "table11", ACCURACY)


TABLES: dict[str, Callable[[Results], Table]] = {
    "table1": table1,
    "table2": table2,
    "table10": table10,
    "table11": table11,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Write one table as CSV, Markdown and LaTeX."""
    arguments = parser("Write one table of the paper from scored samples.", "table", TABLES).parse_args(argv)
    table = TABLES[arguments.table](open_results(arguments))
    for ending, write in table_formats.FORMATS.items():
        write_text(arguments.out / f"{table.name}.{ending}", write(table))


if __name__ == "__main__":
    run_command(main)
