"""Random and damaged text for the parsers of what models write: no text may raise, none may take a second.

    python -m tests.support.fuzz --count 1000000 [--seed 0] [--symbolic 0.0]

Every text goes to each parser of its kind. `--symbolic` is the share of mathematical texts whose comparison may ask
math-verify, which takes 20 ms of another process and has limits of its own.
"""

import argparse
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator

from evaluation import bfcl
from evaluation.graders import CallsReference, ChoiceReference, MathReference, Sample, grade
from evaluation.mmlu_pro import ANSWER_FORMATS, read_choice
from reference_impl.judge.client import ReplyError
from reference_impl.judge.prompt import AGGREGATIONS, Inquiry, read_reply
from reference_impl.judge.rubric import LocalJudge, answer_to_judge, parse_rubric
from reference_impl.rewards import grade_math, grade_tool, judge_reward
from reference_impl.text.answers import as_integer, final_answer, read_response
from reference_impl.text.equivalence import is_reasonable
from reference_impl.text.exact import exact_value
from reference_impl.text.forms import form
from reference_impl.text.notation import plain, squeezed, written
from reference_impl.text.quantity import quantity

LIMIT_S = 1.0
MAX_CHARACTERS = 1_000_000
_COMMON = (
    " ", "\n", "\t", "\0", "\u200b", "\u202e", "\ud800", "٧", "７", "é", "的", "𝟕", "'", '"', "`", "*", "**", "#",
    "####", "\\", "<think>", "</think>", "<think", "</tool_call>", "<tool_call>", "I", "A", "answer", "The answer is",
    "or", "and",
)  # fmt: skip
_MATH = (
    *"0123456789.,+-=*/^_!|()[]{}<>&%$~:;?xyinemA", "12", "1,000", r"\boxed{", r"\boxed", r"\boxed 7", r"\frac",
    r"\dfrac{1}{2}", r"\sqrt", r"\sqrt[3]{", r"\text{", r"\text{ cm}", r"\mathrm{", r"\textbf{(C)}",
    r"\textcolor{red}{", r"\left", r"\right", r"\left(", r"\cdot", r"\times", r"\pi", r"\overline{", r"\overline{3}",
    r"\binom", r"\ldots", r"\le", r"\in", r"\pm", r"^\circ", r"\{", r"\}", r"\\", r"\,", r"\ ", r"\%", r"\$",
    "million", "dozen", "cm", "m^{-2}", "°", "€", "–", "−", "1e999", "9" * 70, r"\sum_{i=1}^{", r"\begin{pmatrix}",
    r"\end{pmatrix}", r"\lor", r"\Rightarrow", r"\approx", "_2", "_{16}", "10^", "!", "e-5", r"\infty", "kcal",
)  # fmt: skip
_TOOL = (
    *"[]{}(),:=\"'0123456789.-+eE", '"name"', '"arguments"', '"parameters"', '"function"',
    '{"name": "f", "arguments": {"a": 1}}', '{"f": {"a": 1}}', "[f(a=1)]", "f(", "a=", "null", "true", "NaN",
    "Infinity", "1e999", "9" * 400, "9" * 5000, "**", "lambda:", "x for x in", "f'{", "b''", "0x", "1j", "...", "not ",
    "[" * 200, "{" * 200, "(" * 150, "-" * 300, '{"a":', "\\u0000", "\\ud800", "exec(", "__import__",
)  # fmt: skip
_CHOICE = (
    *"ABCDEFGHIJK0123456789().,:;*?-", "answer is", "Answer:", "answer:", "option", "choose", "not", "Wait, ", "no, ",
    "it is", r"\boxed{", "}", r"\text{", "neither", "because", "either", "Beryllium", "I think", "vitamin D",
)  # fmt: skip
_JUDGE = (
    *"[]{},:\"0123456789.-", '"code"', '"verdicts"', '"item"', '"satisfied"', '"explanation"', '"rating"', "true",
    "false", "null", "1e999", "```json\n", "\n```",
    '{"code": "c", "verdicts": [{"item": 1, "explanation": "", "satisfied": true}]}', '{"code": "c", "rating": 10}',
    "9" * 5000, "[" * 300, "NaN",
)  # fmt: skip
_SEEDS = {
    "math": (r"<think>a</think> \boxed{7}", r"\boxed{x = \frac{14}{2} = 7\text{ cm}}", "#### 7", r"<think>\boxed{7}"),
    "tool": (
        '<think>t</think>\n<tool_call>[{"name": "f", "arguments": {"a": 1}}]</tool_call>',
        '[{"type": "function", "id": "c", "function": {"name": "f", "arguments": "{\\"a\\": 1}"}}]',
        "[f(a=1, b='x'), g.h(c=[1, 2.5, {'d': -3}])]",
    ),
    "choice": ("The answer is (C).", r"So \boxed{2}. Wait, it is (D).", "Answer: option B because A or C is not."),
    "judge": (
        '{"code": "c", "verdicts": [{"item": 1, "explanation": "so", "satisfied": true}]}',
        '```json\n{"code": "c", "explanation": "", "rating": 7}\n```',
        "<think>hm</think> Take a CT.",
    ),
}  # fmt: skip
_TOKENS = {"math": _MATH, "tool": _TOOL, "choice": _CHOICE, "judge": _JUDGE}

_INTEGER = {"type": "integer"}
_FUNCTION = {
    "name": "f",
    "parameters": {
        "type": "dict",
        "properties": {
            "a": _INTEGER,
            "b": {"type": "string"},
            "x": {"type": "float"},
            "d": {"type": "dict", "properties": {"a": _INTEGER}},
            "l": {"type": "array", "items": {"type": "float"}},
        },
    },
}
_ACCEPTED = {"a": [1], "b": ["x", ""], "x": [1.0, ""], "d": [{"a": [1]}, ""], "l": [[1.0], ""]}
_CALLS = [
    CallsReference("simple_python", [_FUNCTION], [{"f": _ACCEPTED}]),
    CallsReference("parallel", [_FUNCTION], [{"f": _ACCEPTED}, {"f": _ACCEPTED}]),
]
_RUBRIC = [{"description": "Names CT", "weight": 3, "keywords": ["CT"]}]
_JUDGED = judge_reward(LocalJudge(), seed=0)


def texts(kind: str, count: int, seed: int) -> Iterator[str]:
    """`count` texts of a kind: tokens in any order, a valid response with some characters changed, one token often."""
    rng = random.Random(f"{kind}/{seed}")
    tokens, seeds = (*_TOKENS[kind], *_COMMON), _SEEDS[kind]
    for number in range(count):
        way = number % 8
        if way == 7 and number % 200 == 7:
            text = rng.choice(tokens) * rng.randrange(1, 3000) + rng.choice(tokens) * rng.randrange(1, 1000)
            yield text[:MAX_CHARACTERS]
        elif way < 4:
            text = "".join(rng.choice(("", "", " ")) + rng.choice(tokens) for _ in range(rng.randrange(1, 25)))
            yield rf"<think>t</think>\boxed{{{text}}}" if way == 0 else text
        else:
            characters = list(rng.choice(seeds) * rng.choice((1, 1, 1, 2)))
            for _ in range(rng.randrange(1, 6)):
                place = rng.randrange(len(characters) + 1)
                characters[place : place + rng.randrange(3)] = rng.choice(tokens)
            yield "".join(characters)


def _read_math(text: str, symbolic: bool) -> None:
    for truncated in (False, True):
        read_response(text, truncated=truncated)
        final_answer(text, truncated=truncated)
    answer = read_response(text).answer or text
    squeezed(written(plain(answer)))
    if is_reasonable(answer):  # others are compared no further
        form(plain(answer))
        quantity(plain(answer))
    # An integer beside an integer or a number needs no parser of expressions.
    if symbolic or as_integer(answer) is not None or exact_value(plain(answer)[:500]) is not None:
        grade_math(text, 7)
        grade(Sample(text), MathReference("34567"))


def _read_calls(text: str, _: bool) -> None:
    grade_tool(text, [{"name": "f", "arguments": {"a": 1}}])
    for reference in _CALLS:
        grade(Sample(text), reference)
    try:
        bfcl.read_calls(text)
    except ValueError as error:
        str(error)


def _read_choice(text: str, _: bool) -> None:
    for answer_format in ANSWER_FORMATS:
        read_choice(text, answer_format)
        grade(Sample(text, True), ChoiceReference(2, 10, answer_format))


def _read_judge(text: str, _: bool) -> None:
    for aggregation in AGGREGATIONS:
        try:
            read_reply(text, Inquiry([], "c"), parse_rubric(_RUBRIC), aggregation)
        except ReplyError as error:
            str(error)
    for truncated in (False, True):
        answer_to_judge(text, truncated=truncated)
        _JUDGED(text, {"question": "?", "rubric": _RUBRIC}, truncated)


READERS: dict[str, Callable[[str, bool], None]] = {
    "math": _read_math,
    "tool": _read_calls,
    "choice": _read_choice,
    "judge": _read_judge,
}


def run(count: int, seed: int = 0, symbolic: float = 0.0) -> tuple[Counter[str], list[tuple[float, str, str]]]:
    """Texts read by kind, and the slowest of each kind: (seconds of this thread, kind, text). Errors are raised, with
    the text in their note.
    """
    read: Counter[str] = Counter()
    slowest = []
    for kind, reader in READERS.items():
        rng, worst = random.Random(seed), (0.0, kind, "")
        for text in texts(kind, count // len(READERS), seed):
            start = time.thread_time()
            try:
                reader(text, rng.random() < symbolic)
            except Exception as error:
                error.add_note(f"{kind}: {text[:500]!r}")
                raise
            worst = max(worst, (time.thread_time() - start, kind, text))
            read[kind] += 1
        slowest.append(worst)
    return read, slowest


def main() -> None:
    """Read texts and say how many, and which was slowest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--symbolic", type=float, default=0.0)
    arguments = parser.parse_args()
    read, slowest = run(arguments.count, arguments.seed, arguments.symbolic)
    print(f"{read.total()} texts read, no error: {dict(read)}")
    for seconds, kind, text in slowest:
        print(f"{kind}: the slowest took {seconds:.3f} s, {len(text)} characters: {text[:80]!r}")


if __name__ == "__main__":
    main()
