"""A user's table and figure: one entry of experiments.yaml each, and the report has them."""

import shutil
from pathlib import Path

import pytest

from pipelines.plan import load_plan
from reference_impl.config import CONFIG_DIR, load_declarations
from reports import figures, tables
from reports.inputs import Results
from reports.site import render
from tests.support.synthetic_results import synthetic_results
from tests.support.synthetic_samples import write_samples

pytestmark = pytest.mark.slow

ENTRIES = """
my_table:
  kind: table
  paper: Mine
  title: Two methods on tool use
  domains: [tool]
  methods: [grpo, chord_phi]
  columns: *bfcl
my_figure:
  kind: figure
  paper: Mine too
  title: Reward of two methods
  domains: [tool]
  methods: [grpo, chord_phi]
  draw: training_curve
  metric: reward_mean
  ylabel: mean reward
  text: Reward of two methods.
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration with both entries, which are its headline."""
    folder = Path(shutil.copytree(CONFIG_DIR, tmp_path_factory.mktemp("added") / "config"))
    path = folder / "experiments.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines = ["headline: [my_table, my_figure]" if line.startswith("headline:") else line for line in lines]
    path.write_text("\n".join(lines) + ENTRIES, encoding="utf-8")
    return folder


def test_one_entry_is_a_target_of_the_workflow(root: Path) -> None:
    plan = load_plan({"scale": "mini"}, root)
    assert plan.choice.headline == ["my_table", "my_figure"]
    assert "results/mini/report/tables/my_table.json" in plan.files.targets()["my_table"]
    assert "results/mini/scores/tool/chord_phi/seed0.parquet" in plan.files.report_sources("my_table")


def test_one_entry_makes_a_table_and_one_a_figure_and_the_page_shows_them(root: Path, tmp_path: Path) -> None:
    made = synthetic_results(tmp_path)
    results = Results(made.root, made.scale, load_declarations(root))
    tables.write(results, "my_table", tmp_path / "report/tables")
    figures.write(results, "my_figure", tmp_path / "report/figures")
    table = (tmp_path / "report/tables/my_table.md").read_text(encoding="utf-8")
    assert "**Two methods on tool use (accuracy, %)**" in table and "The paper has no such table." in table
    (row,) = [line for line in table.splitlines() if line.startswith("| CHORD-φ")]
    assert row.count("| – ") == 3, "the paper prints nothing beside our three averages"
    write_samples(results)
    page = render(results, "headline")
    assert '<article id="my_table" class="of-table">' in page and '<article id="my_figure">' in page
    assert "Reward of two methods. Lines: " in page
    assert "<b>The paper:</b>" not in page
