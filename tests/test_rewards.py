"""Rewards of Appendix A.2, case by case."""

import pytest

from reference_impl.rewards import REWARDS, Graded, math_reward, tool_reward

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
    (r"<think>6 x 7</think> \boxed{}", False, 0.0),  # the format is there, the answer is not right
    (r"<think>6 x 7</think> \boxed{43}", True, 0.0),
    (r"\boxed{43}", False, -0.1),
    (r"<think>6 x 7</think> 42", False, -0.1),
    (r"<think>\boxed{42}</think>", False, -0.1),
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
    (call(f"[{F}]") + call(f"[{F}, {G}]", think=""), 1.0),  # the last one counts
    (call(f"[{F}, {G}]") + " done", 1.0),
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


def test_tool_format_is_a_matter_of_its_own() -> None:
    assert REWARDS["tool"](call("[]"), GOLD, False) == Graded(0.0, correct=False, well_formatted=True)
    assert REWARDS["tool"]("<think>t</think>", GOLD, False) == Graded(0.0, correct=False, well_formatted=False)


def test_one_and_true_are_different_gold_values() -> None:
    response = call('{"name": "f", "arguments": {"a": true}}')
    assert tool_reward(response, [{"name": "f", "arguments": {"a": True}}]) == 1.0
    assert tool_reward(response, [{"name": "f", "arguments": {"a": 1}}]) == 0.0
