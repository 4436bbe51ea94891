"""Checks configuration files against `pipelines/schemas`; messages name the key that a typo was meant for."""

import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from reference_impl.config import choose

SCHEMAS = Path(__file__).parents[1] / "schemas"


def validate(document: Mapping[str, Any], schema: str, source: str) -> None:
    """Check `document` against `pipelines/schemas/<schema>.schema.yaml`.

    `source` is the file or option that the document came from. Raises ValueError that lists every problem:
    where it is, the offending value, and the allowed or the nearest ones.
    """
    errors = sorted(_validator(schema).iter_errors(document), key=lambda error: list(map(str, error.absolute_path)))
    problems = [f"{source}: {problem}" for error in errors for problem in _problems(error)]
    if problems:
        raise ValueError("\n".join(problems))


def validate_file(path: Path, schema: str) -> None:
    """Check one YAML file; see `validate`."""
    source = os.path.relpath(path)
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{source} is not valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"{source}: expected a mapping of keys to values, found {type(document).__name__}")
    validate(document, schema, source)


@cache
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    content = yaml.safe_load((SCHEMAS / f"{schema}.schema.yaml").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(content)
    return jsonschema.Draft202012Validator(content)


def _problems(error: jsonschema.ValidationError) -> Iterator[str]:
    """The lines that explain one schema violation; one line per unknown key."""
    where = ".".join(map(str, error.absolute_path))
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        allowed = list(error.schema.get("properties", {}))
        unknown = [("key", str(key)) for key in error.instance if key not in allowed]
    elif error.validator == "enum" and isinstance(error.instance, str):
        allowed = [str(item) for item in error.validator_value]
        unknown = [("value", error.instance)]
    else:
        yield f"{where}: {error.message}" if where else error.message
        return
    for what, word in unknown:
        try:
            choose(what, word, allowed, where or "the top level")
        except ValueError as problem:
            yield str(problem)
