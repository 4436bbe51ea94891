"""A table as CSV (a column for every number), Markdown and LaTeX (the same cells for reading), JSON (all of it)."""

import csv
import io
from collections.abc import Callable, Sequence

from evaluation.statistics import Estimate
from reports.table_model import Cell, Table

NOTHING = "–"


def number(value: float) -> str:
    """One decimal, with the paper's comma between thousands."""
    return f"{value:,.1f}"


def interval(estimate: Estimate) -> str:
    """[low, high], or nothing where the number is known exactly."""
    if estimate.low == estimate.high:
        return ""
    return f"[{number(estimate.low)}, {number(estimate.high)}]"


def ours(cell: Cell) -> str:
    """Our value with its interval."""
    return NOTHING if cell.ours is None else f"{number(cell.ours.mean)} {interval(cell.ours)}".strip()


def paper(cell: Cell) -> str:
    """The printed value, flagged where the paper contradicts it."""
    if cell.printed is None:
        return NOTHING
    return f"{cell.printed}† ({cell.implied})" if cell.implied else cell.printed


def to_csv(table: Table) -> str:
    """One row a method; per column ours, low, high, seed sd, unreadable share, and the paper's printed
    string.
    """
    header = ["method", "label", "seeds"]
    for column, name in zip(table.columns, table.column_names, strict=True):
        header += [name, f"{name} low", f"{name} high", f"{name} seed sd"]
        header += [f"{name} unreadable"] if column.graded else []
        header += [f"{column.header} (paper)"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for method, label, cells in zip(table.methods, table.labels, table.cells, strict=True):
        estimates = [cell.ours for cell in cells if cell.ours]
        row: list[str | int] = [method, label, max((estimate.seeds for estimate in estimates), default=0)]
        for column, cell in zip(table.columns, cells, strict=True):
            row += _numbers(cell)
            row += ["" if cell.unreadable is None else f"{cell.unreadable:.4f}"] if column.graded else []
            row += [cell.printed or ""]
        writer.writerow(row)
    return out.getvalue()


def _numbers(cell: Cell) -> list[str]:
    if cell.ours is None:
        return ["", "", "", ""]
    seed_sd = "" if cell.ours.seed_sd is None else f"{cell.ours.seed_sd:.4f}"
    return [f"{cell.ours.mean:.4f}", f"{cell.ours.low:.4f}", f"{cell.ours.high:.4f}", seed_sd]


def caption(table: Table) -> str:
    """Title and unit in one line."""
    return f"{table.title} ({table.unit})"


def to_markdown(table: Table) -> str:
    """A pipe table: ours and the paper's side by side."""
    header = ["Method"]
    for column, name in zip(table.columns, table.column_names, strict=True):
        header += [name, f"{column.header}, paper"]
    lines = [f"**{caption(table)}**", "", pipe(header), pipe(["---"] + ["---:"] * (len(header) - 1))]
    for label, cells in zip(table.labels, table.cells, strict=True):
        lines.append(pipe([label, *(text for cell in cells for text in (ours(cell), paper(cell)))]))
    lines += ["", *table.notes]
    return "\n".join(lines) + "\n"


def pipe(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#",
    "$": r"\$", "{": r"\{", "}": r"\}", "μ": r"$\mu$", "φ": r"$\phi$", "τ": r"$\tau$", "γ": r"$\gamma$",
    "†": r"$^\dagger$", "–": "--", "×": r"$\times$",
}  # fmt: skip


def latex(text: str) -> str:
    """Text with LaTeX's special characters escaped and the paper's Greek letters in math mode."""
    return "".join(LATEX.get(character, character) for character in text)


def to_latex(table: Table) -> str:
    """A booktabs table; needs \\usepackage{booktabs}."""
    columns = "l" + "rr" * len(table.columns)
    names = " & ".join(rf"\multicolumn{{2}}{{c}}{{{latex(name)}}}" for name in table.column_names)
    rules = " ".join(rf"\cmidrule(lr){{{2 * i + 2}-{2 * i + 3}}}" for i in range(len(table.columns)))
    second = " & ".join("ours & paper" for _ in table.columns)
    body = [
        " & ".join(map(latex, [label, *(text for cell in cells for text in (ours(cell), paper(cell)))])) + r" \\"
        for label, cells in zip(table.labels, table.cells, strict=True)
    ]
    notes = latex(" ".join(table.notes))
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(caption(table))}. {notes}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            rf" & {names} \\",
            rules,
            rf"Method & {second} \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def to_json(table: Table) -> str:
    """The table itself, for the page to read."""
    return table.model_dump_json(indent=1) + "\n"


FORMATS: dict[str, Callable[[Table], str]] = {"csv": to_csv, "md": to_markdown, "tex": to_latex, "json": to_json}
