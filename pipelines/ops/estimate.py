"""What a scale would take: GPU-hours, memory per GPU and disk of every job, from a model with stated assumptions.

    python -m pipelines.ops.estimate --scale paper
    python -m pipelines.ops.estimate --scale gpu1 --target headline

Sizes are those of the declarations, shapes those of pipelines/config/models.yaml, assumptions those of
pipelines/config/estimate.yaml; they are printed below the table. docs/scales.md has the formulas. GB are 10^9 bytes.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.ops.alternatives import alternatives, lines
from pipelines.ops.cost import (
    GB,
    Assumptions,
    Responses,
    activation_bytes,
    gradient_bytes,
    kv_bytes,
    load_assumptions,
    logit_bytes,
    sampling_seconds,
    state_bytes,
    training_flops,
    weight_bytes,
)
from pipelines.plan import Plan, load_plan
from pipelines.policy.models import Model, load_models, read_model
from reference_impl.config import EngineOptions, RunConfig, choose, domain_size, load_task, resolve_run

TARGETS = ("everything", "headline")


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
    graded: float = 0.0
    """Responses that a judge grades."""

    @property
    def hours(self) -> float:
        """Wall time."""
        return self.gpu_hours / self.gpus if self.gpus else 0.0


def engine_bytes(plan: Plan, options: EngineOptions, model: Model, assumptions: Assumptions, tokens: int) -> float:
    """What the engine takes while it samples: vLLM its share of a GPU, weights included; the other a batch of caches of
    ``tokens`` each, beside its weights.
    """
    if _shares_gpu(plan):
        return options.gpu_memory_utilization * assumptions.memory_gb * GB
    scale = plan.choice.scale
    return scale.rollout_batch * tokens * kv_bytes(model, scale.strategy.precision)


def _shares_gpu(plan: Plan) -> bool:
    """Whether the engine is given a share of the GPU, which holds all that it needs."""
    return plan.choice.scale.engine == "vllm"


def placed_gpus(plan: Plan, processes: int | None = None) -> int:
    """GPUs that a run's processes (left out: the largest's) and their dedicated engines take, on all machines."""
    scale = plan.choice.scale
    return (processes or scale.strategy.processes) * (1 + scale.engine_options.gpus)


def training_memory(plan: Plan, config: RunConfig, model: Model, assumptions: Assumptions) -> float:
    """GB of the GPU that needs most: weights and optimizer, and beside them the update's peak or the sampler's.

    A dedicated engine has GPUs of its own; one that never sleeps keeps its share beside the update's; without vLLM a
    second copy of the weights samples, and stays.
    """
    logits = logit_bytes(model, assumptions.logits_at_once, config.strategy.precision)
    # Gradients are freed by the optimizer's step: while it samples there are none.
    update = activation_bytes(model, config.micro_batch_tokens, config.strategy) + logits
    update += gradient_bytes(model, config.strategy)
    context = round(assumptions.lengths(config.domain).prompt) + config.max_response_tokens
    sampling = engine_bytes(plan, plan.choice.scale.engine_options, model, assumptions, context)
    states = state_bytes(model, config.strategy)
    if not _shares_gpu(plan):
        states += model.parameters * weight_bytes(config.strategy.precision)
    options = plan.choice.scale.engine_options
    if options.placement == "dedicated":
        peak = max(states + update, sampling)
    elif _shares_gpu(plan) and not options.sleep:
        peak = states + update + sampling
    else:
        peak = states + max(update, sampling)
    return peak / GB + assumptions.reserved_gb


def _uses(config: RunConfig) -> tuple[bool, bool]:
    """(rollouts, expert batches) of a step; a schedule that moves between both counts as both."""
    constant = config.mu["value"] if config.mu["schedule"] == "constant" else None
    return constant != 1, constant != 0


def validations(config: RunConfig) -> int:
    """How often a run validates; the first time is before the first step."""
    return config.steps // config.validate_every + 1


def training_gpu_hours(config: RunConfig, model: Model, gpus: int, assumptions: Assumptions) -> float:
    """All steps, validations, and the start. All GPUs are taken while any of them works."""
    lengths, engines = assumptions.lengths(config.domain), config.strategy.processes
    prompt = lengths.prompt
    rollout, expert = (min(mean, config.max_response_tokens) for mean in (lengths.rollout, lengths.expert))
    responses = Responses(prompt, rollout, config.max_response_tokens)
    rollouts, demonstrations = _uses(config)
    shown = config.mixed["demonstrations"]

    def update(sequences: int, response: float) -> float:
        length = prompt + response
        return training_flops(model, sequences * length, length, config.strategy.activation_checkpointing)

    def sample(sequences: int) -> float:
        share, precision = sequences / engines, config.strategy.precision
        return assumptions.step_overhead_s + sampling_seconds(
            model, assumptions, responses, share, precision, config.rollout_batch
        )

    flops = sampling = 0.0
    if rollouts:
        sampling = sample(config.rl_prompts * (config.group_size - shown))
        flops += update(config.rl_prompts * (config.group_size - shown), rollout)
        flops += update(config.rl_prompts * shown, expert)
    if demonstrations:
        flops += update(config.sft_batch, expert)
    updating = assumptions.update_seconds(flops) / engines
    if config.strategy.offload != "none":
        updating += assumptions.offload_s * model.parameters / engines / 1e9
    step = max(sampling, updating) if config.sample_ahead else sampling + updating
    validation = sample(config.validation_rows * config.validation_samples)
    return gpus * (config.steps * step + validations(config) * validation + assumptions.start_s) / 3600


def graded_responses(config: RunConfig) -> int:
    """How many responses a judged run has graded, 0 for others."""
    if not config.judge:
        return 0
    sampled = config.rl_prompts * (config.group_size - config.mixed["demonstrations"]) if _uses(config)[0] else 0
    return config.steps * sampled + validations(config) * config.validation_rows * config.validation_samples


def training_disk(config: RunConfig, model: Model) -> tuple[float, float]:
    """(at its end, at the highest) GB: checkpoints in the weights' precision; while training, states to resume from."""
    weight = weight_bytes(config.strategy.precision)
    weights = model.parameters * weight / GB
    checkpoints = config.steps // config.validate_every if config.keep == "epoch" else 1
    state = model.parameters * (weight + (12 if config.strategy.precision == "bf16" else 8)) / GB
    return checkpoints * weights, checkpoints * weights + 2 * state  # the old state goes once the new one is complete


def estimate_run(plan: Plan, domain: str, run: str, assumptions: Assumptions) -> Estimate:
    """One training run."""
    choice, scale = plan.choice, plan.choice.scale
    config = resolve_run(choice.declarations, scale, run, domain, choice.seeds[0])
    model, asked = _model(plan, config.policy), plan.options.train_resources(domain, run)["gpu"]
    gpus = max(asked, placed_gpus(plan, config.strategy.processes))
    grids = set(choice.selections.values())
    pruned = scale.keep_checkpoints == "selected" and choice.declarations.owner(run)[0].name in grids
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
        graded_responses(config),
    )


def estimate_evaluation(plan: Plan, domain: str, method: str, assumptions: Assumptions) -> Estimate:
    """One checkpoint on all tasks of its domain."""
    choice, scale = plan.choice, plan.choice.scale
    role = choice.declarations.method(method).policy
    model, gpus = _model(plan, scale.domains[domain].policies[role]), plan.options.resources("generate")["gpu"]
    limit = domain_size(choice.declarations, scale, domain, "max_response_tokens")
    means = assumptions.lengths(domain)
    rollout, samples, graded, caps = min(means.rollout, limit), 0, 0, scale.evaluation
    precision, responses, sampling = scale.strategy.precision, Responses(means.prompt, rollout, limit), 0.0
    for task in map(load_task, scale.domains[domain].tasks):
        repeats = min(task.samples_per_problem, caps.max_samples or task.samples_per_problem)
        number = min(task.rows, caps.max_items or task.rows) * repeats
        samples += number
        # Tasks one after the other: the longest response of each has a tail of its own.
        sampling += sampling_seconds(model, assumptions, responses, number, precision, scale.rollout_batch)
        graded += number if task.kind == "judge" else 0
    hours = gpus * (sampling + assumptions.start_s) / 3600
    disk = samples * (means.prompt + rollout) * assumptions.text_bytes / GB
    weights = model.parameters * weight_bytes(precision)
    options = scale.evaluation.engine_options
    engine = engine_bytes(plan, options, model, assumptions, round(means.prompt) + limit)
    memory = (engine if _shares_gpu(plan) else weights + engine) / GB + assumptions.reserved_gb
    return Estimate(f"evaluate {domain}/{method}", model.name, gpus, hours, memory, disk, disk, disk, graded)


def estimate_scale(plan: Plan, target: str, assumptions: Assumptions) -> list[Estimate]:
    """Every job of a target that uses a GPU or much disk, seeds multiplied.

    Raises ValueError for a scale without GPUs.
    """
    choice, scale = plan.choice, plan.choice.scale
    if not plan.options.resources("train")["gpu"]:
        raise ValueError(f"scale {scale.name} uses no GPU: nothing to estimate (its times are in the README)")
    needed, evaluated = needed_runs(plan, target)
    policies = sorted({scale.domains[domain].policies[_role(plan, name)] for domain, name in needed})
    rows = [_stored(plan, f"policy {name}", name) for name in policies]
    rows += [estimate_run(plan, *pair, assumptions) for pair in needed if pair[1] in choice.training_runs]
    rows += [
        _stored(plan, f"select {domain}/{name}", scale.domains[domain].policies[_role(plan, name)])
        for domain, name in needed
        if name in choice.selections
    ]
    rows += [estimate_evaluation(plan, *pair, assumptions) for pair in evaluated]
    seeds = len(choice.seeds)
    return [row if row.job.startswith("policy") else _times(row, seeds) for row in rows]


def needed_runs(plan: Plan, target: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(domain, name) of what a target trains or selects, and of what it evaluates."""
    choice, scale = plan.choice, plan.choice.scale
    needed: dict[tuple[str, str], None] = {}
    evaluated: dict[tuple[str, str], None] = {}
    if target not in TARGETS:
        method = choose("target", target, {**choice.declarations.methods, **dict.fromkeys(TARGETS)}, "methods.yaml")
        domains = choice.domains(method)
        return (
            [(domain, other) for domain in domains for other in sorted(choice.needed(method))],
            [(domain, method) for domain in domains if choice.declarations.method(method).role == "method"],
        )
    for name in choice.headline if target == "headline" else choice.experiments():
        entry = choice.declarations.experiments[name]
        domains = [domain for domain in entry.domains if domain in scale.domains]
        for domain, method in ((domain, method) for method in entry.made_of for domain in domains):
            needed.update(dict.fromkeys((domain, other) for other in sorted(choice.needed(method))))
            if choice.declarations.method(method).role == "method" and entry.kind != "figure":
                evaluated[domain, method] = None
    return list(needed), list(evaluated)


def _role(plan: Plan, name: str) -> str:
    """The policy's role of a method, or of the method that a run belongs to."""
    methods = plan.choice.declarations.methods
    return (methods[name] if name in methods else plan.choice.declarations.owner(name)[0]).policy


def _stored(plan: Plan, job: str, policy: str) -> Estimate:
    """A job that only stores weights, as they come from the hub: in bf16."""
    size = _model(plan, policy).parameters * 2 / GB
    return Estimate(job, policy, 0, 0.0, 0.0, size, size, size)


def _times(row: Estimate, seeds: int) -> Estimate:
    suffix = f" × {seeds}" if seeds > 1 else ""
    disk = (row.kept_gb * seeds, row.waiting_gb * seeds, row.peak_gb)
    hours, graded = row.gpu_hours * seeds, row.graded * seeds
    return Estimate(row.job + suffix, row.model, row.gpus, hours, row.memory_gb, *disk, graded)


def _model(plan: Plan, name: str) -> Model:
    models = load_models()
    if name in models:
        return models[name]
    if name in plan.choice.given_policies:
        return read_model(name, Path(plan.choice.given_policies[name]).expanduser())
    raise ValueError(f"scale {plan.choice.scale.name}: the size of {name} is not in pipelines/config/models.yaml")


def render(plan: Plan, rows: Iterable[Estimate], assumptions: Assumptions, price: float | None = None) -> str:
    """The table, its sums, what does not fit, and the assumptions. ``price``: of a GPU-hour, in any money."""
    rows = list(rows)
    width = max(len(row.job) for row in rows)
    heads = ("model", "GPUs", "GPU-hours", "hours", "GB/GPU", "disk GB", "at most GB")
    lines = ["{:{w}}  {:22} {:>4} {:>9} {:>7} {:>7} {:>8} {:>10}".format("job", *heads, w=width)]
    for row in rows:
        numbers = f"{row.gpus:>4} {row.gpu_hours:>9.1f} {row.hours:>7.1f} {row.memory_gb:>7.1f}"
        lines.append(f"{row.job:{width}}  {row.model:22} {numbers} {row.kept_gb:>8.1f} {row.peak_gb:>10.1f}")
    lines += ["", *_sums(rows, price), *_not_counted(rows)]
    lines += [
        f"DOES NOT FIT: {row.job} needs {row.memory_gb:.0f} GB per GPU" for row in rows if _too_large(row, assumptions)
    ]
    for kind in ("train", "generate"):
        limit = plan.options.resources(kind)["runtime"] / 60
        jobs = [row for row in rows if row.job.startswith({"train": "train", "generate": "evaluate"}[kind])]
        late = [row.job for row in jobs if row.hours / len(plan.choice.seeds) > limit]
        lines += [f"TOO LONG for resources.{kind}.runtime ({limit:.0f} hours): {job}" for job in late]
    lines += ["", "Assumptions, none of them measured (pipelines/config/estimate.yaml; docs/scales.md):"]
    lines += [f"  {key}: {value}" for key, value in assumptions.model_dump().items()]
    return "\n".join(lines)


def _sums(rows: Sequence[Estimate], price: float | None) -> list[str]:
    """GPU-hours by kind of job, their price, and what the machine must have."""
    lines = []
    for kind in ("train", "evaluate"):
        some = [row for row in rows if row.job.startswith(kind)]
        lines.append(f"{kind}: {sum(row.gpu_hours for row in some):,.0f} GPU-hours in {len(some)} rows")
    total, wall = sum(row.gpu_hours for row in rows), sum(row.hours for row in rows)
    kept, extra = disk_needed(rows)
    more = max(row.peak_gb - row.waiting_gb for row in rows)
    paid = "" if price is None else f", {price * total:,.0f} at {price:g} each"
    return [
        *lines,
        f"in all: {total:,.0f} GPU-hours{paid} ({wall:,.0f} hours, one job after the other); "
        f"{max(row.memory_gb for row in rows):.0f} GB per GPU at most",
        f"disk: {kept:,.0f} GB kept, {kept + extra:,.0f} GB at most with one run at a time, "
        f"{more:,.0f} GB more for each beside it",
    ]


def _not_counted(rows: Sequence[Estimate]) -> list[str]:
    """What a scale takes beside its GPUs."""
    graded = sum(row.graded for row in rows)
    models = sum(row.kept_gb for row in rows if row.job.startswith("policy"))
    judge = f"the judge's server ({graded:,.0f} responses to grade), " if graded else ""
    return [
        f"not counted: {judge}servers that write demonstrations, downloads ({models:,.0f} GB of models; data and "
        "benchmarks), CPU jobs (data, selection, scores, report) and the CPU's memory (`resources` of the scale)"
    ]


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
    parser.add_argument("--target", default="everything", help="everything (default), headline, or a method's name")
    parser.add_argument("--price", type=float, help="of a GPU-hour, in any money")
    arguments = parser.parse_args(argv)
    try:
        plan, assumptions = load_plan({"scale": arguments.scale}), load_assumptions()
        print(render(plan, estimate_scale(plan, arguments.target, assumptions), assumptions, arguments.price))
        runs = [pair for pair in needed_runs(plan, arguments.target)[0] if pair[1] in plan.choice.training_runs]
        others = alternatives(plan, runs, lambda other, domain, run: estimate_run(other, domain, run, assumptions))
        print("\n".join(["", *lines(plan, others, assumptions.memory_gb)]))
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
