"""What the configuration files declare, as data: domains, methods, scales. `reference_impl.config` reads them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reference_impl.config.experiments import Experiment
from reference_impl.config.model import choose


@dataclass(frozen=True)
class Expert:
    """A set of demonstrations: who wrote them and how many there are, ``rl`` for one to every RL prompt."""

    name: str
    source: str
    rows: int | str


@dataclass(frozen=True)
class Domain:
    """The paper's values for one domain (domains.yaml)."""

    name: str
    label: str
    reward: str
    policies: Mapping[str, str]
    """Role → the paper's model; ``main`` is the one of most methods."""
    experts: Mapping[str, Expert]
    """Role → demonstrations; ``main`` is the set of most methods."""
    prompt_rows: int
    sft_batch: int
    rl_prompts: int
    group_size: int
    rl_steps: int
    max_response_tokens: int
    validate_every: int


@dataclass(frozen=True)
class Method:
    """One entry of methods.yaml, in the paper's units; the file's head explains the keys."""

    name: str
    label: str
    paper: str
    role: str = "method"
    domains: tuple[str, ...] | None = None
    policy: str = "main"
    expert: str = "main"
    init: str = "policy"
    budget: Mapping[str, Any] = field(default_factory=dict)
    mu: Mapping[str, Any] = field(default_factory=dict)
    phi: str | Mapping[str, Any] = "none"
    group_size: int | None = None
    sync_every: int = 1
    mixed: Mapping[str, Any] = field(default_factory=dict)
    auxiliary: Mapping[str, Any] = field(default_factory=dict)
    normalise: bool = True
    learning_rate: float | None = None
    grid: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    select: Mapping[str, Any] = field(default_factory=dict)
    keep: str = "best"

    @property
    def trains(self) -> bool:
        """Whether runs of its own belong to this entry (neither a selection nor the untouched policy)."""
        return not self.select and self.budget.get("steps") != 0


@dataclass(frozen=True)
class Declarations:
    """All of methods.yaml, domains.yaml and experiments.yaml."""

    methods: Mapping[str, Method]
    domains: Mapping[str, Domain]
    experiments: Mapping[str, Experiment]
    """Tables, figures and pages, in the report's order."""
    headline: tuple[str, ...]
    """Those of them that the default target makes."""

    def method(self, name: str) -> Method:
        """The entry called ``name``. Raises ValueError naming the nearest."""
        return self.methods[choose("method", name, self.methods, "methods.yaml")]

    def method_domains(self, name: str) -> tuple[str, ...]:
        """The domains that a method is trained in: those it declares, else the two of the paper's Table 1."""
        return self.method(name).domains or tuple(name for name in ("math", "tool") if name in self.domains)

    def runs(self, name: str) -> dict[str, float | None]:
        """Run name → learning rate of every training run of an entry: several for a grid, none where nothing trains."""
        method = self.method(name)
        if not method.trains:
            return {}
        if method.grid:
            return {f"{name}-lr{rate:g}": rate for rate in method.grid["learning_rate"]}
        return {name: method.learning_rate}

    def owner(self, run: str) -> tuple[Method, float | None]:
        """The entry that a run name belongs to, and the run's learning rate in the paper's units."""
        for name in self.methods:
            runs = self.runs(name)
            if run in runs:
                return self.methods[name], runs[run]
        known = [run_name for name in self.methods for run_name in self.runs(name)]
        choose("run", run, known, "methods.yaml")
        raise AssertionError("unreachable")


@dataclass(frozen=True)
class ScaleDomain:
    """What a scale says of one domain; None keeps the paper's value."""

    name: str
    data: str
    policies: Mapping[str, str]
    """Role → this scale's policy: one of the sandbox's, or a model of models.yaml."""
    steps_divisor: float
    validation_rows: int
    tasks: tuple[str, ...]
    validation_samples: int = 1
    data_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the data's stage, by name without dashes; a mapping becomes one NAME=VALUE option per entry."""
    judge: Mapping[str, Any] = field(default_factory=dict)
    prompt_rows: int | None = None
    expert_rows: int | None = None
    """Rows of the main set; the others keep the paper's proportion to it."""
    sft_batch: int | None = None
    rl_prompts: int | None = None
    group_size: int | None = None
    max_response_tokens: int | None = None


@dataclass(frozen=True)
class Evaluation:
    """Caps on evaluation, for scales that only exercise the code; None: the whole benchmark."""

    name: str
    max_items: int | None
    max_samples: int | None
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    """As the scale's own, for an engine that has its GPU to itself."""


STRATEGIES = ("torch", "deepspeed")
PRECISIONS = ("fp32", "bf16")
OFFLOADS = {"none": 0, "optimizer": 1, "parameters": 3}
"""What may be offloaded → the first ZeRO stage that can."""


@dataclass(frozen=True)
class StrategyChoice:
    """How gradients become updates, and in how many processes; of it all, only `precision` is mathematics."""

    kind: str = "torch"
    """torch: one process, float32; it has no other keys."""
    zero_stage: int = 0
    """What DeepSpeed splits over the processes: 0 nothing, 1 optimizer, 2 and gradients, 3 and parameters."""
    precision: str = "fp32"
    """Of the weights while they train and sample; in bf16 the optimizer still updates a copy in float32."""
    offload: str = "none"
    """What waits in the memory of the CPU: the optimizer's state, or that and (ZeRO-3) the parameters."""
    activation_checkpointing: bool = False
    processes: int = 1

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str) -> "StrategyChoice":
        """A checked strategy of a scale. Raises ValueError naming the value and what is allowed."""
        chosen = cls(**values)
        choose("strategy", chosen.kind, STRATEGIES, where)
        choose("precision", chosen.precision, PRECISIONS, where)
        choose("offload", chosen.offload, OFFLOADS, where)
        if chosen.kind == "torch" and set(values) - {"kind"}:
            raise ValueError(f"{where}: {', '.join(sorted(set(values) - {'kind'}))}: kind torch has no other keys")
        if chosen.zero_stage not in range(4):
            raise ValueError(f"{where}: zero_stage {chosen.zero_stage!r}: allowed are 0, 1, 2 and 3")
        if chosen.processes < 1:
            raise ValueError(f"{where}: processes {chosen.processes!r}: allowed are 1 and more")
        if chosen.zero_stage < OFFLOADS[chosen.offload]:
            raise ValueError(f"{where}: offload {chosen.offload} needs zero_stage {OFFLOADS[chosen.offload]} or more")
        return chosen


@dataclass(frozen=True)
class Scale:
    """One file of scales/: sizes, engine and hardware, never mathematics."""

    name: str
    description: str
    seeds: tuple[int, ...]
    learning_rate_factor: float
    engine: str
    micro_batch_tokens: int
    rollout_batch: int
    domains: Mapping[str, ScaleDomain]
    evaluation: Evaluation
    strategy: StrategyChoice = StrategyChoice()
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    """How the engine uses its GPUs while a run trains; of them `max_model_len` alone changes what it samples."""
    tis_cap: float | None = None
    """Truncated importance sampling (`mismatch.tis_weights_BT`) with this cap; None: without."""
    resources: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Kind of job (train, generate) → gpu, mem_mb, runtime in minutes, threads; left out: one CPU."""
    launcher: Mapping[str, str] = field(default_factory=dict)
    """Kind of job → what starts its module, {processes} being the strategy's; left out: python -m."""
    keep_checkpoints: str = "all"
    """`selected`: a grid's checkpoints are removed once every selection has copied the one that it chose."""
