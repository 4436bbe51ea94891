"""The report page: self-contained, honest in its first lines, complete."""

import html
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evaluation.statistics import Estimate
from reference_impl.files import write_json
from reports import against
from reports.claims import Comparison
from reports.inputs import Results
from reports.pages import low_confidence, signed
from reports.scripts import plotly, source_hash
from reports.site import bar, declared, main, render, runs_behind, shown
from reports.tables import build
from tests.support.synthetic_samples import HOSTILE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(page_files: Results) -> Results:
    return page_files


@pytest.fixture(scope="module")
def page(results: Results) -> str:
    return render(results, "headline")


def test_yours_is_a_section_apart_from_the_claims(results: Results, page: str, tmp_path: Path) -> None:
    copy = replace(results, root=Path(shutil.copytree(results.root, tmp_path / "results")))
    against.write(copy, ["phi_focal", "chord_phi"], copy.root / "report")
    made = render(copy, "headline")
    assert 'id="yours"' not in page and made.count('<section id="yours">') == 1
    section = made.split('<section id="yours">')[1].split("</section>")[0]
    assert "Focal Loss against CHORD-φ" in section and "counted among none" in section
    assert section.count("<tr><th scope") == 4, "a head, and a row for each column of tool use"
    without = re.sub(r'<section id="yours">.*?</section>\s*|<a href="#yours">Yours</a>\n', "", made, flags=re.DOTALL)
    assert without.split() == page.split()


def test_own_questions_are_named_first_and_decide_no_claim(results: Results, page: str, tmp_path: Path) -> None:
    copy = replace(results, root=Path(shutil.copytree(results.root, tmp_path / "results")))
    asked = {"file": "<mine>.jsonl", "questions": 12, "sha256": "0"}
    write_json(copy.root / "questions.json", {"sandbox-amc": asked})
    made = render(copy, "headline")
    assert "12 of &lt;mine&gt;.jsonl for sandbox-amc" in made and "Questions of your own." not in page
    assert 'id="claims"' in page and 'id="claims"' not in made and "#claim-" not in made
    reader = reader_of(made)
    places = {address[1:] for address in reader.addresses if address.startswith("#")}
    assert {place for place in places if not place.startswith("samples/")} <= set(reader.ids)


@pytest.fixture(scope="module")
def everything(results: Results) -> str:
    return render(results, "everything")


class Reader(HTMLParser):
    """Collects addresses, ids, image texts and visible text; checks that tags are balanced."""

    VOID = frozenset({"meta", "img", "br", "line", "rect", "path", "wbr", "link", "hr", "input", "mspace"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.alts: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        found = dict(attrs)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href", "srcset", "action", "data")]
        self.ids += [found["id"] or ""] if "id" in found else []
        self.alts += [found.get("alt") or ""] if tag == "img" else []

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


def reader_of(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def read(page: str) -> Reader:
    return reader_of(page)


def test_nothing_is_fetched_from_anywhere(page: str, read: Reader) -> None:
    assert read.addresses
    assert all(address.startswith(("data:", "#")) for address in read.addresses)
    assert "<link" not in page and "@import" not in page
    assert not re.findall(r"url\((?!#)", page.split("</style>")[0])


def test_a_browser_runs_only_the_page_s_own_scripts(page: str) -> None:
    assert re.findall(r"<script[^>]*\bsrc", page) == [], "files of samples are asked for by the script, by name"
    policy = html.unescape(page.split('Content-Security-Policy" content="')[1].split('">')[0])
    own = page.split('<script type="module">')[1].split("</script>")[0]
    assert f"script-src {source_hash(own)} {source_hash(plotly())} 'self' file:;" in policy
    assert "default-src 'none'" in policy and "unsafe-inline'" in policy.split("style-src")[1]
    assert "unsafe" not in policy.split("script-src")[1].split(";")[0]


def test_text_of_a_model_stays_text(page: str, everything: str) -> None:
    for made in (page, everything):
        assert HOSTILE not in made and "onerror=" not in made.replace("onerror=&#34;", "")
        assert "&lt;/script&gt;&lt;script&gt;" in made, "answers of the cases"
        assert made.count("<script") == made.count("</script>")


def test_the_page_is_small(everything: str) -> None:
    assert len(everything.encode()) < 8_000_000


def test_links_lead_somewhere(read: Reader) -> None:
    assert len(set(read.ids)) == len(read.ids)
    anchors = {address[1:] for address in read.addresses if address.startswith("#")}
    assert {name for name in anchors if not name.startswith("samples/")} <= set(read.ids)


def test_every_cell_leads_to_samples_that_are_there(results: Results, page: str, read: Reader) -> None:
    catalogue = json.loads(page.split('id="catalogue">')[1].split("</script>")[0])
    routes = [address.split("/") for address in read.addresses if address.startswith("#samples/")]
    assert len(routes) > 300
    for _, domain, method, tasks, *_ in routes:
        assert all(f"{domain}/{method}/{task}" in catalogue["files"] for task in tasks.split("+"))


def test_first_lines_say_what_a_miniature_is_and_is_not(read: Reader) -> None:
    start = re.sub(r"\s+", " ", " ".join(read.text))[:1500]
    assert "The CHORD paper in miniature" in start
    assert "What this is." in start and "What it is not." in start
    assert "not a replication of the paper's numbers" in start
    assert start.index("What it is not.") < 900


def articles(reader: Reader, results: Results) -> list[str]:
    """The experiments that a page shows, in its order."""
    return [name for name in reader.ids if name in declared(results.decl, "table", "figure")]


def test_the_headline_is_exactly_what_is_declared_for_it(results: Results, page: str, read: Reader) -> None:
    headline = results.decl.headline
    kinds = [results.decl.experiments[name].kind for name in headline]
    in_order = [name for _, name in sorted(zip(kinds, headline, strict=True), key=lambda pair: pair[0] != "table")]
    assert articles(read, results) == in_order, "tables before figures"
    for name in headline:
        assert f"snakemake --cores all {name} --config scale=mini" in page
    drawn = [name for name in headline if name in declared(results.decl, "figure")]
    assert len(read.alts) == len(drawn) + 2 and all(len(alt) > 60 for alt in read.alts), "and φ in two domains"
    for run in ("sft-lr5e-06", "sft_best", "chord_phi", "sft_curve"):
        assert f">{run}</th>" in page
    assert ">grpo_moe</th>" not in page and "sandbox-tool-moe" not in page, "a run of another page"
    for heading in ("The paper's claims", "Objective and optimisation", "Errors in print", "Provenance"):
        assert heading in " ".join(read.text)
    assert not any(address.endswith(".html") for address in read.addresses)


def test_everything_is_all_tables_and_figures_in_the_declared_order(results: Results, everything: str) -> None:
    reader = reader_of(everything)
    declared_names = [*declared(results.decl, "table"), *declared(results.decl, "figure")]
    assert articles(reader, results) == declared_names and len(declared_names) == 26
    for name in declared_names:
        assert results.decl.experiments[name].paper in everything
    assert "<h3>Appendix D.3 <span" in everything
    assert {address for address in reader.addresses if not address.startswith(("data:", "#"))} == {"cases.html"}
    assert "snakemake --cores all everything --config scale=mini" in everything
    assert ">grpo_moe</th>" in everything and "sandbox-medicine" in everything


def test_everything_decides_more_claims_than_the_headline(page: str, everything: str) -> None:
    assert everything.count('<article class="claim') > page.count('<article class="claim') > 0


def test_a_method_of_low_confidence_is_marked_wherever_it_has_a_row(page: str) -> None:
    rows = [line for line in page.split("<tr>") if line.startswith('<th scope="row">SASR')]
    assert len(rows) == 3, "Tables 1, 10 and 11"
    assert all("low confidence" in row for row in rows)
    assert page.count('<small class="low">low confidence</small>') == 3


def test_low_confidence_is_read_from_the_declaration() -> None:
    assert low_confidence('"A method" (4.1). Low confidence: no code of it is public.') == (
        "Low confidence: no code of it is public."
    )
    assert low_confidence("RL-only (4.1)") == ""


def test_runs_behind_a_page_include_what_they_start_from(results: Results) -> None:
    behind = runs_behind(results.decl, {"figure1": results.decl.experiments["figure1"]})
    grid = ["sft_small", *results.decl.runs("sft_small")]
    assert behind == {"math": [*grid, "sft_best_small", "sft_best_rl_small", "grpo_small"]}


def test_a_run_that_is_another_under_a_second_name_is_named(results: Results, page: str, tmp_path: Path) -> None:
    assert "trained once" not in page
    root = Path(shutil.copytree(results.root, tmp_path / "results"))
    for path in root.glob("runs/tool/sft_best_rl/seed*/run.json"):
        record = json.loads(path.read_text("utf-8"))
        write_json(path, record | {"linked_from": f"tool/sft_light_rl/{path.parent.name}"})
    made = render(replace(results, root=root), "headline")
    rows = re.findall(r'<th scope="row">sft_best_rl = sft_light_rl</th><td class="n">(\d+)</td>', made)
    assert rows and len(rows) == len(re.findall(r'<td>tool</td><th scope="row">sft_best_rl\b', made))
    assert "=: the same run under two names, trained once." in made


def test_an_experiment_whose_domain_the_scale_lacks_is_left_out_with_a_word(results: Results) -> None:
    domains = {name: part for name, part in results.scale.domains.items() if name != "medicine"}
    made = render(replace(results, scale=results.scale.model_copy(update={"domains": domains})), "everything")
    names = articles(reader_of(made), results)
    assert "table7" not in names and "figure10" not in names and len(names) == 24
    assert "Not at this scale, which lacks the domain: Table 7, Score and response length" in made


def test_an_unknown_experiment_of_the_headline_is_an_error(results: Results) -> None:
    broken = replace(results.decl, headline=("table99",))
    with pytest.raises(ValueError, match=r"unknown table or figure 'table99'.*headline has: table1, "):
        shown(broken, "headline")


def test_ours_and_the_paper_s_stand_side_by_side(results: Results, page: str) -> None:
    cell = build(results, "table1").cells[-1][0]
    assert cell.ours is not None
    row = page.split('id="table1"')[1].split('<th scope="row">CHORD-φ</th>')[1].split("</td>")[0]
    assert f'href="#samples/math/chord_phi/sandbox-amc">{cell.ours.mean:.1f}</a>' in row
    assert '<span class="paper">62.5</span>' in row, "CHORD-φ on AMC, printed"
    assert "† 92.8</small>" in page  # Table 10, CHORD-φ, Non-live Simple


def test_never_called_by_the_real_benchmark_s_name(page: str) -> None:
    for name in ("table1", "table10"):
        head = page.split(f'id="{name}"')[1].split("<thead>")[1].split("</thead>")[0]
        asked = re.findall(r'<span class="sortable">(.*?)</span>', head)[1:]
        groups = re.findall(r'class="group">(.*?)</th>', head)
        assert all(part.startswith("sandbox-") for part in (asked if name == "table1" else groups))
        assert len(re.findall(r'<span class="paper">stands for ', head)) == len(asked)


def test_the_same_results_give_the_same_page(results: Results, page: str, tmp_path: Path) -> None:
    main(["--scale", "mini", "--results", str(results.root), "--out", str(tmp_path / "index.html")])
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == page
    catalogue = json.loads(page.split('id="catalogue">')[1].split("</script>")[0])
    assert {path.name for path in (tmp_path / "index_samples").iterdir()} == set(catalogue["files"].values())


@pytest.mark.parametrize("missing", ["tables/table1.json", "tables/table1.csv", "figures/figure2.svg"])
def test_a_missing_file_says_how_to_make_it(results: Results, missing: str) -> None:
    path = results.root / "report" / missing
    path.rename(path.with_suffix(".away"))
    try:
        with pytest.raises(ValueError, match=rf"report/{missing} is missing; make it with: snakemake"):
            render(results, "headline")
    finally:
        path.with_suffix(".away").rename(path)


def test_the_page_shows_the_table_that_was_written(results: Results, page: str) -> None:
    path = results.root / "report" / "tables" / "table1.json"
    text = path.read_text(encoding="utf-8")
    assert "A changed title" not in page
    try:
        path.write_text(text.replace(results.decl.experiments["table1"].title, "A changed title"), encoding="utf-8")
        assert "A changed title" in render(results, "headline")
    finally:
        path.write_text(text, encoding="utf-8")


def test_bars_and_signs_by_hand() -> None:
    # From -10 to 30 on a bar that reaches 40 either way: 50 - 12.5, 50 + 12.5 (mean 10), 50 + 37.5.
    assert bar(Comparison("", "points", Estimate(10, 10, -10, 30, 50)), 40) == {"low": 37.5, "mean": 62.5, "high": 87.5}
    assert (signed(-1.25, "nats"), signed(1234.5, "tokens")) == ("−1.250", "+1,234.5")


def test_links_to_other_documents_become_text_in_the_fidelity_section(page: str) -> None:
    assert ".md</a>" not in page and 'href="judge.md"' not in page
