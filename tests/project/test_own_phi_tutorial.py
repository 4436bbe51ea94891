"""docs/own_phi.md, followed in a copy: its files written, its commands typed, its promises looked at.

To the letter, but for the board of every φ, which is planned only: its seventeen runs are those of other tests.
"""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.support.checkout import REPO, typed, user_environment
from tests.support.workflow_plans import planned

pytestmark = [pytest.mark.slow, pytest.mark.workflow]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def followed(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A copy of a folder whose headline is made, and what each command said."""
    folder = Path(shutil.copytree(finished, tmp_path_factory.mktemp("tutorial") / "finished"))
    environment = user_environment()
    del environment["CHORD_MINE"]
    said: dict[str, str] = {}
    for language, text in BLOCK.findall((REPO / "docs" / "own_phi.md").read_text(encoding="utf-8")):
        if language:
            (folder / text.split()[1]).write_text(text, encoding="utf-8")  # "# NAME" is its first line
            continue
        said[text.strip()] = typed(
            folder, text.replace("snakemake --cores 2 phi_board", "snakemake -n phi_board"), environment
        )
    return folder, said


def test_every_command_says_what_it_should(followed: tuple[Path, dict[str, str]]) -> None:
    folder, said = followed
    tried, compared, ranked, folders = said.values()
    assert tried.splitlines() == [
        "mine: my_phi.py:squared looks at each token by itself",
        "mine_cubed: my_phi.py:squared looks at each token by itself",
    ]
    assert "# my φ, my φ cubed against CHORD-φ" in compared and "math: sandbox-amc | my φ |" in compared
    assert "Train: phi_focal on tool, seed 0" in ranked and "Report: every phi, ranked" in ranked
    assert folders.startswith("# results/smoke against results/smoke")
    report = folder / "results" / "smoke" / "report"
    for name in ("compare.md", "compare.csv", "compare.json", "figures/compare.svg"):
        assert (report / name).stat().st_size > 0
    pairs = json.loads((report / "compare.json").read_text(encoding="utf-8"))["pairs"]
    assert {(pair["name"], pair["baseline"]) for pair in pairs} == {("mine", "chord_phi"), ("mine_cubed", "chord_phi")}
    record = json.loads((folder / "results/smoke/runs/math/mine_cubed/seed0/run.json").read_text(encoding="utf-8"))
    assert record["config"]["phi"] == {"name": "my_phi.py:squared", "power": 3} and record["code"]["phi"]
    assert record["phi_source"] == (folder / "my_phi.py").read_text(encoding="utf-8")
    assert str(folder) not in json.dumps(record)


def test_an_edited_phi_trains_its_own_runs_again(
    followed: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = followed
    monkeypatch.delenv("CHORD_MINE")
    call = ("compare", "--config", "scale=smoke", "methods=[mine, mine_cubed, chord_phi]")
    path = folder / "my_phi.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(f"# my first try\n{text}\n\ndef unused(p, h, m):\n    return p\n", encoding="utf-8")
    assert not {job for job in planned(folder, *call) if job.startswith("Train")}
    path.write_text(text.replace("4 * prob_BT", "2 * prob_BT"), encoding="utf-8")
    trained = {job for job in planned(folder, *call) if job.startswith("Train")}
    assert trained == {f"Train: {name} on math, seed 0" for name in ("mine", "mine_cubed")}
    path.write_text(text.replace("return (4", "return -(4"), encoding="utf-8")
    with pytest.raises(AssertionError, match=r"my_methods\.yaml: mine: phi: my_phi\.py:squared returns the weight -"):
        planned(folder, *call)
