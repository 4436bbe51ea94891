"""docs/declarations.md, from the YAML files: paper → declaration → target → output (`pipelines.ops.documents`)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipelines.plan import Plan, load_plan
from reference_impl.config import Method, RunConfig, expert_file, resolve_run
from reference_impl.config.experiments import Experiment

SCALE = "mini"
HEAD = f"""# What is declared

Made by `make docs` from `pipelines/config/*.yaml`; change those, not this file. Each section is a table, a figure or an
appendix of the paper: what is in it, what to type, what is written (under `results/<scale>/report/`). Values are the
paper's: its steps, its rows, its learning rates. [Methods](#methods) has the sentence behind each value, and what
becomes of it at the default scale, `{SCALE}`.

Left out, a value is the usual one: the domain's main policy and main expert data, groups of the domain's size, a weight
sync to the sampler after every update, advantages divided by the group's standard deviation, no φ.
"""


def document() -> str:
    """The text of docs/declarations.md."""
    plan = load_plan({"scale": SCALE, "mine": ""})
    entries = {name: plan.choice.declarations.experiments[name] for name in plan.choice.experiments()}
    parts = [HEAD, "## Overview\n", _overview(plan, entries)]
    for name, entry in entries.items():
        parts += [f"## {entry.paper}: {entry.title}\n", _experiment(plan, name, entry)]
    parts += ["## Domains\n", _domains(plan), "## Methods\n"]
    parts += [_method(plan, method, entries) for method in plan.choice.declarations.methods.values()]
    return "\n".join(parts)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [" | ".join(line) for line in (header, ["---"] * len(header), *rows)]
    return "".join(f"| {line} |\n" for line in lines)


def _link(name: str) -> str:
    return f"[{name}](#{name})"


def _files(plan: Plan, experiment: str) -> str:
    folder = f"{plan.files.results}/report/"
    return ", ".join(f"`{path.removeprefix(folder)}`" for path in plan.files.report(experiment))


def _overview(plan: Plan, entries: Mapping[str, Experiment]) -> str:
    rows = [
        [
            entry.paper,
            entry.title,
            ", ".join(entry.domains),
            f"`{name}`",
            "yes" if name in plan.choice.headline else "",
            _files(plan, name),
        ]
        for name, entry in entries.items()
    ]
    return table(["paper", "what", "domains", "target", "headline", "files"], rows)


def _experiment(plan: Plan, name: str, entry: Experiment) -> str:
    rows = [
        [_link(method.name), method.label, _origin(method), _loss(method), _budget(method), _others(method)]
        for method in map(plan.choice.declarations.method, entry.methods)
    ]
    text = f"`snakemake --cores 2 {name}` writes {_files(plan, name)}. Domains: {', '.join(entry.domains)}.\n\n"
    return text + table(["method", "label", "starts from", "loss", "length", "further"], rows)


def _origin(method: Method) -> str:
    """Which checkpoint a method begins with, or chooses."""
    if method.select:
        epochs = method.select.epochs
        return f"best of {_link(method.select.grid)}" + (f", epoch {value_text(epochs)}" if epochs else "")
    return f"policy `{method.policy}`" if method.init == "policy" else _link(method.init)


def _loss(method: Method) -> str:
    """μ and φ."""
    if method.mu is None:
        return "–"
    mu, phi = method.mu.given(), method.phi.given()
    parts = [f"μ {mu.pop('schedule')} ({value_text(mu)})"]
    name = phi.pop("name")
    if name != "none":
        parts.append(f"φ {name} ({value_text(phi)})" if phi else f"φ {name}")
    return "; ".join(parts)


def _budget(method: Method) -> str:
    if not method.trains or method.budget is None:
        return "–"
    if method.budget.epochs is not None:
        return f"{method.budget.epochs} epochs"
    return "RL steps" if method.budget.steps == "rl" else f"{method.budget.steps} steps"


def _others(method: Method) -> str:
    """What is not the usual value."""
    parts = []
    if method.expert != "main":
        parts.append(f"expert data `{method.expert}`")
    if method.group_size is not None:
        parts.append(f"K = {method.group_size}")
    if method.sync_every != 1:
        parts.append(f"weights synced every {method.sync_every} steps")
    if method.mixed:
        parts.append(f"mixed groups ({value_text(method.mixed.given())})")
    if method.auxiliary:
        parts.append(f"further losses: {value_text(method.auxiliary.given())}")
    if not method.normalise:
        parts.append("advantages not divided by σ")
    if method.role == "grid" and method.grid is not None:
        parts.append(f"learning rate {_rates(method.grid.learning_rate)}")
    elif method.tuned_as == method.name and method.grid is not None:
        parts.append(f"learning rate tuned within {_rates(method.grid.learning_rate)}")
    elif method.tuned_as == method.name:
        parts.append("learning rate tuned")
    elif method.tuned_as is not None:
        parts.append(f"learning rate of {_link(method.tuned_as)}")
    elif method.learning_rate is not None:
        parts.append(f"learning rate {method.learning_rate:g}")
    return "; ".join(parts)


def _rates(values: Iterable[float]) -> str:
    return " or ".join(f"{rate:g}" for rate in values)


def value_text(value: Any) -> str:
    """A value of a YAML file in a line: mappings as `key value`, lists with commas."""
    if isinstance(value, Mapping):
        return ", ".join(
            f"{key} ({value_text(part)})" if isinstance(part, Mapping) else f"{key} {value_text(part)}"
            for key, part in value.items()
        )
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _domains(plan: Plan) -> str:
    """Policies and expert data by role: the paper's, and this scale's."""
    rows = []
    for name, sizes in plan.choice.scale.domains.items():
        domain = plan.choice.declarations.domains[name]
        splits = plan.choice.splits(name)
        for role, policy in domain.policies.items():
            rows.append([name, f"policy `{role}`", policy, sizes.policies[role]])
        rows.append(
            [name, "RL prompts", f"{domain.prompt_rows} rows", f"`prompts.jsonl`, {splits['prompts.jsonl']} rows"]
        )
        for role, expert in domain.experts.items():
            file = expert_file(role)
            size = "one to every RL prompt" if expert.rows == "rl" else f"{expert.rows} rows"
            rows.append([name, f"expert data `{role}`", f"{expert.source}, {size}", f"`{file}`, {splits[file]} rows"])
        rows.append([name, "RL steps", str(domain.rl_steps), f"divided by {sizes.steps_divisor:g}"])
    return table(["domain", "what", "paper", f"scale `{plan.choice.scale.name}`"], rows)


def _method(plan: Plan, method: Method, entries: Mapping[str, Experiment]) -> str:
    """One method: its values, where they are from, and what they are at the default scale."""
    found = [name for name, entry in entries.items() if method.name in entry.methods]
    used = ", ".join(f"`{name}`" for name in found)
    lines = [f"### {method.name}\n", f"**{method.label}**: {' '.join(method.paper.split())}\n"]
    lines += [f"- target `{method.name}`, role {method.role}" + (f"; in {used}" if used else "")]
    values = [part for part in (_loss(method), _budget(method), _others(method)) if part not in ("–", "")]
    lines += [f"- {'; '.join([f'starts from {_origin(method)}' if not method.select else _origin(method), *values])}"]
    for domain in plan.choice.declarations.method_domains(method.name):
        runs = plan.choice.declarations.runs(method.name) if domain in plan.choice.scale.domains else {}
        configs = [
            resolve_run(plan.choice.declarations, plan.choice.scale, run, domain, plan.choice.seeds[0]) for run in runs
        ]
        if configs:
            rates = " or ".join(f"{config.learning_rate:g}" for config in configs)
            lines += [f"- `{SCALE}`, {domain}: {_resolved(configs[0])}; learning rate {rates}"]
    return "\n".join(lines) + "\n"


def _resolved(config: RunConfig) -> str:
    """A run's sizes at the scale."""
    mu = {key: value for key, value in config.mu.items() if key.endswith("_steps")}
    parts = [f"{config.policy}, {config.steps} steps"]
    if config.mu.get("value") != 1.0:
        parts.append(f"{config.rl_prompts} prompts of {config.prompt_rows} × {config.group_size} rollouts")
    if config.mixed["demonstrations"]:
        parts.append(f"{config.mixed['demonstrations']} demonstration in each group, of {config.expert_rows}")
    elif config.mu.get("value") != 0.0:
        parts.append(f"{config.sft_batch} demonstrations of {config.expert_rows}")
    if mu:
        parts.append(f"μ's {value_text(mu)}")
    return ", ".join(parts)
