"""Where a scale's policies, training data and benchmarks come from.

Three origins: made here (the sandbox), downloaded from the hub at a pinned revision, or a file or folder of the user's.
What a scale names decides it, never the scale's own name. Nothing is looked up on a network: a plan is made offline.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipelines.plan.checks import STAGES
from pipelines.plan.validate import validate_file
from pipelines.sandbox.policies import POLICIES_FILE, load_world
from reference_impl.config import CONFIG_DIR, Scale, choose, load_task, task_names
from reference_impl.files import file_hash

MODELS_FILE = CONFIG_DIR / "models.yaml"
HOW_NOT_WHAT = frozenset({"ask", "url", "model", "budget", "prices", "concurrency", "timeout"})
"""Options of a data stage that change how rows are asked for, not which they are.

Asked are the experts of domains.yaml, one endpoint after the other. `model` is an endpoint's own name for one of them,
and stored answers that have another are refused.
"""
_REVISION = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class LocalData:
    """A file, or a folder in BFCL's layout, that is asked instead of a task's own questions."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Model:
    """An entry of models.yaml, whose head explains the fields."""

    name: str
    repository: str
    parameters: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context: int
    revision: str | None = None
    gated: bool = False
    active: int | None = None
    experts: int = 1

    @property
    def active_parameters(self) -> int:
        """Parameters that a token passes through."""
        return self.active or self.parameters


@cache
def load_models(path: Path = MODELS_FILE) -> dict[str, Model]:
    """The models on the hub, by name. Raises ValueError for an entry that the schema refuses."""
    validate_file(path, "models")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: Model(name=name, **values) for name, values in content.items()}


@cache
def sandbox_policies() -> tuple[str, ...]:
    """Names of the policies that this repository ships."""
    return tuple(yaml.safe_load(POLICIES_FILE.read_text(encoding="utf-8")))


def check_policies(scale: Scale, given: Mapping[str, str]) -> None:
    """Raise ValueError for a policy that neither the sandbox nor models.yaml has, and for one given that none uses."""
    used = sorted({name for domain in scale.domains.values() for name in domain.policies.values()})
    for name in used:
        choose("policy", name, [*sandbox_policies(), *load_models()], f"scale {scale.name}: policies.yaml, models.yaml")
    for name, where in given.items():
        choose("policy", name, [*set(used) - set(sandbox_policies())], f"policies: models of scale {scale.name}")
        if not _REVISION.fullmatch(where) and not (Path(where).expanduser() / "config.json").is_file():
            raise ValueError(
                f"policies.{name}: {where!r} is neither a commit hash of 40 hex digits nor a folder with a config.json"
            )


def policy_options(name: str, given: Mapping[str, str]) -> list[str]:
    """Options of pipelines.policy.from_hub for a model: the user's folder or revision, or the pinned one."""
    where = given.get(name)
    if where is None or _REVISION.fullmatch(where):
        revision = where or load_models()[name].revision
        return ["--revision", revision] if revision else []
    return ["--local", str(Path(where).expanduser())]


def policy_hash(name: str, given: Mapping[str, str]) -> str:
    """Hash of what decides a model's files: its repository and revision, or names, sizes and times of the user's."""
    options = policy_options(name, given)
    if options[:1] == ["--local"]:
        found = {path.name: path.stat() for path in sorted(Path(options[1]).iterdir()) if path.is_file()}
        # Times too: another fine-tuning of the same model has files of the same size.
        return digest({name: [stat.st_size, stat.st_mtime_ns] for name, stat in found.items()})
    return digest([load_models()[name].repository, *options])


def data_version(module: str, domain: str) -> int:
    """Version of what writes a domain's data: its stage, or its world in the sandbox."""
    version: int = load_world(domain).VERSION if module == "sandbox" else STAGES[module][1]
    return version


def is_drawn_from_candidates(module: str) -> bool:
    """Whether a domain's splits are cut from rows that were read first, and checked against the benchmarks."""
    return module in STAGES


def data_arguments(options: Mapping[str, Any]) -> list[str]:
    """A scale's `data_options` as a command line: {model: x, local: {toolace: y}} → --model x --local toolace=y."""
    words: list[str] = []
    for key, value in options.items():
        if isinstance(value, Mapping):
            words += [word for name, part in value.items() for word in (f"--{key}", f"{name}={part}")]
        else:
            words += [f"--{key}", *map(str, value if isinstance(value, list | tuple) else [value])]
    return words


def deciding_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The `data_options` that decide which rows a split has."""
    return {key: value for key, value in options.items() if key not in HOW_NOT_WHAT}


def is_generated(task: str) -> bool:
    """Whether the sandbox makes a task's questions; all others are fetched."""
    return load_task(task).data.source == "generated"


def is_folder(task: str) -> bool:
    """Whether a task's questions are a folder, BFCL's layout; all others are one file."""
    return load_task(task).kind == "bfcl"


def local_data(scale: Scale, task: str, path: str) -> LocalData:
    """The user's questions for a task. Raises ValueError for a task that the scale does not evaluate, or no such file.

    Whether they are the task's questions is for evaluation.generate to check, which reads them.
    """
    choose("task", task, task_names(), "data: evaluation/tasks")
    evaluated = [name for domain in scale.domains.values() for name in domain.tasks]
    if task not in evaluated:
        raise ValueError(f"data.{task}: scale {scale.name} does not evaluate it; it evaluates {', '.join(evaluated)}")
    source = Path(path).expanduser()
    if not is_folder(task):
        if not source.is_file():
            raise ValueError(f"data.{task}: no such file: {path}")
        return LocalData(str(source), file_hash(source))
    if not source.is_dir():
        raise ValueError(f"data.{task}: no such folder: {path} (BFCL's layout is a folder)")
    files = sorted([*source.glob("*.json"), *source.glob("possible_answer/*.json")])
    return LocalData(str(source), digest({str(file.relative_to(source)): file_hash(file) for file in files}))


def digest(value: Any) -> str:
    """A short hash of JSON-ready settings."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=list).encode()).hexdigest()[:16]
