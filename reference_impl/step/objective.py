"""A resolved configuration → the objective that the trainer minimises."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from reference_impl.config import RunConfig, choose
from reference_impl.mu import MU_SCHEDULES, READS_REWARDS, MuSchedule, Signals
from reference_impl.response_weights import entropy_weights_BT
from reference_impl.token_weights import NEEDS_GLOBAL_BATCH, TOKEN_WEIGHTS, TokenWeight

AUXILIARY = ("demonstrations", "rollouts")


@dataclass(frozen=True)
class Objective:
    """Eq. 3 with its parts bound: when to use the expert (mu), how to weigh its tokens (phi), how to clip.

    The mixed groups of LUFFY and SRFT put `demonstrations` expert responses among each prompt's G; `shaping` is
    LUFFY's gamma, None for the plain ratio. `auxiliary` are SRFT's weights of whole responses.
    """

    mu: MuSchedule
    mu_reads_rewards: bool
    phi: TokenWeight
    phi_needs_global_batch: bool
    clip_eps: float
    strictly_on_policy: bool
    tis_cap: float | None
    demonstrations: int
    shaping: float | None
    auxiliary: Mapping[str, TokenWeight]

    def weights(self, logprobs_BT: Tensor, entropy_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """phi of every token (B, T), without gradient."""
        return self.phi(logprobs_BT.detach().exp(), entropy_BT, mask_BT)


def build_objective(config: RunConfig) -> Objective:
    """The objective of a run. Raises ValueError for a schedule, a weight or a parameter that does not exist."""
    schedule = dict(config.mu)
    name = choose("mu schedule", schedule.pop("schedule"), MU_SCHEDULES, "reference_impl.mu")
    weight = dict(config.phi)
    phi = choose("phi", weight.pop("name"), TOKEN_WEIGHTS, "reference_impl.token_weights")
    for kind in config.auxiliary:
        choose("auxiliary loss", kind, AUXILIARY, config.method)
    demonstrations, shaping = config.mixed["demonstrations"], config.mixed["shaping"]
    if demonstrations not in (0, 1):
        raise ValueError(
            f"{config.method}: mixed demonstrations {demonstrations!r}: allowed are 0 and 1, a prompt has one"
        )
    if shaping is not None and not shaping > 0:
        raise ValueError(f"{config.method}: shaping {shaping!r}: allowed are null and numbers above 0")
    if "demonstrations" in config.auxiliary and not demonstrations:
        raise ValueError(f"{config.method}: auxiliary demonstrations are those of mixed groups: mixed demonstrations 1")
    objective = Objective(
        mu=partial(MU_SCHEDULES[name], **schedule),
        mu_reads_rewards=name in READS_REWARDS,
        phi=partial(TOKEN_WEIGHTS[phi], **weight),
        phi_needs_global_batch=phi in NEEDS_GLOBAL_BATCH,
        clip_eps=config.clip_eps,
        strictly_on_policy=config.sync_every == 1,
        tis_cap=config.tis_cap,
        demonstrations=demonstrations,
        shaping=shaping,
        auxiliary={kind: partial(entropy_weights_BT, **params) for kind, params in config.auxiliary.items()},
    )
    try:
        # Called once each, so that a wrong parameter shows now and not after the first rollouts.
        objective.mu(0, Signals(reward_mean=0.0, grad_norm=None, uniform=0.5), {})
        token, mask = torch.tensor([[-0.7]]), torch.tensor([[True]])
        objective.weights(token, -token, mask)
        for weights in objective.auxiliary.values():
            weights(-token, mask)
    except TypeError as error:
        raise ValueError(
            f"{config.method}: mu {config.mu}, phi {config.phi}, auxiliary {config.auxiliary}: {error}"
        ) from error
    return objective
