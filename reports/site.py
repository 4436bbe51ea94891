"""Everything on one self-contained page: tables and figures beside the paper's, claims with verdicts,
provenance.

    python -m reports.site --page headline --scale mini --results results/mini --out
        results/mini/report/index.html

`headline` shows the headline's experiments, `everything` all declared tables and figures, in the order of
experiments.yaml. The page asks no server for anything: styles and scripts are inline, images are data URIs. Beside it
lies a folder of sample files, which it opens from a disk too; without them, only its browser of samples is empty. It
holds no date of its own, so that the same results give the same page.
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
from reports.finding import counted, findings, weights
from reports.forest import BASELINE
from reports.forest import panels as forest_panels
from reports.inputs import PUBLISHED, ROOT, Results, add_common, open_results, run_command
from reports.pages import data_uri, environment, is_miniature, style
from reports.phi_figure import heat_map, name_of, shown_domains
from reports.samples import catalogue, places, script_json
from reports.samples import write as write_samples
from reports.scores import Paired
from reports.scripts import packed_plotly, page_script, plotly, policy
from reports.style import label
from reports.table_view import table_view
from reports.worked import all_worked, rule_text

FIDELITY = ROOT / "docs" / "fidelity.md"
VERDICT_CLASS = {HOLDS: "holds", FAILS: "fails", UNDECIDED: "undecided", UNTESTED: "untested"}
HEADLINE, EVERYTHING = "headline", "everything"
DOWNLOADS = {"svg": "image/svg+xml", "csv": "text/csv"}
"""Files of a figure that the page carries."""


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
    data: str
    """Its panels as JSON for a script element."""
    downloads: dict[str, str]
    """Ending → data URI."""
    again: str
    """The target that makes it; empty where the page's own does."""


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


def figure_view(results: Results, name: str, paper: str, again: str = "") -> FigureView:
    """A figure from its files; missing ones are an error that says how to make them."""
    folder = results.root / "report" / "figures"
    words = results.json(folder / f"{name}.json")
    files = {ending: results.require(folder / f"{name}.{ending}").read_bytes() for ending in DOWNLOADS}
    uris = {ending: data_uri(content, DOWNLOADS[ending]) for ending, content in files.items()}
    panels = script_json(words["panels"])
    return FigureView(name, paper, words["title"], words["caption"], words["reading"], uris["svg"], panels, uris, again)


def yours(results: Results) -> tuple[Report, str] | None:
    """The user's last comparison with its figure, which is no part of the paper's claims; None where there is none."""
    folder = results.root / "report"
    if not (folder / "compare.json").is_file():
        return None
    made = Report.model_validate_json((folder / "compare.json").read_bytes())
    image = results.require(folder / "figures" / "compare.svg").read_bytes()
    return made, data_uri(image, "image/svg+xml")


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


def sample_folder(page: Path) -> Path:
    """The folder with the samples of a page, beside it."""
    return page.with_name(f"{page.stem}_samples")


def render(results: Results, page: str, folder: str = "index_samples") -> str:
    """The page as HTML; ``folder`` is where it looks for samples, from where it lies."""
    decl, scale = results.decl, results.scale
    wanted = shown(decl, page)
    here = {name: entry for name, entry in wanted.items() if set(entry.domains) & set(scale.domains)}
    domains = shown_domains(results, list(here))
    there, script, pairs = places(results, here), page_script(), Paired(results)
    return environment().get_template("index.html.j2").render(
        page=page,
        scale=scale,
        miniature=is_miniature(results),
        style=style("style.css", "report.css"),
        tables=[table_view(results, pairs, name, entry) for name, entry in here.items() if entry.kind == "table"],
        figures=[figure_view(results, name, here[name].paper, name) for name in here if here[name].kind == "figure"],
        phi=[figure_view(results, name_of(domain), "φ") for domain in domains],
        heat=[heat_map(results, domain) for domain in domains],
        yours=yours(results),
        absent=[f"{entry.paper}, {entry.title}" for name, entry in wanted.items() if name not in here],
        pages=declared(decl, "page") if page == EVERYTHING else {},
        fidelity=fidelity_html(),
        cases=all_worked(results, there),
        case_rule=rule_text(results),
        forest=forest_panels(results, pairs, list(here)),
        forest_baseline=label(decl, BASELINE),
        sample_folder=folder,
        catalogue=catalogue(results, there, folder),
        plotly=packed_plotly(),
        script=script,
        policy=policy(script, plotly()),
        **claim_parts(results, here),
        **provenance(results, here),
    )  # fmt: skip


def claim_parts(results: Results, here: Mapping[str, Experiment]) -> dict[str, Any]:
    """What the page says of claims."""
    claims, behind = decide(results, list(here)), runs_behind(results.decl, here)
    seeds = {run["seed"] for run in run_rows(results, behind)}
    return {
        "claims": [claim_view(claim) for claim in claims],
        "verdicts": {verdict: sum(claim.verdict == verdict for claim in claims) for verdict in VERDICT_CLASS},
        "verdict_class": VERDICT_CLASS,
        "family": family_wise(claims),
        "counted": counted(claims, len(seeds)) if claims else "",
        "own": [f"{own.questions} of {own.file} for {task}" for task, own in results.own_questions.items()],
        "findings": findings(claims),
        "weights": weights(results, list(here)),
    }


def provenance(results: Results, here: Mapping[str, Experiment]) -> dict[str, Any]:
    """What the page says of the runs behind it, and of what is wrong in print."""
    decl, scale = results.decl, results.scale
    behind, known = runs_behind(decl, here), read_yaml(PUBLISHED / "known_errors.yaml")
    roles = {domain: policies(decl, behind, domain) for domain in scale.domains}
    runs = run_rows(results, behind)
    return {
        "worlds": [decl.domains[domain].label.lower() for domain in behind],
        "policies": sorted({scale.domains[domain].policies[role] for domain in roles for role in roles[domain]}),
        "paper_policies": sorted({decl.domains[domain].policies[role] for domain in roles for role in roles[domain]}),
        "errors": known["tables"],
        "text_errors": known["text"],
        "runs": runs,
        "wall_seconds": sum(run["wall_seconds"] for run in runs),
        "environments": environments(runs),
        "seeds": sorted({run["seed"] for run in runs}),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page, and its samples beside it."""
    made = argparse.ArgumentParser(description="Write the report page.")
    made.add_argument("--page", choices=(HEADLINE, EVERYTHING), default=HEADLINE, help="which experiments it shows")
    made.add_argument("--out", required=True, type=Path, help="HTML file to write; samples go to a folder beside it")
    add_common(made)
    arguments = made.parse_args(argv)
    results, folder = open_results(arguments), sample_folder(arguments.out)
    write_samples(results, places(results, shown(results.decl, arguments.page)), folder)
    write_text(arguments.out, render(results, arguments.page, folder.name))


if __name__ == "__main__":
    run_command(main)
