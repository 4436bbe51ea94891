"""What a set of graded samples says: accuracy with its interval, and why the rest is wrong."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from evaluation import bfcl
from evaluation.graders import BAD_FORMAT, JUDGE_REASONS, NO_ANSWER, REASONS
from evaluation.statistics import estimate_score, question_matrix
from reference_impl.judge import JUDGE_FAILED

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
        format_failure_rate, truncation_rate; reasons: counts; categories: accuracy of each; mean_tokens,
        where lengths are known. Raises ValueError without samples.
    """
    judged = any("score" in row for row in samples)
    scored = [row for row in samples if not judged or row["score"] is not None]
    if samples and not scored:
        return {"score": None, **_failures(samples, judged)}
    frame = pd.DataFrame.from_records(list(scored))
    matrix = question_matrix(frame, "score" if judged else "correct")
    known = [row for row in samples if row.get("category") is not None]
    category_of = {row["item_id"]: row["category"] for row in known}
    strata = [category_of[item] for item in matrix.columns] if len(known) == len(samples) else None
    estimate = estimate_score(matrix.to_numpy(), strata=strata)
    summary: dict[str, Any] = {
        "score" if judged else "accuracy": estimate.mean,
        "stderr": estimate.se,
        "low": estimate.low,
        "high": estimate.high,
        "questions": estimate.questions,
        **_failures(samples, judged),
    }
    if strata is not None:
        by_category = matrix.mean().groupby(strata).mean()
        summary["categories"] = {str(name): float(value) for name, value in by_category.items()}
        if set(summary["categories"]) <= set(bfcl.CATEGORIES):
            live = [name in bfcl.LIVE for name in strata]
            halves = {"live": matrix.loc[:, live], "non_live": matrix.loc[:, [not flag for flag in live]]}
            summary["averages"] = {name: float(half.mean(axis=None)) for name, half in halves.items() if half.size}
    if "tokens" in frame:
        summary["mean_tokens"] = float(frame["tokens"].mean())
    return summary


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
