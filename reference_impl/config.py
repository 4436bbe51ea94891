"""Declarations (the paper's values) and scales (sizes) → one resolved, hashed configuration per run.

Torch-free, so that the workflow and the reports can read it. `load_declarations` reads
`domains.yaml`, `methods.yaml` and `experiments.yaml`; `load_scale` one file of `scales/`; `resolve_run` puts both
together: step counts divided by the domain's `steps_divisor`, learning rates multiplied by the scale's factor,
a grid unrolled into its runs.
"""

import dataclasses
import difflib
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from reference_impl.mu import scale_params

CONFIG_DIR = Path(__file__).resolve().parents[1] / "pipelines" / "config"
ROLES = ("method", "grid", "curve")
KEEP = ("best", "epoch")


def _fields_of(cls: type, values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """``values``, its keys checked against the dataclass: an unknown key names the nearest."""
    known = [f.name for f in dataclasses.fields(cls) if f.name != "name"]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{source}: unknown key {key!r}{hint} (allowed: {', '.join(known)})")
    for f in dataclasses.fields(cls):
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and f.name != "name" and f.name not in values:
            raise ValueError(f"{source}: missing key {f.name!r}")
    return dict(values)


def choose(what: str, value: str, allowed: Iterable[str], source: str) -> str:
    """``value`` if it is allowed; else a ValueError with the allowed ones and the nearest."""
    names = list(allowed)
    if value not in names:
        near = difflib.get_close_matches(str(value), names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown {what} {value!r}{hint} ({source} has: {', '.join(names)})")
    return value


@dataclass(frozen=True)
class Domain:
    """The paper's values for one domain (domains.yaml)."""

    name: str
    label: str
    reward: str
    policy: str
    expert: str
    prompt_rows: int
    expert_rows: int
    sft_batch: int
    rl_prompts: int
    group_size: int
    rl_steps: int
    max_response_tokens: int
    validate_every: int


@dataclass(frozen=True)
class Method:
    """One entry of methods.yaml, in the paper's units."""

    name: str
    label: str
    paper: str
    role: str = "method"
    domains: tuple[str, ...] | None = None
    init: str = "policy"
    budget: Mapping[str, Any] = field(default_factory=dict)
    mu: Mapping[str, Any] = field(default_factory=dict)
    phi: str | Mapping[str, Any] = "none"
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
    experiments: Mapping[str, Any]

    def method(self, name: str) -> Method:
        """The entry called ``name``. Raises ValueError naming the nearest."""
        return self.methods[choose("method", name, self.methods, "methods.yaml")]

    def method_domains(self, name: str) -> tuple[str, ...]:
        """The domains that a method is trained in."""
        return self.method(name).domains or tuple(self.domains)

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
    policy: str
    steps_divisor: float
    validation_rows: int
    tasks: tuple[str, ...]
    validation_samples: int = 1
    prompt_rows: int | None = None
    expert_rows: int | None = None
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


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's numbers, in the run's own steps. `hash()` identifies it."""

    method: str
    domain: str
    scale: str
    seed: int
    policy: str
    init: str
    data: str
    reward: str
    steps: int
    epochs: int | None
    steps_divisor: float
    mu: dict[str, Any]
    phi: dict[str, Any]
    learning_rate: float
    prompt_rows: int
    expert_rows: int
    sft_batch: int
    rl_prompts: int
    group_size: int
    max_response_tokens: int
    validate_every: int
    validation_rows: int
    validation_samples: int
    keep: str
    engine: str
    micro_batch_tokens: int
    rollout_batch: int
    clip_eps: float = 0.2
    """Eq. 2's epsilon; the paper gives none. Never active while training is strictly on-policy."""
    temperature: float = 1.0
    """A.1: "the temperature for both rollout and evaluation is 1.0"."""
    betas: tuple[float, float] = (0.9, 0.999)
    """A.1: Adam, beta_1 = 0.9, beta_2 = 0.999."""
    max_grad_norm: float = 1.0
    """Paper silent; the default of the frameworks it names."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready copy."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def hash(self) -> str:
        """SHA-256 over the configuration, as 64 hex digits."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"no configuration file {path}")
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error


def _tuples(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    return values | {key: tuple(values[key]) for key in keys if values.get(key) is not None}


def parse_method(name: str, values: Mapping[str, Any], source: str) -> Method:
    """One checked entry of methods.yaml. Raises ValueError naming the entry, the key and what is allowed."""
    entry = _tuples(_fields_of(Method, values, f"{source}: {name}"), "domains")
    entry["grid"] = {key: tuple(rates) for key, rates in entry.get("grid", {}).items()}
    method = Method(name=name, **entry)
    choose("role", method.role, ROLES, f"{source}: {name}")
    choose("keep", method.keep, KEEP, f"{source}: {name}")
    for rate in (method.learning_rate, *(rate for rates in method.grid.values() for rate in rates)):
        if rate is not None and not isinstance(rate, int | float):
            raise ValueError(f"{source}: {name}: learning rate {rate!r} is text, not a number (YAML wants 1.0e-6)")
    if method.budget.get("epochs", 1) < 1:
        raise ValueError(f"{source}: {name}: epochs {method.budget['epochs']}: allowed are 1 and more")
    for key in method.grid:
        choose("grid key", key, ["learning_rate"], f"{source}: {name}")
    if method.trains:
        if len(method.budget) != 1 or not set(method.budget) <= {"steps", "epochs"}:
            raise ValueError(
                f"{source}: {name}: budget {dict(method.budget)}: allowed: {{steps: rl}}, {{steps: 0}}, {{epochs: n}}"
            )
        if method.budget.get("steps", "rl") != "rl":
            raise ValueError(f"{source}: {name}: budget steps {method.budget['steps']!r}: allowed are rl and 0")
        if (method.learning_rate is None) == (not method.grid):
            raise ValueError(f"{source}: {name}: needs a learning_rate, or a grid of them, and not both")
        if "schedule" not in method.mu:
            raise ValueError(f"{source}: {name}: mu needs a schedule")
    return method


def load_declarations(root: Path = CONFIG_DIR) -> Declarations:
    """Read and check the three declaration files under ``root``."""
    domains = {
        name: Domain(name=name, **_fields_of(Domain, values, f"{root / 'domains.yaml'}: {name}"))
        for name, values in _read(root / "domains.yaml").items()
    }
    source = str(root / "methods.yaml")
    methods = {name: parse_method(name, values, source) for name, values in _read(root / "methods.yaml").items()}
    for method in methods.values():
        for reference in (method.init, method.select.get("from", "policy")):
            choose("method", reference, ["policy", *methods], f"{source}: {method.name}")
        for domain in method.domains or ():
            choose("domain", domain, domains, f"{source}: {method.name}")
    return Declarations(methods=methods, domains=domains, experiments=_read(root / "experiments.yaml"))


def load_scale(name: str, root: Path = CONFIG_DIR) -> Scale:
    """Read and check one scale. Raises ValueError naming the known scales."""
    choose("scale", name, sorted(path.stem for path in (root / "scales").glob("*.yaml")), str(root / "scales"))
    path = root / "scales" / f"{name}.yaml"
    values = {key: value for key, value in _read(path).items() if key != "name"}
    entry = _tuples(_fields_of(Scale, values, str(path)), "seeds")
    entry["domains"] = {
        domain: ScaleDomain(name=domain, **_tuples(_fields_of(ScaleDomain, part, f"{path}: {domain}"), "tasks"))
        for domain, part in entry["domains"].items()
    }
    entry["evaluation"] = Evaluation(name=name, **_fields_of(Evaluation, entry["evaluation"], f"{path}: evaluation"))
    return Scale(name=name, **entry)


def _per_domain(params: Mapping[str, Any], domain: str) -> dict[str, Any]:
    """Parameters with per-domain values (``{math: 200, tool: 30}``) reduced to this domain's."""
    for key, value in params.items():
        if isinstance(value, Mapping):
            choose("domain", domain, value, f"mu's {key}")
    return {key: value[domain] if isinstance(value, Mapping) else value for key, value in params.items()}


def domain_size(decl: Declarations, scale: Scale, domain: str, name: str) -> int:
    """A size (rows, batch, tokens …) of a domain at a scale: the scale's value, or the paper's where it gives none."""
    chosen = getattr(scale.domains[choose("domain", domain, scale.domains, f"scale {scale.name}")], name)
    return int(getattr(decl.domains[domain], name) if chosen is None else chosen)


def scaled_steps(paper_steps: float, divisor: float) -> int:
    """A number of the paper's steps in a scale's steps, at least one."""
    return max(1, round(paper_steps / divisor))


def resolve_run(decl: Declarations, scale: Scale, run: str, domain: str, seed: int) -> RunConfig:
    """The configuration of one run (a method, or one member of its grid) in one domain at one scale.

    Raises ValueError for an unknown run or domain, and for a method that is not declared for the domain.
    """
    method, rate = decl.owner(run)
    paper = decl.domains[choose("domain", domain, decl.domains, "domains.yaml")]
    choose("domain", domain, decl.method_domains(method.name), f"methods.yaml: {method.name}")
    sizes = scale.domains[choose("domain", domain, scale.domains, f"scale {scale.name}")]
    assert rate is not None

    def size(name: str) -> int:
        return domain_size(decl, scale, domain, name)

    epochs = method.budget.get("epochs")
    steps_per_epoch = math.ceil(size("expert_rows") / size("sft_batch"))
    rl_steps = scaled_steps(paper.rl_steps, sizes.steps_divisor)
    schedule = {key: value for key, value in _per_domain(method.mu, domain).items() if key != "schedule"}
    name = method.mu["schedule"]
    return RunConfig(
        method=run,
        domain=domain,
        scale=scale.name,
        seed=seed,
        policy=sizes.policy,
        init=method.init,
        data=sizes.data,
        reward=paper.reward,
        steps=rl_steps if epochs is None else epochs * steps_per_epoch,
        epochs=epochs,
        steps_divisor=sizes.steps_divisor,
        mu={"schedule": name, **scale_params(name, schedule, sizes.steps_divisor)},
        phi={"name": method.phi} if isinstance(method.phi, str) else dict(method.phi),
        learning_rate=float(f"{rate * scale.learning_rate_factor:.6g}"),
        prompt_rows=size("prompt_rows"),
        expert_rows=size("expert_rows"),
        sft_batch=size("sft_batch"),
        rl_prompts=size("rl_prompts"),
        group_size=size("group_size"),
        max_response_tokens=size("max_response_tokens"),
        validate_every=scaled_steps(paper.validate_every, sizes.steps_divisor) if epochs is None else steps_per_epoch,
        validation_rows=sizes.validation_rows,
        validation_samples=sizes.validation_samples,
        keep=method.keep,
        engine=scale.engine,
        micro_batch_tokens=scale.micro_batch_tokens,
        rollout_batch=scale.rollout_batch,
    )
