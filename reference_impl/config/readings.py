"""The keys of readings.yaml: what the paper leaves open, read otherwise than methods.yaml does.

A reading is a change of entries of methods.yaml. Each of its methods is trained with that change under a name of its
own, `chord_mu@mu_cosine`; a preset applies the changes of several readings to the entries themselves.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from reference_impl.config.fields import Name, Several
from reference_impl.config.model import Declared, choose, parse, read_yaml, refuse, unknown

READING = "CHORD_READING"
"""Environment variable: the preset that a call of the workflow has, for its jobs; empty: none."""
FILE = "readings.yaml"
MARK = "@"
"""Between a method and what it is read as: `chord_mu@mu_cosine`; no entry's own name has it."""
FIXED = ("label", "like", "paper", "role", "domains", "policy", "expert", "init", "select", "keep")
"""Keys of a method that no reading changes: they say which method it is."""
Entry = dict[str, Any]


class Reading(Declared):
    """One open question, answered otherwise."""

    label: str
    """How tables name it."""
    question: str
    """What the paper leaves open, in a line."""
    row: str = ""
    """The open question as docs/fidelity.md words it, where the released code answers it so."""
    methods: Several[str]
    """The methods that it touches: `sensitivity` compares each with itself, so changed."""
    domains: Several[str] | None = None
    """Where that is done; left out: wherever the method is trained."""
    everywhere: bool = False
    """Whether a preset applies it to every method that trains, and not only to `methods` and what is like them."""
    changes: dict[Name, Any] = Field(min_length=1)
    """Keys of methods.yaml, with other values."""

    def is_of(self, name: str, entry: Mapping[str, Any]) -> bool:
        """Whether a preset changes this entry of methods.yaml itself; what is like it inherits the change."""
        return name in self.methods or (self.everywhere and "mu" in entry and "like" not in entry)


class Preset(Declared):
    """Several readings at once."""

    label: str
    """What it is, in words."""
    readings: Several[str]
    """Those that it applies, in all domains."""
    tuned: bool = True
    """Whether learning rates are those that the scale was tuned to; false: as where it never was."""
    besides: dict[str, str] = Field(default_factory=dict)
    """Open question of docs/fidelity.md that none of the readings answers → what is done there, and why."""


class Readings(Declared):
    """readings.yaml."""

    readings: dict[Name, Reading]
    presets: dict[Name, Preset]

    def changed(self, preset: str, methods: Mapping[str, Entry]) -> dict[str, Entry]:
        """The entries of methods.yaml with a preset's changes."""
        applied = [self.readings[name] for name in self.presets[preset].readings]
        return {
            name: {**entry, **_together([one.changes for one in applied if one.is_of(name, entry)])}
            for name, entry in methods.items()
        }

    def derived(self, methods: Mapping[str, Entry], domains: Mapping[str, tuple[str, ...]]) -> dict[str, Entry]:
        """An entry for every method of every reading: `method@reading`, like it. ``domains``: of the methods."""
        found: dict[str, Entry] = {}
        for name, reading in self.readings.items():
            for method in reading.methods:
                own = domains[method]
                found[f"{method}{MARK}{name}"] = {
                    "label": f"{methods[method]['label']}, {reading.label}",
                    "paper": reading.question,
                    "like": method,
                    "domains": tuple(domain for domain in own if domain in (reading.domains or own)),
                    **reading.changes,
                }
        return found


def _together(changes: list[dict[str, Any]]) -> dict[str, Any]:
    """Several changes of one entry as one; keys below a key are joined."""
    joined: dict[str, Any] = {}
    for change in changes:
        for key, value in change.items():
            both = isinstance(value, dict) and isinstance(joined.get(key), dict)
            joined[key] = {**joined[key], **value} if both else value
    return joined


def load_readings(root: Path, methods: Mapping[str, Entry], domains: Collection[str]) -> Readings:
    """Read and check readings.yaml; what its changes say is checked with the methods that they change.

    Raises ValueError with every mistake.
    """
    source = os.path.relpath(root / FILE)
    found = parse(Readings, read_yaml(root / FILE), source)
    refuse(f"{source}: {problem}" for problem in _problems(found, methods, domains))
    return found


def _problems(found: Readings, methods: Mapping[str, Entry], domains: Collection[str]) -> Iterator[str]:
    for name, reading in found.readings.items():
        for method in reading.methods:
            yield from (f"{name}: {text}" for text in unknown("method", method, methods, "methods.yaml"))
        for domain in reading.domains or ():
            yield from (f"{name}: {text}" for text in unknown("domain", domain, domains, "domains.yaml"))
        fixed = [key for key in reading.changes if key in FIXED]
        yield from (f"{name}: changes.{key}: this says which method it is: a method of its own, then" for key in fixed)
    for name, preset in found.presets.items():
        for reading_name in preset.readings:
            yield from (f"{name}: {text}" for text in unknown("reading", reading_name, found.readings, FILE))


def chosen_preset(given: str | None = None) -> str:
    """The preset asked for: the given one, else that of `CHORD_READING`; empty: none."""
    return os.environ.get(READING, "") if given is None else given


def load_preset(root: Path, name: str) -> Preset | None:
    """A preset of readings.yaml; None for an empty name. Raises ValueError for an unknown one."""
    if not name:
        return None
    presets = parse(Readings, read_yaml(root / FILE), os.path.relpath(root / FILE)).presets
    return presets[choose("reading", name, presets, f"{FILE}: presets")]
