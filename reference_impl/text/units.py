"""Words that may stand beside a number: units of a list, multipliers, and words that change nothing.

An allow-list: a word that is not here makes the text another answer. `read_phrase` reads what stands after a number
(`million dollars`, `kcal m^{-2}`, `square units`), `is_label` what may name it (`Area`, `The answer is`).
"""

import re
from dataclasses import dataclass
from fractions import Fraction


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MULTIPLIERS = {
    "dozen": 12,
    "dozens": 12,
    **{
        word + plural: 10**power
        for word, power in (("hundred", 2), ("thousand", 3), ("million", 6), ("billion", 9), ("trillion", 12))
        for plural in ("", "s")
    },
}
# One spelling for each unit that has several. The first is the name; letters' case counts where they are symbols.
_ALIASES = """
meter m metre meters metres|centimeter cm centimetre|millimeter mm millimetre|kilometer km kilometre|inch in inches
foot ft feet|yard yd yds|mile mi|gram g gm|kilogram kg kgs kilo|milligram mg|microgram mcg|pound lb lbs|ounce oz
liter L l litre|milliliter mL ml millilitre|gallon gal|second s sec secs|minute min mins|hour h hr hrs|millisecond ms
day|week wk|month|year yr yrs|degree deg °|radian rad|dollar $ usd USD|cent ¢|euro € eur EUR|sterling £ gbp GBP
yen ¥ jpy JPY|rupee ₹ rs Rs INR|joule J|kilojoule kJ|calorie cal|kilocalorie kcal|watt W|kilowatt kW|newton N
kilonewton kN|volt V|millivolt mV|ampere A amp|milliampere mA|ohm Ω|hertz Hz|kilohertz kHz|megahertz MHz|pascal Pa
kilopascal kPa|megapascal MPa|mole mol|kelvin K|coulomb C|farad F|tesla T|weber Wb|electronvolt eV|nanometer nm
micrometer μm um|angstrom|acre|hectare ha|ton tonne|celsius|fahrenheit|byte|kilobyte kB KB|megabyte MB
gigabyte GB|bit|mph|kph|rpm revolution|knot|mol|au|parsec pc|lightyear|percent % pct|am AM|pm PM|quart qt|pint pt
tablespoon tbsp|teaspoon tsp|decimeter dm|atmosphere atm|bar|torr|gauss|lumen lm|lux lx|erg|dyne|kiloohm kΩ|megaohm MΩ
decibel dB|point pts
""".replace("\n", "|")
# What is counted. Plurals are made by rule; an irregular one has a line of its own below.
_COUNTED = _words("""
unit way value integer number digit solution root zero vertex edge side face diagonal angle triangle square rectangle
quadrilateral polygon circle line segment cube sphere block tile cell region area piece part pair triple tuple element
set subset member term factor divisor multiple prime pole asymptote function polynomial coefficient intersection
arrangement permutation combination outcome possibility choice selection path route sequence string word letter code
password page book person man woman child boy girl student teacher player team committee group class grade school game
match round move step turn coin penny nickel dime bill stamp card deck die ball marble bead stick toothpick toy car
truck bus train bicycle bike wheel ticket seat chair table row column room house floor door window apple orange banana
pear egg cookie cake candy slice loaf pizza sandwich cup glass bottle box bag pack package basket bucket can jar crate
barrel tray flower rose tree plant seed petal leaf branch carrot potato tomato strawberry dog cat cow horse sheep goat
pig chicken duck bird bee rabbit lion animal shirt shoe sock dress hat pen pencil crayon eraser sticker paper sheet
picture photo message email problem question answer test exam vote customer guest passenger worker employee friend
family night weekend trip lap hit shot goal win loss trophy medal prize job task shift order item copy star planet
bracelet necklace ring gem stone brick log board bean grain meal serving fruit vegetable drink soda song movie show
video lesson rotation cycle period wavelength handshake chord arc sector layer level story lattice matrix pattern
color colour shape object thing sample trial toss roll throw flip draw event case type kind male female adult senior
kid baby brother sister pupil coach widget machine computer phone battery bulb light molecule atom electron proton
neutron ion particle photon bacterium gene packet vehicle
""")
_IRREGULAR = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "feet": "foot", "vertices": "vertex",
    "dice": "die", "fish": "fish", "sheep": "sheep", "loaves": "loaf", "leaves": "leaf", "pennies": "penny",
    "matrices": "matrix", "mice": "mouse", "geese": "goose", }  # fmt: skip
# They say how something is counted, not how much of it there is.
_NEUTRAL = _words("""
    different distinct possible positive real integer integral whole natural prime even odd ordered unordered total
    such valid unique complex lattice small unit in altogether overall of the long wide high tall deep away apart old
    equal red blue green white black yellow exactly
""")
_SQUARES = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_POWERS = {"squared": 2, "cubed": 3}
_SCALES = {"celsius": "celsius", "coulomb": "celsius", "fahrenheit": "fahrenheit", "farad": "fahrenheit"}
_PER = {"per", "a", "an", "each", "/"}
_LABELS = _words("""
    answer ans solution final the a an is are equals equal of to for in so therefore thus hence then result value
    values area perimeter circumference volume length width height depth radius diameter side sides base distance
    displacement speed velocity acceleration time mass weight force energy power cost price profit revenue total sum
    product difference quotient remainder number count quantity amount probability mean median mode average range
    variance maximum minimum max min largest smallest greatest least common lcm gcd gcf hcf slope intercept degree
    angle measure ways expected surface original required desired correct my our be must we get have it its
    percentage rate ratio fraction coefficient constant term determinant rank dimension order period
    age temperature density pressure var cov covariance card exactly
""")
_WORD = re.compile(r'"([^"]*)"|([A-Za-zμΩ]+)|\^(?:\{(-?\d)\}|(-?\d))|(\^\\circ)|([%/])|\\cdot(?![a-zA-Z])|[(). ]')


def _units() -> dict[str, str]:
    """Spelling → name."""
    found: dict[str, str] = {}
    for noun in _COUNTED:
        plural = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeou" else f"{noun}s"
        found |= dict.fromkeys((noun, plural, f"{noun}es"), noun)
    found |= _IRREGULAR
    for entry in filter(str.strip, _ALIASES.split("|")):
        name, *others = entry.split()
        found |= dict.fromkeys((name, f"{name}s", *others), name)
    return found


UNITS = _units()
SYMBOLS = frozenset("mgshLlJWNVAKCFT")
"""Units of one letter: units where they are upright or stand after a blank, variables elsewhere."""
UNIT_ONLY = frozenset(UNITS) - SYMBOLS
KNOWN_WORDS = frozenset(
    word
    for word in (*UNIT_ONLY, *MULTIPLIERS, *_NEUTRAL, *_SQUARES, *_POWERS, *_LABELS, "per", "and", "or")
    if len(word) > 1
)
"""Words that are read as words also outside `\\text{…}`."""

Unit = tuple[tuple[str, int], ...]
"""Names with their exponents, in order of the names; empty for none."""


@dataclass(frozen=True)
class Phrase:
    """What words after a number say: what they multiply it by, and in what unit it is."""

    factor: Fraction
    unit: Unit


def read_phrase(text: str) -> Phrase | None:
    """The phrase of plain notation (words in quotes); None where anything in it is not on the lists."""
    factor, exponents = Fraction(1), dict[str, int]()
    sign, pending, last, position = 1, 1, "", 0
    while position < len(text):
        token = _WORD.match(text, position)
        if token is None:
            return None
        position = token.end()
        quoted, bare, braced, exponent, circle, mark = token.groups()
        word = quoted if quoted is not None else bare or mark or ("°" if circle else None)
        power = braced or exponent or (_POWERS.get(word or "") if last else None)
        if power is not None:
            if not last:
                return None
            # An exponent written after a unit replaces the 1 that the unit counted for.
            exponents[last] += sign * (int(power) - 1)
            last = ""
        elif word is None or (word.lower() in _NEUTRAL and word not in UNITS and pending == 1):
            continue
        elif word in _SQUARES and _is_length(text[position:]):
            pending = _SQUARES[word]
        elif word in MULTIPLIERS and not exponents:
            factor *= MULTIPLIERS[word]
        elif word in _PER and exponents:
            sign = -1
        else:
            name = UNITS.get(word) or UNITS.get(word.lower() if len(word) > 2 else "")
            if name is None:
                return None
            if last == "degree" and name in _SCALES:  # degrees Celsius, ^\\circ C
                name = _SCALES[name]
                del exponents[last]
            exponents[name] = exponents.get(name, 0) + sign * pending
            last, pending = name, 1
    if pending != 1 or (sign == -1 and all(exponent >= 0 for exponent in exponents.values())):
        return None
    return Phrase(factor, tuple(sorted((name, e) for name, e in exponents.items() if e)))


def _is_length(rest: str) -> bool:
    """Whether a unit follows, which makes "square" a power and no shape."""
    following = re.match(r'[". ]*([A-Za-z]+)', rest)
    return following is not None and following[1] in UNITS


def is_label(words: str) -> bool:
    """Whether words (quotes and blanks aside) only name what follows: "The answer is", "Number of apples"."""
    found = re.findall(r"[A-Za-z']+", words)
    return any(word.lower() in _LABELS for word in found) and all(_names(word) for word in found)


def _names(word: str) -> bool:
    lower = word.lower()
    return lower in _LABELS or lower in _NEUTRAL or lower in UNIT_ONLY or (len(word) == 1 and word.isupper())
