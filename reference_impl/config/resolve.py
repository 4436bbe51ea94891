"""Declarations (the paper's values) and a scale (sizes) → one resolved, hashed configuration per run.

Step counts are divided by the domain's `steps_divisor`, learning rates multiplied by the scale's factor. Torch-free, so
that the workflow and the reports can read it.
"""

import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reference_impl.config.declarations import Declarations
from reference_impl.config.judges import HttpJudgeSettings, LocalJudgeSettings
from reference_impl.config.methods import Method
from reference_impl.config.model import choose
from reference_impl.config.scales import EngineOptions, Scale, StrategyChoice, TorchChoice
from reference_impl.config.schedules import Schedule
from reference_impl.mu import MU_SCHEDULES, Signals, scale_params

NAMES = frozenset({"method", "domain", "scale", "policy", "init", "data", "expert"})
"""Fields that name what stands in other fields, or in files."""

LATER: dict[str, Any] = {"old_logprobs": "policy", "dual_clip": None, "reward_reading": {}}
"""Settings that came later, with the value at which a run is one of before: it is then left out everywhere."""


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
    judge: LocalJudgeSettings | HttpJudgeSettings | None
    """Of a judged domain."""
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
    """Updates between two weight syncs to the sampler; 1 is strictly on-policy."""
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
    """Eq. 2's epsilon; the paper gives none. On-policy the ratio is 1 and it is not active; it is where `sync_every` is
    above 1, or with `sample_ahead`."""
    temperature: float = 1.0
    """A.1: "the temperature for both rollout and evaluation is 1.0"."""
    betas: tuple[float, float] = (0.9, 0.999)
    """A.1: Adam, beta_1 = 0.9, beta_2 = 0.999."""
    max_grad_norm: float = 1.0
    """Paper silent; the default of the frameworks it names."""
    strategy: StrategyChoice = field(default_factory=TorchChoice)
    engine_options: EngineOptions = field(default_factory=EngineOptions)
    tis_cap: float | None = None
    """Of truncated importance sampling between sampler and policy; None, as in the paper: the two are taken as one."""
    share_prompts: bool = False
    """An update computes the prompt of a group once, in packed rows."""
    sample_ahead: bool = False
    """Rollouts of the next step are sampled while an update runs, by the policy before it."""
    old_logprobs: str = "policy"
    """Whose log-probabilities the ratio of Eq. 2 has below the line, right after a weight sync: policy or sampler."""
    dual_clip: float | None = None
    """Limit of the ratio where the advantage is negative."""
    reward_reading: dict[str, Any] = field(default_factory=dict)
    """What is not A.2's reward as it is usually read here."""
    phi_file: Path | None = None
    """Where a φ of the user's is; what it computes is part of the run's code, where it lies of nothing."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready copy: what `run.json` records and `hash` is of."""
        models = {
            "judge": {} if self.judge is None else self.judge.given(),
            "strategy": self.strategy.model_dump(),
            "engine_options": self.engine_options.given(),
        }
        values = {
            key: value
            for key, value in vars(self).items()
            if key != "phi_file" and not (key in LATER and value == LATER[key])
        }
        return json.loads(json.dumps({**values, **models}))

    def settings(self) -> dict[str, Any]:
        """The same without names: two runs of the same settings that start from the same weights and read the same
        files are one run, whatever their methods are called.
        """
        return {key: value for key, value in self.to_dict().items() if key not in NAMES}

    def hash(self) -> str:
        """SHA-256 over the configuration, as 64 hex digits.

        How the work is split over processes and kept in memory is no part of it: a run is the same run on one process
        or eight, in the same precision.
        """
        values = self.to_dict()
        longest = values.pop("engine_options").get("max_model_len")
        if longest is not None:  # of the engine's options the only one that changes samples
            values["max_model_len"] = longest
        for key, usual in (("tis_cap", None), ("share_prompts", False), ("sample_ahead", False)):
            if values[key] is usual:
                del values[key]
        precision = values.pop("strategy")["precision"]
        if precision != "fp32":
            values["precision"] = precision
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _resolved_mu(declared: Schedule, domain: str, divisor: float, where: str) -> dict[str, Any]:
    """A schedule's parameters in one domain, in a scale's steps. Raises ValueError where they do not go together."""
    params = declared.given()
    name = params.pop("schedule")
    for key, value in params.items():
        if isinstance(value, dict):
            params[key] = value[choose("domain", domain, value, f"{where}: {key}")]
    scaled = scale_params(name, params, divisor)
    try:
        MU_SCHEDULES[name](0, Signals(reward_mean=0.0, uniform=0.5), {}, **scaled)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return {"schedule": name, **scaled}


def domain_size(decl: Declarations, scale: Scale, domain: str, name: str) -> int:
    """A size (rows, batch, tokens …) of a domain at a scale: the scale's value, or the paper's where it gives none."""
    chosen = getattr(scale.domains[choose("domain", domain, scale.domains, f"scale {scale.name}")], name)
    return int(getattr(decl.domains[domain], name) if chosen is None else chosen)


def learning_rate_factor(scale: Scale, domain: str) -> float:
    """What a domain's learning rates are multiplied by at a scale: its own factor, or the scale's where it has none."""
    own = scale.domains[choose("domain", domain, scale.domains, f"scale {scale.name}")].learning_rate_factor
    return scale.learning_rate_factor if own is None else own


def expert_rows(decl: Declarations, scale: Scale, domain: str, expert: str) -> int:
    """Rows of a set of demonstrations at a scale, in the paper's proportion to the main set."""
    sets = decl.domains[domain].experts
    rows = sets[choose("expert", expert, sets, f"domains.yaml: {domain}: experts")].rows
    if rows == "rl":
        return domain_size(decl, scale, domain, "prompt_rows")
    main = scale.domains[choose("domain", domain, scale.domains, f"scale {scale.name}")].expert_rows
    return int(rows) if main is None else round(main * int(rows) / int(sets["main"].rows))


def expert_roles(decl: Declarations, scale: Scale, domain: str) -> tuple[str, ...]:
    """The sets of demonstrations that a domain has at a scale."""
    return tuple(scale.domains[domain].experts or decl.domains[domain].experts)


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
    method, declared_rate = decl.owner(run)
    rate = (scale.tuned_rate(domain, method) if run == method.name else None) or declared_rate
    paper = decl.domains[choose("domain", domain, decl.domains, "domains.yaml")]
    source = f"{decl.source(method.name)}: {method.name}"
    choose("domain", domain, decl.method_domains(method.name), source)
    sizes = scale.domains[choose("domain", domain, scale.domains, f"scale {scale.name}")]
    assert rate is not None

    def size(name: str) -> int:
        return domain_size(decl, scale, domain, name)

    rows = expert_rows(decl, scale, domain, method.expert)
    assert method.budget is not None and method.mu is not None
    policy = sizes.policies[choose("policy", method.policy, sizes.policies, f"scale {scale.name}: {domain}")]
    steps, epochs = method.budget.steps, method.budget.epochs
    steps_per_epoch = max(1, rows // size("sft_batch"))  # whole batches: never more passes than declared
    if epochs is None:
        steps_in_all = scaled_steps(steps if isinstance(steps, int) else paper.rl_steps, sizes.steps_divisor)
        validate_every = scaled_steps(paper.validate_every, sizes.steps_divisor)
    else:
        steps_in_all, validate_every = epochs * steps_per_epoch, steps_per_epoch
    return RunConfig(
        method=run,
        domain=domain,
        scale=scale.name,
        seed=seed,
        policy=policy,
        init=method.init,
        data=sizes.data,
        expert=method.expert,
        reward=paper.reward,
        judge=sizes.judge,
        steps=steps_in_all,
        epochs=epochs,
        steps_divisor=sizes.steps_divisor,
        mu=_resolved_mu(method.mu, domain, sizes.steps_divisor, f"{source}.mu, {domain}"),
        phi=method.phi.given(),
        mixed=method.mixed.given() if method.mixed else {"demonstrations": 0, "shaping": None},
        auxiliary=method.auxiliary.given() if method.auxiliary else {},
        normalise=method.normalise,
        sync_every=method.sync_every,
        learning_rate=float(f"{rate * learning_rate_factor(scale, domain):.6g}"),
        prompt_rows=size("prompt_rows"),
        expert_rows=rows,
        sft_batch=size("sft_batch"),
        rl_prompts=size("rl_prompts"),
        group_size=group_size(decl, scale, domain, method),
        max_response_tokens=size("max_response_tokens"),
        # Validation needs the sampler to hold the newest weights, which it has every `sync_every` steps.
        validate_every=math.ceil(validate_every / method.sync_every) * method.sync_every,
        validation_rows=sizes.validation_rows,
        validation_samples=sizes.validation_samples,
        keep=method.keep,
        engine=scale.engine,
        micro_batch_tokens=scale.micro_batch_tokens,
        rollout_batch=scale.rollout_batch,
        strategy=scale.strategy_of(policy),
        engine_options=scale.engine_options,
        tis_cap=scale.tis_cap if method.tis_cap is None else method.tis_cap,
        old_logprobs=method.old_logprobs,
        dual_clip=method.dual_clip,
        reward_reading=method.reward.of(paper.reward) if method.reward else {},
        share_prompts=scale.share_prompts,
        sample_ahead=scale.sample_ahead,
        phi_file=decl.phi_file(method),
    )
