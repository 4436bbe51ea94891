"""Case studies (Appendix E): one problem a domain with every method's answer in full, and how often all answers
show the markers of a style.

    python -m reports.cases --scale mini --results results/mini --seeds 0 --out results/mini/report/cases.html

Writes the page and, beside it, its table as CSV. Nothing is picked by hand: of each domain the first task of the
scale, of that its first question by its place in the file, of that sample 0 of the first seed.
"""

import argparse
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.graders import VERDICT
from evaluation.statistics import Estimate, estimate_mean, estimate_score
from reference_impl.config.experiments import PageEntry
from reference_impl.files import read_jsonl, storable, write_text
from reports.inputs import Results, add_common, experiment, open_results, run_command
from reports.markers import Markers, load_markers
from reports.pages import data_uri, environment, is_miniature, low_confidence, style
from reports.scores import SCORE, TOKENS, expert_length, matrix, scored
from reports.style import label

NAME = "cases"
ROWS = ["domain", "task", "method", "label", "seeds", "questions", "samples"]


@dataclass(frozen=True)
class Column:
    """A column of the table: what is averaged over answers."""

    value: str
    """A column of the samples: score, tokens, or a kind of marker."""
    header: str
    factor: float = 1.0
    digits: int = 1

    def shown(self, value: float) -> str:
        """A number of this column as the page prints it."""
        return f"{value:,.{self.digits}f}"


@dataclass(frozen=True)
class Row:
    """A method's averages over all its answers to a task; None where nothing is known."""

    method: str
    label: str
    seeds: int
    questions: int
    samples: int
    estimates: tuple[Estimate | None, ...]
    warning: str = ""


@dataclass(frozen=True)
class Answer:
    """One answer in full."""

    label: str
    text: str
    verdict: str
    tokens: int | None
    warning: str = ""


@dataclass(frozen=True)
class Study:
    """A domain's problem, the answers to it, and the table over the entire task."""

    domain: str
    label: str
    task: str
    item_id: str
    seed: int
    prompt: str
    gold: str
    answers: tuple[Answer, ...]
    rows: tuple[Row, ...]
    demonstration: str
    """The expert's first demonstration, of another problem."""
    skipped: tuple[str, ...]
    """Labels of methods that are not declared for the domain."""


def columns(markers: Markers) -> tuple[Column, ...]:
    """The table's columns: accuracy (or a judge's mean score), length, and every kind of marker per answer."""
    kinds = (Column(kind.name, kind.label, digits=2) for kind in markers.kinds)
    return (Column(SCORE, "Accuracy, %", 100), Column(TOKENS, "Length, tokens"), *kinds)


def stored_samples(results: Results, domain: str, method: str, task: str) -> list[dict[str, Any]]:
    """A method's samples of a task, all seeds: the texts as they were stored, the verdicts as the tables have them."""
    stored = []
    for seed, folder in results.by_seed(f"evaluations/{domain}/{method}/{{seed}}").items():
        stored += [{**row, "seed": seed} for row in read_jsonl(results.require(folder / f"{task}.jsonl"))]
    if not stored:
        raise ValueError(f"{results.root / 'evaluations' / domain / method}: no samples of {task}")
    verdicts = _verdicts(results, domain, method, task)
    rows = []
    for row in stored:
        verdict = verdicts[row["seed"], f"{task}/{storable(row['item_id'])}", row["sample"]]
        rows.append({**row, **{key: value for key, value in verdict.items() if key in row}})
    return rows


def _verdicts(results: Results, domain: str, method: str, task: str) -> dict[Any, dict[Any, Any]]:
    """(seed, question, sample) → what graders gave."""
    frame = results.scores(domain, method)
    columns = frame[frame["task"] == task].set_index(["seed", "item_id", "sample"])[list(VERDICT)]
    return columns.astype(object).where(columns.notna(), None).to_dict("index")


def method_row(results: Results, method: str, samples: Sequence[Mapping[str, Any]], markers: Markers) -> Row:
    """A method's averages with intervals, clustered by question as in the tables."""
    frame = pd.DataFrame(
        {key: row[key] for key in ("item_id", "seed", TOKENS)}
        | {SCORE: row.get(SCORE, float(row["correct"]))}
        | {"stratum": f"{row['task']}/{row['category'] or ''}"}
        | markers.count(row["response"])
        for row in samples
    )
    estimates = []
    for column in columns(markers):
        (known,) = scored([frame], column.value)
        cells = matrix(known, column.value)
        estimate = estimate_score if column.value == SCORE else estimate_mean
        found = estimate(cells.frame.to_numpy(), strata=cells.strata_N).scaled(column.factor)
        estimates.append(replace(found, low=max(found.low, 0.0)))  # nothing that is counted here can be negative
    return Row(
        method,
        label(results.decl, method),
        frame["seed"].nunique(),
        frame["item_id"].nunique(),
        len(frame),
        tuple(estimates),
        low_confidence(results.decl.method(method).paper),
    )


def expert_row(results: Results, domain: str, demonstrations: Sequence[str], markers: Markers) -> Row:
    """The expert's averages over its demonstrations: known numbers of this data set, without an interval."""
    counts = pd.DataFrame(map(markers.count, demonstrations)).mean()
    known = [Estimate(mean, 0.0, mean, mean, len(demonstrations)) for mean in map(float, counts)]
    return Row(
        "expert",
        label(results.decl, "expert"),
        1,
        len(demonstrations),
        len(demonstrations),
        (None, expert_length(results, domain), *known),
    )


def answer(results: Results, method: str, samples: Sequence[Mapping[str, Any]], item_id: str) -> Answer:
    """A method's sample 0 of a question, of its first seed."""
    row = next((row for row in samples if row["item_id"] == item_id and row["sample"] == 0), None)
    if row is None:
        raise ValueError(f"{method} has no sample 0 of question {item_id!r} of {samples[0]['task']}")
    judged = row.get(SCORE)
    verdict = str(row["reason"]).replace("_", " ") if judged is None else f"score {100 * judged:.0f} %"
    cut = ", cut off at the longest length allowed" if row["truncated"] else ""
    warning = low_confidence(results.decl.method(method).paper)
    return Answer(label(results.decl, method), row["response"], verdict + cut, row["tokens"], warning)


def study(results: Results, domain: str, methods: Sequence[str], markers: Markers) -> Study:
    """The case study of one domain."""
    task = results.scale.domains[domain].tasks[0]
    shown = [method for method in methods if domain in results.decl.method_domains(method)]
    samples = {method: stored_samples(results, domain, method, task) for method in shown}
    first = samples[shown[0]][0]
    demonstrations = [
        str(row["response"]) for row in read_jsonl(results.require(results.root / "data" / domain / "expert.jsonl"))
    ]
    return Study(
        domain,
        results.decl.domains[domain].label,
        task,
        first["item_id"],
        first["seed"],
        first["prompt"],
        first["gold"] if isinstance(first["gold"], str) else json.dumps(first["gold"], ensure_ascii=False),
        tuple(answer(results, method, rows, first["item_id"]) for method, rows in samples.items()),
        (
            expert_row(results, domain, demonstrations, markers),
            *(method_row(results, method, rows, markers) for method, rows in samples.items()),
        ),
        demonstrations[0],
        tuple(label(results.decl, method) for method in methods if method not in shown),
    )


def studies(results: Results, markers: Markers) -> list[Study]:
    """The case studies of every declared domain that the scale has."""
    entry = experiment(results, NAME, PageEntry)
    return [study(results, domain, entry.methods, markers) for domain in entry.domains]


def to_csv(found: Sequence[Study], markers: Markers) -> str:
    """One row a method and domain: every average with its interval."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    named = [column.value for column in columns(markers)]
    writer.writerow(ROWS + [f"{name}{end}" for name in named for end in ("", " low", " high")])
    for case in found:
        for row in case.rows:
            place = [case.domain, case.task, row.method, row.label, row.seeds, row.questions, row.samples]
            cells = [(part.mean, part.low, part.high) if part else ("", "", "") for part in row.estimates]
            numbers = [f"{value:.4f}" if isinstance(value, float) else value for cell in cells for value in cell]
            writer.writerow([*place, *numbers])
    return out.getvalue()


def render(results: Results, found: Sequence[Study], markers: Markers) -> str:
    """The page."""
    declared = results.decl.experiments[NAME]
    missing = [domain for domain in declared.domains if domain not in results.scale.domains]
    return environment().get_template("cases.html.j2").render(
        scale=results.scale,
        miniature=is_miniature(results),
        style=style(),
        declared=declared,
        reading=declared.reading,
        columns=columns(markers),
        markers=markers,
        studies=found,
        missing=[results.decl.domains[domain].label for domain in missing],
        seeds=results.seeds or results.scale.seeds,
        download=data_uri(to_csv(found, markers).encode(), "text/csv"),
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page and its table."""
    made = argparse.ArgumentParser(description="Write the case studies.")
    made.add_argument("--out", required=True, type=Path, help="HTML file to write; the table goes beside it as CSV")
    add_common(made)
    arguments = made.parse_args(argv)
    results, markers = open_results(arguments), load_markers()
    found = studies(results, markers)
    write_text(arguments.out.with_suffix(".csv"), to_csv(found, markers))
    write_text(arguments.out, render(results, found, markers))


if __name__ == "__main__":
    run_command(main)
