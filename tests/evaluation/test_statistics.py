"""Interval estimates against closed forms, and their coverage in simulated benchmarks."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evaluation.statistics import (
    estimate_mean,
    estimate_score,
    minimum_detectable_difference,
    paired_difference,
    pass_at_k,
    question_matrix,
    variance_components,
)

pytestmark = pytest.mark.slow


def test_one_answer_a_question_gives_wilsons_interval() -> None:
    # 8 of 10 right: SE^2 = 0.8 x 0.2 / 9, so n_eff = 9; Wilson with p = 0.8, n = 9, z = 1.96: centre = (0.8 +
    # 3.8415/18) / (1 + 3.8415/9) = 0.71026, half = 1.96/1.42683 x sqrt(0.16/9 + 3.8415/324) = 0.23647
    result = estimate_score([1, 1, 1, 1, 1, 1, 1, 1, 0, 0])
    assert result.mean == pytest.approx(0.8)
    assert result.se == pytest.approx((0.8 * 0.2 / 9) ** 0.5)
    assert (result.low, result.high) == pytest.approx((0.71026 - 0.23647, 0.71026 + 0.23647), abs=2e-5)


def test_samples_of_one_question_are_not_independent() -> None:
    # Two questions, 100 samples each, one always right, one never: SE = 0.7071/sqrt(2) = 0.5, not
    # 0.5/sqrt(200).
    frame = pd.DataFrame({"item_id": ["a"] * 100 + ["b"] * 100, "correct": [True] * 100 + [False] * 100})
    result = estimate_score(question_matrix(frame).to_numpy())
    assert (result.mean, result.se, result.questions) == pytest.approx((0.5, 0.5, 2))


def test_mean_has_a_t_interval() -> None:
    # Values 1..5: mean 3, sd 1.5811, SE 0.70711; flat values (kurtosis 1.7), so n - 1 = 4 degrees of freedom,
    # t = 2.7764.
    result = estimate_mean([1, 2, 3, 4, 5])
    assert result.se == pytest.approx(0.70711, abs=1e-5)
    assert (result.low, result.high) == pytest.approx((3 - 2.7764 * 0.70711, 3 + 2.7764 * 0.70711), abs=1e-4)


def test_a_heavy_tail_widens_the_interval() -> None:
    # Nine equal questions and one far off say little about their own variance: fewer degrees of freedom than
    # n - 1.
    values = [0.0] * 9 + [0.9]
    result = estimate_mean(values)
    assert (result.high - result.mean) / result.se > stats.t.ppf(0.975, 9) + 0.2


@pytest.mark.parametrize(("values", "edge"), [([0.0] * 30, "low"), ([1.0] * 30, "high")])
def test_all_wrong_or_all_right_still_has_an_interval(values: list[float], edge: str) -> None:
    # Wilson's bound for 0 of 30 is z^2 / (n + z^2) = 3.8415 / 33.8415 = 0.11352.
    result = estimate_score(values)
    assert getattr(result, edge) == pytest.approx(values[0])
    assert result.high - result.low == pytest.approx(0.11352, abs=1e-5)


def test_a_single_question_is_no_error() -> None:
    # Wilson for 1 of 1: low = 1 / (1 + 3.8415) = 0.20655.
    result = estimate_score([1.0])
    assert (result.low, result.high) == pytest.approx((0.20655, 1.0), abs=1e-5)


def test_instance_weights_are_the_number_of_questions() -> None:
    # Live BFCL in small: 3 simple questions all right, 1 parallel wrong: 3/4 by instance, 1/2 by category.
    values, strata = [1.0, 1.0, 1.0, 0.0], ["simple", "simple", "simple", "parallel"]
    assert estimate_score(values, strata=strata).mean == 0.75
    assert estimate_score(values, strata=strata, weights={"simple": 1, "parallel": 1}).mean == 0.5


def test_strata_take_the_difference_between_categories_out() -> None:
    # Categories a: 0.1 to 0.5, b: 0.5 to 0.9, variance 0.025 each: SE^2 = 2 x (1/2)^2 x 0.025/5 = 0.0025.
    values, strata = [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.6, 0.7, 0.8, 0.9], ["a"] * 5 + ["b"] * 5
    assert estimate_mean(values, strata=strata).se == pytest.approx(0.05)
    assert estimate_mean(values).se > estimate_mean(values, strata=strata).se


def test_small_categories_borrow_the_spread_of_all_questions() -> None:
    # Four questions in two categories: weights 1/4 each, SE^2 = 4/3 x (1/16) x (4 x 0.25) = 1/12, as without strata.
    values, strata = [1.0, 1.0, 0.0, 0.0], ["a", "a", "b", "b"]
    assert estimate_mean(values, strata=strata).se == pytest.approx((1 / 12) ** 0.5)
    assert estimate_mean(values).se == pytest.approx((1 / 12) ** 0.5)
    # By category instead of by instance, 1 of 1 against 0 of 3: weights 1/2 and 1/6, mean 1/2,
    # SE^2 = 4/3 x 0.25 x (1/4 + 3/36) = 1/9.
    uneven = estimate_mean([1.0, 0.0, 0.0, 0.0], strata=["a", "b", "b", "b"], weights={"a": 1, "b": 1})
    assert (uneven.mean, uneven.se) == pytest.approx((0.5, 1 / 3))


def test_pairing_removes_the_difficulty_of_questions() -> None:
    # Differences 0.1, 0.2, 0.3: mean 0.2, sd 0.1, SE 0.057735, t(2) = 4.3027.
    easy_to_hard = np.array([0.9, 0.5, 0.1])
    result = paired_difference(easy_to_hard + np.array([0.1, 0.2, 0.3]), easy_to_hard)
    assert (result.mean, result.se) == pytest.approx((0.2, 0.057735), abs=1e-6)
    assert result.low == pytest.approx(0.2 - 4.3027 * 0.057735, abs=1e-4)


def test_pairing_is_symmetric() -> None:
    a, b = [1.0, 1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0, 0.0]
    forth, back = paired_difference(a, b), paired_difference(b, a)
    assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low))


def test_no_disagreement_is_not_certainty() -> None:
    result = paired_difference([1.0] * 30, [1.0] * 30)
    assert (result.low, result.high) == pytest.approx((-0.11352, 0.11352), abs=1e-5)


def test_seed_variance_stands_apart_from_question_variance() -> None:
    # Additive table: questions 0.2, 0.4, 0.6 plus seeds -0.1, +0.1. Question SE^2 = 0.04/3; seed SE^2 =
    # 0.02/2; no residual.
    questions, seeds = np.array([0.2, 0.4, 0.6]), np.array([-0.1, 0.1])
    result = estimate_mean(questions[None, :] + seeds[:, None])
    assert result.seed_sd == pytest.approx(0.02**0.5)
    assert result.se == pytest.approx((0.04 / 3 + 0.01) ** 0.5)
    assert (result.seeds, result.questions) == (2, 3)


def test_identical_seeds_add_nothing() -> None:
    one = estimate_score([0.1, 0.4, 0.9, 0.5])
    two = estimate_score([[0.1, 0.4, 0.9, 0.5]] * 2)
    assert (two.se, two.seed_sd) == pytest.approx((one.se, 0.0))


def test_pass_at_k() -> None:
    # 10 samples, 3 right, k = 2: 1 - C(7,2)/C(10,2) = 1 - 21/45.
    assert pass_at_k(10, 3, 2) == pytest.approx(1 - 21 / 45)
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert pass_at_k(4, 3, 2) == 1.0
    with pytest.raises(ValueError, match="pass@5"):
        pass_at_k(4, 1, 5)


def test_variance_components_recover_a_known_mixture() -> None:
    # p is 0.2 or 0.6, half each: between = 0.04, within = (0.16 + 0.24) / 2 = 0.2.
    rng = np.random.default_rng(1)
    p = np.repeat([0.2, 0.6], 4000)
    between, within = variance_components(rng.binomial(16, p), np.full(8000, 16))
    assert (between, within) == pytest.approx((0.04, 0.2), abs=0.003)


def test_minimum_detectable_difference() -> None:
    # Many questions: (1.95996 + 0.84162) x sqrt((0.02 + 2 x 0.2 / 8) / 1000) = 0.023440; the t test asks a
    # trifle more.
    assert minimum_detectable_difference(1000, 8, between=0.02, within=0.2) == pytest.approx(0.02346, abs=5e-5)
    # Few questions: a t test of 30 pairs finds an effect of 0.5292 standard deviations with power 0.8.
    assert minimum_detectable_difference(30, 1, between=1.0, within=0.0) == pytest.approx(0.5292, abs=1e-4)
    assert minimum_detectable_difference(30, 32, between=0.01, within=0.2) < minimum_detectable_difference(
        30, 1, between=0.01, within=0.2
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: estimate_score([0.5, 1.5]), "lies in"),
        (lambda: estimate_mean([]), "not empty"),
        (lambda: paired_difference([0.1, 0.2], [0.1]), "same seeds and questions"),
        (lambda: estimate_score([0.5, 0.5], strata=["a"]), "1 categories for 2 questions"),
        (
            lambda: estimate_score([0.5, 0.5], strata=["a", "b"], weights={"a": 1}),
            r"no weight for the categories \['b'\]",
        ),
    ],
)
def test_errors_name_what_is_wrong(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()


def test_seeds_must_answer_the_same_questions() -> None:
    frame = pd.DataFrame({"seed": [0, 0, 1], "item_id": ["a", "b", "a"], "correct": [True, False, True]})
    with pytest.raises(ValueError, match=r"\['b'\]"):
        question_matrix(frame)


BENCHMARKS = 2000


@pytest.mark.parametrize(
    ("alpha", "beta"),
    [(2.0, 2.0), (0.5, 0.5), (0.2, 0.8), (0.1, 0.9), (0.9, 0.1), (0.3, 2.7), (3.2, 0.8)],
)
def test_coverage_of_the_95_per_cent_interval(alpha: float, beta: float) -> None:
    """2,000 benchmarks of 30 questions x 32 samples: question difficulties from a beta distribution, also
    near 0 and 1.
    """
    rng = np.random.default_rng(20251123)
    chances = rng.beta(alpha, beta, size=(BENCHMARKS, 30))
    scores = rng.binomial(32, chances) / 32
    truth = alpha / (alpha + beta)
    intervals = [estimate_score(row) for row in scores]
    covered = np.mean([result.low <= truth <= result.high for result in intervals])
    assert 0.93 <= covered <= 0.97


def test_coverage_of_the_paired_interval() -> None:
    """Two methods of equal strength on average, different question by question."""
    rng = np.random.default_rng(7)
    centre = rng.beta(1.0, 2.0, size=(BENCHMARKS, 30))
    shift = rng.normal(0, 0.1, size=centre.shape)
    a, b = (rng.binomial(32, np.clip(centre + sign * shift, 0, 1)) / 32 for sign in (1, -1))
    covered = [(r := paired_difference(x, y)).low <= 0 <= r.high for x, y in zip(a, b, strict=True)]
    assert 0.93 <= np.mean(covered) <= 0.97


def test_coverage_over_seeds_and_questions() -> None:
    """Five training runs and 60 questions, both with an effect of their own."""
    rng = np.random.default_rng(11)
    covered = []
    for _ in range(1000):
        table = 0.5 + rng.normal(0, 0.1, (1, 60)) + rng.normal(0, 0.03, (5, 1)) + rng.normal(0, 0.05, (5, 60))
        result = estimate_mean(table)
        covered.append(result.low <= 0.5 <= result.high)
    assert 0.93 <= np.mean(covered) <= 0.98
