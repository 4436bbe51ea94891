r"""Exact values of numbers in plain notation, read by a grammar: what it does not name has no value.

    sum      [+-] product {(+|-) product}
    product  power {(* | \cdot | \times | / | \div) [-] power}, and without a sign: 2(3), 3\sqrt{4}, 2^6 3^5;
             2\frac{1}{3} is a sum
    power    atom [!] [^ atom]
    atom     number | (sum) | {sum} | \frac{sum}{sum} | \sqrt[sum]{sum} | \binom{sum}{sum}
    number   1,000 | 1 000 | .5 | 0.1\overline{6} | 1e-5 | 1011_2

No value costs more than MAX_BITS: a tower of powers has none.
"""

import math
import re
from fractions import Fraction
from functools import lru_cache

MAX_BITS = 4096
_MAX_DEPTH = 30
_NUMBER = re.compile(
    r"(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d+)?(?:\.(\d*)(?:\\(?:overline|bar|dot)\{(\d+)\})?)?"
    r"(?:[eE]([+-]?\d{1,3})(?![\dA-Za-z.]))?",
    re.ASCII,
)
# 1011_2, (1011)_{2}, 1011_{"two"}, 1011"base"2. One letter with an index is a symbol.
_DIGITS = r"\d[0-9A-Za-z]*|[A-Z][0-9A-Z]+"
_BASED = re.compile(
    rf"(-?)(?:({_DIGITS})|\(({_DIGITS})\))(?:_(?:\{{\(?(?:\"base\")?(\d{{1,2}})\)?\}}|(\d{{1,2}})"
    r"|\{(?:\"base\")?\"?([A-Za-z]+)\"?\})|\(?\"base\"(?:(\d{1,2})|\"(\w+)\")\)?)",
    re.ASCII,
)
_BASE_NAMES = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "sixteen": 16, "binary": 2, "octal": 8, "decimal": 10, "hexadecimal": 16,
}  # fmt: skip
# 2^10 means 1024 wherever an answer is typed, whatever TeX makes of it.
_BARE_EXPONENT = re.compile(r"-?\d{1,5}", re.ASCII)
_MIXED = re.compile(r" ?(\\frac)| (\d{1,9}/\d{1,9}(?![\d/]))", re.ASCII)
_POWERS = re.compile(r"(?:(?<=\^)|(?<=\^\d))\d (?=\d{1,20}\^)", re.ASCII)
_SIGN = re.compile(r"\*|/|\\(?:cdot|times|div)(?![a-zA-Z])\s*")
_NO_VALUE = (ValueError, ZeroDivisionError, OverflowError)


@lru_cache(maxsize=1 << 14)
def exact_value(text: str) -> Fraction | None:
    """The value of a number in plain notation; None where the grammar has no place for it or it is too large."""
    based = _BASED.fullmatch(text)
    if based is not None:
        return _in_base(based)
    try:
        reader = _Reader(text)
        value = reader.sum(0)
    except _NO_VALUE:
        return None
    return value if reader.position == len(text) else None


def _in_base(match: re.Match[str]) -> Fraction | None:
    sign, digits, bracketed, braced, bare, word, spoken, spoken_word = match.groups()
    name = word or spoken_word
    base = _BASE_NAMES.get(name.lower(), 0) if name else int(braced or bare or spoken)
    try:
        return Fraction(int(digits or bracketed, base)) * (-1 if sign else 1) if base >= 2 else None
    except ValueError:
        return None


class _Reader:
    """Recursive descent. Every method reads from `position` on and raises ValueError for what does not fit."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def take(self, token: str) -> bool:
        """Whether `token` stands here, which is then read."""
        if self.text.startswith(token, self.position):
            self.position += len(token)
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.take(token):
            raise ValueError(f"expected {token}")

    def sum(self, depth: int) -> Fraction:
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deeply")
        negative = self.take("-") or (self.take("+") and False)
        total = self.product(depth)
        total = -total if negative else total
        while True:
            if self.take("+"):
                total += self.product(depth)
            elif self.take("-"):
                total -= self.product(depth)
            else:
                return _small(total)

    def product(self, depth: int) -> Fraction:
        start = self.position
        value = self.power(depth)
        integer = self.text[start : self.position].isdigit()
        while True:
            sign = _SIGN.match(self.text, self.position)
            if sign is not None:
                self.position = sign.end()
                negative = self.take("-")
                factor = self.power(depth)
                factor = -factor if negative else factor
                value = value / factor if sign[0].strip() in ("/", r"\div") else value * factor
            elif integer and (mixed := _MIXED.match(self.text, self.position)) is not None:
                self.position = mixed.end() - len(mixed[1] or mixed[2])
                part = self.power(depth) if mixed[1] else self.slashed()
                if not 0 < part < 1:
                    raise ValueError("neither a mixed number nor a product with a sign")
                value += part
            elif self.text.startswith(("(", r"\sqrt"), self.position) or self.factor_follows():
                value *= self.power(depth)
            else:
                return _small(value)
            integer = False

    def slashed(self) -> Fraction:
        """The 1/3 of 1 1/3."""
        numerator = self.number()
        self.expect("/")
        return numerator / self.number()

    def factor_follows(self) -> bool:
        """Whether a power is followed by a blank and another: 2^6 3^5."""
        follows = _POWERS.match(self.text, self.position - 1)
        if follows is not None:
            self.position = follows.end()
        return follows is not None

    def power(self, depth: int) -> Fraction:
        base = self.atom(depth)
        if self.take("!"):
            if base.denominator != 1 or not 0 <= base <= 400 or self.text.startswith("!", self.position):
                raise ValueError("no factorial")
            base = Fraction(math.factorial(int(base)))
        if not self.take("^"):
            return base
        bare = _BARE_EXPONENT.match(self.text, self.position)
        if bare is None:
            return _raised(base, self.atom(depth))
        self.position = bare.end()
        return _raised(base, Fraction(int(bare[0])))

    def group(self, depth: int, opening: str = "{", closing: str = "}") -> Fraction:
        self.expect(opening)
        value = self.sum(depth + 1)
        self.expect(closing)
        return value

    def atom(self, depth: int) -> Fraction:
        if self.take(r"\frac"):
            return self.group(depth) / self.group(depth)
        if self.take(r"\sqrt"):
            index = self.group(depth, "[", "]") if self.text.startswith("[", self.position) else Fraction(2)
            return _raised(self.group(depth), 1 / index)
        if self.take(r"\binom"):
            n, k = self.group(depth), self.group(depth)
            if n.denominator != 1 or k.denominator != 1 or not 0 <= k <= n <= 400:
                raise ValueError("no binomial coefficient")
            return Fraction(math.comb(int(n), int(k)))
        if self.text.startswith("(", self.position):
            return self.group(depth, "(", ")")
        if self.text.startswith("{", self.position):
            return self.group(depth)
        return self.number()

    def number(self) -> Fraction:
        match = _NUMBER.match(self.text, self.position)
        assert match is not None
        decimals, period, exponent = match[1] or "", match[2], int(match[3] or 0)
        whole = re.sub(r"\D", "", re.split(r"[.eE]", match[0], maxsplit=1)[0])
        # Neither a lone point nor digits that go on: 1,0000 and 1 0000 are no numbers.
        after = self.text[match.end() : match.end() + 2]
        goes_on = re.match(r"\d| \d|_|,\d|\.\d", after) and not _MIXED.match(self.text, match.end())
        if goes_on or (not whole and not decimals and not period):
            raise ValueError("no number")
        self.position = match.end()
        value = Fraction(int(f"0{whole}{decimals}"), 10 ** len(decimals))
        if period:
            value += Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(decimals))
        return _small(value * Fraction(10) ** exponent)


def _small(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
        raise ValueError("too large")
    return value


def _raised(base: Fraction, exponent: Fraction) -> Fraction:
    """base ** exponent where it is rational. Raises ValueError where it is not, or too large."""
    root, power = exponent.denominator, exponent.numerator
    if root != 1:
        if (base < 0 and root % 2 == 0) or root > 64:
            raise ValueError("no rational root")
        positive = Fraction(_root(abs(base.numerator), root), _root(base.denominator, root))
        base = -positive if base < 0 else positive
    size = max(base.numerator.bit_length(), base.denominator.bit_length()) - 1
    if abs(power) * size > MAX_BITS or abs(power) > 10 * MAX_BITS:
        raise ValueError("too large")
    if base == 0 and power <= 0:
        raise ValueError("0 to no positive power")
    return _small(base**power)


def _root(value: int, root: int) -> int:
    """The exact integer root. Raises ValueError where there is none."""
    if root == 2:
        found = math.isqrt(value)
    else:
        low, high = 0, 1 << (value.bit_length() // root + 1)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if middle**root <= value else (low, middle - 1)
        found = low
    if found**root != value:
        raise ValueError("no integer root")
    return found
