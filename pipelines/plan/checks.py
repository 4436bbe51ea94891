"""Checks of what the configuration files say of each other, which no schema can see."""

from pathlib import Path
from typing import Any

import yaml

from pipelines.data.stages import STAGES, load_stage
from reference_impl.config import Declarations, Scale, choose, resolve_run

TASKS_DIR = Path(__file__).resolve().parents[2] / "evaluation" / "tasks"


def task_names() -> list[str]:
    return sorted(path.stem for path in TASKS_DIR.glob("*.yaml"))


def task_settings(name: str) -> dict[str, Any]:
    """A task's file as it is; evaluation.tasks checks it."""
    content: dict[str, Any] = yaml.safe_load((TASKS_DIR / f"{name}.yaml").read_text(encoding="utf-8"))
    return content


def check_scale(declarations: Declarations, scale: Scale) -> None:
    """Every name in a scale must exist, every role of a policy must be filled, and every run must resolve."""
    _check_resources(scale)
    _check_engine(scale)
    for name, sizes in scale.domains.items():
        source = f"scale {scale.name}: {name}"
        domain = declarations.domains[choose("domain", name, declarations.domains, "domains.yaml")]
        choose("data", sizes.data, ["sandbox", *STAGES], f"{source}: pipelines/data")
        if sizes.data in STAGES and load_stage(sizes.data).domain != name:
            raise ValueError(f"{source}: data {sizes.data} is for the domain {load_stage(sizes.data).domain}")
        if sizes.data_options and sizes.data not in STAGES:
            raise ValueError(f"{source}: data {sizes.data} has no options")
        for task in sizes.tasks:
            choose("task", task, task_names(), "evaluation/tasks")
        for role in sizes.policies:
            choose("policy", role, domain.policies, f"{source}: domains.yaml: policies")
        for role in domain.policies:
            choose("policy", role, sizes.policies, source)
        judged = [task for task in sizes.tasks if task_settings(task)["kind"] == "judge"]
        if (judged or domain.reward == "judge") and not sizes.judge:
            raise ValueError(f"{source}: its reward or {', '.join(judged) or 'a task'} needs a judge: give `judge`")
        for method in declarations.methods:
            if name in declarations.method_domains(method):
                for run in declarations.runs(method):
                    resolve_run(declarations, scale, run, name, 0)


def _check_resources(scale: Scale) -> None:
    """Tasks of one origin, since the sandbox writes a whole folder of benchmarks; processes only where something starts
    them.
    """
    tasks = [task for domain in scale.domains.values() for task in domain.tasks if task in task_names()]
    made = [task for task in tasks if task_settings(task)["data"]["source"] == "generated"]
    if made and len(made) != len(tasks):
        fetched = ", ".join(task for task in tasks if task not in made)
        raise ValueError(
            f"scale {scale.name}: tasks of the sandbox ({', '.join(made)}) and others ({fetched}): take one"
        )
    if scale.strategy.processes > 1 and "{processes}" not in scale.launcher.get("train", ""):
        raise ValueError(
            f"scale {scale.name}: a strategy of {scale.strategy.processes} processes needs a launcher: "
            "launcher: {train: torchrun --standalone --nproc-per-node {processes} -m --}"
        )


def _check_engine(scale: Scale) -> None:
    """Options that its engine has, which jobs would find out only once they load it."""
    for key, options in (
        ("engine_options", scale.engine_options),
        ("evaluation.engine_options", scale.evaluation.engine_options),
    ):
        if options and scale.engine != "vllm":
            raise ValueError(
                f"scale {scale.name}: {key}: {', '.join(options)}: engine {scale.engine} has no options; only vllm has"
            )
        if options.get("tensor_parallel_size", 1) > 1 and options.get("placement", "colocated") == "colocated":
            raise ValueError(
                f"scale {scale.name}: {key}: tensor_parallel_size {options['tensor_parallel_size']} with placement "
                "colocated: an engine in its trainer's process has one GPU; allowed are 1, or placement: dedicated"
            )
    size = scale.engine_options.get("tensor_parallel_size", 1)
    gpus = scale.resources.get("train", {}).get("gpu", 0)
    if scale.engine_options.get("placement") == "dedicated" and 0 < gpus < 1 + size:
        raise ValueError(
            f"scale {scale.name}: placement dedicated: resources: {{train: {{gpu: {gpus}}}}}, but a training "
            f"process and its engine need {1 + size}"
        )


def experiment_entries(declarations: Declarations) -> dict[str, Any]:
    """The entries of experiments.yaml without `headline`, which is a list of them."""
    return {name: entry for name, entry in declarations.experiments.items() if name != "headline"}


def check_experiments(declarations: Declarations, source: str) -> None:
    """Every name in experiments.yaml must exist, and every method be there as the kind of experiment needs it."""
    entries = experiment_entries(declarations)
    for name in declarations.experiments["headline"]:
        choose("experiment", name, entries, f"{source}: headline")
    for name, entry in entries.items():
        if name in declarations.methods:
            raise ValueError(f"{source}: {name} is a method's name too: each is a target of its own")
        for domain in entry["domains"]:
            choose("domain", domain, declarations.domains, f"{source}: {name}: domains.yaml")
        for method in entry["methods"]:
            declared = declarations.methods[
                choose("method", method, declarations.methods, f"{source}: {name}: methods.yaml")
            ]
            for domain in entry["domains"]:
                choose("domain", domain, declarations.method_domains(method), f"{source}: {name}: {method}")
            if entry["kind"] != "figure" and declared.role != "method":
                raise ValueError(f"{source}: {name}: {method} has role {declared.role}: only role method is evaluated")
            if entry["kind"] == "figure" and not declared.trains:
                raise ValueError(f"{source}: {name}: {method} trains nothing, so it has no curve")
