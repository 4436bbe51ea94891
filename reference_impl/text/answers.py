"""Reading a math response: where the answer is, and whether the format is right.

Hostile text is ordinary input here: every function is linear in the length of its argument, none evaluates it.
"""

import re
from collections import deque
from dataclasses import dataclass

from reference_impl.text.compare import equality
from reference_impl.text.equivalence import MAX_CHARACTERS
from reference_impl.text.integers import as_integer, gold_text
from reference_impl.text.notation import plain
from reference_impl.text.quantity import quantity

__all__ = [
    "Reading",
    "after_think",
    "as_integer",
    "equality",
    "final_answer",
    "gold_text",
    "has_one_think_block",
    "hash_marked",
    "is_well_formatted",
    "last_boxed",
    "read_response",
]

_OPEN, _CLOSE = "<think>", "</think>"
# A box opens, an escaped brace is text, a bare brace opens or closes a group.
_BRACES = re.compile(r"(?<=\\)boxed\s{0,8}\{|\\[{}\\]|[{}]")
# TeX's short form of a box: one number without braces. Anything else after a bare \boxed is prose.
_BARE_BOX = re.compile(r"\\boxed\s{0,8}([+-]?\d{1,60}(?:[.,/]\d{1,60}){0,8})")
# What fills a box without being an answer: blanks, braces, dots, a square.
_NOTHING = re.compile(
    r"(?:\s|[{}$.~_?\u2026-]|\\[,;:! _]|\\(?:q?quad|[lc]?dots|cdot|square|Box)(?![a-zA-Z])"
    r"|\\(?:text|textbf|mathrm|mathbf|underline|boxed)(?=\s*\{)|\\(?:h?phantom|hspace)\s*\{[^{}]*\})*"
)


@dataclass(frozen=True)
class Reading:
    """A response taken apart. `answer` is the content of its final box, None where it has none."""

    answer: str | None
    well_formatted: bool


def read_response(response: str, *, truncated: bool = False) -> Reading:
    """The final answer of `response` and the result of the format test.

    The answer is the last box after the last closing think tag or, without one there, the last box of all: a response
    that ended its turn has answered, with its think block closed or open, though badly formatted. One that was cut
    (`truncated`) has not: a box in a train of thought is no final answer of what was to follow.
    """
    tail = after_think(response, truncated=truncated)
    answer = None if tail is None else last_boxed(tail)
    well_formatted = answer is not None and has_one_think_block(response)
    if answer is None and _CLOSE in response and not truncated:
        answer = last_boxed(response)
    return Reading(answer, well_formatted)


def final_answer(response: str, *, truncated: bool = False) -> str | None:
    """What a math response answers: its box after the think block, GSM8K's last line ``#### 42`` there, or a box in its
    thoughts. Rewards know boxes only.
    """
    tail = after_think(response, truncated=truncated)
    answer = None if tail is None else last_boxed(tail) or hash_marked(response, truncated=truncated)
    if answer is None and _CLOSE in response and not truncated:
        return last_boxed(response)
    return answer


def hash_marked(response: str, *, truncated: bool = False) -> str | None:
    """The number on the last line of the form ``#### 42`` after the think block; None where there is none.

    A line without a number is a heading: ``#### Conclusion``.
    """
    tail = after_think(response, truncated=truncated)
    for line in reversed((tail or "").split("\n")):
        if line.startswith("####") and _is_number(line[4:].strip()):
            return line[4:].strip()
    return None


def _is_number(text: str) -> bool:
    if as_integer(text) is not None:
        return True
    if not text or len(text) > MAX_CHARACTERS:
        return False
    read = quantity(plain(text.rstrip(".")))
    return read is not None and read.value is not None


def is_well_formatted(response: str) -> bool:
    """Exactly one <think>…</think>, then a box after it (A.2: "reasoning ending with a boxed answer")."""
    return has_one_think_block(response) and last_boxed(response.partition(_CLOSE)[2]) is not None


def has_one_think_block(response: str) -> bool:
    """Exactly one opening and one closing think tag, the opening one first."""
    single = response.count(_OPEN) == 1 and response.count(_CLOSE) == 1
    return single and response.index(_OPEN) < response.index(_CLOSE)


def after_think(response: str, *, truncated: bool = False) -> str | None:
    """The text after the last </think>; all of it without one; None if it was cut while thinking."""
    if _CLOSE in response:
        return response.rpartition(_CLOSE)[2]
    if _OPEN in response and truncated:
        return None
    return response


def last_boxed(text: str) -> str | None:
    """Content of the last closed \\boxed{…} of `text` that holds something, stripped, or the number of a later
    \\boxed 5; None without either. Of boxes in a box the outer one is read. Linear in the length."""
    first = text.find("\\boxed")
    if first < 0:
        return None
    stack: list[int] = []  # for each open brace: where the box's content starts, or -1 for a plain group
    best_start, best_end = -1, -1
    for match in _BRACES.finditer(text, first):
        token = match.group()
        if token == "}":
            start = stack.pop() if stack else -1
            if start >= 0 and not _is_nothing(text, start, match.start()):
                best_start, best_end = start, match.start()
        elif token == "{":
            stack.append(-1)
        elif token.endswith("{") and token.startswith("boxed"):
            stack.append(match.end())
    later = deque(_BARE_BOX.finditer(text, max(best_end, 0)), maxlen=1)
    if later:
        return str(later[0][1])
    return text[best_start:best_end].strip() if best_start >= 0 else None


def _is_nothing(text: str, start: int, end: int) -> bool:
    """Whether a box is empty: that of the prompt's own words, `\\boxed{}`, answers nothing."""
    return (
        end - start <= 40 and not text[start : start + 1].isalnum() and _NOTHING.fullmatch(text, start, end) is not None
    )
