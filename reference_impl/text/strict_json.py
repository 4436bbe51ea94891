"""JSON of models, read strictly: no repeated key, which hides what it repeats, and no NaN."""

import json
from typing import Any

MAX_CHARACTERS = 100_000  # longer text is no answer, and the parser's stack is finite


def strict_json(text: str) -> Any:
    """The JSON value of `text`. Raises ValueError saying what is wrong with it."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{len(text)} characters of JSON; at most {MAX_CHARACTERS} are read")
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"repeated key among {[key for key, _ in pairs]}")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_no_constant)
