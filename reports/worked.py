"""One question of each domain with every method's answer to it, chosen by a rule and never by hand.

The rule: of the domain's first task, the first question whose sample 0 pure RL and CHORD-φ answered with different
verdicts (`SHOWN`); the first question where there is none. The expert answers no test question: its demonstration is
that of the training question with most words in common.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reference_impl.files import read_jsonl
from reports.cases import Answer, answer, stored_samples
from reports.inputs import Results
from reports.samples import Place
from reports.style import label

SHOWN = ("grpo", "chord_phi")
"""The two methods whose verdicts choose the question, and which the first screen shows."""
Sample = Mapping[str, Any]


@dataclass(frozen=True)
class Worked:
    """A question with its answers."""

    domain: str
    label: str
    task: str
    item_id: str
    differs: bool
    """Whether the two methods' verdicts differ on it."""
    prompt: str
    gold: str
    answers: tuple[Answer, ...]
    """Those of SHOWN first."""
    demonstrated: str
    """The question that the expert's demonstration answers."""
    demonstration: str


def text_of(value: Any) -> str:
    """A gold answer as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def chosen(first: Sequence[Sample], second: Sequence[Sample]) -> tuple[str, bool]:
    """The question that the rule names, and whether the two verdicts on it differ."""
    verdicts = [
        {row["item_id"]: (row["correct"], row.get("score")) for row in rows if row["sample"] == 0}
        for rows in (first, second)
    ]
    for item, verdict in verdicts[0].items():
        if item in verdicts[1] and verdicts[1][item] != verdict:
            return item, True
    return first[0]["item_id"], False


def closest(question: str, demonstrations: Sequence[Sample]) -> Sample:
    """The demonstration whose question shares most of both questions' words (Jaccard), the first of equals."""
    words = set(question.split())

    def alike(row: Sample) -> float:
        other = set(str(row["question"]).split())
        return len(words & other) / max(1, len(words | other))

    return max(demonstrations, key=alike)


def worked(results: Results, domain: str, methods: Sequence[str]) -> Worked | None:
    """The worked question of a domain; None where the page has not both of SHOWN there."""
    if not set(SHOWN) <= set(methods):
        return None
    task = results.scale.domains[domain].tasks[0]
    ordered = [*SHOWN, *(method for method in methods if method not in SHOWN)]
    every = {method: stored_samples(results, domain, method, task) for method in ordered}
    first = min(row["seed"] for row in every[SHOWN[0]])
    samples = {method: [row for row in rows if row["seed"] == first] for method, rows in every.items()}
    item, differs = chosen(*(samples[method] for method in SHOWN))
    asked = next(row for row in samples[SHOWN[0]] if row["item_id"] == item)
    demonstration = closest(
        asked["prompt"], read_jsonl(results.require(results.root / "data" / domain / "expert.jsonl"))
    )
    return Worked(
        domain,
        results.decl.domains[domain].label,
        task,
        item,
        differs,
        asked["prompt"],
        text_of(asked["gold"]),
        tuple(answer(results, method, samples[method], item) for method in ordered),
        str(demonstration["question"]),
        str(demonstration["response"]),
    )


def all_worked(results: Results, there: Sequence[Place]) -> list[Worked]:
    """The worked questions of every domain of a page."""
    methods: dict[str, list[str]] = {}
    for place in there:
        methods.setdefault(place.domain, [])
        if place.method not in methods[place.domain]:
            methods[place.domain].append(place.method)
    found = (worked(results, domain, names) for domain, names in methods.items())
    return [case for case in found if case is not None]


def rule_text(results: Results) -> str:
    """The rule, in words for the page."""
    first, second = (label(results.decl, method) for method in SHOWN)
    return (
        f"Chosen by a rule: of the domain's first task, the first question whose sample 0 {first} and {second} "
        "answered with different verdicts (the first question where there is none). The expert answers no test "
        "question; its demonstration is that of the training question with most words in common."
    )
