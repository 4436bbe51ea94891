"""Integers written plainly, read as digits: no length is too long, and nothing is parsed that need not be."""

import re
from typing import Any

_BRACES = re.compile(r"\\[{}\\]|[{}]")
# What may stand around a number without changing it: `$42$`, `\(42\)`, `\text{42}`, `{42}`, `42 \,`.
_WRAPPERS = (
    ("$", "$"),
    ("\\(", "\\)"),
    ("\\[", "\\]"),
    ("\\text{", "}"),
    ("\\textbf{", "}"),
    ("\\mathbf{", "}"),
    ("\\boldsymbol{", "}"),
    ("\\mathrm{", "}"),
    ("{", "}"),
    ("**", "**"),
)
_INTEGER = re.compile(
    r"([+\-\u2212\u2013]?)(\d+|\d{1,3}(?:(?:,|\{,\})\d{3})+|\d{1,3}(?:(?:\\[, ]|[ ~])\d{3})+)(?:\.0*0)?", re.ASCII
)
_SCIENTIFIC = re.compile(r"([+\-\u2212\u2013]?)(\d{1,30})(?:\.(\d{1,30}))?[eE]\+?(\d{1,2})", re.ASCII)


def as_integer(text: str) -> str | None:
    """Canonical decimal digits of an integer ("-7", "1000"), or None if `text` is not one written plainly.

    A sign, leading zeros, thousands separators, a zero decimal part, math delimiters and `1e3` are plain. It works on
    characters, since int() refuses more than 4,300 digits.
    """
    text = text.strip()
    if text.isdigit() and text.isascii():
        return text.lstrip("0") or "0"
    text = _unwrap(text)
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
    return f"-{digits}" if match[1] in {"-", "\u2212", "\u2013"} and digits != "0" else digits


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
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth < 0:
            return False
    return True
