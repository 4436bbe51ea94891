"""A resolved configuration → the objective that the trainer minimises."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from reference_impl.config import RunConfig
from reference_impl.mu import MU_SCHEDULES, READS_GRADIENTS, READS_REWARDS, MuSchedule, Signals
from reference_impl.own_phi import load_own_phi, needs_global_batch
from reference_impl.response_weights import entropy_weights_BT
from reference_impl.token_weights import NEEDS_GLOBAL_BATCH, TOKEN_WEIGHTS, TokenWeight


@dataclass(frozen=True)
class Objective:
    """Eq. 3 with its parts bound: when to use the expert (mu), how to weigh its tokens (phi), how to clip.

    The mixed groups of LUFFY and SRFT put `demonstrations` expert responses among each prompt's G; `shaping` is
    LUFFY's gamma, None for the plain ratio. `auxiliary` are SRFT's weights of entire responses.
    """

    mu: MuSchedule
    mu_reads_rewards: bool
    mu_reads_gradients: bool
    phi: TokenWeight
    phi_needs_global_batch: bool
    clip_eps: float
    strictly_on_policy: bool
    tis_cap: float | None
    dual_clip: float | None
    demonstrations: int
    shaping: float | None
    auxiliary: Mapping[str, TokenWeight]

    def surely_samples(self, step: int) -> bool:
        """Whether an update samples rollouts, as far as it is known before the update that precedes it."""
        if self.mu_reads_rewards or self.mu_reads_gradients:
            return self.mu_reads_rewards
        return self.mu(step, Signals(), {}).value < 1

    def weights(self, logprobs_BT: Tensor, entropy_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """phi of every token (B, T), without gradient."""
        return self.phi(logprobs_BT.detach().exp(), entropy_BT, mask_BT)


def build_objective(config: RunConfig) -> Objective:
    """The objective of a run, whose configuration is checked where it is declared (reference_impl.config).

    A φ of the user's is tried. Raises ValueError where it is none.
    """
    schedule = dict(config.mu)
    mu = schedule.pop("schedule")
    phi, compares_tokens = build_phi(config)
    return Objective(
        mu=partial(MU_SCHEDULES[mu], **schedule),
        mu_reads_rewards=mu in READS_REWARDS,
        mu_reads_gradients=mu in READS_GRADIENTS,
        phi=phi,
        phi_needs_global_batch=compares_tokens,
        clip_eps=config.clip_eps,
        strictly_on_policy=config.sync_every == 1 and not config.sample_ahead and config.old_logprobs == "policy",
        tis_cap=config.tis_cap,
        dual_clip=config.dual_clip,
        demonstrations=config.mixed["demonstrations"],
        shaping=config.mixed["shaping"],
        auxiliary={kind: partial(entropy_weights_BT, **params) for kind, params in config.auxiliary.items()},
    )


def build_phi(config: RunConfig) -> tuple[TokenWeight, bool]:
    """A run's φ with its parameters bound, and whether it must see the global batch."""
    weight = dict(config.phi)
    name = weight.pop("name")
    if config.phi_file is None:
        return partial(TOKEN_WEIGHTS[name], **weight), name in NEEDS_GLOBAL_BATCH
    phi = load_own_phi(config.phi_file, name, weight)
    return phi, needs_global_batch(phi, name)
