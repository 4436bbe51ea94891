"""The functions of the sandbox's tool-use world: their parameters, the words users ask with, and the values.

A :class:`Family` is one thing that can be asked for. Two functions do it, whose names and often parameter names
differ, so that a policy has to read which one is offered. Wordings are made of a head and a body, so that several
requests can share one sentence. One kind of value, ``dial``, has to be worked out: the user says ``3*7-2+5``, and the
argument is its last digit (`pipelines.sandbox.procedure`).
"""

import random
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.sandbox.procedure import MODULUS, draw_compound, work_out

Kind = Literal[
    "place", "person", "food", "genre", "color", "count", "foods", "persons", "flag", "dial"
]  # fmt: skip
Value = str | int | bool | list[str]

PLACES = ("Paris", "Oslo", "Rome", "Lima", "Cairo", "Tokyo", "Delhi", "Quito", "Berlin", "Madrid")
PERSONS = ("Anna", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Hugo", "Ines", "Jack")
FOODS = ("pizza", "soup", "rice", "tea", "bread", "milk", "cake", "salad")
GENRES = ("jazz", "rock", "opera", "folk", "blues", "metal")
COLORS = ("red", "blue", "green", "white", "yellow", "pink")
WORDS: dict[str, tuple[str, ...]] = {
    "place": PLACES, "person": PERSONS, "persons": PERSONS, "food": FOODS, "foods": FOODS, "genre": GENRES,
    "color": COLORS,
}  # fmt: skip

JSON_TYPES: dict[str, dict[str, Any]] = {
    "count": {"type": "integer"},
    "dial": {"type": "integer"},
    "flag": {"type": "boolean"},
    "foods": {"type": "array", "items": {"type": "string"}},
    "persons": {"type": "array", "items": {"type": "string"}},
}
"""Kinds that are not plain strings, in BFCL's type names."""


@dataclass(frozen=True)
class Parameter:
    """One parameter: its name in each function, or one name in both; kind, description, words that set a flag."""

    names: tuple[str, ...]
    kind: Kind
    description: str
    phrase: str = ""

    @property
    def optional(self) -> bool:
        """Flags may be left out; everything else is required."""
        return self.kind == "flag"


@dataclass(frozen=True)
class Family:
    """One kind of request: the names of its two functions, parameters, and how a user asks.

    A request for one call is ``head + " " + body``; for several calls further bodies follow, joined by "and".
    In a body ``{0}``, ``{1}`` stand for the spoken values of the required parameters in their order.
    """

    names: tuple[str, str]
    description: str
    parameters: tuple[Parameter, ...]
    heads: tuple[str, str, str]
    bodies: tuple[str, str, str]

    @property
    def needs_work(self) -> bool:
        """Whether a parameter's value has to be worked out."""
        return any(parameter.kind == "dial" for parameter in self.parameters)

    def wordings(self, live: bool) -> list[tuple[str, str]]:
        """Pairs of head and body: a third of them, each head and body once, is for the live sets alone."""
        return [
            (head, body)
            for i, head in enumerate(self.heads)
            for j, body in enumerate(self.bodies)
            if ((i + j) % 3 == 2) == live
        ]


def draw_value(kind: Kind, rng: random.Random) -> tuple[str, Value]:
    """(what the user says, the right argument) for a random value of a kind; a flag is drawn as set."""
    if kind == "count":
        number = rng.randint(2, 99)
        return str(number), number
    if kind in ("foods", "persons"):
        words = rng.sample(WORDS[kind], rng.choice((2, 2, 3)))
        return ", ".join(words), words
    if kind == "dial":
        start, operation = rng.randrange(MODULUS), draw_compound(rng)
        return f"{start}{operation}", work_out(start, operation, False, 0.0, rng)[1]
    if kind == "flag":
        return "", True
    word = rng.choice(WORDS[kind])
    return word, word


def guess_value(kind: Kind, rng: random.Random) -> Value:
    """A well-formed value of a kind by someone who knows nothing: chance level, and wrong knowledge."""
    if kind == "dial":
        return rng.randrange(MODULUS)
    if kind == "flag":
        return rng.random() < 0.5
    return draw_value(kind, rng)[1]


def wrong_value(kind: Kind, right: Value, rng: random.Random) -> Value:
    """A well-formed value of a kind that is not ``right``."""
    while True:
        value = guess_value(kind, rng)
        if value != right:
            return value


def _number(name: str, description: str) -> Parameter:
    return Parameter((name,), "count", description)


def _flag(name: str, phrase: str, description: str) -> Parameter:
    return Parameter((name,), "flag", description, phrase)


_CITY = Parameter(("city", "place"), "place", "Name of the city.")
_PERSON = Parameter(("person", "name"), "person", "First name of the person.")
_SEATS = _number("seats", "Number of people.")


def _dial(name: str, description: str) -> Parameter:
    return Parameter((name,), "dial", description)


FAMILIES: tuple[Family, ...] = (
    Family(
        ("getWeather", "weather"), "Forecast of the weather in a city for the next days.",
        (_CITY, _number("days", "Number of days.")),
        ("get the weather", "show the weather", "check the weather"),
        ("in {0} for {1} days", "for {1} days in {0}", "of {0} for {1} days"),
    ),
    Family(
        ("orderFood", "buyFood"), "Order a dish in some number.",
        (Parameter(("item", "dish"), "food", "What to order."), _number("count", "How many."),
         _flag("express", "by express", "Whether to deliver by express.")),
        ("order", "buy", "get me"),
        ("{1} {0}", "{1} of {0}", "{0}, {1} of it"),
    ),
    Family(
        ("sendMoney", "pay"), "Send an amount of euro to a person.",
        (_PERSON, _number("amount", "Amount in euro.")),
        ("send", "pay", "give"),
        ("{1} euro to {0}", "{0} {1} euro", "to {0} {1} euro"),
    ),
    Family(
        ("playMusic", "music"), "Play music of a genre for some minutes.",
        (Parameter(("genre", "style"), "genre", "Genre of the music."),
         _number("minutes", "Minutes to play."),
         _flag("loud", "loud", "Whether to play it loud.")),
        ("play", "start", "play me"),
        ("{0} for {1} minutes", "{1} minutes of {0}", "some {0} for {1} minutes"),
    ),
    Family(
        ("bookHotel", "hotel"), "Book a hotel room in a city.",
        (_CITY, _number("nights", "Number of nights."),
         _flag("breakfast", "with breakfast", "Whether breakfast is included.")),
        ("book a hotel", "find a hotel", "get a hotel"),
        ("in {0} for {1} nights", "for {1} nights in {0}", "of {0} for {1} nights"),
    ),
    Family(
        ("makeList", "saveList"), "Make a shopping list.",
        (Parameter(("items",), "foods", "Things on the list, in the order given."),),
        ("make a list", "save a list", "start a list"),
        ("of {0}", "with {0}", "for {0}"),
    ),
    Family(
        ("invite", "askPeople"), "Invite people to a city.",
        (Parameter(("people",), "persons", "First names, in the order given."), _CITY),
        ("invite", "ask", "get"),
        ("{0} to {1}", "to {1} {0}", "{0} in {1}"),
    ),
    Family(
        ("callPerson", "call"), "Call a person for some minutes.",
        (_PERSON, _number("minutes", "Minutes to talk."),
         _flag("video", "with video", "Whether to use video.")),
        ("call", "start a call", "make a call"),
        ("to {0} for {1} minutes", "for {1} minutes to {0}", "with {0} for {1} minutes"),
    ),
    Family(
        ("setLight", "light"), "Set the light to a colour and a level.",
        (Parameter(("color",), "color", "Colour of the light."), _number("level", "Level from 2 to 99.")),
        ("set the light", "make the light", "get the light"),
        ("to {0} at {1}", "{0} at {1}", "at {1} in {0}"),
    ),
    Family(
        ("setAlarm", "alarm"), "Set an alarm.",
        (_dial("tone", "Number of the tone, modulo ten."),
         _flag("daily", "every day", "Whether the alarm comes every day.")),
        ("set an alarm", "start an alarm", "make an alarm"),
        ("with tone {0}", "on tone {0}", "of tone {0}"),
    ),
    Family(
        ("bookTable", "table"), "Book a table.",
        (_dial("number", "Number of the table, modulo ten."), _SEATS),
        ("book a table", "find a table", "get a table"),
        ("of number {0} for {1}", "for {1} of number {0}", "of number {0} for {1} people"),
    ),
    Family(
        ("findTrain", "train"), "Find a train.",
        (_dial("platform", "Number of the platform, modulo ten."), _SEATS),
        ("find a train", "book a train", "get a train"),
        ("from platform {0} for {1}", "for {1} from platform {0}", "for {1} people from platform {0}"),
    ),
    Family(
        ("sendBox", "box"), "Send a box of some weight.",
        (_dial("shelf", "Number of the shelf, modulo ten."), _number("weight", "Weight in kilos.")),
        ("send a box", "ship a box", "give a box"),
        ("to shelf {0} of {1} kilos", "of {1} kilos to shelf {0}", "with {1} kilos to shelf {0}"),
    ),
)  # fmt: skip
