"""Verdicts and their reasons."""

from pathlib import Path
from typing import Any

import pytest

from evaluation.graders import (
    REASONS,
    CallsReference,
    ChoiceReference,
    MathReference,
    Reference,
    Sample,
    Verdict,
    grade,
)
from reference_impl.files import read_jsonl

FUNCTION = {
    "name": "f",
    "parameters": {"type": "dict", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
}
MATH = MathReference("42")
CHOICE = ChoiceReference(3, 10, "index")
CALLS = CallsReference("simple_python", [FUNCTION], [{"f": {"a": [1]}}])
PAIR = CallsReference("parallel", [FUNCTION], [{"f": {"a": [1]}}, {"f": {"a": [2]}}])
FLOAT = CallsReference(
    "simple_python",
    [{"name": "f", "parameters": {"type": "dict", "properties": {"a": {"type": "float"}}, "required": ["a"]}}],
    [{"f": {"a": [1.0]}}],
)
DOTTED = CallsReference(
    "simple_python",
    [{"name": "a.b", "parameters": {"type": "dict", "properties": {}, "required": []}}],
    [{"a.b": {}}],
)

CASES: list[tuple[Reference, Any, bool, tuple[bool, str, str | None]]] = [
    (MATH, r"<think>a</think>\boxed{42}", False, (True, "correct", "42")),
    (MATH, r"\boxed{42}", False, (True, "correct", "42")),
    (MATH, r"\boxed{42}", True, (True, "correct", "42")),
    (MATH, r"<think>a</think>\boxed{43}", False, (False, "wrong", "43")),
    (MATH, r"\boxed{43}", True, (False, "wrong", "43")),
    (MATH, r"<think>a</think> I do not know", False, (False, "no_answer", None)),
    (MATH, r"<think>a</think> \boxed{}", False, (False, "no_answer", None)),
    (MATH, r"<think>a</think> \boxed{42}, as asked inside \boxed{}", False, (True, "correct", "42")),
    (MATH, r"<think>\boxed{42}</think>", False, (True, "correct", "42")),
    (MATH, r"<think>\boxed{42}</think> #### 43", False, (True, "correct", "42")),
    (MATH, "<think>\\boxed{42}</think>\n#### 43", False, (False, "wrong", "43")),
    (MATH, r"<think>\boxed{42}</think>", True, (False, "truncated", None)),
    (MATH, "", False, (False, "no_answer", None)),
    (MATH, "42", False, (False, "bad_format", None)),
    (MATH, r"<think>a \boxed{42}</think", False, (True, "correct", "42")),
    (MATH, r"<think>\boxed{42}", True, (False, "truncated", None)),
    (MATH, r"<think>a</think> so", True, (False, "truncated", None)),
    (MATH, r"\boxed{10^{10^{10}}}", False, (False, "timeout", "10^{10^{10}}")),
    (CHOICE, r"<think>a</think>\boxed{3}", False, (True, "correct", "3")),
    (CHOICE, r"<think>a</think>\boxed{4}", False, (False, "wrong", "4")),
    (CHOICE, r"<think>a</think>\boxed{77}", False, (False, "wrong", "77")),
    (CHOICE, r"<think>a</think>\boxed{D}", False, (False, "no_answer", None)),  # the paper asks for the index
    (CHOICE, "the answer is (D)", False, (False, "bad_format", None)),
    (CHOICE, "<think>well", True, (False, "truncated", None)),
    (CHOICE, r"<think>well \boxed{1}", True, (False, "truncated", None)),  # cut while thinking: no choice yet
    (CALLS, '<think><tool_call>[{"name": "f", "arguments": {"a": 1}}]</tool_call>', True, (False, "truncated", None)),
    (CALLS, "[f(a=1)]", False, (True, "correct", "f({'a': 1})")),
    (
        CALLS,
        '<think>a</think><tool_call>[{"name": "f", "arguments": {"a": 1}}]</tool_call>',
        False,
        (True, "correct", "f({'a': 1})"),
    ),
    (
        CALLS,
        '<tool_call>{"f": {"a": 1}}</tool_call><tool_call>{"f": {"a": 2}}</tool_call>',
        False,
        (False, "wrong", "f({'a': 1}), f({'a': 2})"),
    ),
    (
        CALLS,
        '<tool_call>{"id": 1, "name": "f", "parameters": {"a": 1}}</tool_call>',
        False,
        (True, "correct", "f({'a': 1})"),
    ),
    (
        PAIR,
        '<tool_call>{"f": {"a": 2}}</tool_call>\n<tool_call>{"f": {"a": 1}}</tool_call>',
        False,
        (True, "correct", "f({'a': 2}), f({'a': 1})"),
    ),
    (FLOAT, f"[f(a={10**400})]", False, (False, "wrong", f"f({{'a': {10**400}}})")),
    (CALLS, [{"f": '{"a": 1}'}], False, (True, "correct", "f({'a': 1})")),
    (CALLS, [{"f": {"a": 1}}], False, (True, "correct", "f({'a': 1})")),
    (CALLS, [{"name": "f", "arguments": {"a": 1}}], False, (True, "correct", "f({'a': 1})")),
    (DOTTED, [{"a_b": {}}], False, (True, "correct", "a_b({})")),
    (DOTTED, [{"a.b": {}}], False, (True, "correct", "a.b({})")),
    (DOTTED, '[{"a_b": "{}"}]', False, (True, "correct", "a_b({})")),
    (DOTTED, '<think>t</think>[{"a_b": {}}]', False, (True, "correct", "a_b({})")),
    (DOTTED, "[a_b()]", False, (False, "wrong", "a_b({})")),
    (CALLS, "[f(a=2)]", False, (False, "wrong", "f({'a': 2})")),
    (CALLS, [], False, (False, "no_answer", None)),
    (CALLS, "[]", False, (False, "no_answer", None)),
    (CALLS, "<think>a</think><tool_call>[]</tool_call>", False, (False, "no_answer", None)),
    (CALLS, [], True, (False, "truncated", None)),
    (CALLS, [{"f": "not json"}], False, (False, "bad_format", None)),
    (CALLS, [{}], False, (False, "bad_format", None)),
    (CALLS, ["f"], False, (False, "bad_format", None)),
    (CALLS, "I cannot.", False, (False, "bad_format", None)),
    (CALLS, "<think>a</think> I cannot.", False, (False, "no_answer", None)),
    (CALLS, "<think>f(a=1)", True, (False, "truncated", None)),
    (CALLS, '<think>a</think><tool_call>[{"name": "f"', True, (False, "truncated", None)),
]


@pytest.mark.parametrize(("reference", "response", "truncated", "verdict"), CASES)
def test_verdicts(reference: Reference, response: Any, truncated: bool, verdict: tuple[bool, str, str | None]) -> None:
    assert grade(Sample(response, truncated), reference) == Verdict(*verdict)
    assert verdict[1] in REASONS


def test_official_guess_is_seeded_and_labelled() -> None:
    references = [ChoiceReference(3, 10, "index", "random", str(seed)) for seed in range(400)]
    verdicts = [grade(Sample("no idea"), reference) for reference in references]
    assert verdicts == [grade(Sample("no idea"), reference) for reference in references]
    assert {verdict.reason for verdict in verdicts} == {"bad_format"}
    assert all(verdict.extracted and verdict.extracted.endswith("(guessed)") for verdict in verdicts)
    # Ten options: 40 of 400 expected, standard deviation 6.
    assert 20 < sum(verdict.correct for verdict in verdicts) < 60


@pytest.mark.parametrize(
    ("file", "correct", "given"),
    [
        ("qwen_math_cot_100x8.jsonl", 737, 728),  # the harness compares text: see below
        ("aime24_deepscaler_1p5b_4x32_trimmed.jsonl", 122, 122),
    ],
)
def test_published_verdicts(reference_data: Path, file: str, correct: int, given: int) -> None:
    rows = read_jsonl(reference_data / "graded_responses" / file)
    ours = [
        [grade(Sample(response), MathReference(row["gold"])).correct for response in row["responses"]] for row in rows
    ]
    assert sum(map(sum, ours)) == correct
    assert sum(sum(row["verdicts"]) for row in rows) == given
    differing = [
        (row["gold"], mine, theirs)
        for row, verdicts in zip(rows, ours, strict=True)
        for mine, theirs in zip(verdicts, row["verdicts"], strict=True)
        if mine != theirs
    ]
    # Right answers that are written otherwise: 4:30 \\text{ p.m.} and 10000.
    otherwise = [(r"\text{4:30 p.m.}", True, False)] * 8 + [("10{,}000", True, False)]
    assert differing == (otherwise if correct != given else [])


@pytest.mark.parametrize(
    ("response", "correct", "extracted"),
    [
        ("So 6*7 = 42.\n#### 42", True, "42"),
        ("First #### 41 in a line\n#### 41\n#### 1,042\n", False, "1,042"),
        ("#### 41\nno: \\boxed{42}", True, "42"),  # the box goes first, wherever it stands
        ("<think>\n#### 42\n</think>\nno answer", False, None),
        ("####", False, None),
        ("#### Conclusion", False, None),
        ("#### 42\n#### Conclusion\nso it is", True, "42"),
        ("#### Step 42", False, None),
        ("#### 3. Check", False, None),
        ("#### $42", True, "$42"),
        ("#### 42 apples", True, "42 apples"),
        ("#### \\frac{84}{2}", True, "\\frac{84}{2}"),
    ],
)
def test_gsm8k_final_answer(response: str, correct: bool, extracted: str | None) -> None:
    verdict = grade(Sample(response), MATH)
    assert (verdict.correct, verdict.extracted) == (correct, extracted)
