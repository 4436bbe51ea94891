"""The report page: self-contained, honest in its first lines, complete."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from reports import figures
from reports.claims import Comparison
from reports.inputs import Results
from reports.site import bar, column_groups, main, render, signed
from reports.tables import TABLES
from tests.synthetic_results import synthetic_results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    made = synthetic_results(tmp_path_factory.mktemp("results"))
    for name in figures.FIGURES:
        out = made.root / "report" / "figures"
        figures.main(["--figure", name, "--scale", "mini", "--results", str(made.root), "--out", str(out)])
    return made


@pytest.fixture(scope="module")
def page(results: Results) -> str:
    return render(results)


class Reader(HTMLParser):
    """Collects addresses, ids, image texts and visible text; checks that tags are balanced."""

    VOID = frozenset({"meta", "img", "br", "line", "rect", "wbr", "link", "hr"})

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


@pytest.fixture(scope="module")
def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_nothing_is_fetched_from_anywhere(page: str, read: Reader) -> None:
    assert read.addresses
    assert all(address.startswith(("data:", "#")) for address in read.addresses)
    assert "<script" not in page and "<link" not in page and "@import" not in page
    assert not re.findall(r"url\((?!#)", page.split("</style>")[0])


def test_links_lead_somewhere(read: Reader) -> None:
    assert len(set(read.ids)) == len(read.ids)
    assert {address[1:] for address in read.addresses if address.startswith("#")} <= set(read.ids)


def test_first_lines_say_what_a_miniature_is_and_is_not(read: Reader) -> None:
    start = re.sub(r"\s+", " ", " ".join(read.text))[:1500]
    assert "The CHORD paper in miniature" in start
    assert "What this is." in start and "What it is not." in start
    assert "not a replication of the paper's numbers" in start
    assert start.index("What it is not.") < 900


def test_every_table_figure_and_run_is_there(results: Results, page: str, read: Reader) -> None:
    for name in results.decl.experiments["headline"]:
        assert name in read.ids
        assert f"snakemake --cores all {name} --config scale=mini" in page
    assert len(read.alts) == len(figures.FIGURES) and all(len(alt) > 60 for alt in read.alts)
    for run in ("sft-lr5e-06", "sft_best", "chord_phi", "sft_curve"):
        assert f">{run}</th>" in page
    for heading in ("The paper's claims", "Objective and optimisation", "Errors in print", "Provenance"):
        assert heading in " ".join(read.text)


def test_ours_and_the_paper_s_stand_side_by_side(results: Results, page: str) -> None:
    cell = TABLES["table1"](results).cells[-1][0]
    assert cell.ours is not None
    pattern = rf'<td class="ours"><b>{cell.ours.mean:.1f}</b>.*?</td><td class="paper">62\.5</td>'
    assert re.search(pattern, page), "CHORD-φ on AMC, printed 62.5"
    assert "† 92.8" in page  # Table 10, CHORD-φ, Non-live Simple


def test_never_called_by_the_real_benchmark_s_name(page: str) -> None:
    headers = re.findall(r'<th scope="col" class="ours">(.*?)</th>', page)
    assert headers and all(header.startswith("sandbox-") for header in headers)


def test_the_same_results_give_the_same_page(results: Results, page: str, tmp_path: Path) -> None:
    main(["--scale", "mini", "--results", str(results.root), "--out", str(tmp_path / "index.html")])
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == page


def test_a_missing_figure_says_how_to_make_it(tmp_path: Path) -> None:
    made = synthetic_results(tmp_path)
    with pytest.raises(ValueError, match=r"report/figures/figure2.json is missing; make it with: snakemake"):
        render(made)


def test_bars_and_signs_by_hand() -> None:
    # From -10 to 30 on a bar that reaches 40 either way: 50 - 12.5, 50 + 12.5 (mean 10), 50 + 37.5.
    assert bar(Comparison("", "points", 10, -10, 30, None), 40) == {"low": 37.5, "mean": 62.5, "high": 87.5}
    assert (signed(-1.25, "nats"), signed(1234.5, "tokens")) == ("−1.250", "+1,234.5")


def test_upper_headers_span_their_columns(results: Results) -> None:
    assert column_groups(TABLES["table1"](results)) == (("Math & general reasoning", 4), ("Tool use", 3))
