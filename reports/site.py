"""Everything on one self-contained page: tables and figures beside the paper's, claims with verdicts,
provenance.

    python -m reports.site --scale mini --results results/mini --out results/mini/report/index.html

The page asks no server for anything: styles are inline, images are data URIs. It holds no date of its own, so
that the same results give the same page.
"""

import argparse
import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import markdown
import markupsafe

from reference_impl.files import write_text
from reports import table_formats
from reports.claims import FAILS, HOLDS, UNDECIDED, Claim, Comparison, decide
from reports.figures import FIGURES, reading
from reports.inputs import PUBLISHED, ROOT, Results, add_common, load_yaml, open_results, run_command
from reports.tables import TABLES, Table

TEMPLATES = ROOT / "reports" / "templates"
FIDELITY = ROOT / "docs" / "fidelity.md"
VERDICT_CLASS = {HOLDS: "holds", FAILS: "fails", UNDECIDED: "undecided"}


def data_uri(content: bytes, kind: str) -> str:
    """Bytes as a data URI of a media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


@dataclass(frozen=True)
class FigureView:
    """A figure as the page shows it."""

    name: str
    number: str
    title: str
    caption: str
    reading: str
    image: str


@dataclass(frozen=True)
class TableView:
    """A table as the page shows it."""

    table: Table
    number: str
    reading: str
    groups: tuple[tuple[str, int], ...]
    """The paper's upper header: text and number of columns it spans."""
    downloads: dict[str, str]
    """Ending → data URI."""


def number_of(name: str) -> str:
    """table10 → 10."""
    return name.lstrip("abcdefghijklmnopqrstuvwxyz")


def names_to_show(results: Results, kind: Mapping[str, Any], folder: str, ending: str) -> list[str]:
    """The headline's tables or figures, and any other that has been made, in the paper's order."""
    headline = [name for name in results.decl.experiments["headline"] if name in kind]
    made = [path.stem for path in (results.root / "report" / folder).glob(f"*.{ending}") if path.stem in kind]
    return sorted({*headline, *made}, key=lambda name: int(number_of(name)))


def figure_view(results: Results, name: str) -> FigureView:
    """A drawn figure from its files; missing ones are an error that says how to make them."""
    folder = results.root / "report" / "figures"
    words = results.json(folder / f"{name}.json")
    image = results.require(folder / f"{name}.svg").read_bytes()
    uri = data_uri(image, "image/svg+xml")
    return FigureView(name, number_of(name), words["title"], words["caption"], words["reading"], uri)


def column_groups(table: Table) -> tuple[tuple[str, int], ...]:
    """Neighbouring columns under the same upper header."""
    groups: list[tuple[str, int]] = []
    for column in table.columns:
        if groups and groups[-1][0] == column.group:
            groups[-1] = (column.group, groups[-1][1] + 1)
        else:
            groups.append((column.group, 1))
    return tuple(groups)


def table_view(results: Results, name: str) -> TableView:
    """A table computed from the scores, with its files for download."""
    table = TABLES[name](results)
    kinds = {"csv": "text/csv", "md": "text/markdown", "tex": "application/x-tex"}
    files = {ending: data_uri(write(table).encode(), kinds[ending]) for ending, write in table_formats.FORMATS.items()}
    return TableView(table, number_of(name), reading(name), column_groups(table), files)


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


def run_rows(results: Results) -> list[dict[str, Any]]:
    """Provenance of every run in the results folder, in the order of methods.yaml."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in results.root.glob("runs/*/*/seed*/run.json")]
    if results.seeds is not None:
        rows = [row for row in rows if row["seed"] in results.seeds]
    order = {
        run: place
        for place, run in enumerate(run for name in results.decl.methods for run in (name, *results.decl.runs(name)))
    }
    return sorted(
        rows,
        key=lambda row: (row["domain"], order.get(row["method"], len(order)), row["method"], row["seed"]),
    )


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
    """docs/fidelity.md as HTML, its headings one level down; this project's own text, not a model's."""
    source = FIDELITY.read_text(encoding="utf-8").split("\n", 1)[1]
    html: str = markdown.markdown(source, extensions=["tables"], output_format="html")
    for level in (4, 3, 2):
        html = html.replace(f"<h{level}>", f"<h{level + 1}>").replace(f"</h{level}>", f"</h{level + 1}>")
    return html.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace("</table>", "</table></div>")


def is_miniature(results: Results) -> bool:
    """Whether any domain of this scale lives in the sandbox."""
    return any(domain.data == "sandbox" for domain in results.scale.domains.values())


def signed(value: float, unit: str) -> str:
    """A difference with its sign: one decimal for points and tokens, three for rewards and nats."""
    return f"{value:+,.{1 if unit in ('points', 'tokens') else 3}f}".replace("-", "\u2212")


def breakable(name: str) -> markupsafe.Markup:
    """A name that may break after its underscores."""
    return markupsafe.Markup("_<wbr>").join(name.split("_"))


def environment() -> jinja2.Environment:
    """Templates with every value escaped."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters.update(
        signed=signed, breakable=breakable, number=table_formats.number, interval=table_formats.interval
    )
    return made


def render(results: Results) -> str:
    """The whole page."""
    figures = [figure_view(results, name) for name in names_to_show(results, FIGURES, "figures", "svg")]
    claims = decide(results)
    runs = run_rows(results)
    known = load_yaml(PUBLISHED / "known_errors.yaml")
    return environment().get_template("index.html.j2").render(
        scale=results.scale,
        miniature=is_miniature(results),
        policies=sorted({domain.policy for domain in results.scale.domains.values()}),
        paper_policies=[domain.policy for domain in results.decl.domains.values()],
        style=(TEMPLATES / "style.css").read_text(encoding="utf-8"),
        tables=[table_view(results, name) for name in names_to_show(results, TABLES, "tables", "csv")],
        figures=figures,
        claims=[claim_view(claim) for claim in claims],
        verdicts={verdict: sum(claim.verdict == verdict for claim in claims) for verdict in VERDICT_CLASS},
        verdict_class=VERDICT_CLASS,
        comparisons=sum(len(claim.comparisons) for claim in claims),
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
    made.add_argument("--out", required=True, type=Path, help="HTML file to write")
    add_common(made)
    arguments = made.parse_args(argv)
    write_text(arguments.out, render(open_results(arguments)))


if __name__ == "__main__":
    run_command(main)
