"""Rewards of Appendix A.2: a hierarchical one for math, a binary one for tool use."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reference_impl.answers import equality, gold_text, has_one_think_block, read_response
from reference_impl.tool_calls import Call, parse_tool_call, same_calls

REWARD_CORRECT = 1.0
REWARD_WRONG = 0.0
REWARD_BADLY_FORMATTED = -0.1
REWARD_NO_ANSWER_IN_TIME = -1.0


@dataclass(frozen=True)
class Graded:
    """What the trainer needs of one response."""

    reward: float
    correct: bool
    well_formatted: bool


def grade_math(response: str, gold: str | int | float, truncated: bool = False) -> Graded:
    """Reward of one math response (A.2).

    +1.0 for a correct final answer, however it is formatted; 0.0 for a wrong one in the right format (one
    think block, then a box); -0.1 for a wrong one in a wrong format; -1.0 if the token limit was reached
    (`truncated`) without a final answer.
    """
    reading = read_response(response, truncated=truncated)
    if reading.answer is None:
        return Graded(REWARD_NO_ANSWER_IN_TIME if truncated else REWARD_BADLY_FORMATTED, False, False)
    if equality(gold_text(gold), reading.answer) == "equal":
        return Graded(REWARD_CORRECT, True, reading.well_formatted)
    return Graded(REWARD_WRONG if reading.well_formatted else REWARD_BADLY_FORMATTED, False, reading.well_formatted)


def grade_tool(response: str, gold_calls: Sequence[Mapping[str, Any]], truncated: bool = False) -> Graded:
    """Reward of one tool-use response (A.2): 1.0 if it is completely correct, 0.0 otherwise.

    Completely correct: exactly one think block before the last <tool_call>, whose calls are the gold ones in
    any order, with arguments equal in value and JSON type. A response cut before its closing tag has no
    calls, so `truncated` needs no rule of its own.
    """
    calls = _calls_after_thinking(response)
    correct = calls is not None and same_calls(calls, gold_calls)
    return Graded(REWARD_CORRECT if correct else REWARD_WRONG, correct, calls is not None)


def _calls_after_thinking(response: str) -> list[Call] | None:
    """The response's calls, or None where its format is broken."""
    before = response.rpartition("<tool_call>")[0]
    if not has_one_think_block(before):
        return None
    try:
        return parse_tool_call(response)
    except ValueError:
        return None


def math_reward(response: str, gold: str | int | float, *, truncated: bool = False) -> float:
    """`grade_math` without the details: one of 1.0, 0.0, -0.1, -1.0."""
    return grade_math(response, gold, truncated).reward


def tool_reward(response: str, gold_calls: Sequence[Mapping[str, Any]], *, truncated: bool = False) -> float:
    """`grade_tool` without the details: 1.0 or 0.0."""
    return grade_tool(response, gold_calls, truncated).reward


REWARDS: dict[str, Callable[[str, Any, bool], Graded]] = {"math": grade_math, "tool": grade_tool}
