"""MMLU-Pro: which option a response chose.

Three ways of reading, named in the task file (`answer_format`):
- `index`: the paper's (A.3): the option's number in the last box.
- `letter`: the official harness's (TIGER-AI-Lab/MMLU-Pro, evaluate_from_local.py): "the answer is (X)", then
  "Answer: X", then the last capital letter A to J that stands alone.
- `any`: whatever states the choice, number or letter: the last box, or what is said after it; then "the answer is (X)",
  "Answer: X", a response that is nothing else, and the last capital letter that stands alone.
"""

import hashlib
import re
from collections.abc import Callable

from reference_impl.text.answers import after_think, as_integer, read_response

LETTERS = "ABCDEFGHIJ"
# A number or letter that heads its option: "3", "(3)", "3. the text", "\text{C}", "C: the text".
_BOXED_NUMBER = re.compile(r"\(?(\d{1,2})\)?(?:[.:)]\s|\s*$)")
_BOXED_LETTER = re.compile(r"\(?([A-J])\)?(?:[.:)]|\s*$)|\(?([a-j])\)?\s*$")
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|mathbf|mathrm)\s*\{([^{}]*)\}")

_THE_ANSWER_IS = re.compile(r"answer is \(?([A-J])\)?")
_ANSWER = re.compile(r"[aA]nswer:\s*([A-J])")
_LONE_LETTER = re.compile(r"\b[A-J]\b")
# `any` only. "The answer is (3)", not "the answer is 3.5" nor "the answer is 12 metres".
_THE_ANSWER_IS_NUMBER = re.compile(r"answer is:?\s{0,4}(?:\((\d{1,2})\)|(\d{1,2})(?=\.?\s*(?:$|\n)|\.\s))")
_WHOLE_RESPONSE = re.compile(r"[(*]{0,3}(?:(\d{1,2})|([A-Ja-j]))[)*.]{0,4}")


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
    text = after_think(response, truncated=truncated) or ""
    boxed = _read_box(response, truncated)
    after_box = text[text.rfind("\\boxed") :] if boxed is not None else ""
    if boxed is not None and not _THE_ANSWER_IS.search(after_box):
        return boxed
    whole = _WHOLE_RESPONSE.fullmatch(text.strip())
    if whole:
        return int(whole[1]) if whole[1] else LETTERS.index(whole[2].upper())
    if not _THE_ANSWER_IS.search(text) and not _ANSWER.search(text):
        stated = list(_THE_ANSWER_IS_NUMBER.finditer(text))
        if stated:
            return int(stated[-1][1] or stated[-1][2])
    return _read_letter(after_box or text, truncated)


def _read_box(response: str, truncated: bool) -> int | None:
    """The number or letter in the last box."""
    index = _read_index(response, truncated)
    if index is not None:
        return index
    match = _BOXED_LETTER.match(_boxed(response, truncated))
    return LETTERS.index((match[1] or match[2]).upper()) if match else None


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


def index_of(answer: str | int | float, n_options: int) -> int:
    """Index of a gold given as an index (5, 5.0, "5") or a letter ("F", "(F)"). Raises ValueError where it is no
    option.
    """
    text = str(answer).strip().removeprefix("(").removesuffix(")").strip()
    integer = as_integer(text) or ""
    letter = LETTERS.find(text.upper()) if len(text) == 1 else -1
    index = int(integer) if 0 < len(integer) <= 3 else letter
    if not 0 <= index < n_options:
        raise ValueError(f"gold {answer!r:.80} is not one of {n_options} options (an index from 0, or a letter from A)")
    return index
