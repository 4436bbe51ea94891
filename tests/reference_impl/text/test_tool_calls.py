"""Reading calls without evaluating them."""

from typing import Any

import pytest

from reference_impl.text.tool_calls import Call, parse_python_calls, parse_tool_call, same_calls


@pytest.mark.parametrize(
    ("content", "calls"),
    [
        ('[{"name": "f", "arguments": {"a": 1}}]', [Call("f", {"a": 1})]),
        ('{"name": "f", "arguments": {}}', [Call("f", {})]),
        ("[]", []),
        ('[{"name": "a.b", "arguments": {"x": [1, {"y": null}]}}]', [Call("a.b", {"x": [1, {"y": None}]})]),
        ('{"name": "f", "parameters": {"a": 1}}', [Call("f", {"a": 1})]),
        ('{"id": "c1", "name": "f", "arguments": {"a": 1}}', [Call("f", {"a": 1})]),
        ('{"name": "f", "arguments": "{\\"a\\": 1}"}', [Call("f", {"a": 1})]),
        ('{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}', [Call("f", {"a": 1})]),
        ('{"type": "function", "function": {"name": "f", "arguments": "{}"}}', [Call("f", {})]),
        ('[{"type": "function", "id": 3, "function": {"name": "f", "parameters": {}}}]', [Call("f", {})]),
        ('{"f": {"a": 1}}', [Call("f", {"a": 1})]),
        ('{"function": {"a": 1}}', [Call("function", {"a": 1})]),
        ('{"name": "f", "arguments": {}}</tool_call> <tool_call>{"g": {}}', [Call("f", {}), Call("g", {})]),
        ('{"f": {}}</tool_call><tool_call>[]</tool_call>\n<tool_call>[{"f": {}}]', [Call("f", {}), Call("f", {})]),
    ],
)
def test_tool_call(content: str, calls: list[Call]) -> None:
    assert parse_tool_call(f"so <tool_call>{content}</tool_call>") == calls


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("f(a=1)", "Expecting value"),
        ('[{"name": "f"}]', "Expecting value"),
        ('[{"name": "f", "id": 1}]', "expected"),
        ('[{"name": "f", "arguments": {}, "parameters": {}}]', "expected"),
        ('[{"f": {}, "g": {}}]', "expected"),
        ("[[]]", "expected"),
        ("3", "expected"),
        ('[{"name": 1, "arguments": {}}]', "expected a string"),
        ('[{"name": "f", "arguments": "[]"}]', "expected a string"),
        ('[{"name": "f", "arguments": "a"}]', "Expecting value"),
        ('[{"name": "f", "arguments": {"a": ' + "[" * 100 + "]" * 100 + "}}]", "nested too deeply"),
        ('[{"name": "f", "arguments": {"a": 1, "a": 2}}]', "repeated key"),
        ('[{"name": "f", "arguments": {"a": NaN}}]', "NaN is not JSON"),
        ("[" * 50_000, "nested too deeply"),
        (" " * 200_000, "characters"),
        ('[{"name": "f", "arguments": {"a": ' + "1" * 10_000 + "}}]", "digits"),
    ],
)
def test_broken_tool_call(content: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_tool_call(f"<tool_call>{content}</tool_call>")


def test_calls_compare_as_multisets_of_canonical_json() -> None:
    calls = [Call("f", {"a": {"x": 1, "y": 2}}), Call("f", {"a": 1})]
    gold: list[dict[str, Any]] = [
        {"name": "f", "arguments": {"a": 1}},
        {"name": "f", "arguments": {"a": {"y": 2, "x": 1}}},
    ]
    assert same_calls(calls, gold)
    assert not same_calls(calls[:1] * 2, gold)
    assert not same_calls([Call("f", {"a": 1.0})], gold[:1])


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("[f(a=1)]", {"a": 1}),
        ("f(a=1)", {"a": 1}),
        ("```\n[f(a=1)]\n```", {"a": 1}),
        ("'[f(a=1)]'", None),  # quotes inside the brackets that the decoder adds
        ("[f(a=\"x\", b='y')]", {"a": "x", "b": "y"}),
        ("[f(a=-5)]", {"a": -5}),
        ("[f(a=+5)]", {"a": -5}),  # the official decoder's habit
        ("[f(a=True, b=None)]", {"a": True, "b": None}),
        ("[f(a=true)]", {"a": "true"}),  # a name stays text
        ("[f(a=[1, 2.5], b=(1, 2), c={'k': [1]})]", {"a": [1, 2.5], "b": (1, 2), "c": {"k": [1]}}),
        ("[f(a=3 * 4 + 1)]", {"a": 13}),
        ("[f(a=0.05 / 12)]", {"a": 0.05 / 12}),
        ("[f(a='x' + 'y')]", {"a": "xy"}),
        ("[f(a=1 | 2, b=6 & 3, c=6 ^ 3, d=~3 + 5)]", {"a": 3, "b": 2, "c": 5, "d": 1}),
        ("[f(a=(1,) + (2,), b=[0] * 2)]", {"a": (1, 2), "b": [0, 0]}),
        ("[f(a=-2 * 3 + +7)]", {"a": 1}),
        ("[f(a=...)]", {"a": "..."}),
        ("[f(a=g())]", {"a": "g()"}),
        ("[f(a=g(b=1))]", {"a": {"g": {"b": 1}}}),
        ("[f(a=x[0])]", {"a": "x[0]"}),
        ("[f(1, a=2)]", {"a": 2}),  # positional arguments vanish, as in the official decoder
        ("[f()]", {}),
        ("[f(a=lambda x: x)]", None),
        ("[f(a=x.y)]", None),
        ("[f(a=fab-ed)]", None),
        ("[f(a=max(1, 2) + 1)]", None),  # the official decoder would call max
        ("[f(a=9**9**9)]", None),
        ("[f(a='a' * 10**9)]", None),
        ("[f(a='%1000000000d' % 1)]", None),
        ("[f(a=1/0)]", None),
        ("[f(a={[]: 1})]", None),
        ("[f(a=1), 2]", None),
        ("I cannot do that.", None),
        ("[f(a=1)] is my answer", None),
        ("[f(a=\x00)]", None),
        ("[f(a=" + "(" * 5000 + "1" + ")" * 5000 + ")]", None),
        ("[f(a=" + "-" * 50_000 + "1)]", None),
        ("[f(a=" + "1+" * 40_000 + "1)]", None),
        ("[f(a=" + "9" * 10_000 + ")]", None),
        ("[f(a=" + "*".join(["9" * 4000] * 3) + ")]", None),  # more digits than can be printed
        ("[f(a=" + "[" * 80 + "]" * 80 + ")]", None),
        ("x" * 200_000, None),
    ],
)
def test_python_calls(text: str, arguments: dict[str, Any] | None) -> None:
    if arguments is None:
        with pytest.raises(ValueError):
            parse_python_calls(text)
    else:
        assert parse_python_calls(text) == [Call("f", arguments)]


def test_no_text_is_no_call() -> None:
    assert parse_python_calls("") == []


def test_python_calls_keep_order_dots_and_repeats() -> None:
    calls = parse_python_calls("[a.b.c(x=1), f(y=2), f(y=2)]")
    assert calls == [Call("a.b.c", {"x": 1}), Call("f", {"y": 2}), Call("f", {"y": 2})]


def test_nothing_is_evaluated(tmp_path: Any) -> None:
    marker = tmp_path / "marker"
    text = f"[f(a=open({str(marker)!r}, 'w'), b=__import__('os').system('touch {marker}'))]"
    parse_python_calls(text)
    assert not marker.exists()
