"""docs/keys.md, from the models: every key of every file, its type and limits, its default, its meaning."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

from pipelines.ops.cost import Assumptions
from pipelines.ops.declarations_table import table
from pipelines.plan.workflow import Workflow
from pipelines.policy.models import Model
from pipelines.sandbox.policies import SandboxPolicy
from reference_impl.config import Domain, Method, Scale, Task
from reference_impl.config.experiments import AnyExperiment, Experiments
from reference_impl.config.help_map import HelpMap
from reference_impl.config.readings import Readings

FILES: dict[str, Any] = {
    "pipelines/config/methods.yaml": dict[str, Method],
    "pipelines/config/domains.yaml": dict[str, Domain],
    "pipelines/config/scales/NAME.yaml": Scale,
    "evaluation/tasks/NAME.yaml": Task,
    "pipelines/config/readings.yaml": Readings,
    "pipelines/config/map.yaml": HelpMap,
    "pipelines/config/experiments.yaml": Experiments,
    "Entries of pipelines/config/experiments.yaml": dict[str, AnyExperiment],
    "pipelines/config/models.yaml": dict[str, Model],
    "pipelines/config/estimate.yaml": Assumptions,
    "pipelines/config/workflow.yaml": Workflow,
    "pipelines/sandbox/policies.yaml": dict[str, SandboxPolicy],
}
"""File → what `reference_impl.config.model.parse` reads it as."""
HEAD = """# The keys of the configuration files

Made by `make docs` from the models that read the files, in `reference_impl/config`. A key below a key is written with a
dot; where several kinds are allowed, the key that names the kind comes first and the keys of that kind follow it. YAML
reads `1e-6` as text and `1.0e-6` as a number. A key that is unknown, or stands twice, is an error; all mistakes of a
file are reported at once.
"""
WORDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "`true` \\| `false`",
    "null": "null",
}
SIGNS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
NULL = {"type": "null"}
Node = Mapping[str, Any]


def document() -> str:
    """The text of docs/keys.md."""
    return "\n".join([HEAD, *map(_section, FILES, FILES.values())])


def _section(file: str, kind: Any) -> str:
    schema = TypeAdapter(kind).json_schema()
    models: Mapping[str, Node] = schema.pop("$defs", {})
    roots = [schema] if "properties" in schema else _models(schema, models)
    parts = [f"## {file}\n"] if roots == [schema] else [f"## {file}\n\nNames → entries.\n"]
    for root in roots:
        parts += [_text(root) + "\n", table(["key", "type", "default", "meaning"], _rows(root, models, ""))]
    return "\n".join(parts)


def _rows(model: Node, models: Mapping[str, Node], path: str) -> Iterator[list[str]]:
    """The keys of a model, each followed by the keys of the models that it leads to."""
    for number, (key, node) in enumerate(model["properties"].items()):
        if number and "const" in node and "default" in node:
            continue  # nothing to choose
        inner = _models(node, models)
        # Without words of its own, a key of one model means what the model is; the value that names a kind, the kind.
        kind = inner[0] if len(inner) == 1 else {} if number else model
        yield [f"`{path}{key}`", _type(node), _default(key, node, model), _text(node) or _text(kind)]
        named = "NAME." if node.get("type") == "object" else ""
        for one in inner:
            yield from _rows(one, models, f"{path}{key}.{named}")


def _models(node: Node, models: Mapping[str, Node]) -> list[Node]:
    """The models that a key's value may be."""
    inside = {key: value for key, value in node.items() if key != "discriminator"}
    names = re.findall(r"'\$ref': '#/\$defs/(\w+)'", str(inside))
    return [models[name] for name in dict.fromkeys(names)]  # an inner discriminator names them again


def _type(node: Node) -> str:
    """A value's type and limits in words."""
    if "$ref" in node:
        return "the keys below"
    if "const" in node or "enum" in node:
        return " \\| ".join(f"`{_yaml(value)}`" for value in node.get("enum", [node.get("const")]))
    if parts := node.get("anyOf", node.get("oneOf")):
        return " or ".join(dict.fromkeys(_type(part) for part in parts if part != NULL or "default" not in node))
    if node.get("type") == "array":
        items = node.get("prefixItems", [node.get("items", {})])
        return f"list of {len(items) if 'prefixItems' in node else ''} {_type(items[0])}".replace("  ", " ")
    if node.get("type") == "object":
        values = [*node.get("patternProperties", {}).values(), node.get("additionalProperties", {})]
        return f"NAME → {_type(values[0])}"
    limits = ", ".join(f"{sign} {_yaml(node[key])}" for key, sign in SIGNS.items() if key in node)
    return f"{WORDS.get(node.get('type', ''), 'any')} {limits}".strip()


def _default(key: str, node: Node, model: Node) -> str:
    if key in model.get("required", ()):
        return "must be given"
    value = node.get("default")
    if value in (None, "") or isinstance(value, dict):
        return ""
    return f"`{', '.join(map(_yaml, value)) if isinstance(value, list) else _yaml(value)}`"


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _text(node: Node) -> str:
    return " ".join(str(node.get("description", "")).split()).replace("|", "\\|")
