"""MMLU-Pro: which option a response chose.

Three ways of reading, named in the task file (`answer_format`):
- `index`: the paper's (A.3): the option's number in the last box.
- `letter`: the official harness's (TIGER-AI-Lab/MMLU-Pro, evaluate_from_local.py): "the answer is (X)", then
  "Answer: X", then the last capital letter A to J that stands alone.
- `any`: a number or a letter in the last box, then as `letter`.
"""

import hashlib
import re
from collections.abc import Callable

from reference_impl.answers import after_think, as_integer, read_response

LETTERS = "ABCDEFGHIJ"
# A number or letter that heads its option: "3", "(3)", "3. the text", "\text{C}", "C: the text".
_BOXED_NUMBER = re.compile(r"\(?(\d{1,2})\)?(?:[.:)]\s|\s*$)")
_BOXED_LETTER = re.compile(r"\(?([A-J])\)?(?:[.:)]|\s*$)")
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|mathbf|mathrm)\s*\{([^{}]*)\}")

_THE_ANSWER_IS = re.compile(r"answer is \(?([A-J])\)?")
_ANSWER = re.compile(r"[aA]nswer:\s*([A-J])")
_LONE_LETTER = re.compile(r"\b[A-J]\b")


def read_choice(response: str, answer_format: str, *, truncated: bool = False) -> int | None:
    """Index of the chosen option, None where none can be read. It may lie beyond the question's options."""
    return _READERS[answer_format](response, truncated)


def _read_index(response: str, truncated: bool) -> int | None:
    boxed = _boxed(response, truncated)
    integer = as_integer(boxed)
    if integer is not None:
        return int(integer) if len(integer) <= 3 else None
    match = _BOXED_NUMBER.match(boxed)
    return int(match[1]) if match else None


def _read_letter(response: str, truncated: bool) -> int | None:
    text = after_think(response, truncated=truncated) or ""
    stated = _THE_ANSWER_IS.search(text)
    if stated:
        return LETTERS.index(stated[1])
    headed = list(_ANSWER.finditer(text))
    if headed:  # official: the last one in the first line that has one
        line_end = text.find("\n", headed[0].start())
        same_line = [match for match in headed if line_end < 0 or match.start() < line_end]
        return LETTERS.index(same_line[-1][1])
    letters = _LONE_LETTER.findall(text)
    return LETTERS.index(letters[-1]) if letters else None


def _read_any(response: str, truncated: bool) -> int | None:
    index = _read_index(response, truncated)
    if index is not None:
        return index
    match = _BOXED_LETTER.match(_boxed(response, truncated))
    return LETTERS.index(match[1]) if match else _read_letter(response, truncated)


_READERS: dict[str, Callable[[str, bool], int | None]] = {
    "index": _read_index,
    "letter": _read_letter,
    "any": _read_any,
}
ANSWER_FORMATS = tuple(_READERS)


def _boxed(response: str, truncated: bool) -> str:
    """Content of the last box without text commands; empty where there is none."""
    answer = read_response(response, truncated=truncated).answer or ""
    return _TEXT_COMMAND.sub(r"\1", answer[:500]).strip().strip("$").strip()


def random_choice(n_options: int, seed: str) -> int:
    """A guess among the options, fixed by `seed`; the official harness guesses so."""
    digest = hashlib.blake2b(f"mmlu-pro/{seed}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % n_options


def index_of(answer: str | int, n_options: int) -> int:
    """Index of a gold given as an index or a letter. Raises ValueError where it is no option."""
    text = str(answer).strip()
    index = int(text) if text.isdecimal() else LETTERS.find(text.upper()) if len(text) == 1 else -1
    if not 0 <= index < n_options:
        raise ValueError(f"gold {answer!r} is not one of {n_options} options (an index from 0, or a letter from A)")
    return index
