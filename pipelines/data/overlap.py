"""Whether a training question is, or nearly is, one of a set of questions (the evaluation sets, another split).

Two tests: equality of normalised text, and shared n-grams of words. A shared n-gram alone proves nothing (every AIME
problem asks for `m+n where m and n are relatively prime positive integers`), so the *share* decides: of the n-grams of
the shorter question, how many the other one has.
"""

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reference_impl.files import read_jsonl

NGRAM = 10
"""Words. The tests for contamination in use take 8 to 13."""
SHARE = 0.5
"""Of the shorter question's n-grams. One changed word in a question of 40 words breaks at most 10 of its 31."""
# Commands that only change how TeX looks, and the names of equal commands.
_LOOKS = re.compile(r"\\(?:left|right|displaystyle|limits|big|Big|text|textbf|mathrm|quad|qquad)(?![a-zA-Z])|\\[,;:! ]")
_FRACTIONS = re.compile(r"\\[dt]frac(?![a-zA-Z])")
_WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")
# Delimiters, grouping, commas and full stops, which copies of a problem set differently.
_DROPPED = frozenset("$\\{}.,;:!?'\"`()_*")


def words(text: str) -> tuple[str, ...]:
    """The words, numbers and operators of a question, in lower case, without what only changes its looks."""
    plain = unicodedata.normalize("NFKC", text)
    plain = _LOOKS.sub(" ", _FRACTIONS.sub(r"\\frac", plain)).casefold()
    return tuple(word for word in _WORD.findall(plain) if word not in _DROPPED)


def normalise(text: str) -> str:
    """One text for all copies of a question; the text itself where it has no words."""
    return " ".join(words(text)) or text


def _ngrams(tokens: Sequence[str]) -> set[str]:
    """The n-grams; none of a text that is shorter."""
    return {" ".join(tokens[i : i + NGRAM]) for i in range(len(tokens) - NGRAM + 1)}


class QuestionIndex:
    """A set of questions by name of their set, to look up whether another question is one of them."""

    def __init__(self, sets: Mapping[str, Iterable[str]]) -> None:
        self._exact: dict[str, str] = {}
        self._names: list[str] = []
        self._sizes: list[int] = []
        self._places: dict[str, list[int]] = defaultdict(list)
        for name, questions in sets.items():
            for question in questions:
                self._add(name, question)

    def _add(self, name: str, question: str) -> None:
        self._exact.setdefault(normalise(question), name)
        grams = _ngrams(words(question))
        for gram in grams:
            self._places[gram].append(len(self._names))
        self._names.append(name)
        self._sizes.append(len(grams))

    def find(self, question: str) -> str | None:
        """The name of the set that has this question or one that shares most of its n-grams; None without one."""
        exact = self._exact.get(normalise(question))
        if exact is not None:
            return exact
        grams = _ngrams(words(question))
        shared = Counter(place for gram in grams for place in self._places.get(gram, ()))
        for place, n in shared.most_common():
            if n >= SHARE * min(len(grams), self._sizes[place]):
                return self._names[place]
        return None


def benchmark_questions(folder: Path, tasks: Iterable[str]) -> dict[str, list[str]]:
    """Task → its questions; errors as of `benchmark_rows`."""
    return {task: [text for text, _ in rows] for task, rows in benchmark_rows(folder, tasks).items()}


def benchmark_rows(folder: Path, tasks: Iterable[str]) -> dict[str, list[tuple[str, list[str]]]]:
    """Task → its questions with the names of the functions that they offer, from a benchmarks folder (`<task>.jsonl`,
    or a folder `<task>` in BFCL's layout).

    Raises ValueError for a task that is not there, saying how to bring it, and for a row without a question.
    """
    found = {}
    for task in tasks:
        files = [folder / f"{task}.jsonl"] if (folder / f"{task}.jsonl").is_file() else []
        files += sorted((folder / task).glob("*.json"))
        if not files:
            raise ValueError(
                f"{folder} has no {task}, which training questions must not be part of: "
                f"python -m evaluation.fetch --task {task} --out {folder}"
            )
        found[task] = [row for file in files for row in _rows(file)]
    return found


def question_text(question: Any) -> str:
    """A question as one text: BFCL's turns of messages are those of the user. Empty where it is neither."""
    if isinstance(question, list):
        messages = [part for turn in question for part in (turn if isinstance(turn, list) else [turn])]
        users = [message["content"] for message in messages if isinstance(message, dict) and message["role"] == "user"]
        return " ".join(map(str, users))
    return question if isinstance(question, str) else ""


def _rows(file: Path) -> Iterator[tuple[str, list[str]]]:
    for number, row in enumerate(read_jsonl(file), 1):
        text = question_text(row["problem"] if "problem" in row else row.get("question"))
        if not text.strip():
            raise ValueError(f"{file}, row {number}: no question in {json.dumps(row)[:200]}")
        yield text, [str(function.get("name")) for function in row.get("function", ())]
