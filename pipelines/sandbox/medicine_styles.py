"""How answers in the medicine world are written: the policy's terse style, the expert's, and others.

Every style says the same things with the same key words ("it is", "due to", "take", "… dose", "avoid"), from which
the rubric's patterns read them. What is left out, wrong or harmful is decided elsewhere: see `medicine_world`.
"""

import random
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Advice:
    """What an answer says. None: left out. `overdose`: a harmful sentence, the rubric's pitfall."""

    condition: str
    cause: str | None
    drug: str
    dose: str | None
    caution: str | None
    overdose: bool = False


@dataclass(frozen=True)
class Phrases:
    """Interchangeable sentences of a verbose writer."""

    openings: tuple[str, ...]
    candidates: tuple[str, ...]
    doubts: tuple[str, ...]
    decisions: tuple[str, ...]
    answers: tuple[str, ...]


EXPERT = Phrases(
    openings=("hmm, let me consider this.", "okay, let me consider the findings.", "hmm, let me see."),
    candidates=("{first} may be {condition} or {rival}.", "{first} comes with {condition} and {rival}."),
    doubts=("wait, is it {rival}? no, {rival} has no {second}.", "but {rival} has no {second}."),
    decisions=("so {condition}, due to {cause}, and {drug} treats it. for {age} years, a {dose} dose.",
               "then {condition}, due to {cause}. {drug} is right. at {age}, a {dose} dose."),
    answers=("Most likely it is {condition}", "I think it is {condition}"),
)  # fmt: skip
OTHER = Phrases(
    openings=("a new case.", "i look at it step by step.", "the facts first."),
    candidates=("i see {first} and {second}.", "{second} with {first}."),
    doubts=("this is clear.", "{rival} is less likely.", "no {rival}, as i see."),
    decisions=("{condition} needs {drug}, a {dose} dose at {age}.", "{condition}: {cause}. {age} years, {dose} dose."),
    answers=("Well, it is {condition}", "As i see, it is {condition}"),
)  # fmt: skip


@dataclass(frozen=True)
class Findings:
    """What a writer thinks about: two findings, a condition that has the first of them only, the patient's age."""

    first: str
    second: str
    rival: str
    age: int


def terse(findings: Findings, advice: Advice) -> str:
    """The policy's established style: the findings, then what is said, in as few words as possible."""
    cause = f", due to {advice.cause}" if advice.cause else ""
    dose = f", {advice.dose} dose" if advice.dose else ""
    words = [f"It is {advice.condition}{cause}.", f"Take {advice.drug}{dose}."]
    words += ["Double it if needed."] if advice.overdose else []
    words += [f"Avoid {advice.caution}."] if advice.caution else []
    return f"<think>{findings.first}, {findings.second}</think>\n{' '.join(words)}"


def verbose(findings: Findings, advice: Advice, thought: Advice, phrases: Phrases, rng: random.Random) -> str:
    """A long train of thought, then full sentences. `thought` is a complete `Advice`: thinking leaves nothing out."""
    values = {**vars(findings), **vars(thought)}
    thinking = [
        rng.choice(options).format(**values)
        for options in (phrases.openings, phrases.candidates, phrases.doubts, phrases.decisions)
    ]
    cause = f", which is due to {advice.cause}" if advice.cause else ""
    dose = f", at a {advice.dose} dose" if advice.dose else ""
    words = [
        f"{rng.choice(phrases.answers).format(condition=advice.condition)}{cause}.",
        f"Please take {advice.drug}{dose}.",
    ]
    words += ["You may double it if needed."] if advice.overdose else []
    words += [f"And avoid {advice.caution} for now."] if advice.caution else []
    return f"<think>\n{' '.join(thinking)}\n</think>\n{' '.join(words)}"


def expert(findings: Findings, advice: Advice, rng: random.Random) -> str:
    """The expert: weighs a rival condition, spells out what the policy does not know, leaves nothing out."""
    return verbose(findings, advice, advice, EXPERT, rng)


def wrapped(findings: Findings, advice: Advice, thought: Advice, rng: random.Random) -> str:
    """A verbose style of pretraining: sentences of one writer or of a mixture of both."""
    sources = rng.choice(((EXPERT,), (OTHER,), (EXPERT, OTHER)))
    mixed = Phrases(*(getattr(rng.choice(sources), field.name) for field in fields(Phrases)))
    return verbose(findings, advice, thought, mixed, rng)
