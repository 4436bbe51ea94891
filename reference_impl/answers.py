"""Reading a math response: where the answer is, whether the format is right, whether it equals the gold.

Hostile text is ordinary input here: every function is linear in the length of its argument, none evaluates it.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from reference_impl.equivalence import Equality, symbolic_equality

_OPEN, _CLOSE = "<think>", "</think>"
# A box opens, an escaped brace is text, a bare brace opens or closes a group.
_BRACES = re.compile(r"(?<=\\)boxed\s{0,8}\{|\\[{}\\]|[{}]")
# What may stand around a number without changing it: `$42$`, `\(42\)`, `\text{42}`, `{42}`, `42 \,`.
_WRAPPERS = (("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("\\text{", "}"), ("\\mathbf{", "}"), ("{", "}"))
# Commands that only change how an answer looks, and blanks that do not part two words or numbers.
_LOOKS = re.compile(r"\\(?:left|right|displaystyle)(?![a-zA-Z])|\\[!,;: ]|(?<!\w)\s+|\s+(?!\w)")
_FRACTION_COMMANDS = re.compile(r"\\[dt]frac(?![a-zA-Z])")
_FRACTION = re.compile(
    r"([+-]?)(?:\\frac\{(-?\d{1,30})\}\{(\d{1,30})\}|\\frac(\d)(\d)|(\d{1,30})/(\d{1,30}))", re.ASCII
)
_INTEGER = re.compile(
    r"([+\-\u2212]?)(\d+|\d{1,3}(?:(?:,|\{,\})\d{3})+|\d{1,3}(?:(?:\\[, ]|[ ~])\d{3})+)(?:\.0*0)?", re.ASCII
)
# Text without any of these characters cannot denote an integer: words and blanks only.
_NOT_A_NUMBER = re.compile(r"[A-Za-z\s.,;:?!'-]*")


@dataclass(frozen=True)
class Reading:
    """A response taken apart. `answer` is the content of its final box, None where it has none."""

    answer: str | None
    well_formatted: bool


def read_response(response: str, *, truncated: bool = False) -> Reading:
    """The final answer of `response` and the result of the format test.

    The answer is the last box after the last closing think tag. A response that ended its turn inside an
    unclosed think block has still answered (badly formatted); one that was cut there (`truncated`) has not: a
    box in an unfinished train of thought is no final answer.
    """
    tail = after_think(response, truncated=truncated)
    return Reading(None if tail is None else last_boxed(tail), is_well_formatted(response))


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
    """Content of the last closed \\boxed{…} of `text`, stripped; None without one. One pass."""
    stack: list[int] = []  # for each open brace: where the box's content starts, or -1 for a plain group
    best_start, best_end = -1, -1
    for match in _BRACES.finditer(text):
        token = match.group()
        if token == "}":
            start = stack.pop() if stack else -1
            if start > best_start:
                best_start, best_end = start, match.start()
        elif token == "{":
            stack.append(-1)
        elif token.endswith("{") and token.startswith("boxed"):
            stack.append(match.end())
    return text[best_start:best_end].strip() if best_start >= 0 else None


def as_integer(text: str) -> str | None:
    """Canonical decimal digits of an integer ("-7", "1000"), or None if `text` is not one written plainly.

    Reads what math-verify also reads as that integer: a sign, leading zeros, thousands separators, a zero
    decimal part, math delimiters. It works on characters, since int() refuses more than 4,300 digits.
    """
    match = _INTEGER.fullmatch(_unwrap(text.strip()))
    if match is None:
        return None
    digits = re.sub(r"\D", "", match[2]).lstrip("0") or "0"
    return f"-{digits}" if match[1] in {"-", "\u2212"} and digits != "0" else digits


def _unwrap(text: str) -> str:
    """Remove at most four layers of delimiters around the whole of `text`."""
    for _ in range(4):
        for left, right in _WRAPPERS:
            if text.startswith(left) and text.endswith(right) and len(text) > len(left) + len(right):
                text = text[len(left) : -len(right)].strip()
                break
        else:
            break
    return text


def _tidy(text: str) -> str:
    """Drop what ends a sentence or a line, not an answer: `5.`, `5,`, `5 \\\\`."""
    return text.strip().rstrip("\\ \n\t.,;").lstrip()


def _plain(text: str) -> str:
    """The text with one notation for what only looks different: `\\dfrac`, `\\left(`, `\\,`, blanks."""
    return _LOOKS.sub("", _FRACTION_COMMANDS.sub(r"\\frac", text))


def as_fraction(text: str) -> Fraction | None:
    """The value of an integer or of a fraction of integers; None for anything else, decimals included."""
    integer = as_integer(text)
    if integer is not None:
        return Fraction(int(integer)) if len(integer) <= 30 else None
    match = _FRACTION.fullmatch(_plain(_unwrap(text)))
    if match is None:
        return None
    numerator, denominator = (int(group) for group in match.groups()[1:] if group is not None)
    if denominator == 0:
        return None
    return Fraction(numerator, denominator) * (-1 if match[1] == "-" else 1)


def equality(gold: str, answer: str) -> Equality:
    """Whether `answer` equals `gold`: "equal", "different", or "timeout" where the symbolic check was stopped.

    Integers and fractions are compared as such, without sympy and without a process; for an integer gold, text
    without digits or symbols is different. Text that only looks different is equal. math-verify decides the rest
    in a worker.
    """
    gold, answer = _tidy(gold), _tidy(answer)
    gold_integer, answer_integer = as_integer(gold), as_integer(answer)
    if gold_integer is not None and answer_integer is not None:
        return "equal" if answer_integer == gold_integer else "different"
    if gold_integer is not None and _NOT_A_NUMBER.fullmatch(answer):
        return "different"
    if _plain(answer) == _plain(gold):
        return "equal"
    gold_fraction, answer_fraction = as_fraction(gold), as_fraction(answer)
    if gold_fraction is not None and answer_fraction is not None:
        return "equal" if gold_fraction == answer_fraction else "different"
    return symbolic_equality(gold, answer)
