"""Rows that are not used, with the reason: malformed ones are set aside by number, the others are counted."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class MalformedError(ValueError):
    """A row that is not of its data set's schema. `reason` is one of a few kinds, `detail` says what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class FilteredError(Exception):
    """A sound row that the selection leaves out, with the filter's name."""


@dataclass
class Tally:
    """What became of the rows of all files."""

    rows: int = 0
    kept: int = 0
    filtered: Counter[str] = field(default_factory=Counter)
    quarantine: list[dict[str, Any]] = field(default_factory=list)

    def malformed(self, file: str, number: int, error: MalformedError) -> None:
        """Set a row aside; `number` counts a file's rows (of a .jsonl: its lines) from 1."""
        detail = error.detail if len(error.detail) <= 300 else f"{error.detail[:297]}..."
        self.quarantine.append({"file": file, "row": number, "reason": error.reason, "detail": detail})

    def report(self) -> dict[str, Any]:
        """Counts for the manifest."""
        quarantined = Counter(entry["reason"] for entry in self.quarantine)
        return {
            "source_rows": self.rows,
            "kept_rows": self.kept,
            "filtered": dict(sorted(self.filtered.items())),
            "quarantined": dict(sorted(quarantined.items())),
        }


def what_is_left(report: Mapping[str, Any]) -> str:
    """The counts of `Tally.report` as a sentence, for the error of a selection that has too few rows."""
    left_out = [f"{n} {reason}" for reason, n in report["filtered"].items()]
    left_out += [f"{n} quarantined ({reason})" for reason, n in report["quarantined"].items()]
    return f"{report['kept_rows']} of {report['source_rows']} rows are left; left out: {', '.join(left_out) or 'none'}"


def text_column(row: Mapping[str, Any], name: str) -> str:
    """A column that must be text with something in it. Raises MalformedError."""
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise MalformedError(f"no text in {name}", repr(value)[:200])
    return value


def list_column(row: Mapping[str, Any], name: str, kind: type, length: int | None = None) -> list[Any]:
    """A column that must be a list of `kind`, of this length if one is given. Raises MalformedError."""
    value = row.get(name)
    if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
        raise MalformedError(f"no list of {kind.__name__} in {name}", repr(value)[:200])
    if length is not None and len(value) != length:
        raise MalformedError(f"{name} of another length", f"{len(value)} instead of {length}")
    return value
