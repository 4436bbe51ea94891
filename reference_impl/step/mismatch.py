"""How far the sampler's distribution is from the one that is trained, and a correction for it.

A rollout engine computes the same network with other kernels, in another order or precision, or holds older weights.
With the log-ratio ``log r = logprobs - engine_logprobs`` of every sampled token, `approx_kl` of `losses` says how far
the two are apart, `ess` how much of a batch would be left after reweighting, and `tis_weights_BT` are the weights.
All functions take (B, T) log-probs, natural logarithms under the same temperature, and a mask that is 1 where a token
counts; log-probs elsewhere may hold anything.
"""

import math

import torch
from torch import Tensor


def tis_weights_BT(logprobs_BT: Tensor, engine_logprobs_BT: Tensor, mask_BT: Tensor, *, cap: float) -> Tensor:
    """min(pi / pi_engine, cap) of every token, (B, T), without gradient; 0 outside the mask.

    Truncated importance sampling (Ionides 2008; for engines that differ from the trainer: Yao et al. 2025, "Your
    Efficient RL Framework Secretly Brings You Off-Policy RL Training"): a little bias, for a bounded variance. The
    loss of a token is to be multiplied by its weight.

    Raises ValueError for a cap that is not a positive number, and for shapes that differ.
    """
    if not cap > 0:
        raise ValueError(f"cap is {cap}: allowed are positive numbers")
    # The minimum of the logarithms: a ratio beyond float32 would be infinite before it is capped.
    return _log_ratio_BT(logprobs_BT, engine_logprobs_BT, mask_BT).clamp(max=math.log(cap)).exp() * mask_BT


def ratio_sums(logprobs_BT: Tensor, engine_logprobs_BT: Tensor, mask_BT: Tensor) -> tuple[float, float]:
    """(sum r, sum r^2) over the masked tokens: what `ess` needs, and what adds up over micro-batches and ranks.

    Raises ValueError for shapes that differ.
    """
    log_ratio_BT = _log_ratio_BT(logprobs_BT, engine_logprobs_BT, mask_BT)
    # e^300 squared, over any number of tokens, still fits a float64.
    ratios = log_ratio_BT[mask_BT.bool()].double().clamp(max=300.0).exp()
    return ratios.sum().item(), ratios.square().sum().item()


def ess(ratio_sum: float, ratio_squared_sum: float, count: float) -> float:
    """Normalised effective sample size, (sum r)^2 / (n sum r^2), between 0 and 1; 1 where both distributions agree.

    Kong 1992. The sums are `ratio_sums` over all micro-batches and ranks, ``count`` their number of tokens, above 0.
    """
    if ratio_squared_sum == 0:
        return 0.0  # every ratio has underflowed: nothing of the batch would be left
    return min(1.0, ratio_sum * ratio_sum / (count * ratio_squared_sum))


def _log_ratio_BT(logprobs_BT: Tensor, engine_logprobs_BT: Tensor, mask_BT: Tensor) -> Tensor:
    if not logprobs_BT.shape == engine_logprobs_BT.shape == mask_BT.shape:
        raise ValueError(
            f"log-probs {tuple(logprobs_BT.shape)}, the engine's {tuple(engine_logprobs_BT.shape)}, mask "
            f"{tuple(mask_BT.shape)}: all must have the same shape"
        )
    difference_BT = logprobs_BT.detach() - engine_logprobs_BT.detach()
    return torch.where(mask_BT.bool(), difference_BT, torch.zeros_like(difference_BT))
