"""What a set of graded samples says: accuracy with its interval, and why the rest is wrong."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from evaluation import bfcl
from evaluation.graders import BAD_FORMAT, NO_ANSWER, REASONS
from evaluation.statistics import estimate_score, question_matrix

FORMAT_FAILURES = (NO_ANSWER, BAD_FORMAT)
"""Reasons without a readable answer that the token limit does not explain."""


def summarise(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Accuracy (a fraction) of samples that share a task, with what accompanies it.

    Args:
        samples: rows with item_id, correct, reason; category, truncated and tokens where they are known.

    Returns:
        accuracy, stderr, low, high (95 %, clustered by question, stratified by category where there are
        categories);
        averages: BFCL's live and non-live ones, weighted by instance (B.8); questions, samples;
        format_failure_rate, truncation_rate; reasons: counts; categories: accuracy of each; mean_tokens,
        where lengths are known. Raises ValueError without samples.
    """
    frame = pd.DataFrame.from_records(list(samples))
    matrix = question_matrix(frame)
    known = [row for row in samples if row.get("category") is not None]
    category_of = {row["item_id"]: row["category"] for row in known}
    strata = [category_of[item] for item in matrix.columns] if len(known) == len(samples) else None
    estimate = estimate_score(matrix.to_numpy(), strata=strata)
    counts = Counter(row["reason"] for row in samples)
    summary: dict[str, Any] = {
        "accuracy": estimate.mean,
        "stderr": estimate.se,
        "low": estimate.low,
        "high": estimate.high,
        "questions": estimate.questions,
        "samples": len(samples),
        "format_failure_rate": sum(counts[reason] for reason in FORMAT_FAILURES) / len(samples),
        "truncation_rate": sum(bool(row.get("truncated", False)) for row in samples) / len(samples),
        "reasons": {reason: counts[reason] for reason in REASONS},
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
