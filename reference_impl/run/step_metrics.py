"""What a training step logs: of its rollouts, and of its update."""

from collections.abc import Sequence

import torch
from torch import Tensor

from reference_impl.advantages import zero_variance_share
from reference_impl.rollout.sampling import Outcome
from reference_impl.run.metrics import Record
from reference_impl.step.loss import LossTerms, StepTokens
from reference_impl.step.mismatch import ess
from reference_impl.step.objective import Objective

ROLLOUT_METRICS = (
    "reward_mean",
    "reward_std",
    "accuracy",
    "format_failure_rate",
    "truncation_rate",
    "zero_variance_share",
    "response_length",
)


def rollout_metrics(outcomes: Sequence[Outcome], rewards_PG: Tensor | None) -> Record:
    """What the step's rollouts say of the policy; all None in a step without rollouts.

    ``rewards_PG`` are the groups' rewards, demonstrations among them included: what the advantages are made of.
    """
    if not outcomes:
        return dict.fromkeys(ROLLOUT_METRICS)
    n = len(outcomes)
    rewards_B = torch.tensor([o.reward for o in outcomes])
    values = (
        rewards_B.mean().item(),
        rewards_B.std().item(),
        sum(o.correct for o in outcomes) / n,
        sum(not o.well_formatted and not o.truncated for o in outcomes) / n,
        sum(o.truncated for o in outcomes) / n,
        None if rewards_PG is None else zero_variance_share(rewards_PG),
        sum(o.tokens for o in outcomes) / n,
    )
    return dict(zip(ROLLOUT_METRICS, values, strict=True))


def update_metrics(objective: Objective, terms: LossTerms, tokens: StepTokens, mu: float, grad_norm: float) -> Record:
    """What the step's update says; None for terms of Eq. 3 that mu leaves out, or that the method has not."""
    rl, sft = mu < 1, mu > 0
    return {
        "entropy": terms.entropy if rl else None,
        "phi_mean": terms.phi if sft else None,
        "sft_loss": terms.sft if sft else None,
        "grpo_loss": terms.grpo if rl else None,
        "demonstration_loss": terms.demonstration if rl and tokens.demonstration else None,
        "auxiliary_loss": terms.auxiliary if rl and objective.auxiliary else None,
        "router_loss": terms.router or None,
        "loss": (1 - mu) * terms.rl + mu * terms.sft + terms.router,
        "clip_fraction": terms.clipped if rl else None,
        "engine_kl": terms.engine_kl / terms.compared if terms.compared else None,
        "engine_ess": ess(terms.ratio, terms.ratio_squared, terms.compared) if terms.compared else None,
        "grad_norm": grad_norm,
        "expert_tokens": tokens.expert,
        "demonstration_tokens": tokens.demonstration,
        "rollout_tokens": tokens.rollout,
    }
