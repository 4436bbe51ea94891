"""Interval estimates against closed forms, and their coverage in simulated benchmarks."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evaluation.statistics import (
    Estimate,
    estimate_mean,
    estimate_score,
    holm,
    interval,
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


def test_two_way_clustering_by_hand() -> None:
    # Question means 0.2, 0.6, 0.9: variance 0.12333, of their mean 0.041111, dof 2. Seed means 0.46667, 0.66667:
    # variance of their mean 0.01, dof 1. Residuals 0 and four of 0.1: noise 0.04 / (1 x 2) / 6, taken off once.
    result = estimate_mean([[0.1, 0.4, 0.9], [0.3, 0.8, 0.9]])
    assert result.se == pytest.approx((0.0411111 + 0.01 - 0.0033333) ** 0.5, abs=1e-6)
    assert result.dof == pytest.approx(0.0511111**2 / (0.0411111**2 / 2 + 0.01**2 / 1), rel=1e-4)
    assert result.seed_sd == pytest.approx(0.02**0.5)
    # 0.0225 and 0.01, residuals of 0.05: noise 0.01 / (1 x 1) / 4.
    assert estimate_mean([[0.1, 0.5], [0.4, 0.6]]).se == pytest.approx(0.03**0.5)


E = Estimate(mean=2.0, se=1.0, low=-9.0, high=9.0, questions=5, dof=4.0)


def test_p_values_are_those_of_t() -> None:
    # t(4): 5.8058 % lie above 2.
    assert (E.p_above(0.0), E.p_below(4.0)) == pytest.approx((0.058058, 0.058058), abs=1e-6)
    assert (E.p_above(4.0), E.p_below(0.0)) == pytest.approx((0.941942, 0.941942), abs=1e-6)
    assert Estimate(4.0, 2.0, 0.0, 0.0, 5, dof=4.0).p_above(0.0) == pytest.approx(0.058058, abs=1e-6)


@pytest.mark.parametrize("se", [0.0, np.nan])
def test_without_a_standard_error_the_interval_decides(se: float) -> None:
    same = Estimate(mean=0.5, se=se, low=0.4, high=0.7, questions=10)
    assert [same.p_above(value) for value in (0.3, 0.4, 0.5)] == [0.0, 1.0, 1.0]
    assert [same.p_below(value) for value in (0.8, 0.7, 0.5)] == [0.0, 1.0, 1.0]


def test_another_level_is_a_t_interval_of_it() -> None:
    assert E.at_level(0.95) is E
    # t(4) has 5 % above 2.13185, the normal distribution above 1.64485.
    other = E.at_level(0.9)
    assert (other.low, other.high) == pytest.approx((2 - 2.13185, 2 + 2.13185), abs=1e-5)
    assert (other.mean, other.se, other.questions, other.dof) == (2.0, 1.0, 5, 4.0)
    wide = Estimate(1.0, 0.5, 0.0, 0.0, 5).at_level(0.9)
    assert (wide.low, wide.high) == pytest.approx((1 - 0.822427, 1 + 0.822427), abs=1e-5)


def test_what_a_comparison_finds() -> None:
    many = Estimate(0.0, 0.5, -1.0, 1.0, 1000)
    # 1.95996 + 0.84162 standard errors with power 0.8; half of the time, what lies at the edge of the interval.
    assert many.detectable() == pytest.approx(0.5 * 2.80158, abs=1e-4)
    assert many.detectable(power=0.5) == pytest.approx(0.5 * 1.95996, abs=1e-4)
    assert many.power(0.5 * 2.80158) == pytest.approx(0.8, abs=1e-4)
    assert many.power(0.5 * 1.64485, level=0.9) == pytest.approx(0.5, abs=1e-4)
    # The t test of 30 pairs finds 0.5292 standard deviations, 0.5292 x sqrt(30) standard errors.
    few = Estimate(0.0, 1.0, -1.0, 1.0, 30, dof=29.0)
    assert few.detectable() == pytest.approx(0.5292 * 30**0.5, abs=1e-3)
    assert few.power(0.5292 * 30**0.5) == pytest.approx(0.8, abs=1e-3)
    two = Estimate(0.0, 1.0, -1.0, 1.0, 2, dof=1.0)
    assert two.detectable() is not None
    for nothing in (
        Estimate(0.0, 1.0, 0.0, 0.0, 1),
        Estimate(0.0, 0.0, 0.0, 0.0, 9),
        Estimate(0.0, np.nan, 0.0, 0.0, 9),
    ):
        assert nothing.detectable() is None
    assert Estimate(0.0, 0.0, 0.0, 0.0, 9).power(1.0) == 0.0


def test_another_unit() -> None:
    given = Estimate(mean=0.5, se=0.25, low=0.125, high=0.75, questions=7, seeds=3, seed_sd=0.0625, dof=6.0)
    assert given.scaled(4.0) == Estimate(2.0, 1.0, 0.5, 3.0, 7, 3, 0.25, 6.0)
    assert Estimate(0.5, 0.25, 0.125, 0.75, 7).scaled(4.0).seed_sd is None


def test_a_known_standard_error() -> None:
    # t(4): 2.5 % above 2.77645, 5 % above 2.13185.
    found = interval(2.0, 0.5, 4.0)
    assert (found.low, found.high) == pytest.approx((2 - 1.388222, 2 + 1.388222), abs=1e-5)
    assert (found.mean, found.se, found.questions, found.seeds, found.seed_sd, found.dof) == (2.0, 0.5, 5, 1, None, 4.0)
    assert interval(2.0, 0.5, 4.0, level=0.9).high == pytest.approx(2 + 1.065923, abs=1e-5)


@pytest.mark.parametrize(
    ("given", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # x 3, x 1 but never below the one before, x 2
        ([0.03, 0.01], [0.03, 0.02]),
        ([0.2, 0.6], [0.4, 0.6]),
        ([0.6, 0.7], [1.0, 1.0]),
        ([], []),
    ],
)
def test_holm(given: list[float], adjusted: list[float]) -> None:
    assert holm(given) == pytest.approx(adjusted)


def test_a_paired_difference_takes_categories_weights_and_level() -> None:
    zeros = np.zeros(10)
    values, strata = [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.6, 0.7, 0.8, 0.9], ["a"] * 5 + ["b"] * 5
    assert paired_difference(values, zeros, strata=strata).se == pytest.approx(0.05)
    # Means 0.3 and 0.7, 3 : 1.
    assert paired_difference(values, zeros, strata=strata, weights={"a": 3, "b": 1}).mean == pytest.approx(0.4)
    # t(2) has 5 % above 2.91999.
    found = paired_difference([0.1, 0.2, 0.3], [0.0, 0.0, 0.0], level=0.9)
    assert found.high == pytest.approx(0.2 + 2.91999 * 0.057735, abs=1e-5)


def test_no_disagreement_keeps_what_is_known() -> None:
    # 1.64485^2 / (30 + 1.64485^2) = 0.082724.
    found = paired_difference([1.0] * 30, [1.0] * 30, level=0.9)
    assert (found.low, found.high) == pytest.approx((-0.082724, 0.082724), abs=1e-6)
    known = (found.mean, found.se, found.questions, found.seeds, found.seed_sd, found.dof)
    assert known == (0.0, 0.0, 30, 1, None, np.inf)
    two = paired_difference([[1.0] * 30] * 2, [[1.0] * 30] * 2)
    assert (two.questions, two.seeds, two.seed_sd) == (30, 2, 0.0)
    tokens = paired_difference([100.0] * 30, [100.0] * 30)
    assert tokens.high == pytest.approx(11.352, abs=1e-3), "in the unit of the values"


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


def test_variance_components_by_hand() -> None:
    # 1 and 3 of 4: within 1 x 3 / (4 x 3) = 0.25 both; means 0.25 and 0.75, variance 0.125 less 0.25 / 4.
    assert variance_components([1, 3], [4, 4]) == pytest.approx((0.0625, 0.25))
    # 2 of 4 twice: no spread of the means, less than noise explains.
    assert variance_components([2, 2], [4, 4]) == pytest.approx((0.0, 1 / 3))


def test_small_effects_are_found_in_both_tails() -> None:
    # Near 0 the power is 0.05 + d^2 x 1.95996 x 0.058445 (the slope of the density): 0.06 at d = 0.2955 errors.
    found = minimum_detectable_difference(1000, 1, between=1.0, within=0.0, power=0.06)
    assert found * 1000**0.5 == pytest.approx(0.2955, rel=0.03)


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
        (lambda: estimate_score([0.25, -0.5, 1.5]), r"^a score lies in \[0, 1\], got values from -0.5 to 1.5$"),
        (lambda: estimate_mean([]), "not empty"),
        (
            lambda: variance_components([1], [4]),
            "^variance components need at least two questions with at least two sam",
        ),
        (lambda: variance_components([1, 1], [4, 1]), "^variance components need"),
        (
            lambda: minimum_detectable_difference(1, 5, between=1, within=0),
            "^needs at least 2 questions and 1 sample, got 1",
        ),
        (lambda: minimum_detectable_difference(5, 0, between=1, within=0), "and 1 sample, got 5 and 0$"),
        (lambda: question_matrix(pd.DataFrame({"item_id": []})), "^no samples to summarise: the table has no rows$"),
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


def test_many_missing_questions_are_counted_and_five_named() -> None:
    rows = [(0, name) for name in "abcdefg"] + [(1, "a")]
    frame = pd.DataFrame(rows, columns=["seed", "item_id"]).assign(correct=True)
    with pytest.raises(ValueError, match=r"\['b', 'c', 'd', 'e', 'f'\] \(6 of 7 questions\)$"):
        question_matrix(frame)


def test_without_a_column_of_seeds_there_is_one() -> None:
    means = question_matrix(pd.DataFrame({"item_id": ["a", "a", "b"], "correct": [True, False, True]}))
    assert means.index.tolist() == [0] and means.index.name == "seed"
    assert means.loc[0].to_dict() == {"a": 0.5, "b": 1.0}


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
