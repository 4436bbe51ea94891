"""Every stored sample behind a page, as files that its browser of samples loads on demand, from a disk too.

A file is one call of a function of the page with gzipped JSON in base64: who opens a page from a disk may load scripts
from beside it and nothing else. Texts stay data: the page shows them as text only. Names and verdicts are those of the
stored samples and of the tables.
"""

import base64
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reference_impl.config.experiments import Experiment
from reference_impl.files import json_text, write_text
from reports.cases import stored_samples
from reports.inputs import Results
from reports.scores import UNREADABLE
from reports.style import label

FIELDS = ("seed", "sample", "response", "extracted", "correct", "reason", "score", "tokens", "truncated")
"""What a file holds of each sample, in this order."""


@dataclass(frozen=True)
class Place:
    """Where samples come from: a method's answers to a task."""

    domain: str
    method: str
    task: str

    @property
    def key(self) -> str:
        return f"{self.domain}/{self.method}/{self.task}"

    @property
    def file(self) -> str:
        return f"{quote(self.domain)}-{quote(self.method)}-{quote(self.task)}.js"


def places(results: Results, shown: Mapping[str, Experiment]) -> list[Place]:
    """Every task that the tables of a page ask of their methods, in the order of methods.yaml."""
    asked = {
        (domain, method)
        for entry in shown.values()
        if entry.kind == "table"
        for domain in entry.domains
        for method in entry.methods
        if domain in results.scale.domains and domain in results.decl.method_domains(method)
    }
    return [
        Place(domain, method, task)
        for domain in results.scale.domains
        for method in results.decl.methods
        if (domain, method) in asked
        for task in results.scale.domains[domain].tasks
    ]


def packed(text: str) -> str:
    """Text as gzip in base64, the same bytes for the same text."""
    return base64.b64encode(gzip.compress(text.encode("utf-8", "backslashreplace"), 9, mtime=0)).decode("ascii")


def script_json(value: Any) -> str:
    """JSON that may stand in a script element: no character of it can end the element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def questions_of(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Questions in their stored order, each with its prompt, gold answer and samples (lists of FIELDS)."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        place = {"id": row["item_id"], "category": row["category"], "prompt": row["prompt"], "gold": row["gold"]}
        question = found.setdefault(str(row["item_id"]), place | {"samples": []})
        question["samples"].append([row.get(field) for field in FIELDS])
    return list(found.values())


def sample_file(key: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """The text of one file."""
    content = json_text({"fields": FIELDS, "questions": questions_of(rows)})
    return f'chordSamples({json.dumps(key)},"{packed(content)}");\n'


def write(results: Results, there: Sequence[Place], folder: Path) -> None:
    """Write a file for every place."""
    for place in there:
        rows = stored_samples(results, place.domain, place.method, place.task)
        write_text(folder / place.file, sample_file(place.key, rows))


def catalogue(results: Results, there: Sequence[Place], folder: str) -> str:
    """What the browser offers, as JSON for a script element: domains, methods, tasks, and where their files are."""
    decl = results.decl
    return script_json(
        {
            "folder": folder,
            "unreadable": sorted(UNREADABLE),
            "domains": {place.domain: decl.domains[place.domain].label for place in there},
            "methods": {place.method: label(decl, place.method) for place in there},
            "files": {place.key: place.file for place in there},
        }
    )
