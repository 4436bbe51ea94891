"""Where a policy comes from: shipped with the sandbox, the hub at a pinned commit, a folder of the user's, or made here
with random weights.

What a scale names decides it, never the scale's own name. Nothing is asked of a network: a plan is made offline.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipelines.policy.models import load_models
from pipelines.sandbox.policies import load_policies
from reference_impl.config import choose
from reference_impl.hub import is_revision


def check_policies(used: Iterable[str], given: Mapping[str, str], scale: str) -> None:
    """Raise ValueError for a policy that is neither the sandbox's, nor in models.yaml, nor a folder, and for one given
    that none uses.

    used: every policy of the scale. given: model → the user's folder or commit hash.
    """
    used = sorted(set(used))
    own = [name for name, where in given.items() if not is_revision(where)]
    for name in used:
        choose("policy", name, [*load_policies(), *load_models(), *own], f"scale {scale}: policies.yaml, models.yaml")
    for name, where in given.items():
        choose("policy", name, [name for name in used if not is_shipped(name)], f"policies: models of scale {scale}")
        if not is_revision(where) and not (Path(where).expanduser() / "config.json").is_file():
            raise ValueError(
                f"policies.{name}: {where!r} is neither a commit hash of 40 hex digits nor a folder with a config.json"
            )
        if name in own and name not in load_models() and not list(Path(where).expanduser().glob("tokenizer*")):
            raise ValueError(f"policies.{name}: {where!r} has no tokenizer")
        if is_revision(where) and is_random(name):
            raise ValueError(f"policies.{name}: its weights are made here, there is no commit of it: give a folder")


def is_shipped(name: str) -> bool:
    """Whether a policy is one of the sandbox's; all others are models of the hub, or folders in their place."""
    return name in load_policies()


def is_random(name: str) -> bool:
    """Whether a policy of models.yaml has weights that are made here; a folder of the user's may take its place."""
    models = load_models()
    return name in models and models[name].random is not None


def origin_options(name: str, given: Mapping[str, str]) -> list[str]:
    """Options of pipelines.policy.from_hub for a model: the user's folder or commit, or the pinned one."""
    where = given.get(name)
    if where is None or is_revision(where):
        revision = where or load_models()[name].revision
        return ["--revision", revision] if revision else []
    return ["--local", str(Path(where).expanduser())]


def origin_identity(name: str, given: Mapping[str, str]) -> Any:
    """What decides a model's files, ready for JSON: repository and commit, or names, sizes and times of the user's, or
    the shape of one that is made here.
    """
    options = origin_options(name, given)
    if options[:1] == ["--local"]:
        found = {path.name: path.stat() for path in sorted(Path(options[1]).iterdir()) if path.is_file()}
        # Times too: another fine-tuning of the same model has files of the same size.
        return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in found.items()}
    model = load_models()[name]
    return [model.repository, *options] if model.repository else model.given()
