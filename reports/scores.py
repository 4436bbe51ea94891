"""The scored samples of a table's column, as question-by-seed matrices, and what they come to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evaluation.statistics import Estimate, estimate_mean, estimate_score, paired_difference, question_matrix
from reference_impl.config import load_task
from reference_impl.config.experiments import Column
from reports.inputs import Results

UNREADABLE = ("no_answer", "bad_format", "truncated", "timeout")
EXPERT = "expert"
"""The demonstrations, where a comparison is of their length."""
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
    """The method's samples on a column's questions: with the prompt that scores higher, where it has two (A.3)."""
    first, second = _asked(results, method, column), second_prompt(results, method, column)
    if second is None:
        return first
    other = _asked(results, second, column)
    return other if other[SCORE].mean() > first[SCORE].mean() else first


def second_prompt(results: Results, method: str, column: Column) -> str | None:
    """The method's evaluation with another prompt on a column's questions; None where there is none."""
    prompts = [load_task(task).prompt for task in tasks(results, column)]
    return results.decl.second_of(method, prompts)


def _asked(results: Results, method: str, column: Column) -> pd.DataFrame:
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


def difference(results: Results, plus: Sequence[str], minus: Sequence[str], column: Column) -> Estimate | None:
    """Sum of the scores of some methods minus that of as many others, on a column's questions, paired by question and
    seed; None where this scale asks no such question.
    """
    first, second = ([samples_of(results, method, column) for method in side] for side in (plus, minus))
    return paired(first, second, column.value, f"{', '.join([*plus, *minus])} cannot be paired in {column.domain}")


def paired(plus: Sequence[pd.DataFrame], minus: Sequence[pd.DataFrame], value: str, refusal: str) -> Estimate | None:
    """The same of samples. Raises ValueError, which begins with ``refusal``, where seeds or questions are not the same;
    of the seeds those that all have are enough.
    """
    samples = scored([*plus, *minus], value)
    if any(frame.empty for frame in samples):
        return None
    parts = [matrix(frame, value) for frame in samples]
    frames = [part.frame for part in parts]
    seeds = sorted(set.intersection(*(set(frame.index) for frame in frames)))
    if not seeds or not all(frame.columns.equals(frames[0].columns) for frame in frames):
        questions, found = [frame.shape[1] for frame in frames], [list(frame.index) for frame in frames]
        raise ValueError(f"{refusal}: {questions} questions, seeds {found}")
    values = [frame.loc[seeds].to_numpy() for frame in frames]
    first, second = sum(values[: len(plus)]), sum(values[len(plus) :])
    return paired_difference(first, second, strata=parts[0].strata_N)


class Paired:
    """`difference` for the many cells of a page: every method's samples on a column are averaged once."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._known: dict[tuple[str, Column], Matrix | None] = {}

    def _matrix(self, method: str, column: Column) -> Matrix | None:
        """None where there is nothing, or a sample without a value: then what counts depends on the other side."""
        key = (method, column.model_copy(update={"header": "", "part": "", "group": ""}))
        if key not in self._known:
            samples = samples_of(self._results, method, column)
            whole = len(samples) > 0 and bool(samples[column.value].notna().all())
            self._known[key] = matrix(samples, column.value) if whole else None
        return self._known[key]

    def difference(self, method: str, other: str, column: Column) -> Estimate | None:
        """The same as `difference` of two methods."""
        first, second = (self._matrix(name, column) for name in (method, other))
        if first is None or second is None or not first.frame.axes[1].equals(second.frame.axes[1]):
            return difference(self._results, [method], [other], column)
        seeds = sorted(set(first.frame.index) & set(second.frame.index))
        if not seeds:
            return difference(self._results, [method], [other], column)
        values = (part.frame.loc[seeds].to_numpy() for part in (first, second))
        return paired_difference(*values, strata=first.strata_N)


SAMPLE = ["seed", "task", "item_id", "sample", "correct", "tokens"]
"""What makes answers the same: verdict and length of every stored one."""


def same_answers(results: Results, a: str, b: str, domain: str) -> bool:
    """Whether two methods gave the same answers to everything: they are one checkpoint, or runs from one."""
    if a == b or EXPERT in (a, b):
        return False
    return same_samples(*(results.scores(domain, method) for method in (a, b)))


def same_samples(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Whether two sets of samples are the same answers."""
    return first[SAMPLE].equals(second[SAMPLE])


def unreadable_share(samples: pd.DataFrame) -> float | None:
    """Share of samples without an answer that the grader could read (format, truncation, time-out)."""
    return None if samples.empty else float(samples["reason"].isin(UNREADABLE).mean())
