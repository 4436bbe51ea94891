"""Claims: the verdict follows from the interval and turns with the data."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from reference_impl.config import load_declarations, load_scale
from reference_impl.config.experiments import TableEntry
from reports.claims import combine, decide, main
from reports.comparisons import (
    CLAIMS,
    FAILS,
    HOLDS,
    UNDECIDED,
    Comparison,
    compare,
    curve_points,
    needs,
)
from reports.inputs import Results
from tests.support.synthetic_results import metrics_row, synthetic_results, write_json, write_lines, write_scores

pytestmark = pytest.mark.slow

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


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-1.9, -0.1, HOLDS), (-1.9, 3.0, HOLDS), (-2.1, 3.0, UNDECIDED), (-3.0, -2.1, FAILS)],
)
def test_a_margin_asks_for_no_less(low: float, high: float, verdict: str) -> None:
    assert Comparison("", "points", (low + high) / 2, low, high, None, margin=2.0).verdict == verdict


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


def test_runs_of_different_length_are_compared_at_the_same_steps(tmp_path: Path) -> None:
    # The second half of the shorter run is its steps 3 and 4, and the same two of the longer one: 0.8 - 0.2.
    write_rewards(tmp_path, "chord_phi", [0.0, 0.0, 0.7, 0.9])
    write_rewards(tmp_path, "grpo", [0.0, 0.0, 0.1, 0.3, 8.0, 10.0, 8.0, 10.0])
    result = compare(folder(tmp_path), STEPS)
    assert result.mean == pytest.approx(0.6)
    assert result.text == "reward: CHORD-φ > GRPO (Pure RL) (the paper's steps 20–40), math"
    # A run against itself: of its own length.
    own = {**STEPS, "more": {"run": "grpo", "from": 0.5, "to": 1.0}, "less": {"run": "grpo", "from": 0.25, "to": 0.5}}
    alone = compare(folder(tmp_path), own)
    assert alone.mean == pytest.approx(9.0 - 0.2)
    assert "GRPO (Pure RL) at 40–80 > GRPO (Pure RL) at 20–40 (the paper's steps)" in alone.text


def test_no_different_is_no_less_both_ways(tmp_path: Path) -> None:
    # Means 0.51 and 0.50; Welch: SE = sqrt(2 x 0.0002 / 2) = 0.014142, t(2) = 4.3027: 0.01 +- 0.0609.
    write_rewards(tmp_path, "chord_phi", [0.0, 0.0, 0.50, 0.52])
    write_rewards(tmp_path, "grpo", [0.0, 0.0, 0.49, 0.51])
    there = {**STEPS, "margin": 0.1}
    back = {**there, "more": STEPS["less"], "less": STEPS["more"]}
    assert [compare(folder(tmp_path), entry).verdict for entry in (there, back, STEPS)] == [HOLDS, HOLDS, UNDECIDED]
    assert compare(folder(tmp_path), {**back, "margin": 0.06}).verdict == UNDECIDED
    assert "≥ CHORD-φ − 0.1 reward" in compare(folder(tmp_path), back).text


def write_validations(root: Path, run: str, accuracy: list[float], seed: int = 0) -> None:
    rows = [
        {"step": 15 * number, "epoch": None, "accuracy": value, "stderr": 0.03} for number, value in enumerate(accuracy)
    ]
    write_lines(root / f"runs/math/{run}/seed{seed}/validation.jsonl", rows)


VALIDATIONS = {
    "validation": {"from": 0.5, "to": 1.0}, "domain": "math", "more": "grpo_small", "less": "sft_best_rl_small",
}  # fmt: skip


def test_validation_curves_of_two_runs(tmp_path: Path) -> None:
    # Steps 30 and 45 of 45: 0.6 - 0.4; the errors of validations on the same questions do not average out:
    # SE = 3 x sqrt(2), z = 1.95996. The longer run's fifth validation is not read.
    write_validations(tmp_path, "grpo_small", [0.0, 0.0, 0.5, 0.7])
    write_validations(tmp_path, "sft_best_rl_small", [0.0, 0.0, 0.4, 0.4, 0.9])
    result = compare(folder(tmp_path), VALIDATIONS)
    assert (result.mean, result.low) == pytest.approx((20.0, 20 - 1.95996 * 4.2426), abs=1e-3)
    assert (result.verdict, result.unit) == (HOLDS, "points")
    assert "(the paper's steps 225–450), math" in result.text
    # A second seed, 2 points more: mean 21, over seeds t(1) x 1 = 12.706.
    write_validations(tmp_path, "grpo_small", [0.0, 0.0, 0.52, 0.72], seed=1)
    write_validations(tmp_path, "sft_best_rl_small", [0.0, 0.0, 0.4, 0.4], seed=1)
    both = compare(folder(tmp_path), VALIDATIONS)
    assert (both.mean, both.low) == pytest.approx((21.0, 21 - np.hypot(1.95996 * 4.2426, 12.706)), abs=0.01)


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
    validations = [
        {"step": e, "epoch": float(e), "accuracy": a, "stderr": 0.03} for e, a in enumerate([0.5, 0.3, 0.7, 0.6])
    ]
    write_lines(tmp_path / "runs/math/sft_curve/seed0/validation.jsonl", validations)
    result = compare(folder(tmp_path), {"epochs": "sft_curve", "domain": "math", "more": "start", "less": "lowest"})
    # 20 points; SE = 3 x sqrt(2) = 4.2426; three points compared: z(1 - 0.025/3) = 2.39398.
    assert (result.mean, result.low) == pytest.approx((20.0, 20 - 2.39398 * 4.2426), abs=1e-3)
    assert "lowest (epoch 1)" in result.text
    # A second seed, 2 points lower at the start: mean 19, seed half width t(1, 1 - 0.025/3) x 1 = 38.19.
    validations[0]["accuracy"] = 0.48
    write_lines(tmp_path / "runs/math/sft_curve/seed1/validation.jsonl", validations)
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


def entries() -> list[dict[str, Any]]:
    declared: list[dict[str, Any]] = yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))
    return declared


ALLOWED = {
    "table": {"table", "column", "more", "less", "margin"},
    "value": {"figure", "value", "domain", "more", "less", "margin"},
    "epochs": {"figure", "epochs", "domain", "more", "less"},
    "validation": {"figure", "validation", "domain", "more", "less"},
}


def test_claims_on_a_column_that_is_not_declared_are_left_out(results: Results) -> None:
    """A user's experiments.yaml may have fewer columns than the paper, or fewer tables."""
    table = results.decl.experiments["table1"]
    assert isinstance(table, TableEntry)
    math = tuple(column for column in table.columns if column.domain == "math")
    narrow = table.model_copy(update={"domains": ("math",), "columns": math})
    decl = dataclasses.replace(results.decl, experiments={"table1": narrow}, headline=("table1",))
    decided = {claim.id for claim in decide(dataclasses.replace(results, decl=decl), ["table1"])}
    every = {claim.id for claim in decide(results, ["table1"])}
    on_tool = {entry["id"] for entry in entries() if "BFCL Overall" in str(entry["comparisons"])}
    assert decided and decided < every and not decided & on_tool and every & on_tool


def test_every_claim_s_methods_are_in_what_it_cites() -> None:
    decl = load_declarations()
    assert len({entry["id"] for entry in entries()}) == len(entries())
    for entry in entries():
        assert entry["comparisons"], entry["id"]
        for part in entry["comparisons"]:
            (kind,) = [kind for kind in ALLOWED if kind in part]
            assert set(part) <= ALLOWED[kind], entry["id"]
            cited = decl.experiments[part["table" if kind == "table" else "figure"]]
            wanted = needs(decl, part)
            assert cited.kind == ("table" if wanted.scored else "figure")
            assert wanted.methods <= set(cited.methods), entry["id"]
            assert wanted.domain in cited.domains
            assert all(wanted.domain in decl.method_domains(method) for method in wanted.methods)
            for window in (part[key] for key in ("more", "less", "validation") if isinstance(part.get(key), dict)):
                assert 0 <= window["from"] < window["to"] <= 1


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return synthetic_results(tmp_path_factory.mktemp("results"))


def everything(results: Results) -> list[str]:
    return list(results.decl.experiments)


def test_the_paper_s_own_numbers_support_its_table_claims(results: Results) -> None:
    """A comparison that the printed tables contradict would be a wrong transcription of the claim."""
    parts = [part for claim in decide(results, everything(results)) for part in claim.comparisons if part.paper]
    assert len(parts) > 90
    assert all(float((part.paper or "").replace(",", "")) > -part.margin for part in parts)


def test_a_page_shows_the_claims_that_its_experiments_can_decide(results: Results) -> None:
    every = {entry["id"] for entry in entries()}
    assert {claim.id for claim in decide(results, everything(results))} == every
    headline = {claim.id for claim in decide(results, results.decl.headline)}
    assert {"chord_phi_over_mixed", "sft_overfit", "strong_sft_improves"} <= headline
    assert not headline & {"focal_collapses", "judged_chord_over_rl", "small_sft_rl_below_rl", "fixed_mu_poorer"}
    # A figure's methods are trained, not scored: no table's claim, but every figure's that its runs can decide.
    figure9 = {claim.id for claim in decide(results, ["figure9"])}
    assert figure9 == {"chord_phi_reward", "chord_phi_entropy", "chord_mu_length", "chord_mu_shift_readapt"}
    assert {claim.id for claim in decide(results, ["table9"])} == {"moe_sft_collapses", "moe_chord_phi"}


def test_a_scale_without_a_domain_shows_none_of_its_claims(results: Results) -> None:
    only = {name: part for name, part in results.scale.domains.items() if name != "medicine"}
    fewer = dataclasses.replace(results, scale=results.scale.model_copy(update={"domains": only}))
    shown = {claim.id for claim in decide(fewer, everything(fewer))}
    assert {entry["id"] for entry in entries()} - shown == {
        "judged_chord_over_rl", "judged_phi_faster", "judged_mu_shift_readapt",
    }  # fmt: skip


def test_five_seeds_decide_every_claim_s_comparisons(tmp_path: Path) -> None:
    results = synthetic_results(tmp_path, seeds=(0, 1, 2, 3, 4))
    parts = [part for claim in decide(results, everything(results)) for part in claim.comparisons]
    assert all(part.low is not None and part.high is not None and part.low < part.high for part in parts)


def test_command_writes_one_row_a_comparison(results: Results, tmp_path: Path) -> None:
    command = ["--scale", "mini", "--results", str(results.root), "--out", str(tmp_path / "claims.csv")]
    for given in ([], ["--experiments", "table9"]):
        main([*command, *given])
        shown = decide(results, given[1:] or results.decl.headline)
        lines = (tmp_path / "claims.csv").read_text(encoding="utf-8").splitlines()
        assert len(lines) == 1 + sum(len(claim.comparisons) for claim in shown)
