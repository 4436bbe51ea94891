"""Graders: pure functions from (sample, reference) to a verdict with its reason.

Accuracy, format failures and truncation are separate matters, so that a low score says why it is low. Reward
and evaluation read text with the same functions of reference_impl.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from evaluation import bfcl, mmlu_pro
from reference_impl.judge.rubric import JUDGE_FAILED, JUDGED, Judge, Rubric, answer_to_judge
from reference_impl.text.answers import equality, final_answer, has_one_think_block
from reference_impl.text.equivalence import WORKERS

CORRECT, WRONG, NO_ANSWER = "correct", "wrong", "no_answer"
BAD_FORMAT, TRUNCATED, TIMEOUT = "bad_format", "truncated", "timeout"
REASONS = (CORRECT, WRONG, NO_ANSWER, BAD_FORMAT, TRUNCATED, TIMEOUT)
JUDGE_REASONS = (JUDGED, JUDGE_FAILED)
"""What takes the place of `correct` and `wrong` where a judge gives a score."""
VERDICT = ("correct", "reason", "score")
"""Columns of a stored sample that graders decide, beside what was extracted."""
JUDGE_SEED = 0
"""One for all: judges already tell questions and responses apart, and the same response gets the same score."""


@dataclass(frozen=True)
class Sample:
    """What a model wrote: text, or the list of calls that a function-calling interface returns.

    Stored rows hold odder things: None is an empty response, any other type one without a readable answer.
    """

    response: Any
    truncated: bool = False


@dataclass(frozen=True)
class Verdict:
    """Outcome of grading one sample.

    reason: `correct`; `wrong`: a readable answer that is not right; `no_answer`: none in a sound response;
    `bad_format`: none because the format is broken; `truncated`: none because the token limit came first;
    `timeout`: an answer whose comparison had to be stopped. `extracted` is the answer read, None without one.

    A judge's verdicts have a `score` in [0, 1], are `correct` with the full score, and have the reason `judged`
    and the numbers of the criteria that hold as `extracted`; or, where the judge failed, no score, the reason
    `judge_failed` and why.
    """

    correct: bool
    reason: str
    extracted: str | None
    score: float | None = None


@dataclass(frozen=True)
class MathReference:
    """The gold answer of a math problem."""

    gold: str


@dataclass(frozen=True)
class ChoiceReference:
    """The right option of a multiple-choice question, and what decides how an answer is read."""

    index: int
    n_options: int
    answer_format: str
    on_failure: str = "wrong"
    seed: str = ""


@dataclass(frozen=True)
class CallsReference:
    """The accepted calls of a BFCL question."""

    category: str
    functions: Sequence[Mapping[str, Any]]
    answers: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class RubricReference:
    """A question without a single right answer, and the criteria for a judge."""

    question: str
    rubric: Rubric


Reference = MathReference | ChoiceReference | CallsReference | RubricReference


def grade_all(samples: Sequence[Sample], references: Sequence[Reference], judge: Judge | None = None) -> list[Verdict]:
    """Verdicts in the order of the samples, several at once."""
    with ThreadPoolExecutor(WORKERS if judge is None else judge.concurrency) as pool:
        return list(pool.map(partial(grade, judge=judge), samples, references))


def grade(sample: Sample, reference: Reference, judge: Judge | None = None) -> Verdict:
    """Verdict on one sample. Pure but for the judge: the same arguments give the same verdict, whatever was
    graded before.
    """
    sample = replace(sample, response="") if sample.response is None else sample
    readable = isinstance(sample.response, str) or (
        isinstance(sample.response, list) and isinstance(reference, CallsReference)
    )
    if not readable:
        reason = TRUNCATED if sample.truncated else BAD_FORMAT
        return Verdict(False, reason, None, 0.0 if isinstance(reference, RubricReference) else None)
    match reference:
        case RubricReference():
            assert judge is not None, "a rubric needs a judge"
            return grade_judged(sample, reference, judge)
        case MathReference():
            return grade_math(sample, reference)
        case ChoiceReference():
            return grade_choice(sample, reference)
        case CallsReference():
            return grade_calls(sample, reference)


def grade_math(sample: Sample, reference: MathReference) -> Verdict:
    """The final answer against the gold: rational numbers exactly, the rest by math-verify."""
    text = _text(sample)
    answer = final_answer(text, truncated=sample.truncated)
    if answer is None:
        return _unanswered(sample, text)
    outcome = equality(reference.gold, answer)
    if outcome == "timeout":
        return Verdict(False, TIMEOUT, answer)
    return _judged(outcome == "equal", answer)


def grade_choice(sample: Sample, reference: ChoiceReference) -> Verdict:
    """Option index against the right one; with on_failure "random", a seeded guess replaces a missing answer.

    A guess keeps the reason why there was no answer, even where it is right, and its `extracted` says what it
    is.
    """
    text = _text(sample)
    index = mmlu_pro.read_choice(text, reference.answer_format, truncated=sample.truncated)
    if index is None:
        verdict = _unanswered(sample, text)
        if reference.on_failure == "wrong":
            return verdict
        guess = mmlu_pro.random_choice(reference.n_options, reference.seed)
        return Verdict(guess == reference.index, verdict.reason, f"{guess} (guessed)")
    return _judged(index == reference.index, str(index))


def grade_calls(sample: Sample, reference: CallsReference) -> Verdict:
    """Function calls by BFCL's rules."""
    try:
        read = bfcl.read_calls(sample.response, truncated=sample.truncated)
    except ValueError:
        return _unanswered(sample, _text(sample))
    calls = read.calls
    if not calls:
        return Verdict(False, TRUNCATED if sample.truncated else NO_ANSWER, None)
    # Function-calling interfaces forbid dots in names or allow them; a stored list of calls does not say which.
    conventions = (False, True) if read.by_interface else (False,)
    correct = any(
        bfcl.check(reference.category, reference.functions, calls, reference.answers, underscores=flag) is None
        for flag in conventions
    )
    return _judged(correct, ", ".join(f"{call.name}({call.arguments})" for call in calls))


def grade_judged(sample: Sample, reference: RubricReference, judge: Judge) -> Verdict:
    """The judge's score of the text after the think block; 0 without any."""
    text = _text(sample)
    answer = answer_to_judge(text, truncated=sample.truncated)
    if answer is None:
        return replace(_unanswered(sample, text), score=0.0)
    judgement = judge.score(reference.question, answer, reference.rubric, seed=JUDGE_SEED)
    if judgement.score is None:
        return Verdict(False, JUDGE_FAILED, judgement.detail)
    holding = [number for number, item in enumerate(judgement.items, 1) if item.satisfied]
    return Verdict(judgement.score == 1.0, JUDGED, str(holding), judgement.score)


def _judged(correct: bool, answer: str) -> Verdict:
    return Verdict(correct, CORRECT if correct else WRONG, answer)


def _unanswered(sample: Sample, text: str) -> Verdict:
    """Why there is no answer: the limit came first, the format is broken, or a sound one holds none."""
    if sample.truncated:
        return Verdict(False, TRUNCATED, None)
    return Verdict(False, NO_ANSWER if has_one_think_block(text) or not text.strip() else BAD_FORMAT, None)


def _text(sample: Sample) -> str:
    return sample.response if isinstance(sample.response, str) else str(sample.response)
