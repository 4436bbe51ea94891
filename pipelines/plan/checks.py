"""Checks of what the configuration files say of each other, which no schema can see."""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipelines.data.stages import STAGES, load_stage
from reference_impl.config import Declarations, Scale, choose, resolve_run
from reference_impl.config.experiments import TableEntry

TASKS_DIR = Path(__file__).resolve().parents[2] / "evaluation" / "tasks"


def task_names() -> list[str]:
    return sorted(path.stem for path in TASKS_DIR.glob("*.yaml"))


def task_settings(name: str) -> dict[str, Any]:
    """A task's file as it is; evaluation.tasks checks it."""
    content: dict[str, Any] = yaml.safe_load((TASKS_DIR / f"{name}.yaml").read_text(encoding="utf-8"))
    return content


@cache
def benchmarks() -> list[str]:
    """The paper's benchmarks that some task stands for."""
    named = (task_settings(task)["benchmark"] for task in task_names())
    return sorted({name for one in named for name in ([one] if isinstance(one, str) else one)})


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


def check_experiments(declarations: Declarations, source: str) -> None:
    """Every name in experiments.yaml must exist, and every method be there as the kind of experiment needs it.

    Raises ValueError with one line for every mistake.
    """
    names = declarations.experiments
    problems = [f"{name}: {text}" for name in names for text in _problems(declarations, name)]
    problems += [f"headline: {text}" for name in declarations.headline for text in _unknown("experiment", name, names)]
    if problems:
        raise ValueError("\n".join(f"{source}: {problem}" for problem in problems))


def _problems(declarations: Declarations, experiment: str) -> Iterator[str]:
    """What is wrong with an entry's references."""
    entry, domains = declarations.experiments[experiment], declarations.domains
    if experiment in declarations.methods:
        yield f"{experiment} is a method's name too: each is a target of its own"
    for domain in entry.domains:
        yield from _unknown("domain", domain, domains, "domains.yaml")
    for column in entry.columns if isinstance(entry, TableEntry) else ():
        for benchmark in column.benchmarks:
            yield from _unknown("benchmark", benchmark, benchmarks(), f"column {column.header}: evaluation/tasks")
    for name in entry.methods:
        yield from _unknown("method", name, declarations.methods, "methods.yaml")
        if name not in declarations.methods:
            continue
        method = declarations.methods[name]
        for domain in (domain for domain in entry.domains if domain in domains):
            yield from _unknown("domain", domain, declarations.method_domains(name), name)
        if entry.kind != "figure" and method.role != "method":
            yield f"{name} has role {method.role}: only role method is evaluated"
        if entry.kind == "figure" and not method.trains:
            yield f"{name} trains nothing, so it has no curve"


def _unknown(what: str, value: str, allowed: Iterable[str], source: str = "experiments.yaml") -> Iterator[str]:
    """What `choose` says of a name that is none of the allowed ones."""
    try:
        choose(what, value, allowed, source)
    except ValueError as error:
        yield str(error)
