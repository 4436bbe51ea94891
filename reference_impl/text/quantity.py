r"""Numbers with their units: `12"million""dollars"` is 12,000,000 of one, `90^\circ` is 90 of another."""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from reference_impl.text.exact import exact_value
from reference_impl.text.units import UNITS, Unit, read_phrase

_CURRENCY = re.compile(r'(-?)(?:"?US"?)?"([$€£¥₹])"\s*(-?)')
_ORDINAL = re.compile(r'(\d{1,30})(?:\^?\{?"?(?:st|nd|rd|th)"?\}?)(?![A-Za-z])(.*)', re.DOTALL)
_AFTER_A_BLANK = re.compile(r"(.*[\d})]) ([mgshLJNWVAK](?:[/ ^.].{0,20})?)", re.DOTALL)
_PHRASE = re.compile(r'\^\\circ|%|"')
_UNIT_FRACTION = re.compile(r'\\frac\{("[^{}]{1,60})\}\{([^{}]{1,60})\}\Z')
_ANGLE_FUNCTION = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-zA-Z])")
# A number without free symbols: digits, signs, brackets, i and e, and functions of such. Neither a list nor a relation.
_CLOSED = re.compile(
    r"\d+(?:,\d{3}(?!\d))*|[.+\-*/^!(){}ie]|\\(?:frac|sqrt(?:\[[^\[\]]*\])?|cdot|times|div|pi|binom|ln|lg|exp|sin|cos|tan"
    r"|cot|sec|csc|arcsin|arccos|arctan|lfloor|rfloor|lceil|rceil|infty|log|overline|bar)(?![a-zA-Z])"
    r"|(?<=\\log)_(?:\d|\{[^{}]*\}) ?|\^\\circ|(?<!\d) | (?!\d)",
    re.ASCII,
)
_BOUND = re.compile(r"\\(?:sum|prod)(?:\\limits)?_\{([a-z])=([^{}]*)\}\^(?:\{([^{}]*)\}|(\d|\\infty ?))", re.ASCII)


@dataclass(frozen=True)
class Quantity:
    """core: the number as it is written; value: of core and multiplier words, None where it is not rational."""

    core: str
    factor: Fraction
    unit: Unit
    value: Fraction | None

    @property
    def percent(self) -> bool:
        return self.unit == (("percent", 1),)


@lru_cache(maxsize=1 << 14)
def quantity(text: str) -> Quantity | None:
    """`text` (plain notation) as an expression and its unit; None where a word is neither a unit nor a multiplier."""
    unit: Unit = ()
    text = _UNIT_FRACTION.sub(r"\1/\2", text)
    currency = _CURRENCY.match(text)
    if currency is not None:
        unit, text = ((UNITS[currency[2]], 1),), currency[1] + currency[3] + text[currency.end() :]
    ordinal = _ORDINAL.fullmatch(text)
    spaced = _AFTER_A_BLANK.fullmatch(text)
    if exact_value(text) is not None:
        core, rest = text, ""
    elif ordinal is not None:
        core, rest = ordinal[1], ordinal[2]
    elif spaced is not None and exact_value(spaced[1]) is not None:
        core, rest = spaced[1], spaced[2]
    else:
        core, rest = _cut(text)
    if not core or ('"' in core and exact_value(core) is None):
        return None
    factor = Fraction(1)
    if rest:
        phrase = read_phrase(re.sub(r'^\(("[^()]*)\)$', r"\1", rest))
        if phrase is None or (unit and phrase.unit not in ((), unit)):
            return None
        factor, unit = phrase.factor, unit or phrase.unit
    value = exact_value(core)
    return Quantity(core, factor, unit, None if value is None else value * factor)


def _cut(text: str) -> tuple[str, str]:
    """An expression and the words after it."""
    start = _PHRASE.search(text)
    if start is None or (start[0] == r"^\circ" and _ANGLE_FUNCTION.search(text)):
        return text, ""
    position = start.start()
    if text[position - 1 : position] == "(" and text.endswith(")"):
        position -= 1
    return text[:position].rstrip(" \\"), text[position:]


def same_value(a: Quantity, b: Quantity) -> bool:
    """Whether two rational quantities are equal: exactly, and `50\\%` is both 50 of its unit and 1/2."""
    assert a.value is not None and b.value is not None
    if a.percent != b.percent:
        hundred, other = (a.value, b.value) if a.percent else (b.value, a.value)
        return other in (hundred, hundred / 100)
    return a.value == b.value


def units_differ(a: Quantity, b: Quantity) -> bool:
    """Whether both have a unit, and not the same. A unit beside none does not count."""
    return bool(a.unit and b.unit) and a.unit != b.unit


def is_closed(core: str) -> bool:
    """Whether an expression has no free symbol, list or relation in it: what a number may be written as."""
    bound = _BOUND.match(core)
    if bound is not None:
        variable, start, end, short = bound.groups()
        body = core[bound.end() :]
        limits = start + (end if end is not None else short)
        core = limits.replace(variable, "x") + "+" + re.sub(rf"(?<![A-Za-z\\]){variable}(?![A-Za-z])", "1", body)
    position = 0
    while position < len(core):
        token = _CLOSED.match(core, position)
        if token is None:
            return False
        position = token.end()
    return True
