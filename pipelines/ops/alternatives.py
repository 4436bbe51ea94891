"""What the training of each policy would take in other ways: printed by `make estimate`.

With other numbers of processes a run, the optimizer on the GPUs or in the CPU's memory; and with engines that have GPUs
of their own and sample ahead while the update runs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from pipelines.plan import Plan


class Row(Protocol):
    """What is estimated of a training run."""

    @property
    def model(self) -> str: ...

    @property
    def gpu_hours(self) -> float: ...

    @property
    def hours(self) -> float: ...

    @property
    def memory_gb(self) -> float: ...


WAYS: dict[str, dict[str, dict[str, Any]]] = {
    "": {"strategy": {"offload": "none"}},
    " offloaded": {"strategy": {"offload": "optimizer"}},
    " ahead": {
        "strategy": {"offload": "none"},
        "engine_options": {"placement": "dedicated", "gpu_memory_utilization": 0.9},
        "scale": {"sample_ahead": True},
    },
}
"""How a policy may train → what changes in a scale."""


@dataclass(frozen=True)
class Alternative:
    """All training runs of a policy in one way."""

    processes: int
    way: str
    gpu_hours: float
    hours: float
    """Of the longest run."""
    memory_gb: float
    """Per GPU, at the highest."""

    def fits(self, memory_gb: float, hours: float) -> bool:
        """Into a GPU, and into the time that a job may take."""
        return self.memory_gb <= memory_gb and self.hours <= hours

    def __str__(self) -> str:
        return f"{self.processes}{self.way}: {self.gpu_hours:,.0f} ({self.memory_gb:.0f} GB, {self.hours:,.0f} h)"


def alternatives(
    plan: Plan, runs: Iterable[tuple[str, str]], estimate: Callable[[Plan, str, str], Row]
) -> dict[str, list[Alternative]]:
    """Policy → what its training runs would take with 1, 2, 4 … processes, up to the scale's, in every way (DeepSpeed
    only).

    ``runs``: (domain, run); ``estimate`` is of one of them.
    """
    strategy = plan.choice.scale.strategy
    found: dict[str, list[Alternative]] = {}
    counts = [2**power for power in range(strategy.processes.bit_length())] if strategy.kind == "deepspeed" else []
    for way, number in ((way, number) for way in WAYS for number in counts):
        other = changed(plan, number, way)
        rows = [estimate(other, domain, run) for domain, run in runs]
        for policy in dict.fromkeys(row.model for row in rows):
            own = [row for row in rows if row.model == policy]
            gpu_hours = sum(row.gpu_hours for row in own) * len(plan.choice.seeds)
            longest, memory = max(row.hours for row in own), max(row.memory_gb for row in own)
            found.setdefault(policy, []).append(Alternative(number, way, gpu_hours, longest, memory))
    return found


def changed(plan: Plan, number: int, way: str) -> Plan:
    """The plan with so many processes for every run, in one of `WAYS`."""
    scale, changes = plan.choice.scale, WAYS[way]
    strategy = scale.strategy.model_copy(
        update={"processes": number, "processes_of": {}, **changes.get("strategy", {})}
    )
    options = scale.engine_options.model_copy(update=changes.get("engine_options", {}))
    train = scale.resources["train"].model_copy(update={"gpu": number * (1 + options.gpus)})
    update = {"strategy": strategy, "engine_options": options, "resources": {**scale.resources, "train": train}}
    return Plan(replace(plan.choice, scale=scale.model_copy(update={**update, **changes.get("scale", {})})))


def cheapest(options: Sequence[Alternative], memory_gb: float, hours: float) -> Alternative | None:
    """The fewest GPU-hours of what fits."""
    fit = [option for option in options if option.fits(memory_gb, hours)]
    return min(fit, key=lambda option: option.gpu_hours, default=None)


def lines(plan: Plan, found: Mapping[str, Sequence[Alternative]], memory_gb: float) -> list[str]:
    """One line a policy: what every way that fits costs, and which is cheapest."""
    said = []
    hours = plan.options.resources("train")["runtime"] / 60
    for policy, options in found.items():
        costs = ", ".join(str(option) for option in options if option.fits(memory_gb, hours)) or "none fits"
        least = cheapest(options, memory_gb, hours)
        strategy = plan.choice.scale.strategy_of(policy)
        declared = f"{strategy.processes}{' offloaded' if strategy.offload == 'optimizer' else ''}"
        best = f"; cheapest {least.processes}{least.way}, declared {declared}" if least else ""
        said.append(f"  {policy}: {costs}{best}")
    title = "GPU-hours of training (GB per GPU, hours of the longest run) by processes a run, where they fit:"
    return [title, *said] if said else []
