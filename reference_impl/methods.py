"""A resolved configuration → the objective that the trainer minimises."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from reference_impl.config import RunConfig, choose
from reference_impl.mu import MU_SCHEDULES, MuSchedule, Signals
from reference_impl.token_weights import NEEDS_GLOBAL_BATCH, TOKEN_WEIGHTS, TokenWeight


@dataclass(frozen=True)
class Objective:
    """Eq. 3 with its parts bound: when to use the expert (mu), how to weigh its tokens (phi), how to clip."""

    mu: MuSchedule
    phi: TokenWeight
    phi_needs_global_batch: bool
    clip_eps: float

    def weights(self, logprobs_BT: Tensor, entropy_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """phi of every token (B, T), without gradient."""
        return self.phi(logprobs_BT.detach().exp(), entropy_BT, mask_BT)


def build_objective(config: RunConfig) -> Objective:
    """The objective of a run. Raises ValueError for a schedule, a weight or a parameter that does not exist."""
    schedule = dict(config.mu)
    name = choose("mu schedule", schedule.pop("schedule"), MU_SCHEDULES, "reference_impl.mu")
    weight = dict(config.phi)
    phi = choose("phi", weight.pop("name"), TOKEN_WEIGHTS, "reference_impl.token_weights")
    objective = Objective(
        mu=partial(MU_SCHEDULES[name], **schedule),
        phi=partial(TOKEN_WEIGHTS[phi], **weight),
        phi_needs_global_batch=phi in NEEDS_GLOBAL_BATCH,
        clip_eps=config.clip_eps,
    )
    try:
        # Called once each, so that a wrong parameter shows now and not after the first rollouts.
        objective.mu(0, Signals(), {})
        objective.weights(torch.tensor([[-0.7]]), torch.tensor([[0.7]]), torch.tensor([[True]]))
    except TypeError as error:
        raise ValueError(f"{config.method}: mu {config.mu}, phi {config.phi}: {error}") from error
    return objective
