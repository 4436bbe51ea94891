"""MMLU-Pro: which option a response chose.

Three ways of reading, named in the task file (`answer_format`):
- `index`: the paper's (A.3): the option's number in the last box.
- `letter`: the official harness's (TIGER-AI-Lab/MMLU-Pro, evaluate_from_local.py): "the answer is (X)", then
  "Answer: X", then the last capital letter A to J that stands alone.
- `any`: whatever states the choice, number or letter. The last statement counts, a box or "the answer is (X)",
  "Answer: X", "I choose X"; one that names two options states none. Without any, a response that is nothing but a
  choice, and at last the last capital letter that stands alone and is no pronoun or article.
"""

import hashlib
import re
from collections.abc import Callable

from reference_impl.text.answers import after_think, as_integer, read_response

LETTERS = "ABCDEFGHIJ"
# A number or letter that heads its option: "3", "(3)", "3. the text", "\text{C}", "C: the text".
_BOXED_NUMBER = re.compile(r"\(?(\d{1,2})\)?(?:[.:)](?:\s|$)|\s*$)")
_BOXED_LETTER = re.compile(r"\(?([A-J])\)?(?:[.:)]|\s*$)|\(?([a-j])\)?\s*$")
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|mathbf|mathrm)\s*\{([^{}]*)\}")

_THE_ANSWER_IS = re.compile(r"answer is \(?([A-J])\)?")
_ANSWER = re.compile(r"[aA]nswer:\s*([A-J])")
_LONE_LETTER = re.compile(r"\b[A-J]\b")
# `any` only. What leads to a choice, and the choice itself: the rest of the sentence decides whether it is one.
_LEAD = re.compile(
    r"(?:\b[aA]nswer(?:\s{1,3}(?:choice|option|letter))?[*_ ]{0,4}(?:\s(?:is|was|would be|should be|must be)\b|[:=])"
    r"|\b(?:[oO]ption|[cC]hoice) is\b|\b(?:choose|pick|select|go with)\b"
    # These lead to a choice only where it ends its sentence or is in brackets.
    r"|(?P<weak>\b(?:[nN]o|[wW]ait|[aA]ctually|[hH]mm|[iI]nstead|[rR]ather|[cC]orrection|I mean|make (?:it|that)"
    r"|changed? (?:it |that |my answer |the answer )?to|[iI]t(?:'s| is| must be| should be))\b,?))"
    r"(?!\s{0,3}\n{0,2}[*_ ]{0,4}[aA]nswer):?[\s*_`\"'$]{0,8}"
    r"(?:(?:most likely|probably|indeed|therefore|either|option|choice|number|index|letter)[\s*:]{1,3}){0,2}"
    r"(?:\\(?:text|textbf|mathbf|mathrm)\s?)?"
    r"(?P<opened>[*_`\"'$(\[{]{0,4})(?P<choice>[A-Ja-j]|\d{1,2})(?![A-Za-z0-9_])"
)
# Each lead begins with one of these: literals are found faster than the expression.
_LEAD_WORD = re.compile(
    "answer|Answer|option|Option|choice|Choice|choose|pick|select|go with|no|No|wait|Wait|actually|Actually|hmm|Hmm"
    "|instead|Instead|rather|Rather|correction|Correction|I mean|make|change|it|It"
)
_AN_EQUATION = re.compile(r"\s{0,3}[=^_+/]")
_CLOSING = re.compile(r"[*_`\"'$)\]}]{0,4}")
_ENDS = re.compile(r"\s*(?:$|\n|[.,;:!?)](?!\d))|\s+(?:because|since|as|which|[-\u2013\u2014(])")
_AND_ANOTHER = re.compile(
    r"\s{0,3}(?:,|/|;|&|,?\s?(?:or|and)\b)\s{0,3}(?:option )?(?:[(*\"']{1,3}(?:[A-J]|\d{1,2})[)*\"']"
    r"|(?:[B-HJ]|\d{1,2})(?![A-Za-z0-9'.])|(?:[A-J]|\d{1,2})(?=[.)]?\s*(?:$|\n)))"
)
_ONE_OF_MORE = re.compile(r"(?<![A-Za-z])[A-J][)*\"']{0,3}\s{0,3}(?:,|/|;|&|,?\s?(?:or|and)\b)?\s{0,3}[(*\"']{0,3}$")
_SEVERAL_BOXED = re.compile(r"\(?(?:[A-J]|\d{1,2})\)?\s*(?:,|/|;|&|or\b|and\b|\\text)")
_WHOLE_RESPONSE = re.compile(r"[(*]{0,3}(?:(\d{1,2})|([A-Ja-j]))[)*.]{0,4}")
_STANDS_ALONE = re.compile(r"(?<![\w'\\+=-])(?<!\d )([A-J])(?![\w'+-]|\s?[=^])")
_DENIED = re.compile(r"(?:\bnot|n't|\bneither|\bnor) (?:option |choice )?[(*\"']*$")


def read_choice(response: str, answer_format: str, *, truncated: bool = False) -> int | None:
    """Index of the chosen option, None where none can be read. It may lie beyond the question's options."""
    return _READERS[answer_format](response, truncated)


def _read_index(response: str, truncated: bool) -> int | None:
    return _number(_boxed(response, truncated))


def _number(boxed: str) -> int | None:
    """The number in a box."""
    integer = as_integer(boxed)
    if integer is not None:
        return int(integer) if len(integer) <= 3 else None
    match = _BOXED_NUMBER.match(boxed)
    return int(match[1]) if match else None


def _read_letter(response: str, truncated: bool) -> int | None:
    text = after_think(response, truncated=truncated) or ""
    stated = _THE_ANSWER_IS.search(text)
    if stated:
        return LETTERS.index(stated[1])
    headed = list(_ANSWER.finditer(text))
    if headed:  # official: the last one in the first line that has one
        line_end = text.find("\n", headed[0].start())
        same_line = [match for match in headed if line_end < 0 or match.start() < line_end]
        return LETTERS.index(same_line[-1][1])
    letters = _LONE_LETTER.findall(text)
    return LETTERS.index(letters[-1]) if letters else None


def _read_any(response: str, truncated: bool) -> int | None:
    text = after_think(response, truncated=truncated) or ""
    box, boxed = text.rfind("\\boxed"), _boxed(response, truncated)
    leads = filter(None, (_LEAD.match(text, word.start()) for word in _LEAD_WORD.finditer(text)))
    said = [(match.start("choice"), choice) for match in leads if (choice := _stated(text, match)) is not None]
    choice = _read_box(boxed)
    if choice is not None or _SEVERAL_BOXED.match(boxed):
        said = [(position, stated) for position, stated in said if position > box]
        if not said:
            return choice
    if said:
        return said[-1][1] if said[-1][1] >= 0 else None
    whole = _WHOLE_RESPONSE.fullmatch(text.strip())
    if whole:
        return int(whole[1]) if whole[1] else LETTERS.index(whole[2].upper())
    return _last_letter(text)


def _stated(text: str, match: re.Match[str]) -> int | None:
    """The choice that a lead is followed by: -1 where there are several, None where what follows is only a word of a
    sentence ("the answer is a metal", "is 12 m", "is I think ...").
    """
    opened, choice, weak = match["opened"], match["choice"], match["weak"] is not None
    closing = _CLOSING.match(text, match.end())
    assert closing is not None
    if _AND_ANOTHER.match(text, closing.end()):
        return None if weak else -1
    bracketed = any(mark in opened for mark in "([{") and any(mark in closing[0] for mark in ")]}")
    ends = _ENDS.match(text, closing.end()) is not None
    if choice.isdigit():
        return int(choice) if (bracketed or ends) and not weak else None
    apostrophe = text[match.end() : match.end() + 2]
    if _AN_EQUATION.match(text, closing.end()):
        return None
    if len(apostrophe) == 2 and apostrophe[0] in "'\u2019-" and apostrophe[1].isalpha():
        return None
    sure = bracketed or ends if weak or choice in "AI" or choice.islower() else True
    return LETTERS.index(choice.upper()) if sure else None


def _last_letter(text: str) -> int | None:
    """The last capital letter that stands alone, but for the pronoun, the article and what is said not to be right;
    None where it is one of several ("A or B").
    """
    found: re.Match[str] | None = None
    for match in _STANDS_ALONE.finditer(text):
        start, end = match.span()
        if _DENIED.search(text, max(0, start - 20), start):
            continue
        if match[1] in "AI":
            bracketed = text[start - 1 : start] in ("(", "[", "*") and text[end : end + 1] in (")", "]", "*")
            named = re.search(r"(?:option|choice|answer) $", text[max(0, start - 8) : start], re.IGNORECASE)
            ends = match[1] == "A" and re.match(r"[.,;:)]|\s*$", text[end : end + 3])
            if not (bracketed or named or ends):
                continue
        found = match
    if found is None or _ONE_OF_MORE.search(text, max(0, found.start() - 20), found.start()):
        return None
    return LETTERS.index(found[1])


def _read_box(boxed: str) -> int | None:
    """The number or letter in a box."""
    index = _number(boxed)
    if index is not None:
        return index
    match = _BOXED_LETTER.match(boxed)
    return LETTERS.index((match[1] or match[2]).upper()) if match else None


_READERS: dict[str, Callable[[str, bool], int | None]] = {
    "index": _read_index,
    "letter": _read_letter,
    "any": _read_any,
}
ANSWER_FORMATS = tuple(_READERS)


def _boxed(response: str, truncated: bool) -> str:
    """Content of the last box without text commands; empty where there is none."""
    answer = read_response(response, truncated=truncated).answer or ""
    return _TEXT_COMMAND.sub(r"\1", answer[:500]).strip().strip("$").strip()


def random_choice(n_options: int, seed: str) -> int:
    """A guess among the options, fixed by `seed`; the official harness guesses so."""
    digest = hashlib.blake2b(f"mmlu-pro/{seed}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % n_options


def index_of(answer: str | int | float, n_options: int) -> int:
    """Index of a gold given as an index (5, 5.0, "5") or a letter ("F", "(F)"). Raises ValueError where it is no
    option.
    """
    text = str(answer).strip().removeprefix("(").removesuffix(")").strip()
    integer = as_integer(text) or ""
    letter = LETTERS.find(text.upper()) if len(text) == 1 else -1
    index = int(integer) if 0 < len(integer) <= 3 else letter
    if not 0 <= index < n_options:
        raise ValueError(f"gold {answer!r:.80} is not one of {n_options} options (an index from 0, or a letter from A)")
    return index
