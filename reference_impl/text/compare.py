r"""Whether an answer equals the gold.

An answer has one of the forms of `forms.Form`, and every side of it has to equal the gold. Rational numbers are
compared exactly; closed expressions (`\sqrt{2}\pi`) and expressions with symbols by math-verify, in a worker. For these
an answer may use the commands of arithmetic and those that the gold has: `8 \Rightarrow 7` is no way to write a number.
A word counts unless it is on the lists of `units`.
"""

import re
from fractions import Fraction

from reference_impl.text.equivalence import Equality, is_reasonable, symbolic_equality
from reference_impl.text.exact import exact_value
from reference_impl.text.forms import MAX_SIDES, Form, form, split
from reference_impl.text.integers import as_integer
from reference_impl.text.notation import plain, squeezed, written
from reference_impl.text.quantity import Quantity, is_closed, quantity, same_value, units_differ

_COMMAND = re.compile(r"\\(?:[a-zA-Z]+|[{}|])")
# Commands that state no second value, in whatever expression they stand.
_ARITHMETIC = frozenset(
    re.findall(
        r"\\[a-z]+",
        r"""\frac \sqrt \cdot \times \div \pi \binom \ln \lg \exp \log \sin \cos \tan \cot \sec \csc \arcsin \arccos
        \arctan \sinh \cosh \tanh \infty \circ \alpha \beta \gamma \delta \epsilon \varepsilon \theta \vartheta \lambda
        \mu \nu \rho \sigma \tau \phi \varphi \chi \psi \omega \ell \vec \hat \bar \overline \prime \mathbb \mathcal
        \text \lfloor \rfloor \lceil \rceil""",
    )
)
_SET_MARKS = frozenset((r"\{", r"\}"))
# A gold that bounds something may be answered by any way to write bounds: x <= 5, 5 >= x, x in (-oo, 5].
_BOUNDS = frozenset((r"\le", r"\ge", r"\in", r"\infty", r"\cup", r"\cap"))
_BOUNDED = re.compile(r"\\(?:le|ge|in|cup)(?![a-zA-Z])|[<>]")
_MARKS = "<>|[;&="  # relations, bars, intervals and separators: only beside a gold that has them
_DOTS = re.compile(r"\\(?:[lc]?dots|dots[bcio])(?![a-zA-Z])|\.\.\.")
# What math-verify reads as another number: it knows no bases, and takes 4{2} for 42.
_MISREAD = re.compile(r"(?<![A-Za-z}_])[\d)]_|(?<![\w^{}.\\])\d+\{\d")
MAX_ITEMS = 12
_AND_OR = re.compile(r'"(?:and|or)"', re.IGNORECASE)
_APART = re.compile(r"\d \d|\\\\")  # numbers or lines side by side
_ROOT_INDEX = re.compile(r"\\sqrt\[[^\[\]]*\]")
_MARKED = re.compile(r"(\*{1,4}|`{1,4})((?:(?!\1).)+)\1", re.DOTALL)
_LEADING = re.compile(r"(?:=|:|\\(?:therefore|Rightarrow|implies)(?![a-zA-Z]) ?)+")  # with nothing before it
_RATIO = re.compile(r"\A(\d{1,20}):(\d{1,20})\Z", re.ASCII)
_DECIMAL = re.compile(r"-?\d{1,20}\.(\d{1,20})", re.ASCII)
_LETTER = re.compile(r"(?:[Oo]ption|[Cc]hoice)? ?\(?([A-J])\)?")


def equality(gold: str, answer: str) -> Equality:
    """Whether `answer` equals `gold`: "equal", "different", or "timeout" where the symbolic check was stopped.

    Integers need neither a parser nor a process. Symmetric and reflexive on numbers.
    """
    gold, answer = _tidy(gold), _tidy(answer)
    gold_integer, answer_integer = as_integer(gold), as_integer(answer)
    if gold_integer is not None and answer_integer is not None:
        return "equal" if answer_integer == gold_integer else "different"
    if gold == answer:
        return "equal"
    gold, answer = _led(_tidy(plain(gold))), _led(_tidy(plain(answer)))
    if _same_text(gold, answer):
        return "equal"
    if not is_reasonable(answer) or not is_reasonable(gold):
        return "different"
    return _same_forms(gold, answer)


def _tidy(text: str) -> str:
    """Drop what ends a sentence or a line, not an answer: `5.`, `5,`, `5 \\\\`; and Markdown's bold and code."""
    text = text.strip().rstrip("\\ \n\t.,;").lstrip()
    marked = _MARKED.fullmatch(text) if text[:1] in ("*", "`") else None
    return text if marked is None else marked[2].strip().rstrip(".")


def _led(text: str) -> str:
    """Without a sign that only leads to the answer: `= 5`."""
    leading = _LEADING.match(text)
    return text if leading is None else text[leading.end() :].lstrip()


def _same_text(a: str, b: str) -> bool:
    a, b = squeezed(a), squeezed(b)
    return a == b or (len(a) > 1 and a.isalpha() and a.casefold() == b.casefold())


def _same_forms(gold: str, answer: str) -> Equality:
    wanted, given = form(gold), form(answer)
    if len(given.sides) > MAX_SIDES or (len(wanted.sides) > 1 and not all(map(_is_number, wanted.sides[:MAX_SIDES]))):
        return _same_expression(gold, answer)  # the gold is an equation
    *before, value = wanted.sides[:MAX_SIDES]
    if any(_same_side(value, side) != "equal" for side in before):
        return "different"
    letter = _letter(wanted, given)
    if letter is not None:
        return letter
    if len(given.sides) > 1 and wanted.labels and not _is_number(value):
        return _same_expression(gold, answer)  # y = 2x and 2x - y = 0
    if _names_differ(wanted, given):
        return "different"
    if _is_list(value) and not wanted.labels:
        return _same_expression(gold, answer)
    for side in given.sides:
        outcome = _same_value(value, side)
        if outcome != "equal":
            return outcome
    return "equal"


def _same_value(gold: str, side: str) -> Equality:
    r"""Equality of a side, which may say after its value what that is about: `\frac13 \approx 0.333`."""
    exact, *about = split(side, r"\approx")
    if not about or r"\approx" in gold:
        return _same_side(gold, side)
    rounded, wanted = _DECIMAL.fullmatch(about[0]), quantity(gold)
    if len(about) > 1 or rounded is None or wanted is None:
        return "different"
    last_place = Fraction(1, 10 ** len(rounded[1]))
    if wanted.value is not None and abs(Fraction(rounded[0]) - wanted.value) > last_place:
        return "different"
    return _same_side(gold, exact)


def _letter(wanted: Form, given: Form) -> Equality | None:
    """The verdict where the letter of an option decides: `(C) 12` is C and 12, and not (D) 12."""
    if wanted.choice and given.choice and wanted.choice != given.choice:
        return "different"
    letters = [item.choice or _lone_letter(item) for item in (wanted, given)]
    if None in letters or (wanted.choice and given.choice):
        return None
    return "equal" if letters[0] == letters[1] else "different"


def _lone_letter(item: Form) -> str | None:
    """The letter of an answer that is no more than one: `C`, `(C)`, `Option C`."""
    lone = _LETTER.fullmatch(squeezed(item.sides[0])) if len(item.sides) == 1 and not item.labels else None
    return None if lone is None else lone[1]


def _names_differ(wanted: Form, given: Form) -> bool:
    """x = 5 is not y = 5."""
    names = [[label for label in item.labels if len(label) == 1] for item in (wanted, given)]
    return bool(names[0] and names[1]) and names[0] != names[1]


def _is_number(text: str) -> bool:
    read = quantity(text)
    return read is not None and (read.value is not None or is_closed(read.core))


def _is_list(text: str) -> bool:
    return not _is_number(text) and len(_items(text)) > 1


def _same_side(gold: str, answer: str) -> Equality:
    """Equality of two texts without labels."""
    gold, answer = (_RATIO.sub(r"\\frac{\1}{\2}", text) if ":" in text else text for text in (gold, answer))
    if _same_text(gold, answer):
        return "equal"
    wanted, given = quantity(gold), quantity(answer)
    if wanted is None or given is None:
        return _same_words(gold, answer)
    if units_differ(wanted, given):
        return "different"
    if wanted.value is not None and given.value is not None:
        return "equal" if same_value(wanted, given) else "different"
    if is_closed(wanted.core) and not is_closed(given.core):
        return "different"
    return _same_expression(_factored(wanted), _factored(given))


def _factored(read: Quantity) -> str:
    return read.core if read.factor == 1 else rf"({read.core})\cdot{read.factor}"


def _same_words(gold: str, answer: str) -> Equality:
    """Texts with words that are no units: the same words, and between them the same expressions."""
    if '"and"' in gold + answer or '"or"' in gold + answer:
        gold_items, answer_items = _AND_OR.sub(",", gold), _AND_OR.sub(",", answer)
        if '"' not in gold_items + answer_items and "," in gold_items:
            return _same_expression(gold_items, answer_items)
    wanted, given = re.split(r'"([^"]*)"', gold), re.split(r'"([^"]*)"', answer)
    if [word.casefold() for word in wanted[1::2]] != [word.casefold() for word in given[1::2]]:
        return "different"
    for a, b in zip(wanted[::2], given[::2], strict=True):
        a, b = a.strip(), b.strip()
        if a != b and (not a or not b or len(wanted) > 2 * MAX_SIDES + 1):
            return "different"
        outcome: Equality = "equal" if a == b else _same_expression(a, b)
        if outcome != "equal":
            return outcome
    return "equal"


def _same_expression(gold: str, answer: str) -> Equality:
    """math-verify's verdict, where the answer is written with nothing that could hide a second value."""
    values = exact_value(gold), exact_value(answer)
    if values[0] is not None and values[1] is not None:
        return "equal" if values[0] == values[1] else "different"
    gold, answer = _AND_OR.sub(",", gold), _AND_OR.sub(",", answer)
    if _DOTS.search(gold) or _DOTS.search(answer):
        return _same_dotted(gold, answer)
    if _MISREAD.search(gold) or _MISREAD.search(answer):
        return "different"
    if is_closed(gold) != is_closed(answer) or not _is_allowed(gold, answer) or not is_reasonable(answer):
        return "different"
    return symbolic_equality(_to_parse(gold), _to_parse(answer))


def _is_allowed(gold: str, answer: str) -> bool:
    """Whether the answer is written with arithmetic and what the gold is written with."""
    if is_closed(answer):
        return True
    commands = set(_COMMAND.findall(gold))
    many = len(_items(gold)) > 1 or r"\pm" in commands or gold.startswith(r"\{")
    bounded = _BOUNDED.search(gold) is not None
    allowed = _ARITHMETIC | commands | (_SET_MARKS | {r"\pm"} if many else set()) | (_BOUNDS if bounded else set())
    if not set(_COMMAND.findall(answer)) <= allowed or ('"' in answer and '"' not in gold):
        return False
    if (len(_items(answer)) > 1 and not many) or (_APART.search(answer) and not _APART.search(gold)):
        return False
    bare = _ROOT_INDEX.sub("", answer)
    marks = f"{';=' if many else ''}{'<>[' if bounded else ''}"
    return all(mark in gold or mark not in bare or mark in marks for mark in _MARKS)


def _items(text: str) -> list[str]:
    return [item for part in split(_AND_OR.sub(",", text), ",") for item in split(part, ";")]


def _same_dotted(gold: str, answer: str) -> Equality:
    """Lists with dots, 1, 2, \\ldots, n: the same items in the same places, within the same brackets."""
    wanted, given = _items(_inside(gold)), _items(_inside(answer))
    brackets = [(text[:1] in "({[\\", text[-1:] in ")}]") for text in (gold, answer)]
    if len(wanted) != len(given) or not 1 < len(wanted) <= MAX_ITEMS or brackets[0] != brackets[1]:
        return "different"
    for a, b in zip(wanted, given, strict=True):
        if _DOTS.search(a) or _DOTS.search(b):
            if not (_DOTS.fullmatch(a) and _DOTS.fullmatch(b)):
                return "different"
        elif (outcome := _same_side(a, b)) != "equal":
            return outcome
    return "equal"


def _inside(text: str) -> str:
    return re.sub(r"\\?[\]})]$", "", re.sub(r"^\\?[\[{(]", "", text))


def _to_parse(text: str) -> str:
    """LaTeX for math-verify, which takes a letter at the end for a unit: a factor after it keeps it."""
    text = written(text)
    return rf"{text}\cdot 1" if re.search(r"[\d}) ][A-Za-z]$", text) else text
