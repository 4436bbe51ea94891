"""CHORD's losses and what weighs them: pure functions of log-probabilities, masks and denominators."""

from chord_losses.advantages import group_advantages, zero_variance_share
from chord_losses.losses import approx_kl, chord_loss, clip_fraction, demonstration_loss, grpo_loss, sft_loss
from chord_losses.mu import MU_SCHEDULES, Mu, Signals
from chord_losses.response_weights import entropy_weights_BT, mean_entropy, signed_weights_BT
from chord_losses.token_weights import NEEDS_GLOBAL_BATCH, TOKEN_WEIGHTS

__all__ = [
    "MU_SCHEDULES",
    "NEEDS_GLOBAL_BATCH",
    "TOKEN_WEIGHTS",
    "Mu",
    "Signals",
    "approx_kl",
    "chord_loss",
    "clip_fraction",
    "demonstration_loss",
    "entropy_weights_BT",
    "group_advantages",
    "grpo_loss",
    "mean_entropy",
    "sft_loss",
    "signed_weights_BT",
    "zero_variance_share",
]
