"""The page in a real browser, from a disk: nothing fails, everything leads somewhere, a cell opens its samples.

Needs a Chromium on the path (Debian: `apt-get install chromium`); without one these tests are skipped.
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from reports.inputs import Results
from reports.site import main
from tests.support.browser import Browser, browser, find_browser

CHROMIUM = find_browser()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path: the page is not tried in a browser"),
]
WIDTHS = (1400, 1280, 400)
CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def address(page_files: Results, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("a page") / "index.html"
    main(["--scale", "mini", "--results", str(page_files.root), "--out", str(out)])
    return out.as_uri()


@pytest.fixture(scope="module")
def tab() -> Iterator[Browser]:
    assert CHROMIUM
    with browser(CHROMIUM) as made:
        yield made


@pytest.fixture
def page(tab: Browser, address: str) -> Iterator[Browser]:
    """The page, newly opened; a test fails where the page logs an error."""
    tab.errors.clear()
    tab.view(1280)
    tab.open("about:blank")
    tab.open(address)
    yield tab
    assert tab.errors == [] and tab.run("document.title").startswith("CHORD reproduced")


def test_every_link_leads_somewhere(page: Browser) -> None:
    missing = page.run(
        "[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.getAttribute('href'))"
        ".filter(h => !h.startsWith('#samples/') && !document.getElementById(h.slice(1)))"
    )
    assert missing == []
    wrong = page.run(
        "(() => { const files = JSON.parse(document.getElementById('catalogue').textContent).files;"
        "return [...document.querySelectorAll('a[href^=\"#samples/\"]')].map(a => a.getAttribute('href').split('/'))"
        ".filter(([, d, m, t]) => !t.split('+').every(task => `${d}/${m}/${task}` in files)) })()"
    )
    assert wrong == []


def test_from_a_cell_to_a_sample(page: Browser) -> None:
    page.run("document.querySelector('#table1 td a').click()")
    page.wait("document.querySelectorAll('#samples .sample').length > 0")
    assert page.run("location.hash") == "#samples/math/original/sandbox-amc"
    assert page.run("document.querySelector('.sample pre').textContent").startswith("original says </script>")
    assert page.run("document.querySelector('.question .prompt').textContent") == "Question 0000 of sandbox-amc?"
    # Another method, with the same question open.
    page.run("document.querySelectorAll('.questions button')[1].click()")
    page.run(
        "(() => { const s = document.querySelector('select[name=method]'); s.value = 'grpo';"
        "s.dispatchEvent(new Event('change', {bubbles: true})) })()"
    )
    page.wait("document.querySelector('.sample pre')?.textContent.startsWith('grpo says')")
    assert page.run("document.querySelector('.question h4').textContent") == "0001"
    assert page.run("location.hash") == "#samples/math/grpo/sandbox-amc//0001"


def test_a_cell_of_a_category_opens_that_category(page: Browser) -> None:
    page.run("[...document.querySelectorAll('#table10 tbody td a')][1].click()")
    page.wait("document.querySelectorAll('#samples .sample').length > 0")
    assert page.run("document.querySelector('select[name=category]').value") == "live_multiple"
    assert page.run("document.querySelectorAll('.questions li').length") == 2


def test_filters_of_samples(page: Browser) -> None:
    page.run("location.hash = '#samples/math/grpo/sandbox-aime24+sandbox-amc'")
    page.wait("document.querySelectorAll('#samples .sample').length > 0")
    assert page.run("document.querySelector('.status').textContent").startswith("4 of 4 questions")
    for verdict in ("correct", "wrong", "unreadable"):
        page.run(
            f"(() => {{ const s = document.querySelector('select[name=verdict]'); s.value = '{verdict}';"
            "s.dispatchEvent(new Event('change', {bubbles: true})) })()"
        )
        shown = page.run("[...document.querySelectorAll('.sample')].map(e => e.className)")
        assert all(name == f"sample {verdict}" for name in shown)
    page.run(
        "(() => { const s = document.querySelector('select[name=verdict]'); s.value = '';"
        "const t = document.querySelector('input[name=text]'); t.value = 'of sandbox-amc';"
        "t.dispatchEvent(new Event('input', {bubbles: true})) })()"
    )
    assert page.run("document.querySelector('.status').textContent").startswith("2 of 4 questions")


def test_a_page_without_its_folder_says_what_is_missing(tab: Browser, address: str, tmp_path: Path) -> None:
    alone = tmp_path / "index.html"
    alone.write_bytes(Path(unquote(urlsplit(address).path)).read_bytes())
    tab.open(alone.as_uri() + "#samples/math/grpo/sandbox-amc")
    tab.wait("document.querySelector('.status').textContent.startsWith('Not to be shown')")
    said = tab.run("document.querySelector('.status').textContent")
    assert said == "Not to be shown: index_samples/math-grpo-sandbox-amc.js is not beside this page."


def test_claims_are_filtered_by_verdict(page: Browser) -> None:
    visible = "[...document.querySelectorAll('.claim')].filter(e => getComputedStyle(e).display !== 'none').length"
    before = page.run(visible)
    for name in page.run("[...document.querySelectorAll('#claims .tally input')].map(e => e.value)"):
        of_it = page.run(f"document.querySelectorAll('.claim.{name}').length")
        page.run(f"document.querySelector('#claims .tally input[value={name}]').click()")
        assert page.run(visible) == before - of_it
        page.run(f"document.querySelector('#claims .tally input[value={name}]').click()")


def test_a_table_sorts_by_keyboard_and_shows_what_is_chosen(page: Browser) -> None:
    column = "[...document.querySelectorAll('#table1 tbody tr')].map(r => Number(r.cells[1].dataset.{}))"
    first = page.run("[...document.querySelectorAll('#table1 tbody th')].map(e => e.textContent)")
    page.run("document.querySelectorAll('#table1 .sort')[1].focus()")
    page.key("Enter", 13)
    values = page.run(column.format("ours"))
    assert values == sorted(values, reverse=True)
    assert page.run("document.querySelector('#table1 th[aria-sort]').getAttribute('aria-sort')") == "descending"
    page.key("Enter", 13)
    assert page.run(column.format("ours")) == sorted(values)
    page.run("document.querySelector('#table1 input[value=change]').click()")
    changes = [value for value in page.run(column.format("change")) if value is not None]
    assert changes == sorted(changes), "the base model, which has no difference, stands last"
    shown = "getComputedStyle(document.querySelector('#table1 tbody td .{}')).display"
    assert page.run(shown.format("change")) == "block" and page.run(shown.format("value")) == "none"
    page.run("document.querySelectorAll('#table1 .sort')[1].click()")
    assert page.run("[...document.querySelectorAll('#table1 tbody th')].map(e => e.textContent)") == first
    page.run("document.querySelector('#table1 input[value=both]').click()")
    assert page.run(shown.format("paper")) == "block"


@pytest.mark.parametrize("shown", ["ours", "both", "change"])
def test_every_table_fits_1280_pixels(page: Browser, shown: str) -> None:
    page.run(f"document.querySelectorAll('.views input[value={shown}]').forEach(input => input.click())")
    rooms = "[...document.querySelectorAll('.of-table .scroll')]"
    assert page.run(f"{rooms}.length") == 4
    assert page.run(f"{rooms}.filter(e => e.scrollWidth > e.clientWidth).map(e => e.getAttribute('aria-label'))") == []


def test_who_scrolls_to_the_samples_sees_some(page: Browser) -> None:
    page.run("document.getElementById('samples').scrollIntoView()")
    page.wait("document.querySelectorAll('#samples .sample').length > 0")
    assert page.run("location.hash") == ""


def test_a_figure_is_drawn_toggled_and_compared(page: Browser) -> None:
    page.run("document.getElementById('figure9').scrollIntoView()")
    plot = "document.querySelector('#figure9 .plot')"
    page.wait(f"{plot}?.data?.length > 0")
    named = f"{plot}.data.filter(t => t.hovertemplate).map(t => t.name)"
    assert page.run(named) == ["GRPO (Pure RL)", "CHORD-μ", "CHORD-φ"]
    page.run("document.querySelector('#figure9 .controls input').click()")
    assert page.run(named) == ["CHORD-μ", "CHORD-φ"]
    page.run("document.querySelector('#figure9 .controls input').click()")
    page.run(
        "(() => { const s = document.querySelector('#figure9 select'); s.value = 'GRPO (Pure RL)';"
        "s.dispatchEvent(new Event('change')) })()"
    )
    assert page.run(named) == ["CHORD-μ", "CHORD-φ"]
    assert page.run(f"{plot}.layout.yaxis.title.text").endswith("minus GRPO (Pure RL)")
    svg = page.run(
        f"Plotly.toImage({plot}, {{format: 'svg', width: 600, height: 400}}).then(u => u.startsWith('data:image/svg'))"
    )
    assert svg is True


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_and_can_be_read(page: Browser, width: int, dark: bool) -> None:
    """No wider than the window; every text has WCAG AA's contrast with what is behind it."""
    page.view(width, dark=dark)
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.run(CONTRAST) == []


def test_print_shows_images_and_the_paper_s_values(page: Browser) -> None:
    page.view(1280, media="print")
    style = "getComputedStyle(document.querySelector('{}')).display"
    assert page.run(style.format("figure.drawn img")) != "none" and page.run(style.format("body > nav")) == "none"
    assert page.run(style.format("#table1 tbody .paper")) == "block"
