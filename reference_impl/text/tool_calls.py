"""Reading function calls from model text without evaluating it, and comparing them exactly.

Two notations: JSON inside <tool_call>…</tool_call>, as the paper asks for it and as models were taught to write it, and
BFCL's Python calls `[f(a=1), g(b="x")]`.
"""

import ast
import json
import operator
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reference_impl.text.strict_json import MAX_CHARACTERS, strict_json

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_ARGUMENT_KEYS = ("arguments", "parameters")
_NESTING = (dict, list, tuple)
MAX_NESTING = 60  # of an argument: deeper ones can be read, but neither compared nor printed with a finite stack


@dataclass(frozen=True)
class Call:
    """One function call: a name and its arguments by name."""

    name: str
    arguments: dict[str, Any]


def parse_tool_call(text: str) -> list[Call]:
    """Calls in all <tool_call>…</tool_call> of `text`, in order. Raises ValueError saying what is wrong with one.

    The content of a block is a list of calls or a single one, in a shape that `calls_from_json` reads: Hermes and Qwen
    write a block for each of several calls. A repeated key is an error, since it hides an argument.
    """
    blocks, _ = tool_call_blocks(text)
    return calls_in_blocks(blocks)


def tool_call_blocks(text: str) -> tuple[list[str], str]:
    """The contents of the <tool_call> blocks of `text`, and what stands outside them.

    A block begins with the last opening tag before its closing one. Raises ValueError where the last is not closed.
    """
    blocks, outside, position = [], [], 0
    while (start := text.find(_OPEN, position)) >= 0:
        end = text.find(_CLOSE, start)
        if end < 0:
            raise ValueError(f"a {_OPEN} is not closed")
        start = text.rfind(_OPEN, start, end)
        outside.append(text[position:start])
        blocks.append(text[start + len(_OPEN) : end])
        position = end + len(_CLOSE)
    return blocks, "".join([*outside, text[position:]])


def calls_in_blocks(blocks: Sequence[str]) -> list[Call]:
    """The calls of blocks, in order. Raises ValueError where there is no block, or one is not what it should be."""
    if not blocks:
        raise ValueError(f"no {_OPEN} in the response")
    return [call for block in blocks for call in calls_from_json(strict_json(block))]


def calls_from_json(value: Any, loads: Callable[[str], Any] = strict_json) -> list[Call]:
    """Calls from decoded JSON: a list of calls or one, each in any shape of function-calling interfaces.

    `{"name", "arguments"}` or `{"name", "parameters"}`, with an id or without; OpenAI's `{"type": "function",
    "function": {"name", "arguments"}}`; BFCL's `{name: arguments}`. Arguments are an object or its JSON text, which
    `loads` decodes. Raises ValueError for anything else.
    """
    items = value if isinstance(value, list) else [value]
    return [_call_from_json(item, loads) for item in items]


def is_named(item: Any) -> bool:
    """Whether an object says which of its entries are the name and the arguments of a call."""
    return isinstance(item, dict) and "name" in item and len(set(item) & set(_ARGUMENT_KEYS)) == 1


def _call_from_json(item: Any, loads: Callable[[str], Any]) -> Call:
    if isinstance(item, dict) and is_named(item.get("function")):
        item = item["function"]
    if is_named(item):
        name, arguments = item["name"], next(item[key] for key in _ARGUMENT_KEYS if key in item)
    elif isinstance(item, dict) and len(item) == 1:
        name, arguments = next(iter(item.items()))
    else:
        raise ValueError(f'expected {{"name", "arguments"}}, got {_shown(item)}')
    if isinstance(arguments, str):
        arguments = loads(arguments)
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ValueError(f"expected a string and an object, got {_shown(item)}")
    return _bounded(Call(name, arguments))


def _shown(item: Any) -> str:
    try:
        return str(item)[:200]
    except (RecursionError, ValueError):  # nested too deeply, a number of too many digits
        return "an object that cannot be printed"


def _bounded(call: Call) -> Call:
    """The call. Raises ValueError where its arguments are nested too deeply."""
    level = [value for value in call.arguments.values() if isinstance(value, _NESTING)]
    for _ in range(MAX_NESTING):
        if not level:
            return call
        inner = (value.values() if isinstance(value, dict) else value for value in level)
        level = [value for values in inner for value in values if isinstance(value, _NESTING)]
    raise ValueError(f"arguments of {call.name[:100]} are nested too deeply")


def same_calls(calls: Sequence[Call], gold: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the calls are the gold ones: any order, repeats counted, strict types (1, 1.0, true differ)."""
    if len(calls) != len(gold):
        return False
    wanted = [Call(str(call["name"]), dict(call["arguments"])) for call in gold]
    if len(calls) == 1:
        return _canonical(calls[0]) == _canonical(wanted[0])
    return Counter(map(_canonical, calls)) == Counter(map(_canonical, wanted))


def _canonical(call: Call) -> tuple[str, str]:
    """JSON text tells types apart (1, 1.0, true, "1") and, with sorted keys, ignores the order of
    arguments."""
    return call.name, json.dumps(call.arguments, sort_keys=True)


# BFCL's Python notation. The official decoder evaluates parts of the text; this one reads the syntax tree
# only, and keeps the decoder's habits (each is marked), because the published verdicts depend on them.

MAX_EVALUATED_LENGTH = 10_000  # below the 4,300 digits that Python prints of an integer, too
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
    return _bounded(Call(".".join(reversed(parts)), arguments))


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
        if isinstance(a, int) and isinstance(b, int):
            return a.bit_length() + b.bit_length()
        for sequence, times in ((a, b), (b, a)):
            if isinstance(sequence, str | bytes | list | tuple) and isinstance(times, int):
                return len(sequence) * times
    if isinstance(op, ast.Mod) and isinstance(a, str | bytes):
        return MAX_EVALUATED_LENGTH + 1  # "%1000000000d" % 1
    return 0
