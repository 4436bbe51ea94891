"""Claims: the verdict follows from the interval and turns with the data."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from reference_impl.config import load_declarations, load_scale
from reports.claims import (
    CLAIMS,
    FAILS,
    HOLDS,
    UNDECIDED,
    Comparison,
    combine,
    compare,
    curve_points,
    decide,
    main,
)
from reports.inputs import Results
from reports.tables import COLUMNS
from tests.synthetic_results import metrics_row, synthetic_results, write_json, write_lines, write_scores

BFCL = {"table": "table1", "column": "BFCL Overall", "more": "chord_phi", "less": "grpo"}


def folder(root: Path) -> Results:
    return Results(root, load_scale("mini"), load_declarations())


def write_bfcl(root: Path, method: str, right: int, of: int = 40, tokens: int = 10) -> None:
    rows = [
        {
            "task": "sandbox-bfcl",
            "item_id": str(i),
            "category": "live_simple",
            "correct": i < right,
            "tokens": tokens,
        }
        for i in range(of)
    ]
    write_scores(root / f"scores/tool/{method}/seed0.parquet", rows)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.1, 0.3, HOLDS), (-0.3, -0.1, FAILS), (-0.1, 0.3, UNDECIDED), (0.0, 0.3, UNDECIDED)],
)
def test_verdict_of_an_interval(low: float, high: float, verdict: str) -> None:
    assert Comparison("", "points", (low + high) / 2, low, high, None).verdict == verdict


def test_a_claim_needs_all_its_comparisons() -> None:
    assert combine([HOLDS, HOLDS]) == HOLDS
    assert combine([HOLDS, UNDECIDED]) == UNDECIDED
    assert combine([HOLDS, UNDECIDED, FAILS]) == FAILS


def test_paired_difference_by_hand_and_the_printed_one_beside_it(tmp_path: Path) -> None:
    # 30 against 20 of 40: ten questions differ. Mean 0.25, sd 0.43853, SE 0.069338, t(39) = 2.02269.
    write_bfcl(tmp_path, "chord_phi", 30)
    write_bfcl(tmp_path, "grpo", 20)
    result = compare(folder(tmp_path), BFCL)
    assert (result.verdict, result.paper) == (HOLDS, "+1.4")
    assert result.mean == pytest.approx(25.0)
    assert result.low == pytest.approx(25 - 2.02269 * 6.9338, abs=1e-2)
    # About (t(39, 0.975) + t(39, 0.8)) x SE = (2.0227 + 0.8509) x 6.9338.
    assert result.detectable == pytest.approx(19.92, abs=0.1)


@pytest.mark.parametrize(("phi", "grpo", "verdict"), [(38, 10, HOLDS), (10, 38, FAILS), (20, 20, UNDECIDED)])
def test_the_verdict_turns_with_the_data(tmp_path: Path, phi: int, grpo: int, verdict: str) -> None:
    write_bfcl(tmp_path, "chord_phi", phi)
    write_bfcl(tmp_path, "grpo", grpo)
    assert compare(folder(tmp_path), BFCL).verdict == verdict


def test_length_against_the_expert(tmp_path: Path) -> None:
    write_bfcl(tmp_path, "original", 20, tokens=10)
    write_json(tmp_path / "data/tool/manifest.json", {"expert_length_mean": 40.0, "expert_rows": 8})
    longer = compare(folder(tmp_path), {"table": "table2", "column": "Tool-use", "more": "expert", "less": "original"})
    assert (longer.paper, longer.verdict) == ("+168", HOLDS)
    shorter = compare(folder(tmp_path), {"table": "table2", "column": "Tool-use", "more": "original", "less": "expert"})
    assert shorter.verdict == FAILS
    assert (longer.mean, shorter.mean) == pytest.approx((30.0, -30.0))


def write_rewards(root: Path, run: str, values: list[float], seed: int = 0) -> None:
    rows = [metrics_row(step, 10.0, reward_mean=value) for step, value in enumerate(values, 1)]
    write_lines(root / f"runs/math/{run}/seed{seed}/metrics.jsonl", rows)


STEPS = {
    "value": "reward_mean", "domain": "math",
    "more": {"run": "chord_phi", "from": 0.5, "to": 1.0}, "less": {"run": "grpo", "from": 0.5, "to": 1.0},
}  # fmt: skip


def test_windows_of_steps_one_seed(tmp_path: Path) -> None:
    # Second halves: 0.7, 0.9 against 0.1, 0.3. Means 0.8 and 0.2; Welch: SE = sqrt(0.02/2 + 0.02/2) =
    # 0.14142, t(2) = 4.3027.
    write_rewards(tmp_path, "chord_phi", [0.0, 0.0, 0.7, 0.9])
    write_rewards(tmp_path, "grpo", [0.0, 0.0, 0.1, 0.3])
    result = compare(folder(tmp_path), STEPS)
    assert result.mean == pytest.approx(0.6)
    assert result.low == pytest.approx(0.6 - 4.3027 * 0.141421, abs=1e-3)


def test_windows_of_steps_are_paired_over_seeds(tmp_path: Path) -> None:
    # Differences 0.6 and 0.4: mean 0.5, SE 0.1, t(1) = 12.706.
    for seed, gain in ((0, 0.6), (1, 0.4)):
        write_rewards(tmp_path, "chord_phi", [0.0, 0.0, gain, gain], seed)
        write_rewards(tmp_path, "grpo", [0.0] * 4, seed)
    result = compare(folder(tmp_path), STEPS)
    assert (result.mean, result.low) == pytest.approx((0.5, 0.5 - 1.2706), abs=1e-3)


def test_a_run_too_short_for_its_windows_decides_nothing(tmp_path: Path) -> None:
    write_rewards(tmp_path, "chord_phi", [0.9])
    write_rewards(tmp_path, "grpo", [0.1])
    assert compare(folder(tmp_path), STEPS).verdict == UNDECIDED


def test_steps_without_spread_decide_nothing(tmp_path: Path) -> None:
    for run in ("chord_phi", "grpo"):
        write_rewards(tmp_path, run, [0.0] * 4)
    result = compare(folder(tmp_path), STEPS)
    assert (result.mean, result.verdict) == (None, UNDECIDED)


def test_one_question_decides_nothing(tmp_path: Path) -> None:
    write_bfcl(tmp_path, "chord_phi", 1, of=1)
    write_bfcl(tmp_path, "grpo", 0, of=1)
    assert compare(folder(tmp_path), BFCL).verdict == UNDECIDED


def test_points_of_a_curve() -> None:
    assert curve_points(np.array([0.5, 0.3, 0.2, 0.7, 0.6])) == {
        "start": 0,
        "lowest": 2,
        "highest": 3,
        "last": 4,
    }
    assert curve_points(np.array([0.5, 0.6, 0.7])) == {"start": 0, "lowest": 1, "highest": 2, "last": 2}


def test_the_chosen_points_of_a_curve_pay_for_the_choice(tmp_path: Path) -> None:
    looks = [{"step": e, "epoch": float(e), "accuracy": a, "stderr": 0.03} for e, a in enumerate([0.5, 0.3, 0.7, 0.6])]
    write_lines(tmp_path / "runs/math/sft_curve/seed0/validation.jsonl", looks)
    result = compare(folder(tmp_path), {"epochs": "sft_curve", "domain": "math", "more": "start", "less": "lowest"})
    # 20 points; SE = 3 x sqrt(2) = 4.2426; three points looked at: z(1 - 0.025/3) = 2.39398.
    assert (result.mean, result.low) == pytest.approx((20.0, 20 - 2.39398 * 4.2426), abs=1e-3)
    assert "lowest (epoch 1)" in result.text
    # A second seed, 2 points lower at the start: mean 19, seed half width t(1, 1 - 0.025/3) x 1 = 38.19.
    looks[0]["accuracy"] = 0.48
    write_lines(tmp_path / "runs/math/sft_curve/seed1/validation.jsonl", looks)
    both = compare(folder(tmp_path), {"epochs": "sft_curve", "domain": "math", "more": "start", "less": "lowest"})
    assert (both.mean, both.low) == pytest.approx((19.0, 19 - np.hypot(2.39398 * 4.2426, 38.19)), abs=0.01)


def test_what_this_scale_does_not_ask_is_undecided(tmp_path: Path) -> None:
    for method in ("chord_phi", "grpo"):
        write_bfcl(tmp_path, method, 3)
    result = compare(folder(tmp_path), {**BFCL, "column": "BFCL Non-live"})
    assert (result.mean, result.verdict) == (None, UNDECIDED)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"column": "AMC12"}, "table1 has no column 'AMC12'"), ({"epochs": "sft_curve"}, "exactly one of")],
)
def test_a_wrong_entry_is_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(folder(tmp_path), {**BFCL, **change})


def test_every_declared_claim_names_declared_things() -> None:
    decl = load_declarations()
    entries = yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))
    assert len({entry["id"] for entry in entries}) == len(entries)
    headers = {table: {column.header for column in columns} for table, columns in COLUMNS.items()}
    for part in (part for entry in entries for part in entry["comparisons"]):
        sides = [part["more"], part["less"]]
        if "table" in part:
            assert part["column"] in headers[part["table"]]
            assert set(sides) <= {*decl.methods, "expert"}
        elif "value" in part:
            assert all(side["run"] in decl.methods and 0 <= side["from"] < side["to"] <= 1 for side in sides)
        else:
            assert part["epochs"] in decl.methods


def test_the_paper_s_own_numbers_support_its_table_claims(tmp_path: Path) -> None:
    """A comparison that the printed tables contradict would be a wrong transcription of the claim."""
    results = synthetic_results(tmp_path)
    differences = [part.paper for claim in decide(results) for part in claim.comparisons if part.paper]
    assert len(differences) > 30
    assert all(text.startswith("+") and float(text.replace(",", "")) > 0 for text in differences)


def test_command_writes_one_row_a_comparison(tmp_path: Path) -> None:
    results = synthetic_results(tmp_path)
    main(["--scale", "mini", "--results", str(results.root), "--out", str(tmp_path / "claims.csv")])
    lines = (tmp_path / "claims.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + sum(len(claim.comparisons) for claim in decide(results))
