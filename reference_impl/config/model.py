"""YAML files → pydantic models: all mistakes of a file in one report, and for a misspelt word the nearest one.

A declared key has one home: a field of a `Declared` model, with its comment as the field's docstring. Defaults, limits,
error messages and the reference page of all keys come from there.
"""

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, TypeAdapter, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

T = TypeVar("T")


def hint(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the nearest of the known words, empty where none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def unknown(what: str, value: str, allowed: Iterable[str], source: str) -> list[str]:
    """Nothing for a value that is allowed; else one sentence, with the allowed ones and the nearest."""
    names = list(allowed)
    if value in names:
        return []
    return [f"unknown {what} {value!r}{hint(str(value), names)} ({source} has: {', '.join(names)})"]


def refuse(problems: Iterable[str]) -> None:
    """Raise ValueError with one line for every problem, if there is any."""
    if lines := list(problems):
        raise ValueError("\n".join(lines))


def choose(what: str, value: str, allowed: Iterable[str], source: str) -> str:
    """``value`` if it is allowed; else a ValueError with the allowed ones and the nearest."""
    refuse(unknown(what, value, allowed, source))
    return value


class Declared(BaseModel):
    """What a configuration file may say: no unknown keys, no text for a number, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @model_validator(mode="wrap")
    @classmethod
    def _name_the_nearest_key(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(values)
        except ValidationError as error:
            keys = [field.alias or name for name, field in cls.model_fields.items() if not field.exclude]
            raise ValidationError.from_exception_data(
                cls.__name__, [_detail(one, keys) for one in error.errors(include_url=False)]
            ) from None

    def given(self) -> dict[str, Any]:
        """What the file says, as plain data without defaults: what a hash is of, and what a message quotes."""
        # No warnings: whole numbers are kept whole where others are allowed (fields.py).
        return self.model_dump(by_alias=True, exclude_unset=True, warnings=False)


def _detail(error: Any, keys: list[str]) -> InitErrorDetails:
    """One problem as pydantic reported it, in our words where a key or a value may be misspelt."""
    kind, message, loc, found = error["type"], error["msg"], error["loc"], error["input"]
    if kind == "extra_forbidden" and len(loc) == 1:
        message = f"unknown key{hint(str(loc[0]), keys)} (allowed: {', '.join(keys)})"
    elif kind in ("literal_error", "union_tag_invalid"):
        words = re.split(", | or ", error["ctx"].get("expected") or error["ctx"]["expected_tags"])
        allowed, value = [word.strip("'") for word in words], error["ctx"].get("tag", found)
        message = f"unknown value {value!r:.80}{hint(str(value), allowed)} (allowed: {', '.join(allowed)})"
    elif kind == "missing":
        message = "missing key"
    elif kind == "union_tag_not_found" and isinstance(found, dict):
        message = f"missing key {error['ctx']['discriminator']}"
    elif kind == "value_error":
        message = message.removeprefix("Value error, ")
    elif kind in SHAPES:
        message = f"expected {SHAPES[kind]}, found {found!r:.80}"
    elif kind != "problem":
        message = f"{message}, found {found!r:.80}"
        if kind == "float_type" and isinstance(found, str) and re.fullmatch(r"[\d.]+e[+-]?\d+", found):
            message += ": YAML reads it as text, 1.0e-6 as a number"
    kind = "missing" if kind == "missing" else "problem"
    return InitErrorDetails(type=PydanticCustomError(kind, "{message}", {"message": message}), loc=loc, input=found)


SHAPES = {
    "tuple_type": "a list",
    "dict_type": "keys with values",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
}
"""What a value must be, in words for who writes YAML."""


_SafeLoader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, where PyYAML was built with it: every plan, every job and most tests read all declarations, for which
the one in Python takes four times as long."""


class _UniqueKeys(_SafeLoader):
    """PyYAML's safe loader lets a later key silently replace an earlier one; here that is an error."""


def _unique_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    pairs, seen = list(node.value), dict[Any, int]()
    mapping = loader.construct_mapping(node, deep=True)  # first: it merges `<<` and refuses keys that cannot be any
    for key_node, _ in pairs:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key, line = loader.construct_object(key_node, deep=True), key_node.start_mark.line + 1
        if key in seen:
            raise ValueError(f"line {line}: key {key!r} stands twice, first on line {seen[key]}")
        seen[key] = line
    return mapping


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def parse_yaml(text: str, source: str) -> Any:
    """YAML text as data. Raises ValueError naming ``source`` where it is no YAML and where a key stands twice."""
    try:
        return yaml.load(text, _UniqueKeys)
    except yaml.YAMLError as error:
        raise ValueError(f"{source} is not valid YAML: {error}") from error
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def read_yaml(path: Path) -> Any:
    """The content of a YAML file; errors as of `parse_yaml`, and for a file that is missing."""
    if not path.is_file():
        raise ValueError(f"no configuration file {path}")
    return parse_yaml(path.read_text(encoding="utf-8"), os.path.relpath(path))


def parse(kind: type[T], document: Any, source: str) -> T:
    """``document`` as a model, or as any other type that pydantic reads (a mapping of names to models, a union).

    ``source`` is the file or option that it came from. Raises ValueError with one line for every mistake in it.
    """
    document = _tuples(document)
    try:
        return TypeAdapter(kind).validate_python(document, strict=True)
    except ValidationError as error:
        # Not all go through a model of ours: the outermost mapping's do not.
        details = [_detail(one, []) for one in error.errors(include_url=False)]
        lines = [f"{source}: {_place(one, document)}{one['type'].message()}" for one in details]  # type: ignore[union-attr]
        raise ValueError("\n".join(dict.fromkeys(lines))) from None


def _place(detail: InitErrorDetails, document: Any) -> str:
    """Where in the document: keys and indices only, without the names that pydantic gives to a union's members."""
    node, place = document, []
    for part in detail["loc"]:
        if part in (node if isinstance(node, dict) else range(len(node)) if isinstance(node, tuple) else ()):
            node = node[part]
            place.append(str(part))
    if detail["type"].type == "missing":  # type: ignore[union-attr]
        place.append(str(detail["loc"][-1]))
    return f"{'.'.join(place)}: " if place else ""


def _tuples(document: Any) -> Any:
    """A document whose lists are tuples: strictly read, a list is no tuple, and text is no number either."""
    if isinstance(document, dict):
        return {key: _tuples(value) for key, value in document.items()}
    return tuple(map(_tuples, document)) if isinstance(document, list) else document
