"""ToolACE's notation, read without evaluating it: function lists in the system prompt, calls `[Name(arg=value)]`.

Names are free text ("Market Trends API", "User Feed (Video Posts) V2", "Search Strong's Number API") and parameters
may be Python keywords (`from`), so this is no Python. Values are JSON or Python literals.
"""

import ast
import json
import warnings
from collections.abc import Sequence
from typing import Any

from reference_impl.text.strict_json import MAX_CHARACTERS
from reference_impl.text.tool_calls import Call

_MARKER = "functions in JSON format that you can invoke"
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_QUOTES = "'\""


def read_functions(system: str) -> list[dict[str, Any]]:
    """The functions of a system prompt as BFCL writes them: name, description, parameters.

    Raises ValueError where there is no list, or an entry is no function.
    """
    marker = system.find(_MARKER)
    start = system.find("[", marker)
    if marker < 0 or start < 0:
        raise ValueError("the system prompt has no list of functions")
    try:
        entries, _ = json.JSONDecoder().raw_decode(system, start)
    except RecursionError:
        raise ValueError("the list of functions is nested too deeply") from None
    return functions_of(entries)


def functions_of(entries: Any) -> list[dict[str, Any]]:
    """The functions of a list, as BFCL writes them. Raises ValueError where it is none, or an entry is no function."""
    if not isinstance(entries, list) or not entries:
        raise ValueError("the list of functions is empty")
    return [_function(entry) for entry in entries]


def _function(entry: Any) -> dict[str, Any]:
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"no function: {str(entry)[:200]}")
    parameters = entry.get("parameters") or {"type": "dict", "properties": {}}
    if not isinstance(parameters, dict) or not isinstance(parameters.get("properties", {}), dict):
        raise ValueError(f"{name}: parameters are no schema: {str(parameters)[:200]}")
    whole = {"type": "dict", "properties": {}, **parameters}
    return {"name": name, "description": str(entry.get("description") or ""), "parameters": whole}


def read_calls(text: str, names: Sequence[str]) -> list[Call]:
    """The calls in `[name(key=value, …), …]`, each of a function among `names`.

    Raises ValueError saying where the text is no such list.
    """
    text = text.strip()
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{len(text)} characters of calls; at most {MAX_CHARACTERS} are read")
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError(f"not in brackets: {text[:100]!r}")
    calls: list[Call] = []
    position, end = 1, len(text) - 1
    while (position := _blanks(text, position)) < end:
        if calls:
            if text[position] != ",":
                raise ValueError(f"expected a comma, found {text[position : position + 100]!r}")
            position = _blanks(text, position + 1)
        call, position = _call(text, position, end, names)
        calls.append(call)
    if not calls:
        raise ValueError("an empty list of calls")
    return calls


def _blanks(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _call(text: str, position: int, end: int, names: Sequence[str]) -> tuple[Call, int]:
    """The call that starts at `position`, and where it ends. The longest fitting name is the function."""
    for name in sorted(names, key=len, reverse=True):
        written = name.strip()
        opening = _blanks(text, position + len(written))
        if text.startswith(written, position) and opening < end and text[opening] == "(":
            break
    else:
        raise ValueError(f"no call of an offered function: {text[position : position + 100]!r}")
    parts, closing = _parts(text, opening)
    arguments: dict[str, Any] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not key.strip() or key.strip() in arguments:
            raise ValueError(f"{name}: expected another name=value, got {part.strip()[:100]!r}")
        arguments[key.strip()] = _value(value.strip())
    return Call(name, arguments), closing + 1


def _parts(text: str, opening: int) -> tuple[list[str], int]:
    """What stands between the commas of a bracket that opens at `opening`, and where it closes."""
    parts: list[str] = []
    open_brackets: list[str] = []
    start, quote, position = opening + 1, "", opening
    while position < len(text):
        character = text[position]
        if quote:
            if character == "\\":
                position += 1
            elif character == quote:
                quote = ""
        elif character in _QUOTES:
            quote = character
        elif character in _CLOSING:
            open_brackets.append(character)
        elif character in _CLOSING.values():
            if _CLOSING[open_brackets.pop()] != character:
                raise ValueError(f"another bracket is open: {text[opening : position + 1][-100:]!r}")
            if not open_brackets:
                last = text[start:position]
                return ([*parts, last] if last.strip() else parts), position
        elif character == "," and len(open_brackets) == 1:
            parts.append(text[start:position])
            start = position + 1
        position += 1
    raise ValueError(f"a bracket is not closed: {text[opening : opening + 100]!r}")


def _value(text: str) -> Any:
    """A JSON or Python literal as JSON data: tuples become lists. Raises ValueError for anything else."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("a value nested too deeply") from None
    except ValueError:
        value = _python_literal(text)
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except TypeError as error:
        raise ValueError(f"no JSON value: {text[:100]!r} ({error})") from None


def _python_literal(text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in a data set's text is no concern of the user
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"no literal: {text[:100]!r}") from None
