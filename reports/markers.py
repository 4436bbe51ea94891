"""Markers of style in answers: what is counted (markers.yaml), counting, and showing it in the text.

An answer is untrusted text: it is escaped here, before any mark is put around a phrase.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import markupsafe

from reference_impl.config.model import read_yaml
from reports.inputs import ROOT

MARKERS = ROOT / "reports" / "markers.yaml"
HIDDEN = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"} | {
    code: f"\\u{code:04x}" for code in (0x7F, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
"""Control characters and those that turn the direction of the text around them, with what is shown instead."""


@dataclass(frozen=True)
class Kind:
    """One kind of marker."""

    name: str
    label: str
    paper: str
    phrases: tuple[str, ...]


@dataclass(frozen=True)
class Markers:
    """All kinds; every phrase belongs to one."""

    kinds: tuple[Kind, ...]

    @cached_property
    def kind_of(self) -> Mapping[str, str]:
        """Phrase → the name of its kind."""
        return {phrase: kind.name for kind in self.kinds for phrase in kind.phrases}

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Any phrase as whole words, the longest first."""
        longest_first = sorted(self.kind_of, key=len, reverse=True)
        words = (r"\s+".join(map(re.escape, phrase.split())) for phrase in longest_first)
        return re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", re.IGNORECASE)

    def _kind(self, match: re.Match[str]) -> str:
        return self.kind_of[" ".join(match.group().lower().split())]

    def count(self, text: str) -> dict[str, int]:
        """Kind → how often it occurs in a text."""
        counts = {kind.name: 0 for kind in self.kinds}
        for match in self.pattern.finditer(text):
            counts[self._kind(match)] += 1
        return counts

    def shown(self, text: str) -> markupsafe.Markup:
        """A text as HTML: escaped, with a <mark> of its kind's class around every phrase."""
        parts, end = [], 0
        for match in self.pattern.finditer(text):
            parts.append(markupsafe.escape(visible(text[end : match.start()])))
            kind, phrase = self._kind(match), visible(match.group())
            parts.append(markupsafe.Markup('<mark class="{}">{}</mark>').format(kind, phrase))
            end = match.end()
        parts.append(markupsafe.escape(visible(text[end:])))
        return markupsafe.Markup("").join(parts)


def visible(text: str) -> str:
    """Text that can be written as UTF-8 and hides nothing: control characters become visible ones."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").translate(HIDDEN)


def load_markers(path: Path = MARKERS) -> Markers:
    """The kinds of markers.yaml.

    Raises:
        ValueError: a phrase that is empty, not in lower case, or in two kinds.
    """
    kinds = tuple(
        Kind(name, entry["label"], entry["paper"].strip(), tuple(entry["phrases"]))
        for name, entry in read_yaml(path).items()
    )
    seen: dict[str, str] = {}
    for kind in kinds:
        for phrase in kind.phrases:
            if not phrase or phrase != " ".join(phrase.lower().split()):
                raise ValueError(
                    f"{path}: {kind.name}: {phrase!r}: phrases are lower-case words with one space between"
                )
            if phrase in seen:
                raise ValueError(f"{path}: {phrase!r} is in {seen[phrase]} and in {kind.name}; a phrase has one kind")
            seen[phrase] = kind.name
    return Markers(kinds)
