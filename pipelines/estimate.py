"""What a scale would take: GPU-hours, memory per GPU and disk of every job, from a model with stated assumptions.

    python -m pipelines.estimate --scale paper
    python -m pipelines.estimate --scale gpu1 --target headline

Sizes are those of the declarations, shapes those of pipelines/config/models.yaml, assumptions those of
pipelines/config/estimate.yaml; they are printed below the table. docs/scales.md has the formulas. GB are 10^9 bytes.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.checks import task_settings
from pipelines.origins import Model, load_models
from pipelines.plan import Plan, load_plan
from reference_impl.config import CONFIG_DIR, RunConfig, StrategyChoice, domain_size, resolve_run

GB = 1e9
TARGETS = ("everything", "headline")


@dataclass(frozen=True)
class Assumptions:
    """estimate.yaml, which explains the values."""

    gpu: str
    memory_gb: float
    peak_tflops: float
    update_utilisation: float
    rollout_utilisation: float
    rollout_tokens_max: float
    step_overhead_s: float
    start_s: float
    reserved_gb: float
    logit_chunk_tokens: int
    text_bytes: float
    tokens: dict[str, dict[str, float]]

    def update_seconds(self, flops: float) -> float:
        """GPU-seconds of so many floating-point operations of training."""
        return flops / (self.update_utilisation * self.peak_tflops * 1e12)

    def rollout_rate(self, model: Model) -> float:
        """Sampled tokens a second on one GPU: 2 operations a parameter and token, at the assumed utilisation."""
        reached = self.rollout_utilisation * self.peak_tflops * 1e12 / (2 * model.active_parameters)
        return min(self.rollout_tokens_max, reached)


@dataclass(frozen=True)
class Estimate:
    """One job, or several alike."""

    job: str
    model: str
    gpus: int
    gpu_hours: float
    memory_gb: float
    """Per GPU, at the highest."""
    kept_gb: float
    """Disk once all is done."""
    waiting_gb: float
    """Disk from its end until its grid is pruned."""
    peak_gb: float
    """Disk while it runs."""

    @property
    def hours(self) -> float:
        """Wall time."""
        return self.gpu_hours / self.gpus if self.gpus else 0.0


def load_assumptions(path: Path = CONFIG_DIR / "estimate.yaml") -> Assumptions:
    """The assumptions in a file."""
    values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return Assumptions(**values)


def training_flops(model: Model, tokens: float, length: float, checkpointing: bool) -> float:
    """Operations of forward and backward over ``tokens`` tokens in sequences of ``length``.

    Forward: 2 a parameter, and 2 · layers · heads · head_dim · length for causal attention. Backward is twice that;
    activation checkpointing repeats the forward pass.
    """
    forward = 2 * model.active_parameters + 2 * model.layers * model.heads * model.head_dim * length
    return tokens * forward * (4 if checkpointing else 3)


def state_bytes(model: Model, strategy: StrategyChoice) -> float:
    """Weights, gradients and optimizer on one GPU: 2 + 2 + 12 bytes a parameter in bf16, 4 + 4 + 8 in float32, each
    divided by the number of processes from its ZeRO stage on (Rajbhandari et al. 2020), or in the CPU's memory.
    """
    weights, gradients, optimizer = (2, 2, 12) if strategy.precision == "bf16" else (4, 4, 8)
    split = strategy.processes
    weights_left = 0.0 if strategy.offload == "parameters" else weights / (split if strategy.zero_stage >= 3 else 1)
    optimizer_left = 0.0 if strategy.offload != "none" else optimizer / (split if strategy.zero_stage >= 1 else 1)
    gradients_left = gradients / (split if strategy.zero_stage >= 2 else 1)
    return model.parameters * (weights_left + gradients_left + optimizer_left)


def activation_bytes(model: Model, tokens: int, strategy: StrategyChoice) -> float:
    """Of a micro-batch: 34 bytes a token and hidden unit of a layer (Korthikanti et al. 2022, without the attention
    matrix, 16 bits). With checkpointing all layers keep their input only, and one has the rest.
    """
    width = 1 if strategy.precision == "bf16" else 2
    layer = 34 * tokens * model.hidden_size * width
    if not strategy.activation_checkpointing:
        return layer * model.layers
    return layer + 2 * tokens * model.hidden_size * width * model.layers


def kv_bytes(model: Model, precision: str) -> int:
    """Keys and values of one token in all layers."""
    return 2 * model.layers * model.kv_heads * model.head_dim * (2 if precision == "bf16" else 4)


def engine_bytes(plan: Plan, model: Model, assumptions: Assumptions, tokens: int) -> float:
    """What the engine takes while it samples: its declared share of a GPU, or a batch of caches of ``tokens`` each."""
    share = plan.scale.engine_options.get("gpu_memory_utilization")
    if share is not None:
        return float(share) * assumptions.memory_gb * GB
    return plan.scale.rollout_batch * tokens * kv_bytes(model, plan.scale.strategy.precision)


def training_memory(plan: Plan, config: RunConfig, model: Model, assumptions: Assumptions) -> float:
    """GB per GPU: the update's peak or the sampler's, beside weights and optimizer, whichever is higher."""
    logits = 2 * 4 * assumptions.logit_chunk_tokens * model.vocabulary  # and their gradient, in float32
    update = activation_bytes(model, config.micro_batch_tokens, config.strategy) + logits
    context = round(assumptions.tokens[config.domain]["prompt"]) + config.max_response_tokens
    sampling = engine_bytes(plan, model, assumptions, context)
    return (state_bytes(model, config.strategy) + max(update, sampling)) / GB + assumptions.reserved_gb


def _uses(config: RunConfig) -> tuple[bool, bool]:
    """(rollouts, expert batches) of a step; a schedule that moves between both counts as both."""
    constant = config.mu["value"] if config.mu["schedule"] == "constant" else None
    return constant != 1, constant != 0


def training_gpu_hours(config: RunConfig, model: Model, gpus: int, assumptions: Assumptions) -> float:
    """All steps, looks at the validation set, and the start."""
    mean = {key: min(value, config.max_response_tokens) for key, value in assumptions.tokens[config.domain].items()}
    prompt, rollout, expert = assumptions.tokens[config.domain]["prompt"], mean["rollout"], mean["expert"]
    rollouts, demonstrations = _uses(config)
    shown = config.mixed["demonstrations"]
    flops = sampled = 0.0

    def update(sequences: int, response: float) -> float:
        length = prompt + response
        return training_flops(model, sequences * length, length, config.strategy.activation_checkpointing)

    if rollouts:
        sampled = config.rl_prompts * (config.group_size - shown) * rollout
        flops += update(config.rl_prompts * (config.group_size - shown), rollout)
        flops += update(config.rl_prompts * shown, expert)
    if demonstrations:
        flops += update(config.sft_batch, expert)
    rate = assumptions.rollout_rate(model)
    step = assumptions.update_seconds(flops) + sampled / rate + assumptions.step_overhead_s * gpus
    looks = config.steps // config.validate_every + 1
    look = config.validation_rows * config.validation_samples * rollout / rate + assumptions.step_overhead_s * gpus
    return (config.steps * step + looks * look + assumptions.start_s * gpus) / 3600


def training_disk(config: RunConfig, model: Model) -> tuple[float, float]:
    """(at its end, at the highest) GB: checkpoints in the weights' precision; while training, states to resume from."""
    weight = 2 if config.strategy.precision == "bf16" else 4
    weights = model.parameters * weight / GB
    checkpoints = config.steps // config.validate_every if config.keep == "epoch" else 1
    state = model.parameters * (weight + (12 if config.strategy.precision == "bf16" else 8)) / GB
    return checkpoints * weights, checkpoints * weights + 2 * state  # the old state goes once the new one is whole


def estimate_run(plan: Plan, domain: str, run: str, assumptions: Assumptions) -> Estimate:
    """One training run."""
    config = resolve_run(plan.declarations, plan.scale, run, domain, plan.seeds[0])
    model, gpus = _model(plan, config.policy), plan.resources("train")["gpu"]
    grids = {plan.declarations.method(name).select["from"] for name in plan.selections}
    pruned = plan.scale.keep_checkpoints == "selected" and plan.declarations.owner(run)[0].name in grids
    end, peak = training_disk(config, model)
    return Estimate(
        f"train {domain}/{run}",
        model.name,
        gpus,
        training_gpu_hours(config, model, gpus, assumptions),
        training_memory(plan, config, model, assumptions),
        0.0 if pruned else end,
        end,
        peak,
    )


def estimate_evaluation(plan: Plan, domain: str, method: str, assumptions: Assumptions) -> Estimate:
    """One checkpoint on all tasks of its domain."""
    role = plan.declarations.method(method).policy
    model, gpus = _model(plan, plan.scale.domains[domain].policies[role]), plan.resources("generate")["gpu"]
    limit = domain_size(plan.declarations, plan.scale, domain, "max_response_tokens")
    means = assumptions.tokens[domain]
    rollout, samples, caps = min(means["rollout"], limit), 0, plan.scale.evaluation
    for task in map(task_settings, plan.scale.domains[domain].tasks):
        repeats = min(task["samples_per_problem"], caps.max_samples or task["samples_per_problem"])
        samples += min(task["rows"], caps.max_items or task["rows"]) * repeats
    hours = (samples * rollout / assumptions.rollout_rate(model) + assumptions.start_s * gpus) / 3600
    disk = samples * (means["prompt"] + rollout) * assumptions.text_bytes / GB
    weights = model.parameters * (2 if plan.scale.strategy.precision == "bf16" else 4)
    share = "gpu_memory_utilization" in plan.scale.engine_options
    engine = engine_bytes(plan, model, assumptions, round(means["prompt"]) + limit)
    memory = (engine if share else weights + engine) / GB + assumptions.reserved_gb
    return Estimate(f"evaluate {domain}/{method}", model.name, gpus, hours, memory, disk, disk, disk)


def estimate_scale(plan: Plan, target: str, assumptions: Assumptions) -> list[Estimate]:
    """Every job of a target that uses a GPU or much disk, seeds multiplied.

    Raises ValueError for a scale without GPUs.
    """
    if not plan.resources("train")["gpu"]:
        raise ValueError(f"scale {plan.scale.name} uses no GPU: nothing to estimate (its times are in the README)")
    names = plan.headline if target == "headline" else plan.experiments()
    needed: dict[tuple[str, str], None] = {}
    evaluated: dict[tuple[str, str], None] = {}
    for name in names:
        entry = plan.declarations.experiments[name]
        domains = [domain for domain in entry["domains"] if domain in plan.scale.domains]
        for domain, method in ((domain, method) for method in entry["methods"] for domain in domains):
            needed.update(dict.fromkeys((domain, other) for other in sorted(plan.needed(method))))
            if plan.declarations.method(method).role == "method" and entry["kind"] != "figure":
                evaluated[domain, method] = None
    policies = sorted({plan.scale.domains[domain].policies[_role(plan, name)] for domain, name in needed})
    rows = [_stored(plan, f"policy {name}", name) for name in policies]
    rows += [estimate_run(plan, *pair, assumptions) for pair in needed if pair[1] in plan.training_runs]
    rows += [
        _stored(plan, f"select {domain}/{name}", plan.scale.domains[domain].policies[_role(plan, name)])
        for domain, name in needed
        if name in plan.selections
    ]
    rows += [estimate_evaluation(plan, *pair, assumptions) for pair in evaluated]
    seeds = len(plan.seeds)
    return [row if row.job.startswith("policy") else _times(row, seeds) for row in rows]


def _role(plan: Plan, name: str) -> str:
    """The policy's role of a method, or of the method that a run belongs to."""
    methods = plan.declarations.methods
    return (methods[name] if name in methods else plan.declarations.owner(name)[0]).policy


def _stored(plan: Plan, job: str, policy: str) -> Estimate:
    """A job that only stores weights, as they come from the hub: in bf16."""
    size = _model(plan, policy).parameters * 2 / GB
    return Estimate(job, policy, 0, 0.0, 0.0, size, size, size)


def _times(row: Estimate, seeds: int) -> Estimate:
    suffix = f" × {seeds}" if seeds > 1 else ""
    disk = (row.kept_gb * seeds, row.waiting_gb * seeds, row.peak_gb)
    return Estimate(row.job + suffix, row.model, row.gpus, row.gpu_hours * seeds, row.memory_gb, *disk)


def _model(plan: Plan, name: str) -> Model:
    models = load_models()
    if name not in models:
        raise ValueError(f"scale {plan.scale.name}: the size of {name} is not in pipelines/config/models.yaml")
    return models[name]


def render(plan: Plan, rows: Iterable[Estimate], assumptions: Assumptions) -> str:
    """The table, its sums, what does not fit, and the assumptions."""
    rows = list(rows)
    width = max(len(row.job) for row in rows)
    heads = ("model", "GPUs", "GPU-hours", "hours", "GB/GPU", "disk GB", "at most GB")
    lines = ["{:{w}}  {:22} {:>4} {:>9} {:>7} {:>7} {:>8} {:>10}".format("job", *heads, w=width)]
    for row in rows:
        numbers = f"{row.gpus:>4} {row.gpu_hours:>9.1f} {row.hours:>7.1f} {row.memory_gb:>7.1f}"
        lines.append(f"{row.job:{width}}  {row.model:22} {numbers} {row.kept_gb:>8.1f} {row.peak_gb:>10.1f}")
    total, wall = sum(row.gpu_hours for row in rows), sum(row.hours for row in rows)
    kept, extra = disk_needed(rows)
    lines += [
        "",
        f"in all: {total:,.0f} GPU-hours ({wall:,.0f} hours, one job after the other); "
        f"{max(row.memory_gb for row in rows):.0f} GB per GPU at most; "
        f"disk: {kept:,.0f} GB kept, {kept + extra:,.0f} GB at most",
    ]
    lines += [
        f"DOES NOT FIT: {row.job} needs {row.memory_gb:.0f} GB per GPU" for row in rows if _too_large(row, assumptions)
    ]
    for kind in ("train", "generate"):
        limit = plan.resources(kind)["runtime"] / 60
        jobs = [row for row in rows if row.job.startswith({"train": "train", "generate": "evaluate"}[kind])]
        late = [row.job for row in jobs if row.hours / len(plan.seeds) > limit]
        lines += [f"TOO LONG for resources.{kind}.runtime ({limit:.0f} hours): {job}" for job in late]
    lines += ["", "Assumptions, none of them measured (pipelines/config/estimate.yaml; docs/scales.md):"]
    lines += [f"  {key}: {value}" for key, value in vars(assumptions).items()]
    return "\n".join(lines)


def _too_large(row: Estimate, assumptions: Assumptions) -> bool:
    return row.memory_gb > assumptions.memory_gb


def disk_needed(rows: Sequence[Estimate]) -> tuple[float, float]:
    """(kept, beside it at most) GB: what grids hold until they are pruned, and the largest run in progress."""
    waiting = sum(row.waiting_gb - row.kept_gb for row in rows)
    return sum(row.kept_gb for row in rows), waiting + max(row.peak_gb - row.waiting_gb for row in rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the estimate of a scale; a mistake of the user's ends with one line on standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", required=True, help="a scale of pipelines/config/scales that uses GPUs")
    parser.add_argument("--target", choices=TARGETS, default="everything", help="which jobs (default everything)")
    arguments = parser.parse_args(argv)
    try:
        plan, assumptions = load_plan({"scale": arguments.scale}), load_assumptions()
        print(render(plan, estimate_scale(plan, arguments.target, assumptions), assumptions))
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
