"""When CHORD helps: cells by novelty and by φ from results whose differences are known by construction."""

import csv
import dataclasses
import re
from pathlib import Path

import pytest
from matplotlib.colors import Normalize, to_hex
from matplotlib.pyplot import colormaps

from pipelines.sandbox import math_world
from pipelines.sandbox.novelty import describe
from reference_impl.config import load_declarations, load_scale
from reference_impl.files import read_jsonl, write_jsonl
from reports import when
from reports.heat_maps import COLOURS, Cell, Grid, ink, largest, shade
from reports.inputs import Results
from reports.when_pages import Found, to_markdown
from tests.support.synthetic_results import metrics_row, write_lines, write_scores

TASK = "sandbox-amc"


def right(method: str, level: int, number: int) -> bool:
    """Everybody knows what needs no procedure and a third of what does; CHORD-φ three in four of the rarest."""
    if level == 0:
        return True
    if method == "chord_phi" and level == 3:
        return number % 4 != 0
    return number % 3 == 0


def novelty(root: Path) -> when.Novelty:
    """Of the questions in a results folder, as the workflow writes it down."""
    return when.Novelty.model_validate(describe("math", "smoke", root / "benchmarks"))


def write_results(root: Path) -> Results:
    """A results folder of the map's methods."""
    decl, scale = load_declarations(mine=""), load_scale("smoke")
    asked = math_world.benchmarks()[f"{TASK}.jsonl"]
    write_jsonl(root / "benchmarks" / f"{TASK}.jsonl", asked)
    for name in ("sandbox-aime24", "sandbox-aime25"):
        write_jsonl(root / "benchmarks" / f"{name}.jsonl", [])
    write_jsonl(root / "benchmarks" / "sandbox-mmlu-pro.jsonl", math_world.benchmarks()["sandbox-mmlu-pro.jsonl"])
    levels = novelty(root).tasks[TASK]
    assert decl.map is not None
    for method in decl.map.names(decl.methods):
        rows = [
            {"task": TASK, "item_id": item, "correct": right(method, level, number), "tokens": 9}
            for number, (item, level) in enumerate(levels.items())
        ]
        write_scores(root / f"scores/math/{method}/seed0.parquet", rows)
        logged = [metrics_row(1, 500, mu=0.1, phi_mean=0.2), metrics_row(2, 500, mu=0.1, phi_mean=0.1)]
        write_lines(root / f"runs/math/{method}/seed0/metrics.jsonl", [*logged, metrics_row(3, 500, mu=0.0)])
    return Results(root, scale, decl)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return write_results(tmp_path_factory.mktemp("results"))


def test_cells_of_novelty(results: Results) -> None:
    found = when.novelty_cells(results, novelty(results.root))
    assert len(found) == 10 * 4
    assert [cell.demonstrations for cell in found[:12:4]] == [2, 8, 32]  # CHORD-μ at the scale smoke: few, main, large
    assert [cell.level for cell in found[:4]] == ["no procedure needed", "often", "seldom", "rarely"]
    assert (found[0].low, found[1].high) == (None, 0.4) and found[3].low == pytest.approx(0.002)
    assert sum(cell.pair.questions for cell in found[:4]) == 560
    phi = [cell for cell in found if cell.pair.name == "chord_phi"]
    assert [cell.pair.verdict for cell in phi] == ["the same answers"] * 3 + ["above"]
    rarest = phi[3].pair
    assert rarest.value is not None and rarest.baseline_value is not None and rarest.difference is not None
    assert rarest.difference.mean == pytest.approx(rarest.value.mean - rarest.baseline_value.mean)
    assert 25 < rarest.difference.mean < 60  # three in four less one in three
    others = {cell.pair.verdict for cell in found if cell.pair.name != "chord_phi"}
    assert others == {"the same answers"}


def test_questions_of_other_kinds_have_no_novelty(results: Results) -> None:
    known = novelty(results.root)
    assert known.tasks["sandbox-mmlu-pro"] == {} and len(known.tasks[TASK]) == 560
    assert set().union(*(known.at(level) for level in range(4))) == {f"{TASK}/{item}" for item in known.tasks[TASK]}


def test_cells_of_powers(results: Results) -> None:
    found = when.power_cells(results, "math")
    assert len(found) == 16 and [(cell.a, cell.b) for cell in found[:5]] == [(0, 0), (0.5, 0), (1, 0), (2, 0), (0, 0.5)]
    own = {(cell.a, cell.b): cell for cell in found}[1, 1]
    assert own.pair.name == "chord_phi" and own.pair.questions == 560 and own.pair.verdict == "above"
    assert all(cell.phi_mean == pytest.approx(0.15) for cell in found), "steps without an expert's loss have no φ"


def test_files(results: Results, tmp_path: Path) -> None:
    when.write(results, tmp_path, [novelty(results.root)])
    names = {"map.md", "map.csv", "map.html", "map-novelty.png", "map-novelty.svg", "map-phi.png", "map-phi.svg"}
    assert {path.name for path in tmp_path.iterdir()} == names
    text = (tmp_path / "map.md").read_text(encoding="utf-8")
    assert "## By novelty and demonstrations: mathematical reasoning" in text
    assert "| method | no procedure needed, n = " in text and "often, 8.2–40 %, n = " in text
    assert re.search(r"\| CHORD-φ, 8 demonstrations \|.*\*\*\+\d+\.\d \[.*\]\*\*\* \|", text)  # bold, with a star in it
    assert "| a = 0 | a = 0.5 | a = 1 | a = 2 |" in text and "mean φ 0.150" in text
    assert "One seed" in text and "(Holm)" in text and "None of this is a claim of the paper" in text
    with (tmp_path / "map.csv").open(encoding="utf-8", newline="") as lines:
        table = list(csv.DictReader(lines))
    assert [row["map"] for row in table] == ["novelty"] * 40 + ["phi"] * 16
    cell = next(row for row in table if row["name"] == "chord_phi" and row["level"] == "rarely")
    assert cell["found in the family"] == "True" and float(cell["difference low"]) > 0
    page = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2 and "snakemake --cores all map --config scale=smoke" in page
    drawn = (tmp_path / "map-phi.svg").read_bytes()
    when.write(results, tmp_path, [novelty(results.root)])
    assert (tmp_path / "map-phi.svg").read_bytes() == drawn, "the same data, the same bytes"


def test_without_novelty(results: Results, tmp_path: Path) -> None:
    when.write(results, tmp_path, [])
    assert not list(tmp_path.glob("map-novelty.*")) and (tmp_path / "map-phi.png").is_file()
    text = (tmp_path / "map.md").read_text(encoding="utf-8")
    assert "By novelty: left out" in text and "## By novelty" not in text


def test_no_domain_of_the_map(results: Results) -> None:
    scale = results.scale.model_copy(update={"domains": {"tool": results.scale.domains["tool"]}})
    with pytest.raises(ValueError, match=r"map\.yaml: domains: math: scale smoke has none of them"):
        when.the_map(dataclasses.replace(results, scale=scale))


def test_a_level_without_questions_has_no_number(results: Results, tmp_path: Path) -> None:
    root = write_results(tmp_path / "few").root
    asked = read_jsonl(root / "benchmarks" / f"{TASK}.jsonl")
    plain = [row["id"] for row in asked if math_world.novelty(row["problem"]) is None]
    rows = [{"task": TASK, "item_id": item, "correct": True} for item in plain]
    for path in (root / "scores" / "math").glob("*/seed0.parquet"):
        write_scores(path, rows)
    few = Results(root, results.scale, results.decl)
    cells = when.novelty_cells(few, novelty(root))
    assert [(cell.pair.questions, cell.pair.verdict) for cell in cells[:2]] == [
        (len(plain), "the same answers"),
        (0, "too little asked"),
    ]
    found = Found(few, tuple(cells), tuple(when.power_cells(few, "math")))
    assert found.kept == frozenset() and "too little asked" in to_markdown(found)
    assert [cell.value for cell in found.novelty_grids()[0].cells[0]] == [0.0, None, None, None]


def test_colours() -> None:
    grid = Grid("", ("r",), ("c", "d"), "", "", ((Cell(-7.3, ("−7.3",), True), Cell(None, ("–",), False)),))
    assert largest([grid]) == 7.5 and largest([]) == 1.0
    colours, norm = colormaps[COLOURS], Normalize(-7.5, 7.5)
    decided, pale, none = (shade(colours, norm, cell) for cell in (
        Cell(-7.3, ("",), True), Cell(-7.3, ("",), False), Cell(None, ("",), False)
    ))  # fmt: skip
    assert none == (1.0, 1.0, 1.0) and sum(decided) < sum(pale) < 3
    assert decided[0] > decided[2], "orange below 0"
    above = shade(colours, norm, Cell(7.3, ("",), True))
    assert above[2] > above[1], "purple above"
    assert ink(above, True) == "#FFFFFF" and ink(none, True) != ink(none, False) and to_hex(none) == "#ffffff"
