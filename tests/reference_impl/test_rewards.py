"""Rewards of Appendix A.2, case by case, and those of a judge (B.4)."""

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from reference_impl.config import HttpJudgeSettings, LocalJudgeSettings
from reference_impl.judge.rubric import LocalJudge
from reference_impl.rewards import (
    READ_REWARDS,
    REWARDS,
    Graded,
    Reward,
    build_reward,
    judge_reward,
    math_reward,
    tool_reward,
)
from tests.support.judge_server import Handler, broken, good, serve

# response, truncated, reward against the gold 42
MATH = [
    (r"<think>6 x 7</think> \boxed{42}", False, 1.0),
    (r"<think>6 x 7</think> \boxed{042}", False, 1.0),
    (r"<think>6 x 7</think> \boxed{\frac{84}{2}}", False, 1.0),
    (r"\boxed{42}", False, 1.0),  # correct but badly formatted: the paper's first case still applies
    (r"<think>6 x 7 \boxed{42}", False, 1.0),
    (r"<think>a</think><think>b</think> \boxed{42}", False, 1.0),
    (r"<think>6 x 7</think> \boxed{42}", True, 1.0),  # answered, then cut
    (r"<think>6 x 7</think> \boxed{43}", False, 0.0),
    (r"<think>6 x 7</think> \boxed{}", False, -0.1),  # an empty box is no box
    (r"<think>6 x 7</think> \boxed{43}, as asked inside \boxed{}", False, 0.0),
    (r"<think>6 x 7</think> \boxed{43}", True, 0.0),
    (r"\boxed{43}", False, -0.1),
    (r"<think>6 x 7</think> 42", False, -0.1),
    (r"<think>\boxed{42}</think>", False, 1.0),  # the same with and without the closing tag
    (r"<think>\boxed{43}</think>", False, -0.1),
    (r"<think>\boxed{43}", False, -0.1),
    (r"<think>\boxed{42}</think> so", True, -1.0),
    ("", False, -0.1),
    (r"\boxed{43} and on and", True, -0.1),
    (r"<think>6 x 7 is", True, -1.0),
    (
        r"<think>I try \boxed{42} and",
        True,
        -1.0,
    ),  # a box in an unfinished train of thought is no final answer
    (r"<think>6 x 7</think> so the answer is", True, -1.0),
    (r"<think>6 x 7</think> \boxed{4", True, -1.0),
    ("", True, -1.0),
]


@pytest.mark.parametrize(("response", "truncated", "reward"), MATH)
def test_math_reward(response: str, truncated: bool, reward: float) -> None:
    assert math_reward(response, "42", truncated=truncated) == reward


@pytest.mark.parametrize("gold", [42, 42.0, "42"])
def test_golds_may_be_numbers(gold: str | int | float) -> None:
    assert math_reward(r"<think>a</think>\boxed{42}", gold) == 1.0
    assert math_reward(r"<think>a</think>\boxed{43}", gold) == 0.0


def test_a_gold_that_is_no_answer() -> None:
    with pytest.raises(ValueError, match="a gold answer must be text or a number, got True"):
        math_reward(r"\boxed{1}", True)


@pytest.mark.parametrize(("response", "truncated", "reward"), MATH)
def test_grade_math_agrees_with_the_reward(response: str, truncated: bool, reward: float) -> None:
    graded = REWARDS["math"](response, "42", truncated)
    assert graded.reward == reward
    assert graded.correct is (reward == 1.0)
    assert graded.score == float(graded.correct)
    if reward == 0.0:
        assert graded.well_formatted
    if reward < 0:
        assert not graded.well_formatted


F = '{"name": "f", "arguments": {"a": 1, "b": "x"}}'
G = '{"name": "g", "arguments": {}}'
GOLD = [{"name": "f", "arguments": {"a": 1, "b": "x"}}, {"name": "g", "arguments": {}}]


def call(content: str, think: str = "<think>t</think>") -> str:
    return f"{think}<tool_call>{content}</tool_call>"


TOOL = [
    (call(f"[{F}, {G}]"), 1.0),
    (call(f"[{G}, {F}]"), 1.0),  # order-free
    (call(f'[{G}, {{"name": "f", "arguments": {{"b": "x", "a": 1}}}}]'), 1.0),
    (call(f"\n[{F},\n {G}]\n"), 1.0),
    (call(F) + call(G, think=""), 1.0),  # a block for each call
    (call(G) + " and " + call(F, think=""), 1.0),
    (call(f"[{F}]") + call(f"[{F}, {G}]", think=""), 0.0),  # a guess beside the right calls
    (
        "".join([call(F.replace("1", str(n)), think="<think>t</think>" * (n == 0)) for n in range(50)])
        + call(f"[{F}, {G}]", think=""),
        0.0,
    ),
    (call(f"[{F}, {G}]") + call(f"[{F}, {G}]", think=""), 0.0),  # made twice
    (call(f"[{F}, {G}]") + "<tool_call>", 0.0),  # never closed
    ("<think>t</think><tool_call>" + call(f"[{F}, {G}]", think=""), 0.0),  # nor this one
    (call(F, think="") + call(f"[{F}, {G}]"), 0.0),  # a guess before the think block
    (call(f"[{F}, {G}]") + call("not json", think=""), 0.0),
    (call(F) + "<think>u</think>" + call(G, think=""), 0.0),
    (f"<think>maybe {call(F, think='')}</think>" + call(f"[{F}, {G}]", think=""), 1.0),  # a draft is a thought
    (call(f"[{F}, {G}]".replace("arguments", "parameters")), 1.0),
    (call(f'[{{"type": "function", "id": "c1", "function": {F}}}, {G}]'), 1.0),
    (call(f"[{F}, {G}]".replace("{}", '"{}"')), 1.0),
    (call(f"[{F}, {G}]") + " done", 1.0),
    (call(f"[{F}, {G}]") + " <think>", 0.0),  # a second block begins, wherever it stands
    (call(f"[{F}]"), 0.0),
    (call(f"[{F}, {G}, {G}]"), 0.0),  # repeats count
    (call(f"[{F}, {F}]"), 0.0),
    (call(f"[{F}, {G}]".replace("1", "1.0")), 0.0),  # strict types
    (call(f"[{F}, {G}]".replace("1", "true")), 0.0),
    (call(f"[{F}, {G}]".replace("1", '"1"')), 0.0),
    (call(f"[{F}, {G}]".replace('"x"', '"X"')), 0.0),
    (call(f"[{F}, {G}]".replace('"f"', '"F"')), 0.0),
    (call(f"[{F}, {G}]", think=""), 0.0),
    (call(f"[{F}, {G}]", think="<think>t"), 0.0),
    (call(f"[{F}, {G}]", think="<think>t</think><think>u</think>"), 0.0),
    (f"<think>t {call(f'[{F}, {G}]', think='')}</think>", 0.0),  # called while thinking
    ("<think>t</think><tool_call>" + f"[{F}, {G}]", 0.0),  # never closed
    (f"<think>t</think>[{F}, {G}]", 0.0),
    (call("not json"), 0.0),
    (call("[" * 100_000), 0.0),
    (call(f"[{F}, {G}]".replace("1", "9" * 100_000)), 0.0),
    ("", 0.0),
]


@pytest.mark.parametrize(("response", "reward"), TOOL)
def test_tool_reward(response: str, reward: float) -> None:
    assert tool_reward(response, GOLD) == reward
    assert REWARDS["tool"](response, GOLD, False).correct is (reward == 1.0)


@pytest.mark.parametrize(("response", "truncated", "reward"), MATH)
def test_math_read_as_usual_is_the_reward(response: str, truncated: bool, reward: float) -> None:
    assert READ_REWARDS["math"](response, "42", truncated) == REWARDS["math"](response, "42", truncated)


@pytest.mark.parametrize(
    ("response", "truncated", "reading", "reward"),
    [
        (r"\boxed{42}", False, {"correct_badly_formatted": 0.9}, 0.9),
        (r"<think>a</think>\boxed{42}", False, {"correct_badly_formatted": 0.9}, 1.0),
        ("<think>a", True, {"no_answer_in_time": None}, -0.1),
        ("<think>a</think>", True, {"no_answer_in_time": None, "format": "think"}, 0.0),
        ("<think>a</think> 42", False, {"format": "think"}, 0.0),  # no box, and yet well formatted
        ("<think>a</think> 42", False, {"format": "boxed"}, -0.1),
        ("<think>a</think> 42", True, {"format": "think"}, -1.0),
    ],
)
def test_math_read_otherwise(response: str, truncated: bool, reading: dict[str, Any], reward: float) -> None:
    graded = build_reward("math", None, seed=0, reading=reading).grade(response, "42", truncated)
    assert (graded.reward, graded.score) == (reward, float(reward > 0))


@pytest.mark.parametrize(("response", "reward"), TOOL)
def test_tool_read_as_usual_is_the_reward(response: str, reward: float) -> None:
    assert READ_REWARDS["tool"](response, GOLD) == REWARDS["tool"](response, GOLD, False)


@pytest.mark.parametrize(
    ("response", "reward"),
    [
        (call(f"[{F}, {G}]"), 1.0),
        (call("not json") + " no: " + call(f"[{F}, {G}]", think=""), 1.0),  # a guess is passed over
        (call(f"[{F}, {G}]") + call(f"[{F}]", think=""), 0.0),
        (call(F) + call(G, think=""), 0.0),  # half of the calls
        (call(f"[{F}, {G}]", think=""), 0.0),
        (f"<think>maybe {call(F, think='')}</think>" + call(f"[{F}, {G}]", think=""), 1.0),
        (call(f"[{F}, {G}]") + "<tool_call>", 0.0),
        ("<think>t</think> none", 0.0),
    ],
)
def test_the_last_call_alone(response: str, reward: float) -> None:
    assert build_reward("tool", None, seed=0, reading={"calls": "last"}).grade(response, GOLD, False).reward == reward


def test_tool_format_is_a_matter_of_its_own() -> None:
    assert REWARDS["tool"](call("[]"), GOLD, False) == Graded(0.0, correct=False, well_formatted=True, score=0.0)
    assert REWARDS["tool"]("<think>t</think>", GOLD, False) == Graded(
        0.0, correct=False, well_formatted=False, score=0.0
    )


def test_one_and_true_are_different_gold_values() -> None:
    response = call('{"name": "f", "arguments": {"a": true}}')
    assert tool_reward(response, [{"name": "f", "arguments": {"a": True}}]) == 1.0
    assert tool_reward(response, [{"name": "f", "arguments": {"a": 1}}]) == 0.0


JUDGED_GOLD = {
    "question": "Which scan?",
    "rubric": [{"description": "Names CT", "weight": 4, "keywords": ["CT"]},
               {"description": "Says x", "weight": 1, "pattern": "x"}],
}  # fmt: skip


def test_a_judges_score_is_the_reward() -> None:
    grade = judge_reward(LocalJudge(), seed=0)
    assert grade("<think>x</think>CT", JUDGED_GOLD, False) == Graded(0.8, False, True, 0.8)  # 4 / (4 + 1)
    assert grade("CT x", JUDGED_GOLD, False) == Graded(1.0, True, True, 1.0)
    assert grade("<think>CT", JUDGED_GOLD, True) == Graded(0.0, False, False, 0.0)
    with pytest.raises(RuntimeError, match="the judge failed: rubric item 1 has neither"):
        grade("CT", {"question": "q", "rubric": [{"description": "d", "weight": 1}]}, False)


def test_the_judges_noise_follows_the_seed() -> None:
    def scores(seed: int) -> list[float]:
        reward = build_reward("judge", LocalJudgeSettings(kind="local", noise=0.5), seed=seed)
        answers = [f"CT {n}" for n in range(40)]
        return [graded.score for graded in reward.grade_all(answers, [JUDGED_GOLD] * 40, [False] * 40)]

    assert scores(0) == scores(0) != scores(1)
    assert set(scores(0)) == {0.0, 0.2, 0.8, 1.0}  # 0, 1, 4 and 5 of 5 points


def test_rewards_by_rule_are_graded_in_order() -> None:
    reward = build_reward("math", None, seed=0)
    graded = reward.grade_all([r"\boxed{1}", r"\boxed{2}", ""], ["1", "1", "1"], [False, False, True])
    assert [item.reward for item in graded] == [1.0, -0.1, -1.0]
    assert [item.score for item in graded] == [1.0, 0.0, 0.0]


def test_as_many_at_once_as_the_judge_takes() -> None:
    meeting = threading.Barrier(3, timeout=30)

    def slow(response: str, gold: Any, truncated: bool) -> Graded:
        meeting.wait()  # passes only when three are being graded at once
        return Graded(float(response), False, True, 0.0)

    graded = Reward(slow, concurrency=3).grade_all(["1", "2", "3"] * 2, [None] * 6, [False] * 6)
    assert [item.reward for item in graded] == [1.0, 2.0, 3.0] * 2


def test_a_model_as_the_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses_the_second(handler: Handler, number: int, payload: Any) -> None:
        (good if number == 0 else broken(401))(handler, number, payload)

    with serve(refuses_the_second) as server:
        judge = HttpJudgeSettings(kind="http", url=server.url, model="m", cache=str(tmp_path / "c"), concurrency=2)
        reward = build_reward("judge", judge, seed=3)
        assert reward.concurrency == 2
        [graded] = reward.grade_all(["CT"], [JUDGED_GOLD], [False])
        assert graded == Graded(0.8, False, True, 0.8)
        assert (server.payloads[0]["model"], server.payloads[0]["seed"]) == ("m", 3)
        # A failure is no score of 0: it ends the run, and the rest of the batch is not asked any more.
        with pytest.raises(RuntimeError, match=r"no reward, since the judge failed: .*status 401"):
            reward.grade_all([f"MRI {n}" for n in range(50)], [JUDGED_GOLD] * 50, [False] * 50)
        assert len(server.payloads) < 10


def test_one_rating_as_the_reward(tmp_path: Path) -> None:
    def rates(handler: Handler, number: int, payload: Any) -> None:
        code = re.search(r"<answer-(\w+)>", payload["messages"][-1]["content"])
        assert code is not None
        handler.complete(json.dumps({"code": code[1], "explanation": "good", "rating": 7}))

    with serve(rates) as server:
        settings = {"kind": "http", "url": server.url, "cache": str(tmp_path / "c"), "aggregation": "implicit"}
        reward = build_reward("judge", HttpJudgeSettings.model_validate(settings, strict=True), seed=0)
        graded = reward.grade("CT", JUDGED_GOLD, False)
    assert graded == Graded(6 / 9, False, True, 6 / 9)  # (7 - 1) / 9


@pytest.mark.parametrize(
    ("name", "judge", "message"),
    [
        ("maths", None, "unknown reward 'maths'; did you mean 'math'.*math, tool, judge"),
        (
            "math",
            LocalJudgeSettings(kind="local"),
            "reward 'math' asks no judge, but one is declared: {'kind'",
        ),
        ("judge", None, "reward 'judge' needs a judge: give `judge`"),
    ],
)
def test_reward_errors(name: str, judge: LocalJudgeSettings | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_reward(name, judge, seed=0)
