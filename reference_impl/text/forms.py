r"""The form of an answer: labels that are names, then sides, as `|AB| = 5 + 7 = 12` has one label and two sides.

An allow-list: what is no name is a side, and a side has to be right. `2x`, `x^2` and `-x` are no names, since
`2x = 7` does not say that anything asked for is 7.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from reference_impl.text.notation import whole
from reference_impl.text.quantity import quantity
from reference_impl.text.units import is_label

MAX_SIDES = 4  # each may cost a symbolic comparison, and a verdict has seconds
_GREEK = (
    r"\\(?:alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|vartheta|kappa|lambda|mu|nu|xi|rho|sigma|tau|phi"
    r"|varphi|chi|psi|omega|Gamma|Delta|Theta|Lambda|Sigma|Phi|Psi|Omega|ell)(?![a-zA-Z]) ?"
)
_ACCENTED = (
    r"\\(?:overline|overrightarrow|overleftrightarrow|vec|hat|bar|widehat|widetilde|tilde|dot|mathbb|mathcal|mathscr"
    r"|mathfrak)\{[A-Za-z0-9' ]{1,8}\}"
)
_MARKS = r"(?:'|\^\\prime ?|\^\*|_\{[^{}]{1,20}\}|_[A-Za-z0-9]){0,3}"
# One letter with its marks, or several capitals: a point, a segment, a triangle.
_ATOM = re.compile(rf"(?:\\sigma ?\^2|(?:{_GREEK}|{_ACCENTED}|[A-Z]{{2,8}}|[A-Za-z]){_MARKS})")
# What may stand before a name and make another: the angle ABC, the sine of A, the greatest common divisor of a and b.
_FUNCTION = (
    r"(?:m ?(?=\\angle)|\\(?:angle|measuredangle|triangle|square|odot|sin|cos|tan|cot|sec|csc|gcd|det|deg|dim|max|min"
    r"|Pr|arg|Re|Im|operatorname)(?![a-zA-Z]) ?|\\#)"
)
_PREFIX = re.compile(rf"{_FUNCTION}{{1,2}}")
_SET_SIGN = re.compile(r"\\(?:cup|cap|setminus)(?![a-zA-Z]) ?")
_INVERSE = re.compile(r"\^\{-1\}|\^\{\(\d\)\}")
_WORDS = re.compile(r'(?:"[^"]*"[ .,]?)+')
_CHOICE = re.compile(
    r"(?:\(([A-J])\)|([A-J])[.:)])(?:[ :.]|\\q?quad ?|\\hspace\{[^{}]*\})*(?=[\d\\($\"+.-])(.+)", re.DOTALL
)
_MORE = re.compile(r"(?<![A-Za-z\\])[A-J](?![A-Za-z])|[,;]")  # another option, another value
# |x| = 7 leaves two values for x, |z|, |v|, |S| and |AB| are what was asked for.
_REAL_VARIABLE = re.compile(r"[a-tx-y]")


@dataclass(frozen=True)
class Form:
    """labels: names, maybe none. sides: one or more. choice: the letter of `(C) 12`."""

    labels: tuple[str, ...]
    sides: tuple[str, ...]
    choice: str | None = None


@lru_cache(maxsize=1 << 13)
def form(text: str) -> Form:
    """The form of an answer in plain notation."""
    parts = split(text, "=")
    if len(parts) == 1:
        member = split(text, r"\in")
        parts = member if len(member) == 2 and is_name(member[0]) else parts
    if len(parts) > 1 and is_name(parts[-1]) and not any(map(is_name, parts[:-1])):
        parts = [parts[-1], *parts[:-1]]  # 7 = x
    first = 0
    while first < len(parts) - 1 and is_name(parts[first]):
        first += 1
    value, *others = parts[first:]
    choice = None
    chosen = _CHOICE.fullmatch(value)
    if chosen is not None and quantity(chosen[3]) is not None and not _MORE.search(chosen[3]):
        choice, value = chosen[1] or chosen[2], chosen[3]
    spoken = _WORDS.match(value)
    if spoken is not None and is_label(spoken[0]):
        rest = value[spoken.end() :].lstrip(" :")
        if rest and not rest.startswith(("^", "_")):
            value = rest
        elif len(split(spoken[0], ":")) == 1 and '"' in spoken[0]:
            # "The answer is even": the last word is the value.
            head, _, last = spoken[0].rstrip(" .,").rpartition('"is"')
            value = last if head and last else value
    return Form(tuple(parts[:first]), (value, *others), choice)


def split(text: str, separator: str) -> list[str]:
    r"""`text` cut at each `separator` outside brackets: that of `\sum_{i=1}^3 i` and of `P(X=1)` cuts nothing."""
    parts, start, position = [], 0, 0
    while position < len(text):
        if text[position] in "({[" and text[position - 1 : position] != "\\":
            closing = whole(text, position)
            position = closing if closing > 0 else position
        elif text.startswith(separator, position) and not (
            separator[0] == "\\" and text[position + len(separator) : position + len(separator) + 1].isalpha()
        ):
            parts.append(text[start:position].strip())
            position += len(separator)
            start = position
            continue
        position += 1
    return [*parts, text[start:].strip()]


def is_name(text: str) -> bool:
    """Whether `text` in plain notation names something: a symbol, a segment, f(2), words, a sum of different names."""
    spoken = _WORDS.match(text)
    if spoken is not None:
        if not is_label(spoken[0]):
            return False
        text = text[spoken.end() :].strip(" :")
        if not text or (text.startswith("(") and whole(text, 0) == len(text) - 1):
            return True
    names = re.split(r"(?<=[\w)\]'}|])[+-]", text)
    return _is_one_name(text) or (1 < len(set(names)) == len(names) <= 4 and all(map(_is_one_name, names)))


def _is_one_name(text: str) -> bool:
    text = text.strip()
    for left, right in (("|", "|"), (r"\|", r"\|"), ("[", "]")):
        if len(text) > 2 * len(left) and text.startswith(left) and text.endswith(right):
            inner = text[len(left) : -len(right)]
            return all(map(is_name, _SET_SIGN.split(inner))) and not _REAL_VARIABLE.fullmatch(inner)
    if text.startswith("(") and whole(text, 0) == len(text) - 1 and "," in text:
        return all(map(_is_one_name, text[1:-1].split(",")))
    ratio = re.fullmatch(r"\\frac\{([^{}]+)\}\{([^{}]+)\}|([^:/{}]+)[/:]([^:/{}]+)", text)
    if ratio is not None:
        above, below = (part for part in ratio.groups() if part is not None)
        return above != below and _is_one_name(above) and _is_one_name(below)
    prefix = _PREFIX.match(text)
    if prefix is not None:
        text = text[prefix.end() :]
        if text.startswith(("(", "[")) and whole(text, 0) == len(text) - 1:
            return True
        if text.startswith("{") and whole(text, 0) == len(text) - 1:
            text = text[1:-1]
    atom = _ATOM.match(text)
    if atom is None:
        return False
    rest = text[atom.end() :].strip()
    inverse = _INVERSE.match(rest)
    if inverse is not None:
        rest = rest[inverse.end() :]
    if rest.startswith(("(", "[")):
        return whole(rest, 0) == len(rest) - 1
    if inverse is not None:
        return False
    # A product of different letters, xy or abc.
    others = [match[0] for match in _ATOM.finditer(rest)]
    return rest == "".join(others) and len({atom[0], *others}) == len(others) + 1 <= 4
