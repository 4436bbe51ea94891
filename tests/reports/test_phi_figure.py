"""What φ does: curves from the logs, a demonstration in shades."""

import json
from pathlib import Path

import pytest

from reports.inputs import Results
from reports.phi_figure import SHADES, heat_map, main, name_of, runs, shown_domains

pytestmark = pytest.mark.slow


def test_runs_are_those_that_learn_from_an_expert(page_files: Results) -> None:
    found = runs(page_files, "math")
    assert {"chord_mu", "chord_phi"} <= set(found) and not {"grpo", "original", "sft_best_rl"} & set(found)
    log = found["chord_phi"]
    assert log["expert"].tolist() == pytest.approx((log["mu"] * log["sft_loss"]).tolist())


def test_only_domains_whose_main_table_is_shown(page_files: Results) -> None:
    assert shown_domains(page_files, ["table1", "figure2"]) == ["math", "tool"]
    assert shown_domains(page_files, ["table7"]) == ["medicine"] and shown_domains(page_files, ["table2"]) == []


def test_three_panels_with_what_they_say(page_files: Results, tmp_path: Path) -> None:
    main(["--domain", "math", "--scale", "mini", "--results", str(page_files.root), "--out", str(tmp_path)])
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".svg", ".csv", ".json"}
    words = json.loads((tmp_path / f"{name_of('math')}.json").read_text(encoding="utf-8"))
    functions, means, losses = words["panels"]
    assert [series["label"] for series in functions["series"]] == ["none", "p_one_minus_p"]
    assert [series["label"] for series in means["series"]] == ["CHORD-φ"], "the others' φ is 1"
    assert set(means["series"][0]["y"]) == {0.1}
    assert {"CHORD-μ", "CHORD-φ"} <= {series["label"] for series in losses["series"]}
    assert "CHORD-μ" in words["caption"]


def test_a_token_s_shade_is_its_share_of_the_largest_weight(page_files: Results) -> None:
    plain, chord = heat_map(page_files, "math").heats
    assert [token.shade for token in plain.tokens] == [SHADES] * 3
    assert [token.shade for token in chord.tokens] == [8, 3, 0], "0.09 of 0.25: 2.88 of 8, and up"
    assert chord.mean == pytest.approx(0.34 / 3) and chord.tokens[1].said == "p = 0.900, H = 0.30, φ = 0.090"
