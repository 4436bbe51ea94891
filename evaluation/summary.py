"""What a set of graded samples says: accuracy with its interval, and why the rest is wrong."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import pandas as pd

from evaluation import bfcl
from evaluation.graders import BAD_FORMAT, JUDGE_REASONS, NO_ANSWER, REASONS
from evaluation.statistics import (
    Estimate,
    estimate_score,
    minimum_detectable_difference,
    pass_at_k,
    question_matrix,
    variance_components,
)
from reference_impl.judge.rubric import JUDGE_FAILED

FORMAT_FAILURES = (NO_ANSWER, BAD_FORMAT)
"""Reasons without a readable answer that the token limit does not explain."""


def summarise(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Accuracy (a fraction) of samples that share a task, with what accompanies it.

    Args:
        samples: rows with item_id, correct, reason; category, truncated and tokens where they are known.

    Returns:
        accuracy, stderr, low, high (95 %, clustered by question, stratified by category where there are
        categories); for samples with a judge's score, its mean as `score` instead of accuracy (None if there is
        no score), over the samples that the judge did score, and judge_failure_rate;
        averages: BFCL's live and non-live ones, weighted by instance (B.8); questions, samples;
        minimum_detectable_difference, see `_detectable`; pass_at_k (not with a judge): for k = 1 and k = the fewest
        samples of a question; variance (likewise), see `_variance`; format_failure_rate, truncation_rate; reasons:
        counts; categories: accuracy of each; mean_tokens, where lengths are known. What cannot be known, such as the
        standard error of one question, is None. Raises ValueError without samples.
    """
    judged = any("score" in row for row in samples)
    scored = [row for row in samples if not judged or row["score"] is not None]
    if samples and not scored:
        return {"score": None, **_failures(samples, judged)}
    value = "score" if judged else "correct"
    # Ids and categories as ASCII text: a table cannot hold the unpaired surrogates that they may contain.
    frame = pd.DataFrame([(_ascii(row["item_id"]), row[value]) for row in scored], columns=["item_id", value])
    matrix = question_matrix(frame, value)
    known = [row for row in samples if row.get("category") is not None]
    category_of = {_ascii(row["item_id"]): str(row["category"]) for row in known}
    strata = [category_of[item] for item in matrix.columns] if len(known) == len(samples) else None
    estimate = estimate_score(matrix.to_numpy(), strata=strata)
    summary: dict[str, Any] = {
        "score" if judged else "accuracy": estimate.mean,
        "stderr": estimate.se if isfinite(estimate.se) else None,
        "low": estimate.low,
        "high": estimate.high,
        "questions": estimate.questions,
        "minimum_detectable_difference": _detectable(estimate),
        **({} if judged else {"pass_at_k": _pass_at(scored), "variance": _variance(scored)}),
        **_failures(samples, judged),
    }
    if strata is not None:
        members = defaultdict(list)
        for name, mean in zip(strata, matrix.mean(), strict=True):
            members[name].append(float(mean))
        summary["categories"] = {name: sum(means) / len(means) for name, means in sorted(members.items())}
        if set(summary["categories"]) <= set(bfcl.CATEGORIES):
            live = [name in bfcl.LIVE for name in strata]
            halves = {"live": matrix.loc[:, live], "non_live": matrix.loc[:, [not flag for flag in live]]}
            summary["averages"] = {name: float(half.mean(axis=None)) for name, half in halves.items() if half.size}
    if all("tokens" in row for row in scored):
        summary["mean_tokens"] = sum(row["tokens"] for row in scored) / len(scored)
    return summary


def _ascii(item_id: str | int) -> str:
    """An id as text; 1 and "1" are the same."""
    return json.dumps(str(item_id))


def _by_question(samples: Sequence[Mapping[str, Any]]) -> dict[str, list[bool]]:
    """Every question's verdicts."""
    verdicts: dict[str, list[bool]] = defaultdict(list)
    for row in samples:
        verdicts[_ascii(row["item_id"])].append(bool(row["correct"]))
    return verdicts


def _pass_at(samples: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Unbiased pass@k, the mean over questions, for k = 1 and k = the fewest samples of a question."""
    verdicts = _by_question(samples)
    most = min(map(len, verdicts.values()))
    return {
        str(k): sum(pass_at_k(len(given), sum(given), k) for given in verdicts.values()) / len(verdicts)
        for k in sorted({1, most})
    }


def _variance(samples: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
    """Variance of a single answer between questions and within one; None unless every question has two samples."""
    verdicts = _by_question(samples)
    counts = [len(given) for given in verdicts.values()]
    if len(counts) < 2 or min(counts) < 2:
        return None
    between, within = variance_components([sum(given) for given in verdicts.values()], counts)
    return {"between_questions": between, "within_question": within}


def _detectable(estimate: Estimate) -> float | None:
    """The smallest true difference to another method that these questions and samples find with a power of 80 % (two
    sides, 5 %). At worst: as if the other method had the same spread, but found other questions hard; a paired
    comparison of methods that agree on them finds smaller ones. None where no spread was seen, or where not even a
    difference of 1 would be found.
    """
    if not (isfinite(estimate.se) and estimate.se > 0):
        return None
    # The spread of a question's mean, sampling noise included, twice: once for each method.
    between = 2 * estimate.questions * estimate.se**2
    difference = minimum_detectable_difference(estimate.questions, 1, between=between, within=0.0)
    return difference if difference <= 1 else None


def _failures(samples: Sequence[Mapping[str, Any]], judged: bool) -> dict[str, Any]:
    """Counts and rates of what keeps samples from being right or from being scored."""
    counts = Counter(row["reason"] for row in samples)
    rates = {
        "samples": len(samples),
        "format_failure_rate": sum(counts[reason] for reason in FORMAT_FAILURES) / len(samples),
        "truncation_rate": sum(bool(row.get("truncated", False)) for row in samples) / len(samples),
        "reasons": {reason: counts[reason] for reason in (*REASONS, *(JUDGE_REASONS if judged else ()))},
    }
    return {**rates, "judge_failure_rate": counts[JUDGE_FAILED] / len(samples)} if judged else rates
