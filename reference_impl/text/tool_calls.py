"""Reading function calls from model text without evaluating it, and comparing them exactly.

Two notations: the paper's JSON list inside <tool_call>…</tool_call>, and BFCL's Python calls `[f(a=1),
g(b="x")]`.
"""

import ast
import json
import operator
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
MAX_CHARACTERS = 100_000  # longer text is no list of calls, and the parsers' stacks are finite


@dataclass(frozen=True)
class Call:
    """One function call: a name and its arguments by name."""

    name: str
    arguments: dict[str, Any]


def parse_tool_call(response: str) -> list[Call]:
    """Calls in the last <tool_call>…</tool_call> of `response`. Raises ValueError saying what is wrong with
    it.

    The content is a JSON list of {"name", "arguments"}; a single object counts as a list of one, and a
    repeated key is an error, since it hides an argument.
    """
    start = response.rfind(_OPEN)
    if start < 0:
        raise ValueError(f"no {_OPEN} in the response")
    end = response.find(_CLOSE, start)
    if end < 0:
        raise ValueError(f"the last {_OPEN} is not closed")
    return calls_from_json(_load_json(response[start + len(_OPEN) : end]))


def _load_json(text: str) -> Any:
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{len(text)} characters of JSON; at most {MAX_CHARACTERS} are read")
    try:
        return json.loads(text, object_pairs_hook=_object_without_repeats, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError(f"repeated key among {[key for key, _ in pairs]}")
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def calls_from_json(value: Any) -> list[Call]:
    """Calls from decoded JSON: a list of {"name": str, "arguments": object} or one such object."""
    items = value if isinstance(value, list) else [value]
    return [_call_from_json(item) for item in items]


def _call_from_json(item: Any) -> Call:
    if not isinstance(item, dict) or set(item) != {"name", "arguments"}:
        raise ValueError(f'expected {{"name", "arguments"}}, got {str(item)[:200]}')
    name, arguments = item["name"], item["arguments"]
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ValueError(f"expected a string and an object, got {str(item)[:200]}")
    return Call(name, arguments)


def same_calls(calls: Sequence[Call], gold: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the calls are the gold ones: any order, repeats counted, strict types (1, 1.0, true differ)."""
    wanted = [Call(str(call["name"]), dict(call["arguments"])) for call in gold]
    return Counter(map(_canonical, calls)) == Counter(map(_canonical, wanted))


def _canonical(call: Call) -> tuple[str, str]:
    """JSON text tells types apart (1, 1.0, true, "1") and, with sorted keys, ignores the order of
    arguments."""
    return call.name, json.dumps(call.arguments, sort_keys=True)


# BFCL's Python notation. The official decoder evaluates parts of the text; this one reads the syntax tree
# only, and keeps the decoder's habits (each is marked), because the published verdicts depend on them.

MAX_EVALUATED_LENGTH = 10_000
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
}


def parse_python_calls(text: str) -> list[Call]:
    """Calls in BFCL's Python notation, `[f(a=1), g.h(b="x")]`; brackets may be missing. Nothing is evaluated.

    Raises ValueError for text that is not a list of calls, or that the official decoder could not decode
    either. Positional arguments are dropped without a word, as the official decoder does.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{len(text)} characters of calls; at most {MAX_CHARACTERS} are read")
    text = text.strip("`\n ")
    text = text if text.startswith("[") else f"[{text}"
    text = text if text.endswith("]") else f"{text}]"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in model text is no concern of the user
            body = ast.parse(text.strip().strip("'"), mode="eval").body
        if isinstance(body, ast.Call):
            return [_call_from_node(body)]
        if not isinstance(body, ast.List | ast.Tuple | ast.Set):
            raise ValueError(f"expected a list of calls, got {type(body).__name__}")
        return [_call_from_node(node) for node in body.elts]
    except (SyntaxError, RecursionError, MemoryError, TypeError, OverflowError, ZeroDivisionError) as error:
        raise ValueError(f"not a list of calls: {error or type(error).__name__}") from None


def _call_from_node(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call):
        raise ValueError(f"expected a call, got {ast.unparse(node)[:200]}")
    parts: list[str] = []
    function = node.func
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    if isinstance(function, ast.Name):
        parts.append(function.id)
    # `**x` has no name; the official decoder files it under None, which no function expects.
    arguments = {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}
    return Call(".".join(reversed(parts)), arguments)


def _value(node: ast.expr | None) -> Any:
    """The value that a syntax tree denotes. Names and calls without keywords stay text, as in the official
    decoder."""
    match node:
        case ast.Constant(value=value):
            return "..." if value is Ellipsis else value
        case ast.UnaryOp(operand=ast.Constant(value=value)) if isinstance(value, int | float | complex):
            return -value  # the official decoder takes every unary operator for a minus, `+5` included
        case ast.List(elts=elements):
            return [_value(element) for element in elements]
        case ast.Tuple(elts=elements):
            return tuple(_value(element) for element in elements)
        case ast.Dict(keys=keys, values=values):
            return {_value(key): _value(value) for key, value in zip(keys, values, strict=True)}
        case ast.BinOp():
            return _arithmetic(node)
        case ast.Name(id=name):
            return name
        case ast.Call(keywords=[]) | ast.Subscript():
            return ast.unparse(node)
        case ast.Call():
            call = _call_from_node(node)
            return {call.name: call.arguments}
    raise ValueError(f"no value in {type(node).__name__}")


def _arithmetic(node: ast.expr) -> Any:
    """Result of arithmetic on constants, within bounds that keep `9**9**9` and `"a" * 10**9` from being
    computed."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_arithmetic(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return +_arithmetic(operand)
        case ast.UnaryOp(op=ast.Invert(), operand=operand):
            return ~_arithmetic(operand)
        case ast.List(elts=elements):
            return [_arithmetic(element) for element in elements]
        case ast.Tuple(elts=elements):
            return tuple(_arithmetic(element) for element in elements)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            a, b = _arithmetic(left), _arithmetic(right)
            if _size_of_result(op, a, b) > MAX_EVALUATED_LENGTH:
                raise ValueError("arithmetic with too large a result")
            return _ARITHMETIC[type(op)](a, b)
    raise ValueError(f"no arithmetic in {ast.unparse(node)[:200]}")


def _size_of_result(op: ast.operator, a: Any, b: Any) -> int:
    """A bound on the size of `a op b`: length of a sequence, bits of an integer."""
    if isinstance(op, ast.Pow) and isinstance(a, int) and isinstance(b, int):
        return a.bit_length() * abs(b)
    if isinstance(op, ast.Mult):
        for sequence, times in ((a, b), (b, a)):
            if isinstance(sequence, str | bytes | list | tuple) and isinstance(times, int):
                return len(sequence) * times
    if isinstance(op, ast.Mod) and isinstance(a, str | bytes):
        return MAX_EVALUATED_LENGTH + 1  # "%1000000000d" % 1
    return 0
