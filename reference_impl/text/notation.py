r"""One notation for what LaTeX writes in many ways, so that a comparison sees what an answer says, not how it looks.

`plain` drops fonts, colours and spacing, writes fractions, roots and signs in one way, and puts words between quotes:
`\textcolor{blue}{\dfrac12}\text{ cm}` is `\frac{1}{2}"cm"`. What has no second spelling stays as it is, and so does
text of more than MAX_CHARACTERS.
"""

import re
from collections.abc import Callable
from functools import lru_cache

from reference_impl.text.equivalence import MAX_CHARACTERS
from reference_impl.text.units import KNOWN_WORDS, SYMBOLS, UNITS

_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2009\u200a\u200b\u202f\u2060\u3000\ufeff\t\n\r", " "),
        "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": r"\div ", "√": r"\sqrt ",
        "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "λ": r"\lambda ", "φ": r"\phi ",
        "∞": r"\infty ", "°": r"^\circ ", "º": r"^\circ ", "²": "^2", "³": "^3", "⁴": "^4",
        "½": r"\frac12 ", "¼": r"\frac14 ", "¾": r"\frac34 ", "⅓": r"\frac13 ", "⅔": r"\frac23 ",
        "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∈": r"\in ", "∪": r"\cup ", "∩": r"\cap ",
        "∠": r"\angle ", "△": r"\triangle ", "±": r"\pm ", "→": r"\to ", "⇒": r"\Rightarrow ",
        "…": r"\ldots ", "’": "'", "µ": "μ", "，": ",", "（": "(", "）": ")", "｜": "|", "＝": "=", "＋": "+",
    }
)  # fmt: skip
_CURRENCIES = {r"\$": "$", "€": "€", "£": "£", r"\pounds": "£", "¥": "¥", "₹": "₹", r"\euro": "€", "¢": "¢"}
_CURRENCY = re.compile(r"\\\$|[€£¥₹¢]|\\(?:pounds|euro)(?![a-zA-Z])")
_OHM = re.compile(r'(?<=[\d} ])(?:"?([kM])"? ?)?\\(?:Omega|ohm)(?![a-zA-Z])(?=[\s}]*\Z)')
_COMMAND = re.compile(r"\\(?:(?:left|right)(?![a-zA-Z])\.?|([a-zA-Z]+)|(.))", re.DOTALL)
_INSTEAD = {
    command: instead
    for commands, instead in (
        ("big bigl bigr bigm Big Bigl Bigr Bigm bigg biggl biggr Bigg Biggl Biggr", ""),
        ("displaystyle textstyle limits nolimits strut !", ""),
        ("( ) [ ] , ; : > thinspace enspace space hfill", " "),
        ("dfrac tfrac cfrac", r"\frac"),
        ("dbinom tbinom", r"\binom"),
        ("leq leqslant", r"\le"),
        ("geq geqslant", r"\ge"),
        ("neq", r"\ne"),
        ("lt", "<"),
        ("gt", ">"),
        ("lvert rvert vert mid", "|"),
        ("lVert rVert Vert", r"\|"),
        ("lbrace", r"\{"),
        ("rbrace", r"\}"),
        ("lbrack", "["),
        ("rbrack", "]"),
        ("degree textdegree", r"^\circ "),
        ("% percent", "%"),
        ("textup", r"\text"),
    )
    for command in commands.split()
} | {" ": " "}
_SPELLINGS = (
    # (what has to be there for it, what stands there, what it is instead); order matters
    ("$", re.compile(r"(?<!\\)\$"), " "),
    ("~", re.compile(r"(?<!\\)~"), " "),
    ("^", re.compile(r"\^\s*(?:\{\s*(?:\\circ|o)\s*\}|\\circ(?![a-zA-Z])|o(?![a-zA-Z]))"), r"^\\circ "),
    ("{,", re.compile(r"(?<![A-Za-z])\{,\}"), ","),
    ("{", re.compile(r"(?<![A-Za-z])\{([+\-=])\}"), r"\1"),
    ("\\", re.compile(r"\\(overline|bar|dot|vec|hat|tilde)(?:\s*(\d)|\s+([A-Za-z]))"), r"\\\1{\2\3}"),
    # TeX's own fraction, {1 \over 3}.
    ("\\over", re.compile(r"\{([^{}]*)\\over(?![a-zA-Z])([^{}]*)\}|^([^{}]*)\\over(?![a-zA-Z])([^{}]*)$"),
     r"\\frac{\1\3}{\2\4}"),
    (".", re.compile(r"(?<![A-Za-z])([ap])\.\s?m\.?(?![A-Za-z])"), r"\1m"),
)  # fmt: skip
# Blanks and marks around the whole; between two values they stay.
_AROUND = re.compile(
    r"^(?:\\q?quad(?![a-zA-Z])|\\hspace\{[^{}]*\}|\s)+"
    r"|(?:\\(?:q?quad|blacksquare|square|checkmark|qed)(?![a-zA-Z])|\\hspace\{[^{}]*\}|\s)+$"
)
_DOUBLED = re.compile(r"\\\\(?=[a-zA-Z])")
# Fonts and colours of mathematics: what stands in them stays.
_STYLE = re.compile(
    r"\\(?:(?:boldsymbol|mathbf|bm|mathit|mathsf|mathtt|mathnormal|underline|underbrace|fbox|framebox|boxed|mathord"
    r"|cancel|pmb|ensuremath)(?![a-zA-Z])|(?:textcolor|color|colorbox)\s*(?:\[[^\[\]]*\])?\s*\{[^{}]*\})\s*\{"
)
_COLOUR = re.compile(
    r"\\color\s*(?:\[[^\[\]]*\])?\s*\{[^{}]*\}|\\(?:bf|it|rm|sf|tt|em|tiny|scriptsize|footnotesize|small|normalsize"
    r"|[lL]arge|LARGE|[hH]uge"
    r"|bfseries|itshape)(?![a-zA-Z])|\\(?:boldsymbol|mathbf|bm|mathit|mathsf|mathtt|mathrm|textbf)\s{1,4}(?=[^\s{])"
)
_TEXT = re.compile(
    r"\\(?:text(?:rm|bf|it|sf|tt|sc|sl|normal|md|superscript)?|mathrm|mbox|hbox|emph|operatorname\*?|mathop|unit)(?![a-zA-Z])\s*\{"
)
_TEXT_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_BARE_WORD = re.compile(r'(?<!begin\{)(?<!end\{)(?<![A-Za-z\\"])[A-Za-z]{2,20}(?![A-Za-z"])')
_BRACE = re.compile(r"\\[{}\\]|[{}]")
# Or after another unit, or in a fraction of units.
_AFTER_A_NUMBER = re.compile(r"(?:[\d})\"/·](?:\\cdot)?|(?<![A-Za-z\\])[A-Za-z]{1,20}|\\frac\{|\}\{)\Z")
_UPRIGHT = {"i": "i", "e": "e", "pi": r"\pi ", "j": "j"}
_FRACTION_ARGUMENTS = re.compile(
    r"\\frac\s*(\{[^{}]*\}|\d|[a-zA-Z]|\\pi)\s*(?=(\{|\d|[a-zA-Z]|\\pi))(\d|[a-zA-Z]|\\pi)?"
)
_ROOT_ARGUMENT = re.compile(r"\\sqrt\s*(\[[^\[\]]*\])?\s*(\d|[a-zA-Z]|\\pi(?![a-zA-Z]))")
_EXPONENT = re.compile(r"([_^])\s*\{\s*(\d|[a-zA-Z])\s*\}")
_BLANKS = re.compile(r'(?<![\w"])\s+|\s+(?![\w"])|(?<=")\s+|\s+(?=")')
_ROUNDS = 4  # fonts within fonts


@lru_cache(maxsize=1 << 14)
def plain(text: str) -> str:
    """`text` in plain notation; as it is where it is too long to be compared by more than its characters."""
    if len(text) > MAX_CHARACTERS:
        return text
    text = text.translate(_CHARACTERS)
    has_commands = "\\" in text
    if has_commands:
        if "\\\\" in text and r"\begin" not in text:
            text = _DOUBLED.sub(r"\\", text)  # LaTeX that was escaped twice
        text = _COMMAND.sub(_command, text)
    for needed, pattern, instead in _SPELLINGS:
        if needed in text:
            text = pattern.sub(instead, text)
    text = text.replace('"', "''")
    if has_commands:
        text = _COLOUR.sub(" ", _groups(_STYLE, text, lambda _, content: content))
        text = _groups(_TEXT, text, _words)
    text = _BARE_WORD.sub(lambda m: f'"{m[0]}"' if m[0] in KNOWN_WORDS or m[0].lower() in KNOWN_WORDS else m[0], text)
    text = _CURRENCY.sub(lambda m: f'"{_CURRENCIES[m[0]]}"', text)
    if has_commands:
        text = _OHM.sub(lambda m: f'"{m[1] or ""}Ω"', text)
        text = _FRACTION_ARGUMENTS.sub(_fraction, text)
        text = _ROOT_ARGUMENT.sub(lambda m: rf"\sqrt{m[1] or ''}{{{m[2]}}}", text)
    text = _EXPONENT.sub(r"\1\2", text) if "{" in text else text
    return _unbraced(_BLANKS.sub("", text).strip())


def _command(match: re.Match[str]) -> str:
    return _INSTEAD.get(match[1] or match[2] or "", "" if match[1] is match[2] is None else match[0])


def squeezed(text: str) -> str:
    """Plain notation without what may differ between two spellings of one text: quotes, blanks beside letters."""
    text = text.replace('"', "")
    text = re.sub(r"(?<=\d)\s+(?=[A-Za-z\\])|(?<=[A-Za-z])\s+(?=\d)", "", text)
    return text[1:-1] if re.fullmatch(r"\([A-Z]\)", text) else text


def written(text: str) -> str:
    """Plain notation as LaTeX again, for a parser that knows no quotes."""
    return re.sub(r'"([^"]*)"', r"\\text{\1}", text)


def _groups(pattern: re.Pattern[str], text: str, instead: Callable[[str, str], str]) -> str:
    """Every group that `pattern` opens, innermost first, as `instead` writes it of (what stands before, content)."""
    for opening in reversed(list(pattern.finditer(text))):
        closing = _closing_brace(text, opening.end())
        if closing >= 0:
            before, after = text[: opening.start()], text[closing + 1 :]
            text = _side_by_side(_side_by_side(before, instead(before, text[opening.end() : closing])), after)
    return text


def _side_by_side(left: str, right: str) -> str:
    """Both texts, digits kept apart: a group after a number does not go on with it."""
    return f"{left} {right}" if left[-1:].isdigit() and right[:1].isdigit() else left + right


def _closing_brace(text: str, start: int) -> int:
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return brace.start()
    return -1


def _words(outside: str, content: str) -> str:
    r"""The content of `\text{…}`: its words in quotes, upright i, e and π and lone letters as symbols."""

    def word(found: re.Match[str]) -> str:
        text = found[0]
        if content[: found.start()].endswith(("\\", '"')) or _is_point(text):
            return text
        if text in _UPRIGHT:
            return _UPRIGHT[text]
        before = (outside + content[: found.start()]).rstrip()
        is_unit = text in SYMBOLS and _AFTER_A_NUMBER.search(before) is not None
        return f'"{text}"' if len(text) > 1 or is_unit else text

    quoted = _TEXT_WORD.sub(word, content)
    # A blank keeps a word apart from a command before it: \pi\text{cm}.
    return f" {quoted} " if '"' in quoted else quoted.strip()


def _is_point(text: str) -> bool:
    """Whether a word in capitals names points, \\mathrm{AB}, or is written in digits: it is no unit."""
    return len(text) > 1 and text.isascii() and text.isupper() and text not in UNITS


def _fraction(match: re.Match[str]) -> str:
    numerator, denominator = match[1].strip("{}").strip(), match[3]
    rest = "" if denominator is None else f"{{{denominator}}}"
    return rf"\frac{{{numerator}}}{rest}"


def _unbraced(text: str) -> str:
    """Without braces, blanks and marks around the whole."""
    for _ in range(_ROUNDS):
        text = _AROUND.sub("", text) if "\\" in text else text
        if not (text.startswith("{") and _closing_brace(text, 1) == len(text) - 1):
            break
        text = text[1:-1].strip()
    return text


def whole(text: str, start: int) -> int:
    """Where the bracket that opens at `start` closes, brackets of every kind counted; -1 where it does not."""
    depth = 0
    for position in range(start, len(text)):
        character = text[position]
        if character in "({[":
            depth += 1
        elif character in ")}]":
            depth -= 1
            if depth == 0:
                return position
    return -1
