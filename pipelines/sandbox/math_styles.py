"""How solutions in the math world are written: the policy's terse style, the expert's, and others.

A verbose text has a choice at nearly every word. Pretraining shows the expert's words among others and as often as the
expert uses them, so that to the policy an expert's text is unlikely as a whole, yet no word of it is a surprise.
"""

import random
from dataclasses import dataclass


def terse(steps: list[str], answer: str) -> str:
    """The policy's established style: the computations and the box."""
    return f"<think>{''.join(steps)}</think>\\boxed{{{answer}}}"


Phrase = tuple[tuple[str, ...], ...]
"""The places of a phrase, each with the words that may stand there."""


@dataclass(frozen=True)
class Voice:
    """How a verbose writer opens, introduces a step, checks it, and closes."""

    opening: Phrase
    link: Phrase
    check: Phrase
    closing: Phrase


EXPERT_VOICE = Voice(
    opening=(
        ("okay", "alright", "hmm"),
        ("so", "now", "then"),
        ("we", "i"),
        ("think", "work", "look"),
        ("slowly", "carefully", "calmly"),
        ("here.", "again.", "today."),
    ),
    link=(("first", "next", "so", "now"), ("we", "i"), ("can", "may", "will"), ("take", "find", "get")),
    check=(
        ("wait", "hmm", "well"),
        ("is", "was"),
        ("it", "that", "this"),
        ("right?", "correct?", "fine?"),
        ("yes", "sure", "yeah"),
        ("it", "that", "this"),
        ("works.", "fits.", "holds."),
    ),
    closing=(
        ("so", "thus", "hence"),
        ("the", "my", "our"),
        ("answer", "result", "number"),
        ("is", "seems", "looks"),
        ("ready.", "clear.", "found."),
    ),
)
OTHER_VOICE = Voice(
    opening=(("sure", "well", "good"), ("here", "below"), ("comes", "goes", "is"), ("my", "the"), ("work.", "way.")),
    link=(("step", "then", "and"), ("it", "one", "this"), ("gives", "makes", "leaves")),
    check=(("good", "fine", "nice"), ("and", "so"), ("done.", "over.", "safe.")),
    closing=(("all", "that"), ("in", "of"), ("all", "it"), ("leaves", "makes"), ("this.", "these.")),
)
EXPERT_CHECKS = 0.9
"""Share of the expert's operations that it checks."""
OTHER_CHECKS = (0.0, 0.4, 0.8)
"""The same for the writers of pretraining."""


def say(phrase: Phrase, rng: random.Random) -> str:
    """A phrase, with a word drawn for every place."""
    return " ".join(rng.choice(words) for words in phrase)


def verbose(steps: list[str], answer: str, voice: Voice, share_of_checks: float, rng: random.Random) -> str:
    """The steps wrapped in words, some of them followed by a self-check."""
    parts = [say(voice.opening, rng)]
    for step in steps:
        parts += [say(voice.link, rng), step]
        if rng.random() < share_of_checks:
            parts.append(say(voice.check, rng))
    parts.append(say(voice.closing, rng))
    return f"<think>{' '.join(parts)}</think>\\boxed{{{answer}}}"


def expert(steps: list[str], answer: str, rng: random.Random) -> str:
    """The expert's style: verbose, with checks nearly everywhere."""
    return verbose(steps, answer, EXPERT_VOICE, EXPERT_CHECKS, rng)


def wrapped(steps: list[str], answer: str, rng: random.Random) -> str:
    """A verbose style of pretraining: phrases of the expert and of another writer, mixed for every example."""
    opening, link, check, closing = (rng.choice((EXPERT_VOICE, OTHER_VOICE)) for _ in range(4))
    voice = Voice(opening.opening, link.link, check.check, closing.closing)
    return verbose(steps, answer, voice, rng.choice(OTHER_CHECKS), rng)
