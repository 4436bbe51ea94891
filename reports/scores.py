"""The scored samples of a table's column, as question-by-seed matrices, and what they come to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evaluation.statistics import Estimate, estimate_mean, estimate_score, paired_difference, question_matrix
from reference_impl.config.experiments import Column
from reports.inputs import Results

UNREADABLE = ("no_answer", "bad_format", "truncated", "timeout")
SCORE, TOKENS = "score", "tokens"
"""Values of a column that are not accuracies: a judge's score from 0 to 1, and the length."""


def tasks(results: Results, column: Column) -> tuple[str, ...]:
    """This scale's tasks for a column's benchmarks."""
    found = (results.task(column.domain, benchmark) for benchmark in column.benchmarks)
    return tuple(task for task in found if task is not None)


def column_name(results: Results, column: Column) -> str:
    """What was asked: the task's name and the part of it."""
    asked = tasks(results, column)
    return " ".join(filter(None, [" + ".join(asked), column.part])) if asked else f"{column.header} (not asked here)"


def samples_of(results: Results, method: str, column: Column) -> pd.DataFrame:
    """The method's samples on a column's questions."""
    frame = results.scores(column.domain, method)
    inside = frame["task"].isin(tasks(results, column))
    if column.categories:
        inside &= frame["category"].isin(column.categories)
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


def summarise(samples: pd.DataFrame, value: str) -> Estimate | None:
    """The mean of samples with its interval; None without samples."""
    (samples,) = scored([samples], value)
    if samples.empty:
        return None
    cells = matrix(samples, value)
    estimate = estimate_mean if value == TOKENS else estimate_score
    return estimate(cells.frame.to_numpy(), strata=cells.strata_N)


def expert_length(results: Results, domain: str) -> Estimate:
    """Mean length of the expert's demonstrations in tokens: a known number of this data set, without an
    interval.
    """
    manifest = results.manifest(domain)
    mean = float(manifest["expert_length_mean"])
    return Estimate(mean, 0.0, mean, mean, int(manifest["expert_rows"]))


def difference(results: Results, a: str, b: str, column: Column) -> Estimate | None:
    """a - b on a column's questions, paired by question and seed; None where this scale asks no such question."""
    samples = scored([samples_of(results, method, column) for method in (a, b)], column.value)
    if samples[0].empty or samples[1].empty:
        return None
    first, second = (matrix(frame, column.value) for frame in samples)
    seeds = first.frame.index.intersection(second.frame.index)
    if not first.frame.columns.equals(second.frame.columns) or seeds.empty:
        raise ValueError(
            f"{a} and {b} cannot be paired in {column.domain}: "
            f"{first.frame.shape[1]} and {second.frame.shape[1]} questions, "
            f"seeds {list(first.frame.index)} and {list(second.frame.index)}"
        )
    pair = (part.frame.loc[seeds].to_numpy() for part in (first, second))
    return paired_difference(*pair, strata=first.strata_N)


def unreadable_share(samples: pd.DataFrame) -> float | None:
    """Share of samples without an answer that the grader could read (format, truncation, time-out)."""
    return None if samples.empty else float(samples["reason"].isin(UNREADABLE).mean())
