"""Checks of what the configuration files say of each other, which no model of one file can see."""

from typing import Any

from reference_impl.config import Declarations, RunConfig, Scale, choose, load_task, resolve_run

STAGES = {"openr1_math": ("math", 1), "toolace": ("tool", 1), "rar_medicine": ("medicine", 1)}
"""Stage of real data → its domain and version: as its module says, which a plan cannot import, for it needs torch."""


def check_scale(declarations: Declarations, scale: Scale) -> None:
    """Every name in a scale must exist, every role of a policy must be filled, and every run must resolve."""
    for name, sizes in scale.domains.items():
        source = f"scale {scale.name}: {name}"
        domain = declarations.domains[choose("domain", name, declarations.domains, "domains.yaml")]
        choose("data", sizes.data, ["sandbox", *STAGES], f"{source}: pipelines/data")
        if sizes.data in STAGES and STAGES[sizes.data][0] != name:
            raise ValueError(f"{source}: data {sizes.data} is for the domain {STAGES[sizes.data][0]}")
        if sizes.data_options and sizes.data not in STAGES:
            raise ValueError(f"{source}: data {sizes.data} has no options")
        for role in sizes.policies:
            choose("policy", role, domain.policies, f"{source}: domains.yaml: policies")
        for role in domain.policies:
            choose("policy", role, sizes.policies, source)
        judged = [task for task in sizes.tasks if load_task(task).kind == "judge"]
        if (judged or domain.reward == "judge") and not sizes.judge:
            raise ValueError(f"{source}: its reward or {', '.join(judged) or 'a task'} needs a judge: give `judge`")
    _check_tasks(scale)
    resolved_runs(declarations, scale)


def resolved_runs(declarations: Declarations, scale: Scale) -> list[RunConfig]:
    """Every run of a scale, with seed 0. Raises ValueError for one that cannot be resolved."""
    return [
        resolve_run(declarations, scale, run, domain, 0)
        for domain in scale.domains
        for method in declarations.methods
        if domain in declarations.method_domains(method)
        for run in declarations.runs(method)
    ]


def schedule_warnings(declarations: Declarations, scale: Scale) -> list[str]:
    """A sentence for every run that ends before its schedule of mu has gone through all its phases."""
    found = []
    for config in resolved_runs(declarations, scale):
        # A period's SFT steps are a part of it; all other step counts are phases one after the other.
        phases = {key: value for key, value in config.mu.items() if key.endswith("_steps") and key != "sft_steps"}
        name = config.mu["schedule"]
        if sum(phases.values()) > config.steps:
            lengths = " + ".join(f"{key} {value:g}" for key, value in phases.items())
            found.append(
                f"methods.yaml: {config.method} in {config.domain} at scale {scale.name}: mu's {name} is longer "
                f"than the run: {lengths}, the run has {config.steps} steps"
            )
    return found


def _check_tasks(scale: Scale) -> None:
    """Tasks of one origin, since the sandbox writes a whole folder of benchmarks."""
    tasks = [task for domain in scale.domains.values() for task in domain.tasks]
    made = [task for task in tasks if load_task(task).data.source == "generated"]
    if made and len(made) != len(tasks):
        fetched = ", ".join(task for task in tasks if task not in made)
        raise ValueError(
            f"scale {scale.name}: tasks of the sandbox ({', '.join(made)}) and others ({fetched}): take one"
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
