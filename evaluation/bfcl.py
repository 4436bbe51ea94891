"""BFCL's single-turn AST checker: are these function calls among the accepted ones?

A clean implementation of the published rules (ShishirPatil/gorilla, Apache-2.0,
bfcl_eval/eval_checker/ast_eval/ast_checker.py at 6ea57973), Python categories only, oddities included:
published scores depend on them. Each oddity is marked "official:". Verdicts agree with the official ones row
by row on the replay files (docs/scores.md).

Terms: a *function* is BFCL's JSON description; an *answer* maps one function name to, per parameter, the list
of accepted values, where "" in the list makes the parameter optional.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reference_impl.text.answers import after_think
from reference_impl.text.tool_calls import Call, calls_from_json, is_named, parse_python_calls, parse_tool_call

# Numbers of questions: the instance weights of the averages (Appendix B.8).
NON_LIVE = {"simple_python": 400, "multiple": 200, "parallel": 200, "parallel_multiple": 200}
LIVE = {"live_simple": 258, "live_multiple": 1053, "live_parallel": 16, "live_parallel_multiple": 24}
CATEGORIES = {**NON_LIVE, **LIVE}

_PYTHON_TYPES: dict[str, type] = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "any": str,
}
_FLOAT_LIMIT = 1 << 1023  # a larger integer has no float
_LIST_OF_OBJECTS = re.compile(r"\s*\[\s*[\[{]")
_IGNORED_CHARACTERS = re.compile(r"[ ,./\-_*^]")


def category_of(item_id: str) -> str:
    """BFCL category of a question id: `live_simple_3-1-0` → `live_simple`; version 3's simple_3 counts.

    Raises ValueError for an id of no known category.
    """
    match = re.match(r"([a-z_]+?)_\d", item_id)
    name = match[1] if match else ""
    name = {"simple": "simple_python"}.get(name, name)
    if name not in CATEGORIES:
        raise ValueError(f"no BFCL category in the id {item_id!r}; known: {', '.join(CATEGORIES)}")
    return name


@dataclass(frozen=True)
class Calls:
    """What a response calls. `by_interface`: a function-calling interface made them, which may forbid dots in names."""

    calls: list[Call]
    by_interface: bool = False


def read_calls(response: str | Sequence[Any], *, truncated: bool = False) -> Calls:
    """Calls of a response: a function-calling model's list, as JSON or as its text, all its <tool_call> JSON, or BFCL's
    Python notation. No text is two of them: a JSON list of objects holds no Python call.

    Raises ValueError where the response is none of them, or was cut before it got there.
    """
    if not isinstance(response, str):
        return _calls_of_interface(response)
    answer = after_think(response, truncated=truncated)
    if answer is None:
        raise ValueError("the response was cut while thinking")
    if "<tool_call>" in answer:
        return Calls(parse_tool_call(answer))
    listed = _json_list(answer)
    if listed:
        return _calls_of_interface(listed)
    return Calls(parse_python_calls(answer) if answer.strip() else [])


def _json_list(text: str) -> list[Any] | None:
    """The JSON list that `text` is; None if it is none, or one that begins with no object or list."""
    if _LIST_OF_OBJECTS.match(text) is None:
        return None
    try:
        value = _loads(text)
    except ValueError:
        return None
    return value if isinstance(value, list) else None


def _loads(text: str) -> Any:
    """JSON as the official decoder loads it: of a repeated key, the last one counts. Raises ValueError."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def _calls_of_interface(items: Sequence[Any]) -> Calls:
    """The calls of a function-calling model. official: of several keys of `{name: arguments}` the first."""
    firsts = [
        dict([next(iter(item.items()))])
        if isinstance(item, dict) and len(item) > 1 and not is_named(item) and not is_named(item.get("function"))
        else item
        for item in items
    ]
    return Calls(calls_from_json(firsts, loads=_loads), by_interface=True)


def check_answers(functions: Any, answers: Any) -> None:
    """Raises ValueError where `answers` are not accepted calls of `functions`, or the functions not described, in
    BFCL's form; KeyError where a description lacks something.
    """
    if not isinstance(answers, list) or not answers:
        raise ValueError(f"a BFCL gold is a list of {{function: {{parameter: [values]}}}}, got {answers!r:.100}")
    names = [function["name"] for function in functions]
    for function in functions:
        required = function["parameters"].get("required") or []
        if not isinstance(required, list):
            raise ValueError(f"{function['name']}: required must be a list of parameters, got {required!r:.100}")
    for name, (parameter, detail) in (
        (function["name"], entry) for function in functions for entry in function["parameters"]["properties"].items()
    ):
        for declared in (detail["type"], *([detail["items"]["type"]] if detail["type"] in ("array", "tuple") else [])):
            if declared not in _PYTHON_TYPES:
                raise ValueError(
                    f"{name}, {parameter}: unknown type {declared!r}; BFCL's are {', '.join(_PYTHON_TYPES)}"
                )
    for answer in answers:
        if not isinstance(answer, dict) or len(answer) != 1:
            raise ValueError(f"an accepted call is an object with one function name, got {answer!r:.100}")
        name, parameters = next(iter(answer.items()))
        if name not in names:
            raise ValueError(f"the gold calls {name!r}; the question offers {', '.join(names)}")
        if not isinstance(parameters, dict):
            raise ValueError(f"the accepted parameters of {name} must be an object, got {parameters!r:.100}")
        for parameter, values in parameters.items():
            if not isinstance(values, list):
                raise ValueError(f"{name}, {parameter}: accepted values must be a list, got {values!r:.100}")


def check(
    category: str,
    functions: Sequence[Mapping[str, Any]],
    calls: Sequence[Call],
    answers: Sequence[Mapping[str, Any]],
    *,
    underscores: bool = False,
) -> str | None:
    """None where the calls are right, otherwise what is wrong with them.

    Args:
        category: decides the rule: any order for parallel ones, exactly one call for the others.
        functions: the descriptions offered to the model.
        answers: accepted calls.
        underscores: whether the function `a.b` is called `a_b`, as interfaces that forbid dots have it.
    """
    if len(calls) != len(answers):
        return f"{len(calls)} calls instead of {len(answers)}"
    left = list(calls)
    for answer in answers:
        name = next(iter(answer))
        # official: a simple category takes the first description, whatever the answer's name.
        many = "multiple" in category or "parallel" in category
        function = next(f for f in functions if f["name"] == name) if many else functions[0]
        problems = [_problem(function, call, answer[name], underscores) for call in left]
        matching = next((index for index, problem in enumerate(problems) if problem is None), None)
        if matching is None:
            return "; ".join(dict.fromkeys(problem for problem in problems if problem))
        del left[matching]  # official: greedy, the first matching call is taken
    return None


def _problem(
    function: Mapping[str, Any], call: Call, accepted: Mapping[str, list[Any]], underscores: bool
) -> str | None:
    """What keeps `call` from being an accepted call of `function`; None if nothing does."""
    name = function["name"].replace(".", "_") if underscores else function["name"]
    if call.name != name:
        return f"{call.name} instead of {name}"
    properties = function["parameters"]["properties"]
    for parameter in function["parameters"].get("required") or ():
        if parameter not in call.arguments:
            return f"required parameter {parameter} is missing"
    for parameter, value in call.arguments.items():
        if parameter not in properties or parameter not in accepted:
            return f"unexpected parameter {parameter}"
        if not _value_is_accepted(value, properties[parameter], accepted[parameter]):
            return f"parameter {parameter} is {value!r:.100}, not among {accepted[parameter]!r:.200}"
    for parameter, values in accepted.items():
        if parameter not in call.arguments and "" not in values:
            return f"parameter {parameter} is missing"
    return None


def _value_is_accepted(value: Any, detail: Mapping[str, Any], accepted: list[Any]) -> bool:
    declared = detail["type"]
    expected = _PYTHON_TYPES[declared]
    inner = _PYTHON_TYPES[detail["items"]["type"]] if expected is list else None
    if declared == "tuple" and type(value) is tuple:
        value = list(value)
    if declared == "float" and type(value) is int:
        if abs(value) >= _FLOAT_LIMIT:
            return False
        value = float(value)
    fits, is_variable = _check_type(value, expected, inner, accepted)
    if not fits:
        return False
    if is_variable:  # a name instead of a value: compared as it stands
        return value in accepted
    if expected is dict:
        return _dict_is_accepted(value, accepted)
    if inner is dict:
        return any(_dicts_are_accepted(value, candidate) for candidate in accepted)
    if expected is str:
        return _standard(value) in [_standard(candidate) for candidate in accepted if type(candidate) is str]
    if expected is list:
        return _standard_items(value) in [_standard_items(candidate) for candidate in accepted]
    return value in accepted


def _check_type(value: Any, expected: type[Any], inner: type[Any] | None, accepted: list[Any]) -> tuple[bool, bool]:
    """(whether the type fits, whether the value counts as a variable).

    official: the answer's own type is accepted beside the declared one, and makes the value a variable; lists
    are checked one level deep, against the items of one accepted list.
    """
    answer_type = next((type(candidate) for candidate in accepted if candidate != ""), None)
    if type(value) is expected:
        is_variable = answer_type is not None and answer_type is not expected
        if inner is None:
            return True, is_variable
        for candidate in accepted:
            # official: an accepted value that is no list (the "" of an optional one) lets any list pass.
            if type(candidate) is not list or all(_check_type(v, inner, None, candidate)[0] for v in value):
                return True, is_variable
        return False, False
    fits = answer_type is not None and type(value) is answer_type
    return fits, fits


def _standard(text: str) -> str:
    """Official normal form of a string: case, spaces and ,./-_*^ do not count, quotes are double."""
    return _IGNORED_CHARACTERS.sub("", text).lower().replace("'", '"')


def _standard_items(values: Sequence[Any]) -> list[Any]:
    """Normal form of the strings directly in a list; `""`, the mark of an optional one, gives none."""
    return [_standard(value) if type(value) is str else value for value in values]


def _dict_is_accepted(value: Any, accepted: Sequence[Any]) -> bool:
    """Whether one accepted dictionary allows all keys and values and requires no other key."""
    return any(_dict_matches(value, candidate) for candidate in accepted if candidate != "")


def _dict_matches(value: Any, candidate: Any) -> bool:
    if not isinstance(value, Mapping) or not isinstance(candidate, Mapping):
        return False
    for key, entry in value.items():
        if key not in candidate:
            return False
        standard = _standard(entry) if type(entry) is str else entry
        if not isinstance(candidate[key], list) or standard not in _standard_items(candidate[key]):
            return False
    return all(key in value or (isinstance(entries, list) and "" in entries) for key, entries in candidate.items())


def _dicts_are_accepted(value: Sequence[Any], candidate: Sequence[Any]) -> bool:
    """Whether each dictionary of a list is accepted, in order."""
    return len(value) == len(candidate) and all(
        _dict_is_accepted(item, [wanted]) for item, wanted in zip(value, candidate, strict=True)
    )
