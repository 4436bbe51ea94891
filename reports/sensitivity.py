"""What each reading of what the paper leaves open changes: its methods against themselves as they are read here.

    python -m reports.sensitivity --scale mini --results results/mini --out results/mini/report

Written are sensitivity.md, .csv and .html: a row for each reading, method and main column of a domain, with the paired
difference, its 95 % interval and its power. No claim of the paper is among it.
"""

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from reference_impl.config.readings import MARK, Reading
from reference_impl.files import write_text
from reports.inputs import Results, add_common, open_results, run_command
from reports.pages import environment, style
from reports.paired import SAME, Pair, flat_row, main_columns, make_pair, said_of
from reports.scores import column_name, samples_of
from reports.style import label
from reports.table_formats import pipe

HOW_TO_READ = (
    "Each row has one method trained twice: as this project reads the paper, and with one open question answered "
    "otherwise. The difference is other minus usual.",
    "An interval that holds 0 says that this much data shows no effect of the reading, and not that it has none: "
    "“finds” is the true difference that it would show four times in five.",
    "A reading that changes rounding alone (the sampler's log-probs, and importance weights of an engine as exact as "
    f"the miniature's) shows what training twice does. “{SAME}” is a reading that changed no answer.",
    "None of this is a claim of the paper, and none counts among its claims.",
)


class Row(BaseModel):
    """A reading of one method in one column."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    reading: str
    label: str
    question: str
    pair: Pair
    """The method so read against itself as usual."""


def readings_of(results: Results) -> list[tuple[str, Reading, str]]:
    """(name, reading, its method's derived name), in the order of readings.yaml, of what is in the scale's domains."""
    decl = results.decl
    assert decl.readings is not None
    return [
        (name, reading, f"{method}{MARK}{name}")
        for name, reading in decl.readings.readings.items()
        for method in reading.methods
    ]


def rows(results: Results) -> list[Row]:
    """Every reading's methods against themselves, in the main columns of their domains."""
    decl, found = results.decl, []
    for name, reading, derived in readings_of(results):
        base = decl.base(derived)
        for domain in results.scale.domains:
            for column in main_columns(decl, domain) if domain in decl.method_domains(derived) else ():
                sides = [(one, label(decl, one), samples_of(results, one, column)) for one in (derived, base)]
                pair = make_pair(column, column_name(results, column), sides[0], sides[1])
                found.append(Row(reading=name, label=reading.label, question=reading.question, pair=pair))
    return found


def to_markdown(found: Sequence[Row], notes: Sequence[str]) -> str:
    """The table, its readings' questions, and how to read it."""
    header = ["reading", "method", "what was asked", "usual", "so read", "difference [95 %]", "verdict", "finds", "n"]
    lines = ["# What each reading changes", "", pipe([*header, "seeds"]), pipe(["---"] * (len(header) + 1))]
    for row in found:
        pair = row.pair
        values = [value.text() if value else "–" for value in (pair.baseline_value, pair.value)]
        difference = pair.difference.text("+") if pair.difference else "–"
        finds = f"{pair.detectable:.1f}" if pair.detectable is not None else "–"
        place = [row.label, pair.baseline_label, f"{pair.domain}: {pair.column}"]
        lines.append(pipe([*place, *values, difference, pair.verdict, finds, str(pair.questions), str(pair.seeds)]))
    asked = dict.fromkeys((row.label, row.question) for row in found)
    lines += ["", "## What is open", "", *(f"- **{name}**: {question}." for name, question in asked)]
    lines += ["", "## How to read this", "", *(f"- {note}" for note in (*HOW_TO_READ, *notes))]
    return "\n".join(lines) + "\n"


def to_csv(found: Sequence[Row]) -> str:
    """A row a comparison, a column for every number."""
    out = io.StringIO()
    keys = ("reading", "label", "question")
    flat = [{**row.model_dump(include=set(keys)), **flat_row(row.pair.model_dump(exclude={"label"}))} for row in found]
    fields = [*keys, *flat_row(dict.fromkeys(key for key in Pair.model_fields if key != "label"))]
    writer = csv.DictWriter(out, fieldnames=fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()


def to_html(results: Results, found: Sequence[Row], notes: Sequence[str]) -> str:
    """The same as a page of its own."""
    return (
        environment()
        .get_template("sensitivity.html.j2")
        .render(
            scale=results.scale,
            seeds=results.seeds or results.scale.seeds,
            style=style("style.css", "report.css"),
            rows=found,
            questions={row.label: row.question for row in found},
            lede=HOW_TO_READ,
            notes=notes,
        )
    )


def write(results: Results, folder: Path) -> None:
    """Write sensitivity.md, .csv and .html."""
    found = rows(results)
    notes = said_of([row.pair for row in found], results)
    write_text(folder / "sensitivity.md", to_markdown(found, notes))
    write_text(folder / "sensitivity.csv", to_csv(found))
    write_text(folder / "sensitivity.html", to_html(results, found, notes))


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of a results folder."""
    made = argparse.ArgumentParser(prog="python -m reports.sensitivity", description=__doc__.split("\n\n")[0])
    made.add_argument("--out", required=True, type=Path, help="folder to write to")
    add_common(made)
    arguments = made.parse_args(argv)
    write(open_results(arguments), arguments.out)


if __name__ == "__main__":
    run_command(main)
