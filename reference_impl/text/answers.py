"""Reading a math response: where the answer is, whether the format is right, whether it equals the gold.

Hostile text is ordinary input here: every function is linear in the length of its argument, none evaluates it.
"""

import re
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from reference_impl.text.equivalence import MAX_CHARACTERS, Equality, is_reasonable, symbolic_equality

_OPEN, _CLOSE = "<think>", "</think>"
# A box opens, an escaped brace is text, a bare brace opens or closes a group.
_BRACES = re.compile(r"(?<=\\)boxed\s{0,8}\{|\\[{}\\]|[{}]")
# TeX's short form of a box: one number without braces. Anything else after a bare \boxed is prose.
_BARE_BOX = re.compile(r"\\boxed\s{0,8}([+-]?\d{1,60}(?:[.,/]\d{1,60}){0,8})")
# What may stand around a number without changing it: `$42$`, `\(42\)`, `\text{42}`, `{42}`, `42 \,`.
_WRAPPERS = (
    ("$", "$"),
    ("\\(", "\\)"),
    ("\\[", "\\]"),
    ("\\text{", "}"),
    ("\\textbf{", "}"),
    ("\\mathbf{", "}"),
    ("\\mathrm{", "}"),
    ("{", "}"),
)
# Commands that only change how an answer appears, and blanks that do not part two words or numbers.
_LOOKS = re.compile(r"\\(?:left|right|displaystyle)(?![a-zA-Z])|\\[!,;: ]|(?<!\w)\s+|\s+(?!\w)")
_FRACTION_COMMANDS = re.compile(r"\\[dt]frac(?![a-zA-Z])")
_FRACTION = re.compile(
    r"([+-]?)(?:\\frac\{(-?\d{1,30})\}\{(\d{1,30})\}|\\frac(\d)(\d)|(\d{1,30})/(\d{1,30}))", re.ASCII
)
_INTEGER = re.compile(
    r"([+\-\u2212]?)(\d+|\d{1,3}(?:(?:,|\{,\})\d{3})+|\d{1,3}(?:(?:\\[, ]|[ ~])\d{3})+)(?:\.0*0)?", re.ASCII
)
_SCIENTIFIC = re.compile(r"([+\-\u2212]?)(\d{1,30})(?:\.(\d{1,30}))?[eE]\+?(\d{1,2})", re.ASCII)
# "12 dollars", "204\text{ minutes}", "12 km/h", "5 square units": an integer, a gap, words. A word of one or two
# letters may be a variable, so that only known units may be that short; some words change the number.
_INTEGER_WITH_UNIT = re.compile(
    r"([+\-\u2212]?[\d,.{}]{1,80}?)(?:\s|\\[,; ]|~){0,4}(?:\s|\\(?:text|textrm|mathrm)\s?\{)[\s~]{0,4}"
    r"((?:[A-Za-z]{3,30}|cm|mm|km|kg|mg|ft|in|mi|lb|oz|hr|ml|mL|m/s)"
    r"(?:[ /.-]{1,3}[A-Za-z]{1,30}){0,6})\.?\s*\}?\s*(?:\^\s*\{?[23]\}?)?",
    re.ASCII,
)
_NOT_A_UNIT = re.compile(
    r"\b(?:hundreds?|thousands?|[mbtr]+illions?|dozens?|half|halves|thirds?|quarters?|fourths?|fifths?|tenths?|factorial"
    r"|squared|cubed|plus|minus|times|over|mod|modulo|choose|and|or|to|not|pi|log|sin|cos|tan|sqrt|base|more|less|least"
    r"|most)\b",
    re.IGNORECASE,
)
# An integer is neither a bound, an approximation, a set, an interval, an absolute value to be computed nor a list.
_NO_INTEGER = re.compile(
    r"[<>|\u2248\u2260\u2264\u2265]|(?<!\\sqrt)\[|"
    r"\\(?:\{|[|]|(?:leq?|geq?|lt|gt|leqslant|geqslant|neq?|sim|simeq|approx|cong|in|notin|pm|mp|mid|[lr]?vert|[lr]?brace"
    r"|[lr]Vert|subset|subseteq|cup|cap|to|rightarrow|ldots|dots|cdots)(?![a-zA-Z]))"
)
# `\,` and `\;` are blanks, `{,}` and `1,000` are no lists.
_COMMAND_BLANKS = re.compile(r"\\[,;:! ]|\{,\}")
_LIST = re.compile(r"[,;](?!\d{3}(?!\d))|\\q?quad|\\\\|\b(?:or|and)\b")
_TEXT = re.compile(r"\\(?:text|textrm|textbf|mathrm|mbox)\s?\{([^{}]*)\}")
MAX_NUMERIC_SIDES = 3  # each may cost a symbolic comparison, and a verdict has seconds
_COMMAND = re.compile(r"\\[a-zA-Z]+")
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


def hash_marked(response: str, *, truncated: bool = False) -> str | None:
    """The rest of the last line that starts with ``####`` after the think block; None where there is none."""
    tail = after_think(response, truncated=truncated)
    marked = [line[4:].strip() for line in (tail or "").split("\n") if line.startswith("####")]
    return marked[-1] or None if marked else None


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
    """Content of the last closed \\boxed{…} of `text`, stripped, or the number of a later \\boxed 5; None without
    either. Linear in the length."""
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
    later = deque(_BARE_BOX.finditer(text, max(best_end, 0)), maxlen=1)
    if later:
        return str(later[0][1])
    return text[best_start:best_end].strip() if best_start >= 0 else None


def as_integer(text: str) -> str | None:
    """Canonical decimal digits of an integer ("-7", "1000"), or None if `text` is not one written plainly.

    A sign, leading zeros, thousands separators, a zero decimal part, math delimiters and `1e3` are plain. It works on
    characters, since int() refuses more than 4,300 digits.
    """
    text = _unwrap(text.strip())
    scientific = _SCIENTIFIC.fullmatch(text)
    if scientific is not None:
        sign, whole, decimals, exponent = scientific.groups(default="")
        shift = int(exponent) - len(decimals)
        if shift < 0:
            return None
        text = sign + whole + decimals + "0" * shift
    match = _INTEGER.fullmatch(text)
    if match is None:
        return None
    digits = re.sub(r"\D", "", match[2]).lstrip("0") or "0"
    return f"-{digits}" if match[1] in {"-", "\u2212"} and digits != "0" else digits


def gold_text(answer: Any) -> str:
    """A gold answer as text, 142.0 as "142". Raises ValueError for what is neither text nor a number."""
    if isinstance(answer, float) and answer.is_integer():
        return str(int(answer))
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        raise ValueError(f"a gold answer must be text or a number, got {answer!r:.80}")
    return str(answer)


def _unwrap(text: str) -> str:
    """Remove at most four layers of delimiters around the whole of `text`."""
    for _ in range(4):
        for left, right in _WRAPPERS:
            inner = text[len(left) : -len(right)]
            if text.startswith(left) and text.endswith(right) and inner and _is_whole(inner, right):
                text = inner.strip()
                break
        else:
            break
    return text


def _is_whole(inner: str, right: str) -> bool:
    """Whether the delimiters around `inner` belong together: not those of `$1$, $2$` or `\\text{a} b \\text{c}`."""
    if right != "}":
        return right not in inner
    depth = 0
    for brace in _BRACES.finditer(inner):
        depth += {"{": 1, "}": -1}.get(brace.group()[-1], 0) if not brace.group().startswith("\\") else 0
        if depth < 0:
            return False
    return True


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

    Integers and fractions are compared as such, without sympy and without a process; a unit in words beside one of
    two integers does not count. Text that only looks different is equal. An integer gold takes no bound, list or set
    for an answer (`_equals_integer`). math-verify decides the rest in a worker.
    """
    gold, answer = _tidy(gold), _tidy(answer)
    gold_integer, answer_integer = as_integer(gold), as_integer(answer)
    if gold_integer is None and answer_integer is not None:
        gold_integer = _integer_with_unit(gold)
    if gold_integer is not None:
        answer_integer = answer_integer or _integer_with_unit(answer)
    if gold_integer is not None and answer_integer is not None:
        return "equal" if answer_integer == gold_integer else "different"
    if _words(answer) == _words(gold):
        return "equal"
    gold_fraction, answer_fraction = as_fraction(gold), as_fraction(answer)
    if gold_fraction is not None and answer_fraction is not None:
        return "equal" if gold_fraction == answer_fraction else "different"
    return symbolic_equality(gold, answer) if gold_integer is None else _equals_integer(gold, answer)


def _words(text: str) -> str:
    """Plain text without delimiters around the whole, and `(C)` as `C`."""
    plain = _plain(_unwrap(text))
    return plain[1:-1] if re.fullmatch(r"\([A-Z]\)", plain) else plain


def _integer_with_unit(text: str) -> str | None:
    """The integer of "12 dollars", as digits; None where `text` is not an integer followed by a unit in words."""
    match = _INTEGER_WITH_UNIT.fullmatch(_unwrap(text)) if len(text) <= MAX_CHARACTERS else None
    if match is None or _NOT_A_UNIT.search(match[2]):
        return None
    return as_integer(match[1])


def _equals_integer(gold: str, answer: str) -> Equality:
    """Equality of an integer gold and an answer that is no plain integer, such as `x=12`, `\\frac{24}{2}`, `3,3`.

    math-verify takes `\\leq 12`, `|12|`, `[12]`, `3,3` and `4=5` for 12, 12, 12, 3 and 5; here they are different. Of
    an equation the last side must be the gold, and so must every side before it that names nothing (`4=5`).
    """
    answer = _unwrap(answer)
    *before, last = _sides(answer)
    after_first = _COMMAND_BLANKS.sub("", "=".join((*before[1:], last)))
    if _NOT_A_NUMBER.fullmatch(last) or _NO_INTEGER.search(answer) or _LIST.search(after_first):
        return "different"
    if not is_reasonable(answer):
        return "different"
    if not before:
        return symbolic_equality(gold, answer)
    numeric = [side for side in before if side.strip() and not _names_something(side)]
    if len(numeric) > MAX_NUMERIC_SIDES:
        return "different"
    for side in (*numeric, last):
        outcome = equality(gold, side)
        if outcome != "equal":
            return outcome
    return "equal"


def _sides(text: str) -> list[str]:
    """`text` split at each `=` outside braces: that of `\\sum_{i=1}^3 i` makes no equation."""
    starts, depth = [0], 0
    for match in re.finditer(r"[{}=]", text):
        depth += {"{": 1, "}": -1, "=": 0}[match.group()]
        if match.group() == "=" and depth == 0:
            starts.append(match.end())
    return [text[start : end - 1] for start, end in zip(starts, [*starts[1:], len(text) + 1], strict=True)]


def _names_something(side: str) -> bool:
    """Whether a side of an equation has a letter or a word, `\\frac` and other commands aside."""
    return re.search("[A-Za-z]", _COMMAND.sub("", _TEXT.sub(r"\1", side))) is not None
