"""Which scored samples a column or a claim is about, as question-by-seed matrices."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evaluation.statistics import Estimate, estimate_mean, estimate_score, paired_difference, question_matrix
from reports.inputs import Results

LIVE = ("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple")
NON_LIVE = ("simple_python", "multiple", "parallel", "parallel_multiple")
UNREADABLE = ("no_answer", "bad_format", "truncated", "timeout")
CORRECT, SCORE, TOKENS = "correct", "score", "tokens"
"""What of a sample is averaged: whether it is right, a judge's score from 0 to 1, its length."""


@dataclass(frozen=True)
class Selection:
    """Questions of some of the paper's benchmarks in one domain."""

    domain: str
    benchmarks: tuple[str, ...]
    categories: tuple[str, ...] = ()
    """BFCL categories or MMLU-Pro subjects; empty: all."""

    def tasks(self, results: Results) -> tuple[str, ...]:
        """This scale's tasks for the benchmarks."""
        found = (results.task(self.domain, benchmark) for benchmark in self.benchmarks)
        return tuple(task for task in found if task is not None)

    def samples(self, results: Results, method: str) -> pd.DataFrame:
        """The method's samples on these questions."""
        frame = results.scores(self.domain, method)
        inside = frame["task"].isin(self.tasks(results))
        if self.categories:
            inside &= frame["category"].isin(self.categories)
        return frame[inside]


@dataclass(frozen=True)
class Matrix:
    """values_SN with the category of each question."""

    frame: pd.DataFrame
    strata_N: np.ndarray


def matrix(samples: pd.DataFrame, value: str) -> Matrix:
    """Per-question means of `value` by seed, with strata: category, or task where it has none."""
    strata = samples.groupby("item_id")["stratum"].first()
    means = question_matrix(samples, value)
    return Matrix(means, strata.loc[means.columns].to_numpy())


def scored(samples: Sequence[pd.DataFrame], value: str) -> list[pd.DataFrame]:
    """Samples of the questions that have a value everywhere: a judge that failed once leaves a question unscored.

    Questions are compared with themselves, over seeds and methods; one without a score counts for nobody.
    """
    unscored = {item for frame in samples for item in frame.loc[frame[value].isna(), "item_id"]}
    return [frame[~frame["item_id"].isin(unscored)] for frame in samples]


def summarise(samples: pd.DataFrame, value: str = CORRECT) -> Estimate | None:
    """The mean of samples with its interval; None without samples."""
    (samples,) = scored([samples], value)
    if samples.empty:
        return None
    cells = matrix(samples, value)
    estimate = estimate_mean if value == TOKENS else estimate_score
    return estimate(cells.frame.to_numpy(), strata=cells.strata_N)


def score(results: Results, method: str, selection: Selection, value: str = CORRECT) -> Estimate | None:
    """A method's mean over a selection with its interval; None where this scale asks no such question."""
    return summarise(selection.samples(results, method), value)


def difference(results: Results, a: str, b: str, selection: Selection, value: str = CORRECT) -> Estimate | None:
    """a - b, paired by question and seed; None where this scale asks no such question."""
    samples = scored([selection.samples(results, method) for method in (a, b)], value)
    if samples[0].empty or samples[1].empty:
        return None
    first, second = (matrix(frame, value) for frame in samples)
    seeds = first.frame.index.intersection(second.frame.index)
    if not first.frame.columns.equals(second.frame.columns) or seeds.empty:
        raise ValueError(
            f"{a} and {b} cannot be paired in {selection.domain}: "
            f"{first.frame.shape[1]} and {second.frame.shape[1]} questions, "
            f"seeds {list(first.frame.index)} and {list(second.frame.index)}"
        )
    pair = (part.frame.loc[seeds].to_numpy() for part in (first, second))
    return paired_difference(*pair, strata=first.strata_N)


def unreadable_share(samples: pd.DataFrame) -> float | None:
    """Share of samples without an answer that the grader could read (format, truncation, time-out)."""
    return None if samples.empty else float(samples["reason"].isin(UNREADABLE).mean())
