"""Rubric judges, for answers that no rule can verify (B.4: RaR-Medicine).

A rubric is a list of weighted criteria. A judge says of each whether it holds, and the score follows by the
explicit aggregation of Gunjal et al. 2025 (arXiv 2507.17746, Eq. 1) on the signed weights of the data, see
`aggregate`. `HttpJudge` (http_judge.py) asks a language model; `LocalJudge` here checks patterns and keywords.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from reference_impl.text.answers import after_think

JUDGED, JUDGE_FAILED = "judged", "judge_failed"


@dataclass(frozen=True)
class RubricItem:
    """One criterion. A negative weight is a pitfall: points are lost where the description holds.

    `pattern` (a regular expression) and `keywords` (all must occur, as words) make an item checkable without
    a model. Both are matched without regard to case. Patterns are trusted like code: they come from the data
    of a task, never from a response.
    """

    description: str
    weight: float
    title: str = ""
    pattern: str | None = None
    keywords: tuple[str, ...] = ()


Rubric = tuple[RubricItem, ...]


@dataclass(frozen=True)
class ItemVerdict:
    """Whether one criterion holds, and the judge's sentence on it ("" where it gives none)."""

    satisfied: bool
    explanation: str = ""


@dataclass(frozen=True)
class Judgement:
    """What a judge says of one response.

    `score` is in [0, 1]; None with reason `judge_failed`, where `detail` says why. `items` follow the rubric's
    order and are empty where the judge gave one rating for the whole.
    """

    score: float | None
    items: tuple[ItemVerdict, ...] = ()
    reason: str = JUDGED
    detail: str = ""


def failed(detail: str) -> Judgement:
    """A judgement that could not be obtained."""
    return Judgement(None, (), JUDGE_FAILED, detail)


class Judge(Protocol):
    """Anything that scores responses against rubrics. `score` may be called from several threads."""

    @property
    def name(self) -> str:
        """What tells this judge's scores from another's."""

    @property
    def concurrency(self) -> int:
        """How many calls of `score` are worth making at once."""

    @property
    def stopped(self) -> str | None:
        """Why this judge takes no more questions (budget, credentials); None while it does."""

    def score(self, question: str, response: str, rubric: Rubric, *, seed: int) -> Judgement:
        """The judgement of one response. It never raises for what a response or a server does."""

    def report(self) -> dict[str, Any]:
        """Which judge it is and what it has used so far, for the summary of an evaluation."""


def parse_rubric(value: Any) -> Rubric:
    """A checked rubric from the JSON of a data row.

    Raises ValueError naming the item and what is wrong with it, and where no weight is positive.
    """
    if not isinstance(value, list) or not value:
        raise ValueError(f"a rubric must be a list of at least one criterion, got {_brief(value)}")
    rubric = tuple(_parse_item(item, number) for number, item in enumerate(value, 1))
    if not any(item.weight > 0 for item in rubric):
        raise ValueError(f"no criterion has a positive weight: {[item.weight for item in rubric]}")
    return rubric


MAX_WEIGHT = 1e6
"""Larger weights are slips of a data file; the limit also keeps infinities, NaN and huge integers out."""


def _parse_item(value: Any, number: int) -> RubricItem:
    where = f"rubric item {number}"
    known = {field.name for field in fields(RubricItem)}
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be an object with description and weight, got {_brief(value)}")
    if not set(value) <= known:
        raise ValueError(f"{where}: unknown key {min(set(value) - known)!r} (allowed: {', '.join(sorted(known))})")
    for key in ("description", "weight"):
        if key not in value:
            raise ValueError(f"{where}: missing key {key!r}; it has {', '.join(value)}")
    description, weight, title = value["description"], value["weight"], value.get("title", "")
    if not isinstance(description, str) or not description.strip() or not isinstance(title, str):
        raise ValueError(f"{where}: description and title must be text, got {_brief([description, title])}")
    number_like = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number_like or weight == 0 or not abs(weight) <= MAX_WEIGHT:
        raise ValueError(f"{where}: weight must be a number other than 0, got {_brief(weight)} (limit: {MAX_WEIGHT:g})")
    keywords = value.get("keywords") or []
    if not isinstance(keywords, list) or not all(isinstance(word, str) and word.strip() for word in keywords):
        raise ValueError(f"{where}: keywords must be a list of words, got {_brief(keywords)}")
    pattern = value.get("pattern")
    if pattern is not None:
        _check_pattern(pattern, where)
    return RubricItem(description, weight, title, pattern, tuple(keywords))


def _check_pattern(pattern: Any, where: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"{where}: pattern {_brief(pattern)} is not a regular expression: {error}") from None


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def aggregate(rubric: Rubric, satisfied: Sequence[bool]) -> float:
    """Explicit aggregation: weights of the satisfied items over the sum of positive weights, clipped to [0, 1].

    Gunjal et al. 2025, Eq. 1: r = sum_j w_j c_j / sum_j w_j with c_j in {0, 1}. Their weights are by category and
    positive throughout; the published data has signed integers, whose pitfalls (-1, -2) describe faults. A fault
    costs its weight and does not enlarge the denominator, as a response without faults must be able to reach 1.
    """
    points = sum(item.weight for item, holds in zip(rubric, satisfied, strict=True) if holds)
    total = sum(item.weight for item in rubric if item.weight > 0)
    return min(1.0, max(0.0, points / total))


def answer_to_judge(response: str, *, truncated: bool) -> str | None:
    """What a judge reads of a response: the text after the think block; None without any."""
    answer = after_think(response, truncated=truncated)
    return answer.strip() or None if answer is not None else None


@dataclass(frozen=True)
class LocalJudge:
    """A judge without a model: patterns and keywords, and verdicts inverted at random with a known rate.

    noise: probability, in [0, 1], that the verdict on an item is inverted. Which ones are is a function of
    (seed, question, response, item): the same call gives the same judgement, whatever was judged before.
    """

    noise: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.noise <= 1:
            raise ValueError(f"the noise of the local judge is a probability in [0, 1], got {self.noise}")

    @property
    def name(self) -> str:
        """`local` and the noise."""
        return f"local, noise {self.noise:g}"

    @property
    def concurrency(self) -> int:
        """One: the checks are quick and hold the interpreter."""
        return 1

    @property
    def stopped(self) -> None:
        """Never."""
        return None

    def score(self, question: str, response: str, rubric: Rubric, *, seed: int) -> Judgement:
        """Judgement by the items' checks. An item without any fails the judgement: nothing is guessed."""
        for number, item in enumerate(rubric, 1):
            if item.pattern is None and not item.keywords:
                return failed(f"rubric item {number} has neither pattern nor keywords, which the local judge needs")
        verdicts = [
            _holds(item, response) != (_draw(seed, question, response, index) < self.noise)
            for index, item in enumerate(rubric)
        ]
        return Judgement(aggregate(rubric, verdicts), tuple(map(ItemVerdict, verdicts)))

    def report(self) -> dict[str, Any]:
        """The name."""
        return {"judge": self.name}


def _holds(item: RubricItem, response: str) -> bool:
    if item.pattern is not None and not re.search(item.pattern, response, re.IGNORECASE):
        return False
    return all(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", response, re.IGNORECASE) for word in item.keywords)


def _draw(seed: int, question: str, response: str, index: int) -> float:
    """A uniform number in [0, 1) that depends on its arguments alone."""
    content = json.dumps([seed, question, response, index]).encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest()) / 2**64
