"""What vLLM's GPU wheel calls its arguments: read from the wheel, which is not installed, and kept beside this file.

    pip download vllm==0.32.0 --no-deps --python-version 3.11 --platform manylinux_2_28_x86_64 --only-binary :all:
    python -m tests.support.vllm_fields vllm-0.32.0-….whl

The version is that of requirements/gpu.txt; a test compares both, and the code's keywords with what is found here.
"""

import ast
import hashlib
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reference_impl.files import write_json

FIELDS = Path(__file__).with_name("vllm_fields.json")
MEMBERS = {
    "EngineArgs": "vllm/engine/arg_utils.py",
    "SamplingParams": "vllm/sampling_params.py",
    "LLM": "vllm/entrypoints/llm.py",
    "LLMEngine": "vllm/v1/engine/llm_engine.py",
}
"""Class → the wheel's file that defines it."""
METHODS = {
    "LLM": ("__init__", "generate", "enqueue", "sleep", "wake_up", "collective_rpc", "reset_prefix_cache"),
    "LLMEngine": ("step", "abort_request"),
}
"""Class → the methods that the engine calls."""


def read_class(source: str, name: str) -> ast.ClassDef:
    """A class of a module. Raises ValueError where there is none."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
    raise ValueError(f"the wheel has no class {name} where it was")


def fields(found: ast.ClassDef) -> list[str]:
    """The annotated fields of a class, sorted."""
    return sorted(n.target.id for n in found.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name))


def parameters(found: ast.ClassDef, method: str) -> list[str]:
    """The parameters of a method, in order, `self` left out. Raises ValueError where there is none."""
    for node in found.body:
        if isinstance(node, ast.FunctionDef) and node.name == method:
            listed = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            return [argument.arg for argument in listed if argument.arg != "self"]
    raise ValueError(f"{found.name} of the wheel has no method {method}")


def variables(source: str) -> Iterator[str]:
    """The environment variables that vLLM reads: the keys of its table."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Dict):
            yield from (
                key.value
                for key in node.keys
                if isinstance(key, ast.Constant) and isinstance(key.value, str) and key.value.startswith("VLLM_")
            )


def read_wheel(path: Path) -> dict[str, Any]:
    """What this file keeps of a wheel. Raises ValueError for one that is built otherwise."""
    with zipfile.ZipFile(path) as wheel:
        classes = {name: read_class(wheel.read(file).decode(), name) for name, file in MEMBERS.items()}
        environment = sorted(set(variables(wheel.read("vllm/envs.py").decode())))
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "made_by": "python -m tests.support.vllm_fields WHEEL",
        "wheel": path.name,
        "sha256": digest,
        "version": path.name.split("-")[1],
        "EngineArgs": fields(classes["EngineArgs"]),
        "SamplingParams": fields(classes["SamplingParams"]),
        "methods": {
            f"{name}.{method}": parameters(classes[name], method)
            for name, methods in METHODS.items()
            for method in methods
        },
        "environment": environment,
    }


if __name__ == "__main__":
    write_json(FIELDS, read_wheel(Path(sys.argv[1])))
