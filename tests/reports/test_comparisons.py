"""Comparisons: differences by hand, paired where the data are, and what each decides alone."""

from pathlib import Path

import numpy as np
import pytest

from evaluation.statistics import Estimate, paired_difference
from reference_impl.config import load_declarations, load_scale
from reports.comparisons import (
    FAILS,
    HOLDS,
    UNDECIDED,
    UNTESTED,
    Comparison,
    compare,
    curve_points,
    needs,
)
from reports.inputs import Results
from tests.support.synthetic_results import metrics_row, write_json, write_lines, write_scores

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


def between(low: float, high: float, margin: float = 0.0) -> Comparison:
    """A comparison with this 95 % interval, of so many observations that t is normal."""
    mean, se = (low + high) / 2, (high - low) / 2 / 1.959964
    return Comparison.of("", "points", Estimate(mean, se, low, high, 10**6), margin=margin)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.1, 0.3, HOLDS), (-0.3, -0.1, FAILS), (-0.1, 0.3, UNDECIDED), (-0.001, 0.3, UNDECIDED), (0.001, 0.3, HOLDS)],
)
def test_verdict_of_an_interval(low: float, high: float, verdict: str) -> None:
    """The test is the interval's: alone, a comparison is decided where its interval leaves out zero."""
    assert between(low, high).verdict == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-1.9, -0.1, HOLDS), (-1.9, 3.0, HOLDS), (-2.1, 3.0, UNDECIDED), (-3.0, -2.1, FAILS)],
)
def test_a_margin_asks_for_no_less(low: float, high: float, verdict: str) -> None:
    assert between(low, high, margin=2.0).verdict == verdict


def test_paired_difference_by_hand_and_the_printed_one_beside_it(tmp_path: Path) -> None:
    # 30 against 20 of 40: ten questions differ. Mean 0.25, sd 0.43853, SE 0.069338, t(39) = 2.02269.
    write_bfcl(tmp_path, "chord_phi", 30)
    write_bfcl(tmp_path, "grpo", 20)
    result = compare(folder(tmp_path), BFCL)
    assert (result.verdict, result.printed) == (HOLDS, "+1.4")
    assert result.mean == pytest.approx(25.0)
    assert result.low == pytest.approx(25 - 2.02269 * 6.9338, abs=1e-2)
    # About (t(39, 0.975) + t(39, 0.8)) x SE = (2.0227 + 0.8509) x 6.9338.
    assert result.detectable == pytest.approx(19.92, abs=0.1)
    # The paper's 1.4 points are a fifth of a standard error: found about as often as nothing is, 2.5 % one-sided.
    assert result.power == pytest.approx(0.038, abs=0.005)


@pytest.mark.parametrize(
    ("phi", "grpo", "verdict"), [(38, 10, HOLDS), (10, 38, FAILS), (20, 21, UNDECIDED), (20, 20, UNTESTED)]
)
def test_the_verdict_turns_with_the_data(tmp_path: Path, phi: int, grpo: int, verdict: str) -> None:
    write_bfcl(tmp_path, "chord_phi", phi)
    write_bfcl(tmp_path, "grpo", grpo)
    assert compare(folder(tmp_path), BFCL).verdict == verdict


def test_a_difference_beyond_another(tmp_path: Path) -> None:
    """Of 40: 30 - 20 against 24 - 20, question by question: six questions of 40 are ahead."""
    for method, right in (("chord_phi", 30), ("grpo", 20), ("chord_mu", 24), ("sasr", 20)):
        write_bfcl(tmp_path, method, right)
    entry = {**BFCL, "beyond": {"more": "chord_mu", "less": "sasr"}}
    result = compare(folder(tmp_path), entry)
    assert result.mean == pytest.approx(15.0) and "CHORD-φ − GRPO (Pure RL) > CHORD-μ − SASR" in result.text
    assert result.paper == pytest.approx((78.5 - 77.1) - (77.6 - 74.7))
    assert needs(load_declarations(), entry).methods == {"chord_phi", "grpo", "chord_mu", "sasr"}


def test_length_against_the_expert(tmp_path: Path) -> None:
    write_bfcl(tmp_path, "original", 20, tokens=10)
    write_json(tmp_path / "data/tool/manifest.json", {"expert_length_mean": 40.0, "expert_rows": 8})
    longer = compare(folder(tmp_path), {"table": "table2", "column": "Tool-use", "more": "expert", "less": "original"})
    assert (longer.printed, longer.verdict) == ("+168", HOLDS)
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


def test_the_same_steps_of_two_runs_are_paired(tmp_path: Path) -> None:
    """Runs of one seed draw the same prompts at a step: what the prompts do to both takes no part."""
    # Differences 0.1, 0.3, 0.2, 0.2, neighbours not alike: mean 0.2, sd 0.08165, SE 0.040825, t(3) = 3.18245.
    write_rewards(tmp_path, "chord_phi", [0.0] * 4 + [0.1, 0.9, 0.3, 0.8])
    write_rewards(tmp_path, "grpo", [0.0] * 4 + [0.0, 0.6, 0.1, 0.6])
    result = compare(folder(tmp_path), STEPS)
    assert (result.mean, result.low) == pytest.approx((0.2, 0.2 - 3.18245 * 0.040825), abs=1e-4)
    assert result.verdict == HOLDS  # unpaired, it would be lost in the prompts


def test_alike_neighbours_are_fewer_observations(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    drifting = np.cumsum(rng.normal(0, 0.01, 200)) + 0.05
    shuffled = rng.permutation(drifting[100:])
    widths = []
    for name, differences in (("drifting", drifting[100:]), ("shuffled", shuffled)):
        write_rewards(tmp_path / name, "grpo", [0.5] * 200)
        write_rewards(tmp_path / name, "chord_phi", [0.5] * 100 + (0.5 + differences).tolist())
        result = compare(folder(tmp_path / name), STEPS)
        assert result.low is not None and result.high is not None
        widths.append(result.high - result.low)
    assert widths[0] > 3 * widths[1]


def test_different_steps_of_a_run_are_separate_samples(tmp_path: Path) -> None:
    # 0.7, 0.9 against 0.1, 0.3. Welch: SE = sqrt(0.02/2 + 0.02/2) = 0.14142, t(2) = 4.3027.
    write_rewards(tmp_path, "grpo", [0.1, 0.3, 0.7, 0.9])
    early = {**STEPS, "more": {"run": "grpo", "from": 0.5, "to": 1.0}, "less": {"run": "grpo", "from": 0.0, "to": 0.5}}
    result = compare(folder(tmp_path), early)
    assert (result.mean, result.low) == pytest.approx((0.6, 0.6 - 4.3027 * 0.141421), abs=1e-3)


def test_runs_from_one_checkpoint_are_not_tested(tmp_path: Path) -> None:
    for run in ("chord_phi", "grpo"):
        write_rewards(tmp_path, run, [0.0, 0.1, 0.2, 0.4])
    result = compare(folder(tmp_path), STEPS)
    assert result.verdict == UNTESTED and "one checkpoint" in result.why_not


def test_runs_of_different_length_are_compared_at_the_same_steps(tmp_path: Path) -> None:
    # The second half of the shorter run is its steps 4 to 6, and the same three of the longer one: 0.8 - 0.2.
    write_rewards(tmp_path, "chord_phi", [0.0, 0.0, 0.0, 0.7, 0.8, 0.9])
    write_rewards(tmp_path, "grpo", [0.0, 0.0, 0.0, 0.2, 0.1, 0.3, 8.0, 9.0, 10.0, 9.0, 8.0, 10.0])
    result = compare(folder(tmp_path), STEPS)
    assert result.mean == pytest.approx(0.6)
    assert result.text == "reward: CHORD-φ > GRPO (Pure RL) (the paper's steps 30–60), math"
    # A run against itself: of its own length.
    own = {**STEPS, "more": {"run": "grpo", "from": 0.5, "to": 1.0}, "less": {"run": "grpo", "from": 0.25, "to": 0.5}}
    alone = compare(folder(tmp_path), own)
    assert alone.mean == pytest.approx(9.0 - 0.2)
    assert "GRPO (Pure RL) at 60–120 > GRPO (Pure RL) at 30–60 (the paper's steps)" in alone.text


def test_no_different_is_no_less_both_ways(tmp_path: Path) -> None:
    # Differences 0.02, 0.00, -0.01, 0.03: mean 0.01, sd 0.018257, SE 0.0091287, t(3) = 3.18245: 0.01 +- 0.02905.
    write_rewards(tmp_path, "chord_phi", [0.0] * 4 + [0.51, 0.50, 0.48, 0.53])
    write_rewards(tmp_path, "grpo", [0.0] * 4 + [0.49, 0.50, 0.49, 0.50])
    there = {**STEPS, "margin": 0.05}
    back = {**there, "more": STEPS["less"], "less": STEPS["more"]}
    assert [compare(folder(tmp_path), entry).verdict for entry in (there, back, STEPS)] == [HOLDS, HOLDS, UNDECIDED]
    assert compare(folder(tmp_path), {**back, "margin": 0.03}).verdict == UNDECIDED
    assert "≥ CHORD-φ − 0.05 reward" in compare(folder(tmp_path), back).text


def write_validations(root: Path, run: str, right: list[set[int]], seed: int = 0, of: int = 10) -> None:
    """A validation after another, of ten questions, of which these are right."""
    rows = [
        {
            "step": 15 * number,
            "epoch": float(number),
            "accuracy": len(found) / of,
            "stderr": 0.03,
            "scores": [float(question in found) for question in range(of)],
        }
        for number, found in enumerate(right)
    ]
    write_lines(root / f"runs/math/{run}/seed{seed}/validation.jsonl", rows)


VALIDATIONS = {
    "validation": "accuracy", "domain": "math",
    "more": {"run": "grpo_small", "from": 0.5, "to": 1.0}, "less": {"run": "sft_best_rl_small", "from": 0.5, "to": 1.0},
}  # fmt: skip


def test_validations_are_paired_by_question(tmp_path: Path) -> None:
    """Steps 30 and 45 of 45. Question by question the mean of the two is higher by 1, 0.5, 0 eight times: mean 0.15, sd
    0.33747, SE 0.10672. The longer run's fifth validation is not read."""
    none: set[int] = set()
    write_validations(tmp_path, "grpo_small", [none, none, {0, 1}, {0}])
    write_validations(tmp_path, "sft_best_rl_small", [none, none, none, none, {0, 1, 2, 3}])
    result = compare(folder(tmp_path), VALIDATIONS)
    assert result.mean == pytest.approx(15.0) and result.unit == "points"
    assert result.estimate is not None and result.estimate.se == pytest.approx(10.672, abs=1e-3)
    assert "(the paper's steps 225–450), math" in result.text
    # A second seed with the same answers adds no spread over seeds.
    write_validations(tmp_path, "grpo_small", [none, none, {0, 1}, {0}], seed=1)
    write_validations(tmp_path, "sft_best_rl_small", [none, none, none, none], seed=1)
    both = compare(folder(tmp_path), VALIDATIONS)
    assert both.mean == pytest.approx(15.0) and both.estimate is not None and both.estimate.seeds == 2


def test_a_run_against_its_own_start(tmp_path: Path) -> None:
    """From 0 to 0 is the validation before training."""
    write_validations(tmp_path, "chord_mu", [set(range(9)), {0}, set(range(8)), set(range(9))])
    start = {**VALIDATIONS, "more": {"run": "chord_mu", "from": 0.0, "to": 0.0}}
    result = compare(folder(tmp_path), {**start, "less": {"run": "chord_mu", "from": 0.1, "to": 0.4}})
    assert result.mean == pytest.approx(80.0) and result.verdict == HOLDS
    assert "CHORD-μ at 0 > CHORD-μ at 45–180" in result.text


def test_a_validation_without_its_questions_names_the_run(tmp_path: Path) -> None:
    for run in ("grpo_small", "sft_best_rl_small"):
        rows = [{"step": 15 * number, "epoch": None, "accuracy": 0.5, "stderr": 0.03} for number in range(4)]
        write_lines(tmp_path / f"runs/math/{run}/seed0/validation.jsonl", rows)
    with pytest.raises(ValueError, match=r"math/grpo_small.*no scores of single questions; train the run again"):
        compare(folder(tmp_path), VALIDATIONS)


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
    assert compare(folder(tmp_path), STEPS).verdict == UNTESTED


def test_steps_without_spread_decide_nothing(tmp_path: Path) -> None:
    for run, value in (("chord_phi", 0.1), ("grpo", 0.0)):
        write_rewards(tmp_path, run, [value] * 8)
    result = compare(folder(tmp_path), STEPS)
    assert (result.mean, result.verdict, result.why_not) == (None, UNTESTED, "too little asked at this scale")


def test_one_question_decides_nothing(tmp_path: Path) -> None:
    write_bfcl(tmp_path, "chord_phi", 1, of=1)
    write_bfcl(tmp_path, "grpo", 0, of=1)
    assert compare(folder(tmp_path), BFCL).verdict == UNTESTED


def test_points_of_a_curve() -> None:
    assert curve_points(np.array([0.5, 0.3, 0.2, 0.7, 0.6])) == {
        "start": 0,
        "lowest": 2,
        "highest": 3,
        "last": 4,
    }
    assert curve_points(np.array([0.5, 0.6, 0.7])) == {"start": 0, "lowest": 1, "highest": 2, "last": 2}


def test_the_chosen_points_of_a_curve_pay_for_the_choice(tmp_path: Path) -> None:
    """Start 6 of 10, lowest 4: two questions lost of ten, SE = sqrt(0.16 x 10 / 9 / 10) = 0.13333; three points were
    looked at."""
    write_validations(tmp_path, "sft_curve", [set(range(6)), set(range(4)), set(range(9)), set(range(8))])
    result = compare(folder(tmp_path), {"epochs": "sft_curve", "domain": "math", "more": "start", "less": "lowest"})
    assert result.estimate is not None
    assert (result.mean, result.estimate.se) == pytest.approx((20.0, 13.333), abs=1e-3)
    assert result.p_holds == pytest.approx(3 * result.estimate.p_above(0))
    alone = paired_difference([1] * 6 + [0] * 4, [1] * 4 + [0] * 6).scaled(100)
    assert result.low is not None and result.low < alone.low
    assert "lowest (epoch 1)" in result.text


def test_what_this_scale_does_not_ask_is_not_tested(tmp_path: Path) -> None:
    for method in ("chord_phi", "grpo"):
        write_bfcl(tmp_path, method, len(method))
    result = compare(folder(tmp_path), {**BFCL, "column": "BFCL Non-live"})
    assert (result.mean, result.verdict) == (None, UNTESTED)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"column": "AMC12"}, "table1 has no column 'AMC12'"), ({"epochs": "sft_curve"}, "exactly one of")],
)
def test_a_wrong_entry_is_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(folder(tmp_path), {**BFCL, **change})
