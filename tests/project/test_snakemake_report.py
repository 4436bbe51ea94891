"""`snakemake --report`: what it takes of the workflow, and that a finished one gives it tables and figures."""

import re
from pathlib import Path

import pytest

from pipelines.plan import load_plan
from tests.support.checkout import REPO, snakemake
from tests.support.workflow_plans import SMOKE

RULES = REPO / "pipelines" / "rules"
TEXT = (RULES / "report.smk").read_text(encoding="utf-8")
CALL = re.compile(
    r"report\(\s*f\"(?P<path>[^\"]+)\",\s*caption=\"(?P<caption>[^\"]+)\",\s*category=\"(?P<category>\w+)\""
)


def test_tables_and_figures_are_taken_with_captions() -> None:
    found = [call.groupdict() for call in CALL.finditer(TEXT)]
    assert [(Path(one["path"]).name, one["category"]) for one in found] == [
        ("{{table}}.csv", "Tables"),
        ("{{figure}}.svg", "Figures"),
        ("phi-{{domain}}.svg", "Figures"),
        ("compare.csv", "Yours"),
        ("compare.svg", "Yours"),
    ]
    captions = {path.name for path in (RULES / "captions").iterdir()}
    assert {Path(one["caption"]).name for one in found} == captions
    for name in captions:
        assert re.search(r"{{ snakemake\.\w+", (RULES / "captions" / name).read_text(encoding="utf-8")), name


@pytest.mark.slow
@pytest.mark.workflow
def test_a_finished_workflow_gives_them(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    done = snakemake(finished, "--report", str(out), *SMOKE)
    assert done.returncode == 0, done.stdout
    choice = load_plan({"scale": "smoke", "mine": ""}).choice
    wanted = {"table": "csv", "figure": "svg"}
    names = {
        f"{name}.{wanted[kind]}"
        for name in choice.headline
        if (kind := choice.declarations.experiments[name].kind) in wanted
    }
    added = set(re.findall(r"Adding (\S+) \(", done.stdout))
    assert len(names) > 5 and names <= added
    assert out.stat().st_size > 1_000_000 and "of the paper at scale" in out.read_text(encoding="utf-8")
