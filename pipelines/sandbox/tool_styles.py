"""How answers in the tool-use world are written: the policy's terse style, the expert's, and others.

Every style ends in the same ``<tool_call>[{"name": …, "arguments": {…}}]</tool_call>``. The slips of the
policy's pretraining are here too, because some of them break the text.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.sandbox.tool_functions import KNOWLEDGE_KINDS, Kind, Value, wrong_value


@dataclass(frozen=True)
class Argument:
    """One argument of a call: the parameter's name in the signature, what the user said, what is passed."""

    name: str
    kind: Kind
    spoken: str
    value: Value


@dataclass(frozen=True)
class Call:
    """A call: function name and arguments in the signature's order."""

    name: str
    arguments: tuple[Argument, ...]

    def as_json(self) -> dict[str, Any]:
        """``{"name", "arguments"}``, the form of golds and of the ``<tool_call>`` text."""
        return {"name": self.name, "arguments": {item.name: item.value for item in self.arguments}}


def call_text(calls: Sequence[Call]) -> str:
    """The tool call itself, the same in every style."""
    return f"<tool_call>{json.dumps([call.as_json() for call in calls])}</tool_call>"


_TIMES = {1: "once", 2: "twice", 3: "3 times"}


def terse(calls: Sequence[Call]) -> str:
    """The policy's established style: the functions to call and how often."""
    names = [call.name for call in calls]
    plan = ", ".join(f"{name} {_TIMES[names.count(name)]}" for name in dict.fromkeys(names))
    return f"<think>{plan}</think>\n{call_text(calls)}"


@dataclass(frozen=True)
class Phrases:
    """Interchangeable sentences of a verbose writer."""

    openings: tuple[str, ...]
    choices: tuple[str, ...]
    checks: tuple[str, ...]
    confirmations: tuple[str, ...]
    closings: tuple[str, ...]


EXPERT = Phrases(
    openings=("okay, let me figure out what the user wants.", "okay, let me see what the user needs.",
              "alright, let me figure out how to respond to the user."),
    choices=("looking at the functions, {name} fits.", "among the functions, {name} is the right one.",
             "looking at the functions, i need {name}."),
    checks=("wait, let me check that again:", "wait, is that right? let me check:", "hmm, let me make sure:"),
    confirmations=("yes, that is right.", "okay, that is correct.", "yes, no other argument is missing."),
    closings=("so the call should be", "so i should call", "so the right call is"),
)  # fmt: skip
OTHER = Phrases(
    openings=("sure.", "here is my plan.", "the user asks me to do this.", "i will do it."),
    choices=("i use {name}.", "{name} can do it.", "this is for {name}."),
    checks=("again,", "to be sure,", "i see"),
    confirmations=("good.", "this is it.", "done."),
    closings=("now i call", "the plan is", "next comes"),
)  # fmt: skip


def _said(value: Value) -> str:
    """A value as written in a sentence."""
    if isinstance(value, list):
        return ", ".join(value)
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _sentence(argument: Argument) -> str:
    if argument.kind in KNOWLEDGE_KINDS:
        return f"{argument.name} for {argument.spoken} is {_said(argument.value)}"
    return f"{argument.name} is {_said(argument.value)}"


def verbose(calls: Sequence[Call], phrases: Phrases, check_share: float, rng: random.Random) -> str:
    """A verbose answer: each function is chosen; calls are spelled out and, by ``check_share``, checked."""
    words = [rng.choice(phrases.openings)]
    chosen = ""
    for call in calls:
        if call.name != chosen:
            words.append(rng.choice(phrases.choices).format(name=call.name))
            chosen = call.name
        words.append(", ".join(map(_sentence, call.arguments)) + ".")
        if rng.random() < check_share:
            words.append(rng.choice(phrases.checks))
            words.append(", ".join(_said(argument.value) for argument in call.arguments) + ".")
            words.append(rng.choice(phrases.confirmations))
    words.append(f"{rng.choice(phrases.closings)} {', '.join(call.name for call in calls)}.")
    return f"<think>\n{' '.join(words)}\n</think>\n{call_text(calls)}"


def expert(calls: Sequence[Call], rng: random.Random) -> str:
    """The expert: correct, spells conventions out, checks every call."""
    return verbose(calls, EXPERT, 1.0, rng)


def second_expert(calls: Sequence[Call], rng: random.Random) -> str:
    """The second expert: as correct, but in the policy's own style, and without checks.

    It spells the calls out only where one takes a value that follows a convention, which the policy does not know.
    """
    kinds = {argument.kind for call in calls for argument in call.arguments}
    return verbose(calls, EXPERT, 0.0, rng) if kinds & KNOWLEDGE_KINDS else terse(calls)


def wrapped(calls: Sequence[Call], rng: random.Random) -> str:
    """A verbose style of pretraining: phrases of one writer or of a mixture of both, few or many checks."""
    sources = rng.choice(((EXPERT,), (OTHER,), (EXPERT, OTHER)))
    mixed = Phrases(**{field: rng.choice(sources).__dict__[field] for field in Phrases.__dataclass_fields__})
    return verbose(calls, mixed, rng.choice((0.0, 0.5, 1.0)), rng)


def without_knowledge(call: Call, rng: random.Random) -> Call:
    """The call with every value that follows a convention replaced by a random wrong one."""
    return replace(call, arguments=tuple(
        replace(argument, value=wrong_value(argument.kind, argument.value, rng))
        if argument.kind in KNOWLEDGE_KINDS else argument
        for argument in call.arguments
    ))  # fmt: skip


def corrupt_call(call: Call, function_names: Sequence[str], rng: random.Random) -> Call:
    """The call with one slip: a wrong value, a missing argument, or another function's name.

    ``function_names``: the names a slip can land on.
    """
    slip = rng.random()
    if slip < 0.2:
        return replace(call, name=rng.choice([name for name in function_names if name != call.name]))
    place = rng.randrange(len(call.arguments))
    if slip < 0.45:
        return replace(call, arguments=call.arguments[:place] + call.arguments[place + 1 :])
    argument = call.arguments[place]
    slipped = replace(argument, value=wrong_value(argument.kind, argument.value, rng))
    return replace(call, arguments=(*call.arguments[:place], slipped, *call.arguments[place + 1 :]))


def corrupt_format(response: str, rng: random.Random) -> str:
    """The response with its markup or its JSON broken."""
    return rng.choice((
        response.replace("}]</tool_call>", "}</tool_call>"),
        response.replace('"arguments": {', '"arguments": '),
        response.replace("</tool_call>", ""),
        response.replace("</think>", "", 1),
    ))  # fmt: skip
