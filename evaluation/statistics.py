"""How sure a score is: intervals clustered by question, paired differences, seeds apart from questions.

Every function takes *per-question means*, because the k samples of one question are not independent: a
benchmark of 30 questions sampled 32 times has 30 independent observations, not 960 (Miller 2024, arXiv
2411.00640). Arrays are named by shape: S seeds (training runs), N questions.

The interval of a score is Wilson's score interval with the *effective* number of independent answers n_eff =
p (1 - p) / SE^2 (Korn and Graubard 1998) and a t-quantile. Its degrees of freedom follow the kurtosis of the
question means, because a benchmark with a few solvable questions among many impossible ones tells little
about its own variance. The plain t interval covers 83-90 % there; this one covers 93-97 %
(tests/evaluation/test_statistics.py simulates it).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb, inf, nan, sqrt

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

Floats = NDArray[np.float64]
SMALLEST_STRATUM = 5
"""Questions that every category needs before its own spread is used."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error and interval. All five numbers are in the unit of the values."""

    mean: float
    se: float
    low: float
    high: float
    questions: int
    seeds: int = 1
    seed_sd: float | None = None
    """Standard deviation of the per-seed means; None for one seed."""
    dof: float = inf
    """Degrees of freedom of the standard error."""

    def p_above(self, value: float) -> float:
        """One-sided p-value against a true mean of at most `value`: small where the mean lies clearly above.

        Without a standard error (every value the same) the interval decides.
        """
        if not self.se > 0:
            return 0.0 if self.low > value else 1.0
        return float(stats.t.sf((self.mean - value) / self.se, self.dof))

    def p_below(self, value: float) -> float:
        """One-sided p-value against a true mean of at least `value`."""
        return replace(self, mean=-self.mean, low=-self.high, high=-self.low).p_above(-value)

    def at_level(self, level: float) -> "Estimate":
        """With the t interval of another coverage; the same for 95 %, which may be of another kind."""
        if level == 0.95:
            return self
        half = _interval_quantile(self.dof, level) * self.se
        return replace(self, low=self.mean - half, high=self.mean + half)

    def detectable(self, power: float = 0.8) -> float | None:
        """The true mean that a comparison of this size finds with this power; None without a standard error."""
        if self.questions < 2 or not self.se > 0:
            return None
        above = self.se
        while self.power(above) < power:
            above *= 2
        return float(optimize.brentq(lambda effect: self.power(effect) - power, 0.0, above))

    def power(self, effect: float, level: float = 0.95) -> float:
        """How often a comparison of this size finds a true mean of ``effect`` (> 0) to lie above zero, two-sided test.

        With the standard error that was observed: whoever repeats the comparison sees about the same.
        """
        if not self.se > 0:
            return 0.0
        dof = min(self.dof, 1e6)  # scipy's noncentral t knows no infinity
        critical = float(stats.t.ppf(0.5 + level / 2, dof))
        return float(np.nan_to_num(stats.nct.sf(critical, dof, effect / self.se)))

    def scaled(self, factor: float) -> "Estimate":
        """The same estimate in another unit, for instance per cent."""
        sd = None if self.seed_sd is None else self.seed_sd * factor
        return Estimate(
            self.mean * factor,
            self.se * factor,
            self.low * factor,
            self.high * factor,
            self.questions,
            self.seeds,
            sd,
            self.dof,
        )


@dataclass(frozen=True)
class _Spread:
    """Variance of a mean, with the degrees of freedom of that variance."""

    variance: float
    dof: float


def question_matrix(frame: pd.DataFrame, value: str = "correct") -> pd.DataFrame:
    """Per-question means of `value`, one row a seed and one column a question (S x N).

    Args:
        frame: one row a sample with the columns item_id and `value`; a column seed is optional (one seed).

    Raises:
        ValueError: no rows, or seeds that answered different questions.
    """
    if frame.empty:
        raise ValueError("no samples to summarise: the table has no rows")
    seeds = frame["seed"] if "seed" in frame else pd.Series(0, index=frame.index, name="seed")
    means = frame[value].astype(float).groupby([seeds, frame["item_id"]]).mean().unstack()
    missing = means.columns[means.isna().any()]
    if len(missing):
        raise ValueError(
            f"every seed must answer the same questions; not all seeds answered {list(missing[:5])} "
            f"({len(missing)} of {means.shape[1]} questions)"
        )
    return means


def _interval_quantile(dof: float, level: float) -> float:
    tail = 0.5 + level / 2
    return float(stats.norm.ppf(tail) if dof == inf else stats.t.ppf(tail, dof))


def _mean_spread(values: Floats) -> _Spread:
    """Variance of the mean of independent values, and how well it is known.

    Degrees of freedom: Satterthwaite's 2 / Var(log s^2) with Var(s^2) from the fourth moment, at most n - 1.
    """
    n = len(values)
    variance = float(values.var(ddof=1)) / n
    centred = values - values.mean()
    second = float(np.mean(centred**2))
    if second <= 1e-18:
        return _Spread(0.0, n - 1.0)
    kurtosis = float(np.mean(centred**4)) / second**2
    relative_variance = (kurtosis - (n - 3) / (n - 1)) / n
    dof = 2.0 / relative_variance if relative_variance > 0 else inf
    return _Spread(variance, float(np.clip(dof, 1.0, n - 1.0)))


def _combine(spreads: Sequence[_Spread]) -> _Spread:
    """Sum of independent variances with Satterthwaite's degrees of freedom."""
    total = sum(spread.variance for spread in spreads)
    noise = sum(spread.variance**2 / spread.dof for spread in spreads)
    return _Spread(total, total**2 / noise if noise > 0 else inf)


def _stratum_shares(strata_N: NDArray[np.object_], weights: Mapping[str, float] | None) -> dict[str, float]:
    names, counts = np.unique(strata_N.astype(str), return_counts=True)
    raw = dict(zip(names.tolist(), counts.astype(float).tolist(), strict=True))
    if weights is not None:
        missing = sorted(set(raw) - set(weights))
        if missing:
            raise ValueError(f"no weight for the categories {missing}; weights are given for {sorted(weights)}")
        raw = {name: float(weights[name]) for name in raw}
    total = sum(raw.values())
    return {name: value / total for name, value in raw.items()}


def _question_spread(
    values_N: Floats, strata_N: NDArray[np.object_] | None, weights: Mapping[str, float] | None
) -> tuple[float, _Spread]:
    """Mean and its question variance; stratified where the categories are fixed by design."""
    if strata_N is None:
        strata_N = np.full(values_N.shape, "all", dtype=object)
    if strata_N.shape != values_N.shape:
        raise ValueError(f"{len(strata_N)} categories for {len(values_N)} questions")
    shares = _stratum_shares(strata_N, weights)
    members = {name: values_N[strata_N.astype(str) == name] for name in shares}
    mean = sum(share * float(members[name].mean()) for name, share in shares.items())
    if len(values_N) == 1:
        return mean, _Spread(nan, inf)
    if min(len(part) for part in members.values()) >= SMALLEST_STRATUM:
        parts = [(share, _mean_spread(members[name])) for name, share in shares.items()]
        return mean, _combine([_Spread(share**2 * part.variance, part.dof) for share, part in parts])
    # A handful of questions cannot show the spread of their category: that of all questions is taken, too wide
    # rather than too narrow.
    weights_N = np.array([shares[name] / len(members[name]) for name in strata_N.astype(str)])
    n = len(values_N)
    variance = float(n / (n - 1) * (weights_N**2 * (values_N - mean) ** 2).sum())
    return mean, _Spread(variance, _mean_spread(values_N).dof)


def _seed_spread(values_SN: Floats) -> tuple[float, float, _Spread]:
    """(sd of the seed means, residual variance of the grand mean, variance of the grand mean over seeds)."""
    seeds, questions = values_SN.shape
    seed_means = values_SN.mean(axis=1)
    residual = values_SN - seed_means[:, None] - values_SN.mean(axis=0)[None, :] + values_SN.mean()
    degrees = (seeds - 1) * max(questions - 1, 1)
    noise = float((residual**2).sum()) / degrees / (seeds * questions)
    sd = float(seed_means.std(ddof=1))
    return sd, noise, _Spread(sd**2 / seeds, seeds - 1.0)


def _spread(values: ArrayLike, strata: ArrayLike | None, weights: Mapping[str, float] | None) -> tuple[Estimate, float]:
    """Mean, standard error and degrees of freedom of crossed seeds and questions; the interval is left to the
    caller.

    The two variances are kept apart: questions vary (another benchmark of this kind), seeds vary (another
    training run). Their sum counts the sampling noise of a cell twice, so it is taken off once (two-way
    clustering).
    """
    values_SN = np.atleast_2d(np.asarray(values, dtype=float))
    if values_SN.size == 0 or not np.isfinite(values_SN).all():
        raise ValueError(f"values must be finite and not empty, got an array of shape {values_SN.shape}")
    strata_N = None if strata is None else np.asarray(strata, dtype=object)
    mean, spread = _question_spread(values_SN.mean(axis=0), strata_N, weights)
    seeds, questions = values_SN.shape
    seed_sd = None
    if seeds > 1:
        seed_sd, noise, over_seeds = _seed_spread(values_SN)
        both = _combine([spread, over_seeds])
        least = max(spread.variance, over_seeds.variance)
        spread = _Spread(max(both.variance - noise, least), both.dof)
    blank = Estimate(mean, sqrt(spread.variance), nan, nan, questions, seeds, seed_sd, spread.dof)
    return blank, spread.dof


def estimate_score(
    values: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    weights: Mapping[str, float] | None = None,
    level: float = 0.95,
) -> Estimate:
    """A proportion (accuracy, pass rate) with its interval, clustered by question.

    Args:
        values: per-question means in [0, 1], shape [N] or [S, N].
        strata: category of each question, where a benchmark fixes its categories (BFCL, MMLU-Pro); shape [N].
        weights: weight of each category; by default its number of questions, the instance weights of BFCL.
        level: coverage, 0.95 for a 95 % interval.

    Raises:
        ValueError: values outside [0, 1] or not finite, categories that do not fit.
    """
    array = np.asarray(values, dtype=float)
    if array.size and (np.nanmin(array) < 0 or np.nanmax(array) > 1):
        raise ValueError(f"a score lies in [0, 1], got values from {np.nanmin(array)} to {np.nanmax(array)}")
    blank, dof = _spread(array, strata, weights)
    if blank.seeds == 1 and np.isin(array, (0.0, 1.0)).all():
        dof = inf  # one answer a question: the variance follows from the mean, nothing more is estimated
    p = min(max(blank.mean, 0.0), 1.0)
    # No spread was seen (all right, all wrong, one question): at worst, the answers to one question all
    # agree.
    known = np.isfinite(blank.se) and blank.se > 0 and 0 < p < 1
    effective = p * (1 - p) / blank.se**2 if known else float(blank.questions)
    z = _interval_quantile(dof, level)
    denominator = 1 + z**2 / effective
    centre = (p + z**2 / (2 * effective)) / denominator
    half = z / denominator * sqrt(p * (1 - p) / effective + z**2 / (4 * effective**2))
    return Estimate(
        p,
        blank.se,
        max(centre - half, 0.0),
        min(centre + half, 1.0),
        blank.questions,
        blank.seeds,
        blank.seed_sd,
        dof,
    )


def estimate_mean(
    values: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    weights: Mapping[str, float] | None = None,
    level: float = 0.95,
) -> Estimate:
    """A mean of anything (response length, reward) with a t interval, clustered by question; see
    estimate_score.
    """
    blank, dof = _spread(values, strata, weights)
    half = _interval_quantile(dof, level) * blank.se
    return Estimate(
        blank.mean,
        blank.se,
        blank.mean - half,
        blank.mean + half,
        blank.questions,
        blank.seeds,
        blank.seed_sd,
        dof,
    )


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    weights: Mapping[str, float] | None = None,
    level: float = 0.95,
) -> Estimate:
    """a - b of two methods on the same questions (and seeds), question by question.

    Pairing removes the difficulty of the questions from the comparison. Shapes [N] or [S, N], equal for a and
    b. Two methods with identical scores everywhere get the interval that zero disagreements in N questions
    allow.
    """
    a_SN, b_SN = np.atleast_2d(np.asarray(a, dtype=float)), np.atleast_2d(np.asarray(b, dtype=float))
    if a_SN.shape != b_SN.shape:
        raise ValueError(f"a pair needs the same seeds and questions, got shapes {a_SN.shape} and {b_SN.shape}")
    difference = a_SN - b_SN
    result = estimate_mean(difference, strata=strata, weights=weights, level=level)
    if not difference.any():
        scale = max(float(np.abs(a_SN).max()), 1.0)
        half = scale * estimate_score(np.zeros(result.questions), level=level).high
        return Estimate(0.0, result.se, -half, half, result.questions, result.seeds, result.seed_sd, result.dof)
    return result


def interval(mean: float, se: float, dof: float, level: float = 0.95) -> Estimate:
    """A mean whose standard error and degrees of freedom are known, with its t interval."""
    half = _interval_quantile(dof, level) * se
    return Estimate(mean, se, mean - half, mean + half, int(dof) + 1, dof=dof)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the order given (Holm 1979): those at most alpha are a family of tests in which any false
    one has a chance of at most alpha, however the tests depend on each other.
    """
    found = [1.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        found[place] = largest
    return found


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Unbiased pass@k of one question: 1 - C(n - c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374)."""
    if not 0 <= correct <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs 0 <= correct <= samples and 1 <= k <= samples, got {correct} of {samples}")
    return 1.0 - comb(samples - correct, k) / comb(samples, k)


def variance_components(correct: ArrayLike, samples: ArrayLike) -> tuple[float, float]:
    """(between questions, within a question) variance of a single answer, from counts of shape [N].

    within = E[p (1 - p)], unbiased: c (n - c) / (n (n - 1)). between = Var(p) = Var(question means) less the
    part of it that sampling noise explains, never negative.
    """
    c_N, n_N = np.asarray(correct, dtype=float), np.asarray(samples, dtype=float)
    if len(c_N) < 2 or (n_N < 2).any():
        raise ValueError("variance components need at least two questions with at least two samples each")
    within_N = c_N * (n_N - c_N) / (n_N * (n_N - 1))
    between = float((c_N / n_N).var(ddof=1) - (within_N / n_N).mean())
    return max(between, 0.0), float(within_N.mean())


def minimum_detectable_difference(
    questions: int,
    samples: int,
    *,
    between: float,
    within: float,
    power: float = 0.8,
    alpha: float = 0.05,
) -> float:
    """The smallest true paired difference that a benchmark of this size finds with the given power (two-sided
    t test).

    Args:
        between: variance over questions of the difference of the two methods' true scores.
        within: variance of a single answer within a question (both methods alike); see variance_components.

    The variance of a question's observed difference is between + 2 within / samples (Miller 2024, section 5).
    """
    if questions < 2 or samples < 1:
        raise ValueError(f"needs at least 2 questions and 1 sample, got {questions} and {samples}")
    dof = questions - 1
    critical = float(stats.t.ppf(1 - alpha / 2, dof))

    def shortfall(effect: float) -> float:
        shift = effect * sqrt(questions)
        other_tail = stats.nct.cdf(-critical, dof, shift)  # scipy has NaN for some values below 1e-10
        return float(stats.nct.sf(critical, dof, shift) + np.nan_to_num(other_tail)) - power

    above = 1 / sqrt(questions)
    while shortfall(above) < 0:
        above *= 2
    effect = optimize.brentq(shortfall, 0.0, above)
    spread = sqrt(between + 2 * within / samples)
    return float(effect) * spread
