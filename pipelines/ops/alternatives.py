"""What the training of each policy would take with another number of processes a run: printed by `make estimate`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pipelines.plan import Plan


class Row(Protocol):
    """What is estimated of a training run."""

    @property
    def model(self) -> str: ...

    @property
    def gpu_hours(self) -> float: ...

    @property
    def memory_gb(self) -> float: ...


@dataclass(frozen=True)
class Alternative:
    """All training runs of a policy with another number of processes."""

    processes: int
    gpu_hours: float
    memory_gb: float
    """Per GPU, at the highest."""


def alternatives(
    plan: Plan, runs: Iterable[tuple[str, str]], estimate: Callable[[Plan, str, str], Row]
) -> dict[str, list[Alternative]]:
    """Policy → what its training runs would take with 1, 2, 4 … processes, up to the scale's (DeepSpeed only).

    ``runs``: (domain, run); ``estimate`` is of one of them.
    """
    strategy = plan.choice.scale.strategy
    found: dict[str, list[Alternative]] = {}
    counts = [2**power for power in range(strategy.processes.bit_length())] if strategy.kind == "deepspeed" else []
    for number in counts:
        other = _with_processes(plan, number)
        rows = [estimate(other, domain, run) for domain, run in runs]
        for policy in dict.fromkeys(row.model for row in rows):
            own = [row for row in rows if row.model == policy]
            hours = sum(row.gpu_hours for row in own) * len(plan.choice.seeds)
            found.setdefault(policy, []).append(Alternative(number, hours, max(row.memory_gb for row in own)))
    return found


def _with_processes(plan: Plan, number: int) -> Plan:
    """The plan with so many processes for every run."""
    scale = plan.choice.scale
    train = scale.resources["train"].model_copy(update={"gpu": number * (1 + scale.engine_options.gpus)})
    strategy = scale.strategy.model_copy(update={"processes": number, "processes_of": {}})
    changed = scale.model_copy(update={"strategy": strategy, "resources": {**scale.resources, "train": train}})
    return Plan(replace(plan.choice, scale=changed))


def lines(plan: Plan, found: Mapping[str, Sequence[Alternative]], memory_gb: float) -> list[str]:
    """One line a policy: what each number of processes that fits costs, and which is cheapest."""
    said = []
    for policy, options in found.items():
        fit = [option for option in options if option.memory_gb <= memory_gb]
        costs = ", ".join(f"{o.processes}: {o.gpu_hours:,.0f} ({o.memory_gb:.0f} GB)" for o in fit) or "none fits"
        cheapest = min(fit, key=lambda option: option.gpu_hours, default=None)
        declared = plan.choice.scale.strategy_of(policy).processes
        best = f"; cheapest {cheapest.processes}, declared {declared}" if cheapest else ""
        said.append(f"  {policy}: {costs}{best}")
    return ["GPU-hours of training (GB per GPU) by processes a run, where they fit:", *said] if said else []
