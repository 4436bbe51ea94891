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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from reference_impl.config.declared import (
    Declarations,
    Domain,
    Evaluation,
    Expert,
    Method,
    Scale,
    ScaleDomain,
    StrategyChoice,
)
from reference_impl.config.experiments import read_experiments
from reference_impl.config.model import choose
from reference_impl.mu import scale_params

CONFIG_DIR = Path(__file__).resolve().parents[2] / "pipelines" / "config"
ROLES = ("method", "grid", "curve")
KEEP = ("best", "epoch")
NOT_INHERITED = ("label", "paper")
"""What an entry with ``like`` says for itself."""


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


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's numbers, in the run's own steps, and on what it runs. `hash()` identifies it."""

    method: str
    domain: str
    scale: str
    seed: int
    policy: str
    """Name of the policy that the method's runs (and those that it starts from) begin with."""
    init: str
    data: str
    expert: str
    """Which of the domain's sets of demonstrations."""
    reward: str
    judge: dict[str, Any]
    """How the judge of a judged domain is reached; empty elsewhere."""
    steps: int
    epochs: int | None
    steps_divisor: float
    mu: dict[str, Any]
    phi: dict[str, Any]
    mixed: dict[str, Any]
    """demonstrations in each group and their shaping; 0 demonstrations: groups of rollouts alone."""
    auxiliary: dict[str, Any]
    normalise: bool
    sync_every: int
    """Updates between two hand-overs of the weights to the sampler; 1 is strictly on-policy."""
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
    """Eq. 2's epsilon; the paper gives none. Active only where `sync_every` is above 1: on-policy, the ratio is 1."""
    temperature: float = 1.0
    """A.1: "the temperature for both rollout and evaluation is 1.0"."""
    betas: tuple[float, float] = (0.9, 0.999)
    """A.1: Adam, beta_1 = 0.9, beta_2 = 0.999."""
    max_grad_norm: float = 1.0
    """Paper silent; the default of the frameworks it names."""
    strategy: StrategyChoice = field(default_factory=StrategyChoice)
    engine_options: dict[str, Any] = field(default_factory=dict)
    tis_cap: float | None = None
    """Of truncated importance sampling between sampler and policy; None, as in the paper: the two are taken as one."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready copy."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def hash(self) -> str:
        """SHA-256 over the configuration, as 64 hex digits.

        How the work is split over processes and kept in memory is no part of it: a run is the same run on one process
        or eight, in the same precision.
        """
        values = self.to_dict()
        longest = values.pop("engine_options").get("max_model_len")
        if longest is not None:  # of the engine's options the only one that changes samples
            values["max_model_len"] = longest
        if values["tis_cap"] is None:
            del values["tis_cap"]
        precision = values.pop("strategy")["precision"]
        if precision != StrategyChoice.precision:
            values["precision"] = precision
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"no configuration file {path}")
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error


def _tuples(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    return values | {key: tuple(values[key]) for key in keys if values.get(key) is not None}


def inherit(entries: Mapping[str, Mapping[str, Any]], name: str, source: str) -> dict[str, Any]:
    """The keys of entry ``name``, those of the entries that it is ``like`` filled in.

    Raises ValueError where a chain of ``like`` leads nowhere or in a circle.
    """
    chain, values = [name], dict(entries[name])
    while "like" in values:
        parent = choose("method", str(values.pop("like")), entries, f"{source}: {chain[-1]}: like")
        if parent in chain:
            raise ValueError(f"{source}: {name}: like leads in a circle: {' → '.join([*chain, parent])}")
        chain.append(parent)
        inherited = {key: value for key, value in entries[parent].items() if key not in NOT_INHERITED}
        values = {**inherited, **values}
    return values


def parse_method(name: str, values: Mapping[str, Any], source: str) -> Method:
    """One checked entry of methods.yaml. Raises ValueError naming the entry, the key and what is allowed."""
    where = f"{source}: {name}"
    entry = _tuples(_fields_of(Method, values, where), "domains")
    entry["grid"] = {key: tuple(rates) for key, rates in entry.get("grid", {}).items()}
    method = Method(name=name, **entry)
    choose("role", method.role, ROLES, where)
    choose("keep", method.keep, KEEP, where)
    for rate in (method.learning_rate, *(rate for rates in method.grid.values() for rate in rates)):
        if rate is not None and not isinstance(rate, int | float):
            raise ValueError(f"{where}: learning rate {rate!r} is text, not a number (YAML wants 1.0e-6)")
    if method.budget.get("epochs", 1) < 1:
        raise ValueError(f"{where}: epochs {method.budget['epochs']}: allowed are 1 and more")
    if method.sync_every < 1:
        raise ValueError(f"{where}: sync_every {method.sync_every}: allowed are 1 and more")
    for key in method.grid:
        choose("grid key", key, ["learning_rate"], where)
    if method.mixed and method.expert != "aligned":
        raise ValueError(f"{where}: mixed groups need a demonstration of every prompt: expert: aligned")
    if method.auxiliary.get("demonstrations") and not method.mixed:
        raise ValueError(f"{where}: auxiliary demonstrations are those of mixed groups: give `mixed`")
    if method.trains:
        if len(method.budget) != 1 or not set(method.budget) <= {"steps", "epochs"}:
            raise ValueError(
                f"{where}: budget {dict(method.budget)}: allowed: {{steps: rl}}, {{steps: n}}, {{epochs: n}}"
            )
        steps = method.budget.get("steps", "rl")
        if steps != "rl" and (not isinstance(steps, int) or steps < 0):
            raise ValueError(f"{where}: budget steps {steps!r}: allowed are rl and whole numbers from 0")
        if (method.learning_rate is None) == (not method.grid):
            raise ValueError(f"{where}: needs a learning_rate, or a grid of them, and not both")
        if "schedule" not in method.mu:
            raise ValueError(f"{where}: mu needs a schedule")
    return method


def load_declarations(root: Path = CONFIG_DIR) -> Declarations:
    """Read and check the three declaration files under ``root``."""
    domains = {name: _domain(name, values, root) for name, values in _read(root / "domains.yaml").items()}
    source = str(root / "methods.yaml")
    entries = _read(root / "methods.yaml")
    whole = {name: inherit(entries, name, source) for name in entries}

    def links(name: str) -> int:
        return 1 + links(entries[name]["like"]) if "like" in entries[name] else 0

    # Fewest links first, so that a mistake is named where it stands and not where it is inherited.
    parsed = {name: parse_method(name, whole[name], source) for name in sorted(entries, key=links)}
    methods = {name: parsed[name] for name in entries}
    report = read_experiments(root / "experiments.yaml")
    decl = Declarations(methods=methods, domains=domains, experiments=report.entries, headline=report.headline)
    for method in parsed.values():
        _check_references(decl, method, f"{source}: {method.name}")
    return decl


def _domain(name: str, values: Mapping[str, Any], root: Path) -> Domain:
    where = f"{root / 'domains.yaml'}: {name}"
    entry = _fields_of(Domain, values, where)
    experts = {
        role: Expert(name=role, **_fields_of(Expert, expert, f"{where}: experts: {role}"))
        for role, expert in entry.pop("experts").items()
    }
    domain = Domain(name=name, experts=experts, **entry)
    for role in (domain.policies, domain.experts):
        choose("role", "main", role, where)
    return domain


def _check_references(decl: Declarations, method: Method, where: str) -> None:
    """Every method, domain, policy and expert that an entry names must exist, and fit together."""
    for reference in (method.init, method.select.get("from", "policy")):
        choose("method", reference, ["policy", *decl.methods], where)
        if reference != "policy" and decl.methods[reference].policy != method.policy:
            raise ValueError(
                f"{where}: policy {method.policy!r}, but it builds on {reference} of policy "
                f"{decl.methods[reference].policy!r}: both must be the same"
            )
    for name in decl.method_domains(method.name):
        domain = decl.domains[choose("domain", name, decl.domains, where)]
        choose("policy", method.policy, domain.policies, f"{where}: domains.yaml: {name}: policies")
        choose("expert", method.expert, domain.experts, f"{where}: domains.yaml: {name}: experts")


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
    where = f"{path}: strategy"
    entry["strategy"] = StrategyChoice.parse(_fields_of(StrategyChoice, entry.get("strategy", {}), where), where)
    cap = entry.get("tis_cap")
    if cap is not None and not (isinstance(cap, int | float) and cap > 0):
        raise ValueError(f"{path}: tis_cap {cap!r}: allowed are null and numbers above 0")
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


def expert_rows(decl: Declarations, scale: Scale, domain: str, expert: str) -> int:
    """Rows of a set of demonstrations at a scale, in the paper's proportion to the main set."""
    sets = decl.domains[domain].experts
    rows = sets[choose("expert", expert, sets, f"domains.yaml: {domain}: experts")].rows
    if rows == "rl":
        return domain_size(decl, scale, domain, "prompt_rows")
    main = scale.domains[choose("domain", domain, scale.domains, f"scale {scale.name}")].expert_rows
    return int(rows) if main is None else round(main * int(rows) / int(sets["main"].rows))


def expert_file(expert: str) -> str:
    """Name of the file of a set of demonstrations in a domain's data folder."""
    return "expert.jsonl" if expert == "main" else f"expert-{expert}.jsonl"


def group_size(decl: Declarations, scale: Scale, domain: str, method: Method) -> int:
    """Rollouts per prompt: the method's, in proportion to the scale's group, or the domain's."""
    usual = domain_size(decl, scale, domain, "group_size")
    return round(usual * (method.group_size or decl.domains[domain].group_size) / decl.domains[domain].group_size)


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

    rows = expert_rows(decl, scale, domain, method.expert)
    epochs = method.budget.get("epochs")
    steps_per_epoch = math.ceil(rows / size("sft_batch"))
    budget = method.budget.get("steps", "rl")
    rl_steps = scaled_steps(paper.rl_steps if budget == "rl" else budget, sizes.steps_divisor)
    looks = scaled_steps(paper.validate_every, sizes.steps_divisor) if epochs is None else steps_per_epoch
    schedule = {key: value for key, value in _per_domain(method.mu, domain).items() if key != "schedule"}
    name = method.mu["schedule"]
    return RunConfig(
        method=run,
        domain=domain,
        scale=scale.name,
        seed=seed,
        policy=sizes.policies[choose("policy", method.policy, sizes.policies, f"scale {scale.name}: {domain}")],
        init=method.init,
        data=sizes.data,
        expert=method.expert,
        reward=paper.reward,
        judge=dict(sizes.judge),
        steps=rl_steps if epochs is None else epochs * steps_per_epoch,
        epochs=epochs,
        steps_divisor=sizes.steps_divisor,
        mu={"schedule": name, **scale_params(name, schedule, sizes.steps_divisor)},
        phi={"name": method.phi} if isinstance(method.phi, str) else dict(method.phi),
        mixed={"demonstrations": 0, "shaping": None, **method.mixed},
        auxiliary={key: dict(value) for key, value in method.auxiliary.items()},
        normalise=method.normalise,
        sync_every=method.sync_every,
        learning_rate=float(f"{rate * scale.learning_rate_factor:.6g}"),
        prompt_rows=size("prompt_rows"),
        expert_rows=rows,
        sft_batch=size("sft_batch"),
        rl_prompts=size("rl_prompts"),
        group_size=group_size(decl, scale, domain, method),
        max_response_tokens=size("max_response_tokens"),
        # A look needs the sampler to hold the newest weights, which it has every `sync_every` steps.
        validate_every=math.ceil(looks / method.sync_every) * method.sync_every,
        validation_rows=sizes.validation_rows,
        validation_samples=sizes.validation_samples,
        keep=method.keep,
        engine=scale.engine,
        micro_batch_tokens=scale.micro_batch_tokens,
        rollout_batch=scale.rollout_batch,
        strategy=scale.strategy,
        engine_options=dict(scale.engine_options),
        tis_cap=scale.tis_cap,
    )
