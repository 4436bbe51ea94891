"""README's result block: what it says, and that it stands as its sources in docs/results give it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reference_impl.config import load_declarations
from reference_impl.files import file_hash
from reports import figures, readme, tables
from reports.claims import MAIN
from reports.inputs import ROOT
from reports.readme import END, PICTURE, RESULTS, START
from tests.support.own_files import own_files
from tests.support.own_results import write_method
from tests.support.synthetic_results import synthetic_results

pytestmark = pytest.mark.slow

TABLE = """method,label,seeds,sandbox-x,sandbox-x low,sandbox-x high,sandbox-x seed sd,sandbox-x unreadable,AMC (paper)\
,y,y low,y high,y seed sd,AIME24 (paper),z,z low,z high,z seed sd,MMLU-Pro (paper)\
,w,w low,w high,w seed sd,BFCL Overall (paper)
a,A | B,1,35.7143,15.8577,62.0879,,0.0,43.8,25.0,8.8296,53.4295,,11.7,,,,,,1.0,0.5,1.5,,6.66
"""


def test_a_table_is_cut_to_the_main_columns(tmp_path: Path) -> None:
    path = tmp_path / "table1.csv"
    path.write_text(TABLE, encoding="utf-8")
    assert readme.short_table(path) == [
        "|  | `sandbox-x` / AMC | `y` / AIME24 | `z` / MMLU-Pro | `w` / BFCL Overall |",
        "| --- | --- | --- | --- | --- |",
        r"| A \| B | 35.7 [15.9, 62.1] / 43.8 | 25.0 [8.8, 53.4] / 11.7 | – / – | 1.0 [0.5, 1.5] / 6.66 |",
    ]


def test_claims_are_counted_not_comparisons(tmp_path: Path) -> None:
    path = tmp_path / "claims.csv"
    path.write_text("claim,claim verdict\nx,holds\nx,holds\ny,undecided\nz,does not hold\n", encoding="utf-8")
    found = readme.verdicts(path)
    assert "Of 3 claims" in readme.counted(found, {"seeds": [0], "family": {"holds": 1, "does not hold": 0}})
    assert "1 hold here, 1 do not, 1 are undecided, 0 are not testable here** (one seed" in readme.counted(
        found, {"seeds": [0], "family": {"holds": 1, "does not hold": 0}}
    )


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    assert readme.insert(f"before\n{START}\nold\n{END}\nafter", r"new \1") == "before\nnew \\1\nafter"


@pytest.mark.parametrize("text", ["", START, f"{END} {START}", f"{START} {END} {START} {END}"])
def test_a_readme_without_its_markers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="markers"):
        readme.insert(text, "new")


def test_everything_is_written_from_a_results_folder(tmp_path: Path) -> None:
    results = synthetic_results(tmp_path / "results", seeds=(0, 1))
    for command, what in ((tables.main, "table"), (figures.main, "figure")):
        name, out = {"table": "table1", "figure": "figure9"}[what], results.root / "report" / f"{what}s"
        command([f"--{what}", name, "--scale", "mini", "--results", str(results.root), "--out", str(out)])
    (tmp_path / "README.md").write_text(f"# X\n{START}\n{END}\nrest\n", encoding="utf-8")
    readme.collect(results, "headline", tmp_path)
    counted = json.loads((tmp_path / RESULTS / "source.json").read_text(encoding="utf-8"))
    write_method(results.root, "mine", 3)
    mine = load_declarations(mine=str(own_files(tmp_path, "mine: {like: chord_phi, domains: [tool]}")))
    readme.collect(replace(results, decl=mine), "headline", tmp_path)
    assert json.loads((tmp_path / RESULTS / "source.json").read_text(encoding="utf-8")) == counted, "a user's run"
    readme.write(tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# X\n") and text.endswith("rest\n")
    assert "seeds 0, 1" in text and "`000000000000`" in text
    for method in ("Original Model", "CHORD-φ"):
        assert f"| {method} | " in text
    said, found = readme.sentences(), readme.verdicts(tmp_path / RESULTS / "claims.csv")
    quoted = [name for name in MAIN if name in found]
    assert quoted
    for name in quoted:
        assert f"| {said[name][0]} ({said[name][1]}) | {found[name]} |" in text
    assert (tmp_path / PICTURE).read_bytes() == (results.root / "report" / "figures" / "figure9.png").read_bytes()
    assert "## Undecided: " in (tmp_path / RESULTS / "README.md").read_text(encoding="utf-8")

    path = tmp_path / RESULTS / "claims.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("undecided", "holds"), encoding="utf-8")
    assert readme.block(tmp_path) not in text


def test_a_missing_table_is_named_with_its_command(tmp_path: Path) -> None:
    results = synthetic_results(tmp_path / "results")
    with pytest.raises(ValueError, match=r"table1\.csv is missing; make it with: snakemake"):
        readme.collect(results, "headline", tmp_path)


def test_quoted_claims_exist() -> None:
    assert set(MAIN) <= set(readme.sentences())


def test_the_block_in_readme_is_that_of_its_sources() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.block() in text, "README's results are stale: make readme"
    assert (ROOT / RESULTS / "README.md").read_text(encoding="utf-8") == readme.listing()


def test_the_block_shows_the_miniature_and_its_own_picture() -> None:
    source = json.loads((ROOT / RESULTS / "source.json").read_text(encoding="utf-8"))
    assert source["scale"] == "mini"
    assert file_hash(ROOT / PICTURE) == source["picture"]["sha256"], "the picture is not that of the table: make readme"
