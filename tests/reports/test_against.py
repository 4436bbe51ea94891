"""Methods against a baseline: every main column of common domains, curves as differences, and the page's section."""

from pathlib import Path

import pandas as pd
import pytest

from reports import against
from reports.against import pairs, reward_difference, validation_difference, write
from reports.site import yours
from tests.support.own_files import own_files
from tests.support.own_results import own_results, read

METHODS = "mine: {label: My φ, like: chord_phi, domains: [tool], phi: my_phi.py:squared}\n"


@pytest.fixture
def mine(tmp_path: Path) -> str:
    return str(own_files(tmp_path, METHODS))


def test_every_main_column_of_the_domains_that_both_have(tmp_path: Path, mine: str) -> None:
    results = own_results(tmp_path / "results", mine, mine=30, phi_focal=22, chord_phi=20)
    found = pairs(results, ["mine", "phi_focal", "chord_phi"])
    assert [(pair.domain, pair.label, pair.column) for pair in found[:3]] == [
        ("tool", "My φ", f"sandbox-bfcl {part}") for part in ("live", "non-live", "overall")
    ]
    assert [pair.difference and pair.difference.mean for pair in found] == [25, None, 25, 5, None, 5]
    assert found[0].verdict == "above" and found[1].verdict == "too little asked"
    assert {pair.baseline_label for pair in found} == {"CHORD-φ"}


def test_files_and_the_pages_section(tmp_path: Path, mine: str) -> None:
    results = own_results(tmp_path / "results", mine, mine=30, chord_phi=20)
    assert yours(results) is None
    folder = results.root / "report"
    write(results, ["mine", "chord_phi"], folder)
    text = (folder / "compare.md").read_text(encoding="utf-8")
    assert text.startswith("# My φ against CHORD-φ\n") and "| +25.0 [+" in text and "One seed" in text
    assert (folder / "compare.csv").read_text(encoding="utf-8").count("\n") == 4
    assert read(folder / "compare.json")["methods"] == ["mine", "chord_phi"]
    assert "My φ" in (folder / "figures" / "compare.svg").read_text(encoding="utf-8")
    shown = yours(results)
    assert shown is not None and shown[0].title == "My φ against CHORD-φ" and shown[1].startswith("data:image/svg")


def test_curves_are_differences_at_the_same_steps() -> None:
    steps = pd.DataFrame({"seed": 0, "paper_step": [1.0, 2.0, 3.0], "reward_mean": [0.5, 0.7, 0.6]})
    base = pd.DataFrame({"seed": 0, "paper_step": [2.0, 3.0, 4.0], "reward_mean": [0.5, 0.9, 0.1]})
    curve = reward_difference(steps, base)
    assert curve is not None and curve.x.tolist() == [2, 3] and curve.mean.round(6).tolist() == [0.2, -0.3]
    assert reward_difference(steps.assign(reward_mean=None), base) is None
    asked = pd.DataFrame({"seed": 0, "paper_step": [0.0, 4.0], "scores": [[0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0]]})
    other = asked.assign(scores=[[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    curve = validation_difference(asked, other)
    assert curve is not None and curve.mean.tolist() == [0, 25]
    assert validation_difference(asked, other.assign(paper_step=[0.0, 5.0])) is None


def test_what_trains_nothing_has_no_curves(tmp_path: Path) -> None:
    results = own_results(tmp_path / "results", original=10, sft_best=20)
    assert against.common_domains(results, "original", "sft_best") == ["math", "tool"]
    (tmp_path / "out").mkdir()
    against.draw(results, ["original", "sft_best"], tmp_path / "out")
    assert "trains nothing" in (tmp_path / "out" / "figures" / "compare.svg").read_text(encoding="utf-8")
