"""How answers in the tool-use world are written: the policy's terse style, the expert's, and others.

Every style ends in the same ``<tool_call>[{"name": …, "arguments": {…}}]</tool_call>``. The slips of the
policy's pretraining are here too, because some of them break the text.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from pipelines.sandbox.math_styles import Phrase, say
from pipelines.sandbox.procedure import steps_of, work_out
from pipelines.sandbox.tool_functions import Kind, Value, wrong_value


@dataclass(frozen=True)
class Argument:
    """One argument of a call: the parameter's name in the signature, what the user said, what is passed, and how a value
    that has to be worked out was worked out."""

    name: str
    kind: Kind
    spoken: str
    value: Value
    work: str = ""


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


def work_out_call(call: Call, spelled: Callable[[str], float], noise: float, rng: random.Random) -> Call:
    """The call with the values that have to be worked out, each in one go or spelled out, by its kind's share."""
    arguments = []
    for argument in call.arguments:
        if argument.kind == "dial":
            start, operation = int(argument.spoken[0]), argument.spoken[1:]
            spell = rng.random() < spelled(steps_of(operation)[0])
            work, value = work_out(start, operation, spell, noise, rng)
            argument = replace(argument, value=value, work=work)
        arguments.append(argument)
    return replace(call, arguments=tuple(arguments))


def terse(calls: Sequence[Call]) -> str:
    """The policy's established style: the functions to call, how often, and the values that are worked out."""
    names = [call.name for call in calls]
    plan = [f"{name} {_TIMES[names.count(name)]}" for name in dict.fromkeys(names)]
    plan += [argument.work for call in calls for argument in call.arguments if argument.work]
    return f"<think>{', '.join(plan)}</think>\n{call_text(calls)}"


@dataclass(frozen=True)
class Voice:
    """How a verbose writer opens, chooses a function, checks a call, confirms it, and closes."""

    opening: Phrase
    choice: Phrase
    check: Phrase
    confirmation: Phrase
    closing: Phrase


EXPERT_VOICE = Voice(
    opening=(
        ("okay", "alright", "hmm"),
        ("so", "now", "then"),
        ("we", "i"),
        ("think", "work", "look"),
        ("slowly.", "carefully.", "calmly."),
    ),
    choice=(("here", "now", "first"), ("we", "i"), ("take", "need", "choose")),
    check=(("wait", "hmm", "well"), ("is", "was"), ("it", "that", "this"), ("right?", "correct?", "fine?")),
    confirmation=(("yes", "sure", "yeah"), ("it", "that", "this"), ("works.", "fits.", "holds.")),
    closing=(
        ("so", "thus", "hence"),
        ("the", "my", "our"),
        ("call", "plan", "list"),
        ("is", "seems", "looks"),
        ("ready.", "clear.", "done."),
    ),
)
OTHER_VOICE = Voice(
    opening=(("sure", "well", "good"), ("here", "below"), ("comes", "goes", "is"), ("my", "the"), ("work.", "way.")),
    choice=(("step", "then", "and"), ("it", "one", "this"), ("uses", "wants", "asks")),
    check=(("good", "fine", "nice"), ("and", "so")),
    confirmation=(("done.", "over.", "safe."),),
    closing=(("all", "that"), ("in", "of"), ("all", "it"), ("leaves", "makes"), ("this.", "these.")),
)


def _said(value: Value) -> str:
    """A value as written in a sentence."""
    if isinstance(value, list):
        return ", ".join(value)
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _sentence(argument: Argument) -> str:
    return f"{argument.name} is {argument.work or _said(argument.value)}"


def verbose(calls: Sequence[Call], voice: Voice, check_share: float, rng: random.Random) -> str:
    """A verbose answer: each function is chosen, its arguments are named, and calls are checked by ``check_share``."""
    parts = [say(voice.opening, rng)]
    for call in calls:
        parts += [say(voice.choice, rng), f"{call.name}:", ", ".join(map(_sentence, call.arguments)) + "."]
        if rng.random() < check_share:
            parts += [say(voice.check, rng), say(voice.confirmation, rng)]
    parts.append(say(voice.closing, rng))
    return f"<think>{' '.join(parts)}</think>\n{call_text(calls)}"


EXPERT_CHECKS = 0.9
"""Share of the expert's calls that it checks."""
OTHER_CHECKS = (0.0, 0.4, 0.8)
"""The same for the writers of pretraining."""


def expert(calls: Sequence[Call], rng: random.Random) -> str:
    """The expert: correct, spells everything out, checks nearly every call."""
    return verbose(
        [work_out_call(call, lambda kind: 1.0, 0.0, rng) for call in calls], EXPERT_VOICE, EXPERT_CHECKS, rng
    )


def second_expert(calls: Sequence[Call], rng: random.Random) -> str:
    """The second expert: as correct, spells everything out too, but in the policy's own terse style."""
    return terse([work_out_call(call, lambda kind: 1.0, 0.0, rng) for call in calls])


def wrapped(calls: Sequence[Call], rng: random.Random) -> str:
    """A verbose style of pretraining: phrases of the expert and of another writer, mixed for every example."""
    voice = Voice(
        **{field.name: getattr(rng.choice((EXPERT_VOICE, OTHER_VOICE)), field.name) for field in fields(Voice)}
    )
    return verbose(calls, voice, rng.choice(OTHER_CHECKS), rng)


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
