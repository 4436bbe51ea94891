"""BFCL's AST rules, rule by rule, and the official verdicts on real outputs."""

from pathlib import Path
from typing import Any

import pytest

from evaluation.bfcl import CATEGORIES, LIVE, NON_LIVE, category_of, check, check_answers
from evaluation.graders import CallsReference, Sample, grade
from reference_impl.files import read_jsonl
from reference_impl.text.tool_calls import Call


def function(name: str = "f", required: tuple[str, ...] = (), **types: Any) -> dict[str, Any]:
    properties = {key: value if isinstance(value, dict) else {"type": value} for key, value in types.items()}
    return {
        "name": name,
        "parameters": {"type": "dict", "properties": properties, "required": list(required)},
    }


def array(inner: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": inner}}


# declared type, accepted values, given value, whether it is right
VALUES = [
    ("integer", [1], 1, True),
    ("integer", [1], 2, False),
    ("integer", [1], 1.0, False),
    ("integer", [1], True, False),
    ("integer", [1], "1", False),
    ("float", [1.5], 1.5, True),
    ("float", [5.0], 5, True),  # Python's own conversion
    ("float", [5], 5, True),  # converted to 5.0, which equals the accepted 5
    ("integer", [5], 5.0, False),
    ("float", [5.0], 10**400, False),  # no float is as large
    ("float", [5.0], -(10**400), False),
    ("integer", [5], 10**400, False),
    ("boolean", [True], True, True),
    ("boolean", [True], 1, False),
    ("string", ["New York, NY"], "new york ny", True),  # case, blanks and ,./-_*^ do not count
    ("string", ["it's"], 'it"s', True),
    ("string", ["a", "b"], "b", True),
    ("string", ["a:b"], "ab", False),
    ("string", ["a"], 1, False),
    ("any", ["a"], "A", True),
    (array("integer"), [[1, 2]], [1, 2], True),
    (array("integer"), [[1, 2]], [2, 1], False),
    (array("integer"), [[1, 2]], (1, 2), False),  # a tuple is not an array
    (array("float"), [[1.0]], [1], False),  # no conversion inside lists
    (array("string"), [["A b"]], ["ab"], True),
    (array("string"), [["a"], ["b"]], ["b"], True),
    (array("integer"), [[1]], ["1"], False),
    ({"type": "tuple", "items": {"type": "integer"}}, [[1, 2]], (1, 2), True),
    ({"type": "tuple", "items": {"type": "integer"}}, [[1, 2]], [1, 2], True),
    ("dict", [{"k": ["x"]}], {"k": "X"}, True),
    ("dict", [{"k": ["x"]}], {"k": "y"}, False),
    ("dict", [{"k": ["x"]}], {}, False),
    ("dict", [{"k": ["x", ""]}], {}, True),
    ("dict", [{"k": ["x"]}], {"k": "x", "l": 1}, False),
    ("dict", [{"k": [1]}, {"l": [2]}], {"l": 2}, True),
    (array("dict"), [[{"k": [1]}, {"k": [2]}]], [{"k": 1}, {"k": 2}], True),
    (array("dict"), [[{"k": [1]}, {"k": [2]}]], [{"k": 2}, {"k": 1}], False),
    (array("dict"), [[{"k": [1]}]], [{"k": 1}, {"k": 1}], False),
    ("integer", ["n"], "n", True),  # a variable: the answer's own type is accepted
    ("integer", ["n"], "N", False),  # and compared as it stands
    ("integer", ["n"], 1, False),
    ("string", ["", "a"], "a", True),
]


@pytest.mark.parametrize(("declared", "accepted", "value", "right"), VALUES)
def test_values(declared: Any, accepted: list[Any], value: Any, right: bool) -> None:
    functions = [function(required=("x",), x=declared)]
    problem = check("simple_python", functions, [Call("f", {"x": value})], [{"f": {"x": accepted}}])
    assert (problem is None) is right, problem


def test_parameters() -> None:
    functions = [function(required=("a",), a="integer", b="integer", c="integer")]
    answers: list[dict[str, Any]] = [{"f": {"a": [1], "b": [2, ""]}}]

    def problem(**arguments: Any) -> str | None:
        return check("simple_python", functions, [Call("f", arguments)], answers)

    assert problem(a=1) is None
    assert problem(a=1, b=2) is None
    assert problem(b=2) == "required parameter a is missing"
    assert problem(a=1, b=3) == "parameter b is 3, not among [2, '']"
    assert problem(a=1, c=3) == "unexpected parameter c"
    assert problem(a=1, z=3) == "unexpected parameter z"
    assert check("simple_python", functions, [Call("f", {"a": 1})], [{"f": {"a": [1], "b": [2]}}]) == (
        "parameter b is missing"
    )


def test_a_description_may_require_nothing() -> None:
    description = function(a="integer")
    for parameters in ({**description["parameters"], "required": None}, dict(description["parameters"])):
        if parameters["required"] == []:
            del parameters["required"]
        functions = [{**description, "parameters": parameters}]
        assert check("simple_python", functions, [Call("f", {"a": 1})], [{"f": {"a": [1]}}]) is None
        assert check("simple_python", functions, [Call("f", {})], [{"f": {"a": [1]}}]) == "parameter a is missing"


def test_what_is_required_is_a_list() -> None:
    description = function(a="integer")
    description["parameters"]["required"] = "a"
    with pytest.raises(ValueError, match="f: required must be a list of parameters, got 'a'"):
        check_answers([description], [{"f": {"a": [1]}}])


def test_names() -> None:
    functions = [function("a.b", x="integer")]
    answers = [{"a.b": {"x": [1]}}]
    assert check("simple_python", functions, [Call("a.b", {"x": 1})], answers) is None
    assert check("simple_python", functions, [Call("a_b", {"x": 1})], answers) == "a_b instead of a.b"
    assert check("simple_python", functions, [Call("a_b", {"x": 1})], answers, underscores=True) is None
    assert check("simple_python", functions, [Call("a.b", {"x": 1})], answers, underscores=True) is not None


def test_counts_and_order() -> None:
    functions = [function("f", x="integer"), function("g", x="integer")]
    f1, f2, g1 = Call("f", {"x": 1}), Call("f", {"x": 2}), Call("g", {"x": 1})
    two = [{"f": {"x": [1]}}, {"g": {"x": [1]}}]
    assert check("parallel", functions, [f1, g1], two) is None
    assert check("parallel", functions, [g1, f1], two) is None
    assert check("parallel", functions, [f1], two) == "1 calls instead of 2"
    assert check("parallel", functions, [f1, f2], two) is not None
    assert check("parallel", functions, [f1, f1], two) is not None
    assert check("multiple", functions, [g1], two[1:]) is None
    assert check("multiple", functions, [f1], two[1:]) == "f instead of g"
    assert check("simple_python", functions[:1], [], two[:1]) == "0 calls instead of 1"
    # Greedy: the first matching call is taken, although the other assignment would have served both.
    greedy: list[dict[str, Any]] = [{"f": {"x": [1, 2]}}, {"f": {"x": [1]}}]
    assert check("parallel", functions, [f1, f2], greedy) is not None
    assert check("parallel", functions, [f2, f1], greedy) is None


@pytest.mark.parametrize(
    ("item", "category"),
    [
        ("simple_python_0", "simple_python"),
        ("simple_12", "simple_python"),
        ("parallel_multiple_199", "parallel_multiple"),
        ("live_simple_3-1-0", "live_simple"),
        ("live_parallel_multiple_0-0-0", "live_parallel_multiple"),
    ],
)
def test_category_of(item: str, category: str) -> None:
    assert category_of(item) == category


@pytest.mark.parametrize("item", ["", "simple", "simple_java_0", "live_relevance_0-0-0", "7", "irrelevance_1"])
def test_unknown_category(item: str) -> None:
    with pytest.raises(ValueError, match="no BFCL category"):
        category_of(item)


def test_instance_weights_of_table_10() -> None:
    # B.8: "averaged by instance". CHORD-phi: live 71.3 258 + 69.8 1053 + 62.5 16 + 62.5 24 over 1351 = 69.87.
    assert sum(LIVE.values()) == 1351
    assert sum(NON_LIVE.values()) == 1000
    printed = {
        "live_simple": 71.3,
        "live_multiple": 69.8,
        "live_parallel": 62.5,
        "live_parallel_multiple": 62.5,
    }
    average = sum(printed[name] * n for name, n in LIVE.items()) / 1351
    assert average == pytest.approx(69.9, abs=0.05)


def test_official_verdicts(reference_data: Path) -> None:
    """Every row of every replay file: the verdict of the official checker on version 4 of the data."""
    functions: dict[str, Any] = {}
    answers: dict[str, Any] = {}
    for category in CATEGORIES:
        for row in read_jsonl(reference_data / "bfcl" / f"BFCL_v4_{category}.json"):
            functions[row["id"]] = row["function"]
        for row in read_jsonl(reference_data / "bfcl" / "possible_answer" / f"BFCL_v4_{category}.json"):
            answers[row["id"]] = row["ground_truth"]

    def reference(item: str) -> CallsReference:
        return CallsReference(category_of(item), functions[item], answers[item])

    files = sorted((reference_data / "bfcl_replay").glob("*.jsonl"))
    assert files
    for path in files:
        differing = [
            row["id"]
            for row in read_jsonl(path)
            if grade(Sample(row["result"]), reference(row["id"])).correct is not row["v4_valid"]
        ]
        assert differing == [], path.name
