"""Everything on one self-contained page: tables and figures beside the paper's, claims with verdicts,
provenance.

    python -m reports.site --page headline --scale mini --results results/mini --out
        results/mini/report/index.html

`headline` shows the headline's experiments, `everything` all declared tables and figures, in the order of
experiments.yaml. The page asks no server for anything: styles are inline, images are data URIs. It holds no date
of its own, so that the same results give the same page.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import markdown

from reference_impl.config import Declarations, choose
from reference_impl.config.experiments import Experiment
from reference_impl.config.model import read_yaml
from reference_impl.files import write_text
from reports.against import Report
from reports.claims import FAILS, HOLDS, UNDECIDED, UNTESTED, Claim, Comparison, decide, family_wise
from reports.inputs import PUBLISHED, ROOT, Results, add_common, open_results, run_command
from reports.pages import data_uri, environment, is_miniature, low_confidence, style
from reports.table_model import Table

FIDELITY = ROOT / "docs" / "fidelity.md"
VERDICT_CLASS = {HOLDS: "holds", FAILS: "fails", UNDECIDED: "undecided", UNTESTED: "untested"}
HEADLINE, EVERYTHING = "headline", "everything"


@dataclass(frozen=True)
class FigureView:
    """A figure as the page shows it."""

    name: str
    paper: str
    """Its name in the paper."""
    title: str
    caption: str
    reading: str
    image: str


@dataclass(frozen=True)
class TableView:
    """A table as the page shows it."""

    name: str
    paper: str
    table: Table
    reading: str
    groups: tuple[tuple[str, int], ...]
    """The paper's upper header: text and number of columns it spans."""
    doubtful: frozenset[str]
    """Methods whose declaration says that they are of low confidence."""
    downloads: dict[str, str]
    """Ending → data URI."""


def declared(decl: Declarations, *kinds: str) -> dict[str, Experiment]:
    """The declared experiments of some kinds, in the order of experiments.yaml."""
    return {name: entry for name, entry in decl.experiments.items() if entry.kind in kinds}


def shown(decl: Declarations, page: str) -> dict[str, Experiment]:
    """The experiments of a page: the headline's, or every table and figure. Raises ValueError for an unknown name."""
    all_of_them = declared(decl, "table", "figure")
    if page == EVERYTHING:
        return all_of_them
    names = (choose("table or figure", name, all_of_them, "experiments.yaml, headline") for name in decl.headline)
    return {name: all_of_them[name] for name in names}


def figure_view(results: Results, name: str, entry: Experiment) -> FigureView:
    """A figure from its files; missing ones are an error that says how to make them."""
    folder = results.root / "report" / "figures"
    words = results.json(folder / f"{name}.json")
    image = results.require(folder / f"{name}.svg").read_bytes()
    uri = data_uri(image, "image/svg+xml")
    return FigureView(name, entry.paper, words["title"], words["caption"], words["reading"], uri)


def column_groups(table: Table) -> tuple[tuple[str, int], ...]:
    """Neighbouring columns under the same upper header."""
    groups: list[tuple[str, int]] = []
    for column in table.columns:
        if groups and groups[-1][0] == column.group:
            groups[-1] = (column.group, groups[-1][1] + 1)
        else:
            groups.append((column.group, 1))
    return tuple(groups)


def table_view(results: Results, name: str, entry: Experiment) -> TableView:
    """A table from its files; missing ones are an error that says how to make them."""

    def content(ending: str) -> bytes:
        return results.require(results.root / "report" / "tables" / f"{name}.{ending}").read_bytes()

    table = Table.model_validate_json(content("json"))
    kinds = {"csv": "text/csv", "md": "text/markdown", "tex": "application/x-tex"}
    files = {ending: data_uri(content(ending), kind) for ending, kind in kinds.items()}
    methods = (results.decl.methods[method] for method in table.methods if method in results.decl.methods)
    doubtful = frozenset(method.name for method in methods if low_confidence(method.paper))
    return TableView(name, entry.paper, table, entry.reading, column_groups(table), doubtful, files)


def yours(results: Results) -> tuple[Report, str] | None:
    """The user's last comparison with its figure, which is no part of the paper's claims; None where there is none."""
    folder = results.root / "report"
    if not (folder / "compare.json").is_file():
        return None
    made = Report.model_validate_json((folder / "compare.json").read_bytes())
    image = results.require(folder / "figures" / "compare.svg").read_bytes()
    return made, data_uri(image, "image/svg+xml")


def view(results: Results, name: str, entry: Experiment) -> TableView | FigureView:
    """A table or figure as the page shows it."""
    return (table_view if entry.kind == "table" else figure_view)(results, name, entry)


def bar(comparison: Comparison, reach: float) -> dict[str, float]:
    """Where an interval lies on a bar from -reach to reach, in per cent of its width."""
    assert comparison.low is not None and comparison.high is not None and comparison.mean is not None
    place = {key: 50 + 50 * value / reach for key, value in
             (("low", comparison.low), ("mean", comparison.mean), ("high", comparison.high))}  # fmt: skip
    return {key: min(max(value, 0.0), 100.0) for key, value in place.items()}


def claim_view(claim: Claim) -> dict[str, Any]:
    """A claim with its bars, one scale for all comparisons of a unit."""
    reaches: dict[str, float] = {}
    for part in claim.comparisons:
        if part.low is not None and part.high is not None:
            reaches[part.unit] = max(reaches.get(part.unit, 1e-9), 1.08 * abs(part.low), 1.08 * abs(part.high))
    bars = [None if part.low is None else bar(part, reaches[part.unit]) for part in claim.comparisons]
    return {
        "claim": claim,
        "parts": list(zip(claim.comparisons, bars, strict=True)),
        "style": VERDICT_CLASS[claim.verdict],
    }


def runs_behind(decl: Declarations, experiments: Mapping[str, Experiment]) -> dict[str, list[str]]:
    """Domain → names of the runs and selections that some experiments are made of, in the order of methods.yaml."""
    behind: dict[str, set[str]] = {}
    for entry in experiments.values():
        for domain in entry.domains:
            waiting = [method for method in entry.methods if domain in decl.method_domains(method)]
            while waiting:
                method = decl.method(waiting.pop())
                behind.setdefault(domain, set()).add(method.name)
                waiting += method.builds_on
    return {
        domain: list(dict.fromkeys(run for name in decl.methods if name in names for run in (name, *decl.runs(name))))
        for domain, names in behind.items()
    }


def run_rows(results: Results, behind: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Provenance of the runs behind a page that are in the results folder."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in results.root.glob("runs/*/*/seed*/run.json")]
    rows = [row for row in rows if row["method"] in behind.get(row["domain"], ())]
    if results.seeds is not None:
        rows = [row for row in rows if row["seed"] in results.seeds]
    return sorted(rows, key=lambda row: (row["domain"], behind[row["domain"]].index(row["method"]), row["seed"]))


def policies(decl: Declarations, behind: Mapping[str, Sequence[str]], domain: str) -> list[str]:
    """The roles of the policies that the runs of a domain start from."""
    return sorted({decl.methods[name].policy for name in behind.get(domain, ()) if name in decl.methods})


def environments(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The different sets of packages and hardware among the runs, as text."""
    seen = Counter(
        ", ".join(
            f"{name} {version}"
            for name, version in sorted({**run.get("packages", {}), **run.get("hardware", {})}.items())
        )
        for run in runs
    )
    return [text for text, _ in seen.most_common() if text]


def fidelity_html() -> str:
    """docs/fidelity.md as HTML, its headings one level down; this project's own text, not a model's.

    Links to other documents of the project become their text: the page stands alone.
    """
    source = FIDELITY.read_text(encoding="utf-8").split("\n", 1)[1]
    html: str = markdown.markdown(source, extensions=["tables"], output_format="html")
    html = re.sub(r'<a href="(?!https?:|#)[^"]*">(.*?)</a>', r"\1", html)
    for level in (4, 3, 2):
        html = html.replace(f"<h{level}>", f"<h{level + 1}>").replace(f"</h{level}>", f"</h{level + 1}>")
    return html.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace("</table>", "</table></div>")


def render(results: Results, page: str) -> str:
    """The page as HTML."""
    decl, scale = results.decl, results.scale
    wanted = shown(decl, page)
    here = {name: entry for name, entry in wanted.items() if set(entry.domains) & set(scale.domains)}
    views = [view(results, name, entry) for name, entry in here.items()]
    claims = decide(results, list(here))
    behind = runs_behind(decl, here)
    roles = {domain: policies(decl, behind, domain) for domain in scale.domains}
    runs = run_rows(results, behind)
    known = read_yaml(PUBLISHED / "known_errors.yaml")
    return environment().get_template("index.html.j2").render(
        page=page,
        scale=scale,
        miniature=is_miniature(results),
        worlds=[decl.domains[domain].label.lower() for domain in behind],
        policies=sorted({scale.domains[domain].policies[role] for domain in roles for role in roles[domain]}),
        paper_policies=sorted({decl.domains[domain].policies[role] for domain in roles for role in roles[domain]}),
        style=style(),
        views=views,
        yours=yours(results),
        absent=[f"{entry.paper}, {entry.title}" for name, entry in wanted.items() if name not in here],
        pages=declared(decl, "page") if page == EVERYTHING else {},
        claims=[claim_view(claim) for claim in claims],
        verdicts={verdict: sum(claim.verdict == verdict for claim in claims) for verdict in VERDICT_CLASS},
        verdict_class=VERDICT_CLASS,
        comparisons=sum(len(claim.comparisons) for claim in claims),
        family=family_wise(claims),
        fidelity=fidelity_html(),
        errors=known["tables"],
        text_errors=known["text"],
        runs=runs,
        wall_seconds=sum(run["wall_seconds"] for run in runs),
        environments=environments(runs),
        seeds=sorted({run["seed"] for run in runs}),
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page."""
    made = argparse.ArgumentParser(description="Write the report page.")
    made.add_argument("--page", choices=(HEADLINE, EVERYTHING), default=HEADLINE, help="which experiments it shows")
    made.add_argument("--out", required=True, type=Path, help="HTML file to write")
    add_common(made)
    arguments = made.parse_args(argv)
    write_text(arguments.out, render(open_results(arguments), arguments.page))


if __name__ == "__main__":
    run_command(main)
