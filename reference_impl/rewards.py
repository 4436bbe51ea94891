"""Rewards: A.2's hierarchical one for math and binary one for tool use, and a judge's score (B.4)."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from reference_impl.config import HttpJudgeSettings, LocalJudgeSettings, choose
from reference_impl.judge.build import build_judge
from reference_impl.judge.rubric import Judge, answer_to_judge, parse_rubric
from reference_impl.text.answers import equality, gold_text, has_one_think_block, read_response
from reference_impl.text.tool_calls import Call, calls_in_blocks, same_calls, tool_call_blocks

REWARD_CORRECT = 1.0
REWARD_WRONG = 0.0
REWARD_BADLY_FORMATTED = -0.1
REWARD_NO_ANSWER_IN_TIME = -1.0


class RewardUnavailableError(RuntimeError):
    """A judge failed after its retries: there is no reward, and none is made up."""


@dataclass(frozen=True)
class Graded:
    """What the trainer needs of one response.

    `reward` trains. `score`, in [0, 1], measures: 1 or 0 for right or wrong, or how much of a rubric holds; its mean
    chooses checkpoints.
    """

    reward: float
    correct: bool
    well_formatted: bool
    score: float


Grade = Callable[[str, Any, bool], Graded]
"""A grading function: (response, gold, whether the token limit cut the response)."""


def _by_rule(reward: float, correct: bool, well_formatted: bool) -> Graded:
    return Graded(reward, correct, well_formatted, float(correct))


def grade_math(response: str, gold: str | int | float, truncated: bool = False) -> Graded:
    """Reward of one math response (A.2).

    +1.0 for a correct final answer, however it is formatted; 0.0 for a wrong one in the right format (one
    think block, then a box); -0.1 for a wrong one in a wrong format; -1.0 if the token limit was reached
    (`truncated`) without a final answer.
    """
    reading = read_response(response, truncated=truncated)
    if reading.answer is None:
        return _by_rule(REWARD_NO_ANSWER_IN_TIME if truncated else REWARD_BADLY_FORMATTED, False, False)
    if equality(gold_text(gold), reading.answer) == "equal":
        return _by_rule(REWARD_CORRECT, True, reading.well_formatted)
    return _by_rule(REWARD_WRONG if reading.well_formatted else REWARD_BADLY_FORMATTED, False, reading.well_formatted)


def grade_math_as(
    response: str,
    gold: str | int | float,
    truncated: bool = False,
    *,
    correct_badly_formatted: float = REWARD_CORRECT,
    no_answer_in_time: float | None = REWARD_NO_ANSWER_IN_TIME,
    format: str = "boxed",
) -> Graded:
    """`grade_math` with what A.2 leaves open read otherwise; without parameters the two agree.

    A right answer in the wrong format gets ``correct_badly_formatted``; a response that was cut without an answer
    ``no_answer_in_time``, or, where that is None, what any wrong one gets. ``format`` says what is tested: `boxed`, one
    think block and then a box, or `think`, the think block alone.
    """
    reading = read_response(response, truncated=truncated)
    well_formatted = has_one_think_block(response) if format == "think" else reading.well_formatted
    if reading.answer is None and truncated and no_answer_in_time is not None:
        return _by_rule(no_answer_in_time, False, False)
    if reading.answer is not None and equality(gold_text(gold), reading.answer) == "equal":
        return _by_rule(REWARD_CORRECT if well_formatted else correct_badly_formatted, True, well_formatted)
    return _by_rule(REWARD_WRONG if well_formatted else REWARD_BADLY_FORMATTED, False, well_formatted)


def grade_tool(response: str, gold_calls: Sequence[Mapping[str, Any]], truncated: bool = False) -> Graded:
    """Reward of one tool-use response (A.2): 1.0 if it is completely correct, 0.0 otherwise.

    Completely correct: exactly one think block before the <tool_call> blocks, all of them closed, whose calls, all
    blocks together, are the gold ones in any order, with arguments equal in value and JSON type. A guess beside the
    right call is one call too many. A response cut before a closing tag has no calls, so `truncated` needs no rule of
    its own.
    """
    calls = _calls_after_thinking(response)
    correct = calls is not None and same_calls(calls, gold_calls)
    return _by_rule(REWARD_CORRECT if correct else REWARD_WRONG, correct, calls is not None)


def grade_tool_as(
    response: str, gold_calls: Sequence[Mapping[str, Any]], truncated: bool = False, *, calls: str = "all"
) -> Graded:
    """`grade_tool`, in which with ``calls`` = `last` only the last <tool_call> block after the thoughts is read."""
    thoughts, closing, after = response.partition("</think>")
    if calls == "last":
        before, opening, last = after.rpartition("<tool_call>")
        after = before.partition("<tool_call>")[0] + opening + last
    return grade_tool(thoughts + closing + after, gold_calls, truncated)


def _calls_after_thinking(response: str) -> list[Call] | None:
    """The response's calls, or None where its format is broken."""
    thoughts, closing, after = response.partition("</think>")
    try:
        blocks, outside = tool_call_blocks(after)
        before = thoughts.partition("<think>")[0]
        if "<tool_call>" in before + outside or not has_one_think_block(thoughts + closing + outside):
            return None
        return calls_in_blocks(blocks)
    except ValueError:
        return None


def math_reward(response: str, gold: str | int | float, *, truncated: bool = False) -> float:
    """`grade_math` without the details: one of 1.0, 0.0, -0.1, -1.0."""
    return grade_math(response, gold, truncated).reward


def tool_reward(response: str, gold_calls: Sequence[Mapping[str, Any]], *, truncated: bool = False) -> float:
    """`grade_tool` without the details: 1.0 or 0.0."""
    return grade_tool(response, gold_calls, truncated).reward


def judge_reward(judge: Judge, *, seed: int) -> Grade:
    """A judge's score as a reward (B.4).

    `gold` is {"question": text, "rubric": list}. A response without an answer gets 0. The function raises
    RewardUnavailableError where the judge fails after its retries, because a made-up reward would train on noise.
    """

    def grade(response: str, gold: Any, truncated: bool = False) -> Graded:
        answer = answer_to_judge(response, truncated=truncated)
        if answer is None:
            return Graded(0.0, False, False, 0.0)
        judgement = judge.score(gold["question"], answer, parse_rubric(gold["rubric"]), seed=seed)
        if judgement.score is None:
            raise RewardUnavailableError(f"no reward, since the judge failed: {judgement.detail}")
        return Graded(judgement.score, judgement.score == 1.0, True, judgement.score)

    return grade


REWARDS: dict[str, Grade] = {"math": grade_math, "tool": grade_tool}
"""Rewards by rule; `JUDGED_REWARD` is the other kind."""
READ_REWARDS: dict[str, Callable[..., Graded]] = {"math": grade_math_as, "tool": grade_tool_as}
"""The same with parameters, which `reference_impl.config.methods.RewardReading` declares."""
JUDGED_REWARD = "judge"


@dataclass(frozen=True)
class Reward:
    """A domain's reward: how a response is graded, and how many are worth grading at once."""

    grade: Grade
    concurrency: int = 1

    def grade_all(self, responses: Sequence[str], golds: Sequence[Any], truncated: Sequence[bool]) -> list[Graded]:
        """Grades in the order of the responses. The first failure is raised, and what has not begun is not begun."""
        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(pool.map(self.grade, responses, golds, truncated))


def build_reward(
    name: str,
    judge: LocalJudgeSettings | HttpJudgeSettings | None,
    *,
    seed: int,
    reading: Mapping[str, Any] = MappingProxyType({}),
) -> Reward:
    """The reward called `name`: one of REWARDS, or `judge` with the judge of these settings.

    seed: of the judge; reading: parameters of READ_REWARDS, where the reward is read otherwise. Raises ValueError for
    an unknown name, where a judge is missing, and where none is asked.
    """
    choose("reward", name, (*REWARDS, JUDGED_REWARD), "domains.yaml")
    if name == JUDGED_REWARD:
        if judge is None:
            raise ValueError(f"reward {name!r} needs a judge: give `judge` in the scale's domain")
        built = build_judge(judge)
        return Reward(judge_reward(built, seed=seed), built.concurrency)
    if judge is not None:
        raise ValueError(f"reward {name!r} asks no judge, but one is declared: {judge.given()}")
    return Reward(partial(READ_REWARDS[name], **reading) if reading else REWARDS[name])
