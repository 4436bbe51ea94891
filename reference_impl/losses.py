"""CHORD's losses (Eq. 1, 2, 3 and 6) and its baselines' as pure functions of log-probabilities.

Nothing here knows of a model, a tokenizer, a configuration or a process group. Shapes are in the names: `B`
sequences, `T` tokens, so `logprobs_BT[b, t]` is log pi_theta of token t of sequence b, in nats.

Conventions shared by every function:

* **The denominator is passed in.** Eq. 1 and 2 are means over all tokens of the global batch. A micro-batch
  or a rank sees only part of it, so each call returns its own share, sum / `denom`, where `denom` is the
  number of tokens of the *global* batch. The shares add up to the loss of the global batch, however it
  is split. A micro-batch without a single valid token contributes exactly 0. `denom` itself must be > 0: a
  batch without expert (or rollout) tokens has no SFT (or GRPO) loss, and its caller leaves that term out (see
  `chord_loss`).
* **Masked positions are never read.** `mask_BT` is boolean or 0/1. Where it is 0, log-probs, weights and old
  log-probs may hold anything, -inf and NaN included: they are replaced *before* the arithmetic, because
  selecting only afterwards would still send 0 * inf = NaN backwards. A NaN at a valid position stays visible
  in the loss.
* **Precision.** bfloat16 and float16 inputs are computed in float32; float64 stays float64.
* Wrong shapes are a ValueError; nothing is broadcast except an advantage over the tokens of its sequence.
"""

import math

import torch
from torch import Tensor

# Beyond this |log-ratio| (a probability ratio of e^20, about 4.9e8) the ratio is held constant. exp()
# overflows float32 at 88.7, and the backward pass of a clipped token would then be 0 * inf = NaN. The limit
# changes no gradient that matters: a ratio above e^20 with A > 0 and one below e^-20 with A < 0 are clipped
# anyway; below e^-20 with A > 0 the gradient is at most A * 2.1e-9; only above e^20 with A < 0, where the
# update would explode, is a real gradient dropped.
MAX_ABS_LOG_RATIO = 20.0


def sft_loss(
    logprobs_BT: Tensor, mask_BT: Tensor, *, weights_BT: Tensor | None = None, denom: float | Tensor
) -> Tensor:
    """Token-weighted negative log-likelihood of expert tokens: Eq. 1, or Eq. 4/6 with weights.

        L = -(1 / denom) * sum over valid (b, t) of sg(phi_bt) * logprobs_bt

    The denominator stays the number of tokens also with weights (never the sum of the weights), so the
    gradient with respect to a log-prob is -phi / denom. A token whose weight is exactly 0 contributes 0 even
    when its log-prob is -inf (p log p -> 0).

    Args:
        logprobs_BT: log pi_theta(y*_t) of the expert tokens, shape (B, T), differentiable.
        mask_BT: 1 on expert tokens, 0 on prompt and padding, shape (B, T).
        weights_BT: phi, shape (B, T); detached here whatever the caller did. None is phi = 1, i.e. Eq. 1. A
            negative weight makes its token less likely (see `response_weights.signed_weights_BT`).
        denom: number of expert tokens in the global batch, > 0.

    Returns:
        0-d tensor: this call's share of the loss.

    Raises:
        ValueError: shapes differ, or denom is not a finite positive number.
    """
    mask = _valid_mask(logprobs_BT, mask_BT)
    tokens = _positive(denom)
    if weights_BT is None:
        return -_select(logprobs_BT, mask).sum() / tokens
    _same_shape("weights_BT", weights_BT, logprobs_BT)
    weights = _select(weights_BT.detach(), mask)
    # Selecting on the weight as well keeps 0 * -inf out of value and gradient.
    return -(weights * _select(logprobs_BT, mask & (weights != 0))).sum() / tokens


def grpo_loss(
    logprobs_BT: Tensor,
    old_logprobs_BT: Tensor,
    advantages_B: Tensor,
    mask_BT: Tensor,
    *,
    clip_eps: float,
    denom: float | Tensor,
    weights_BT: Tensor | None = None,
) -> Tensor:
    """Clipped policy-gradient loss of sampled tokens without a KL term: Eq. 2.

        L = -(1 / denom) * sum over valid (b, t) of min(r A, clip(r, 1 - clip_eps, 1 + clip_eps) A)
        r_bt = exp(logprobs_bt - sg(old_logprobs_bt)),  A = A_b

    Strictly on-policy (Section 2), pass the current log-probs as the old ones: r = exp(logp - sg(logp)) has
    value 1 and gradient d logp, so L has value -mean(A) and the plain policy gradient -A / denom per token.

    Args:
        logprobs_BT: log pi_theta of the sampled tokens, shape (B, T), differentiable.
        old_logprobs_BT: log pi_sample of the same tokens, shape (B, T); detached here.
        advantages_B: A of each sequence (see `advantages.group_advantages`), shape (B,); detached here.
        mask_BT: 1 on sampled tokens, 0 on prompt and padding, shape (B, T).
        clip_eps: epsilon of Eq. 2, >= 0; `math.inf` switches clipping off.
        denom: number of sampled tokens in the global batch, > 0.
        weights_BT: factor of every token's term, shape (B, T), detached here: the importance weights of
            `mismatch.tis_weights_BT`. None, as in the paper: 1.

    Returns:
        0-d tensor: this call's share of the loss.

    Raises:
        ValueError: shapes differ, clip_eps is negative or NaN, or denom is not a finite positive number.
    """
    ratio, advantages = _ratio_and_advantages(logprobs_BT, old_logprobs_BT, advantages_B, mask_BT)
    low, high = _clip_range(clip_eps)
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(low, high) * advantages)
    if weights_BT is not None:
        _same_shape("weights_BT", weights_BT, logprobs_BT)
        surrogate = surrogate * _select(weights_BT.detach(), mask_BT.bool())
    return -surrogate.sum() / _positive(denom)


def dual_clip_grpo_loss(
    logprobs_BT: Tensor,
    old_logprobs_BT: Tensor,
    advantages_B: Tensor,
    mask_BT: Tensor,
    *,
    clip_eps: float,
    dual_clip: float,
    denom: float | Tensor,
) -> Tensor:
    """Eq. 2 with a limit on the loss of a token that has become likely and should not be (Ye et al. 2020, Eq. 5).

        L = -(1 / denom) * sum over valid (b, t) of  s = min(r A, clip(r, 1 - clip_eps, 1 + clip_eps) A)   where A >= 0
                                                     max(s, dual_clip A)                                   where A < 0

    Above r = dual_clip such a token has no gradient. Arguments, result and errors are those of `grpo_loss`; dual_clip
    is finite and above 1.
    """
    if not 1 < dual_clip < math.inf:
        raise ValueError(f"dual_clip is {dual_clip!r}; allowed: finite and > 1")
    ratio, advantages = _ratio_and_advantages(logprobs_BT, old_logprobs_BT, advantages_B, mask_BT)
    low, high = _clip_range(clip_eps)
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(low, high) * advantages)
    limited = torch.where(advantages < 0, torch.maximum(surrogate, dual_clip * advantages), surrogate)
    return -limited.sum() / _positive(denom)


def demonstration_loss(
    logprobs_BT: Tensor,
    advantages_B: Tensor,
    mask_BT: Tensor,
    *,
    shaping: float | None,
    denom: float | Tensor,
) -> Tensor:
    """Policy-gradient loss of an expert's response inside a group of rollouts: LUFFY's and SRFT's off-policy term.

        L = -(1 / denom) * sum over valid (b, t) of A_b f(p_bt),   p = exp(logprobs)
        f(p) = p / (p + shaping)   LUFFY's policy shaping (Yan et al. 2025), shaping = 0.1
        f(p) = p                   without shaping (SRFT, Fu et al. 2025)

    It is the ratio of Eq. 2 with the expert's probability taken as 1, so r = p / 1, and no clip. The gradient
    goes *through* f: d f / d logp = p * shaping / (p + shaping)^2, or p. Shaping lifts that of unlikely tokens:
    for p << shaping it is p / shaping. Value and gradient are 0 at p = 0.

    Args:
        logprobs_BT: log pi_theta of the expert tokens, shape (B, T), differentiable.
        advantages_B: A of each response among its group, the rollouts and itself, shape (B,); detached here.
        mask_BT: 1 on expert tokens, 0 on prompt and padding, shape (B, T).
        shaping: gamma of LUFFY, finite and > 0; None is f(p) = p.
        denom: the number of tokens that this term is a mean over, of the global batch, > 0.

    Returns:
        0-d tensor: this call's share of the loss.

    Raises:
        ValueError: shapes differ, shaping is not finite and > 0, or denom is not a finite positive number.
    """
    mask = _valid_mask(logprobs_BT, mask_BT)
    advantages = _advantages_of_tokens(advantages_B, mask)
    logprobs = _select(logprobs_BT, mask)
    if shaping is None:
        shaped = logprobs.exp()
    elif 0 < shaping < math.inf:
        # p / (p + g) = 1 / (1 + g / p): as a sigmoid of log p - log g it has no 0 / 0 and no exp that overflows.
        shaped = torch.sigmoid(logprobs - math.log(shaping))
    else:
        raise ValueError(f"shaping is {shaping!r}; allowed: finite and > 0, or None")
    return -(shaped * advantages).sum() / _positive(denom)


def chord_loss(grpo: Tensor | None, sft: Tensor | None, mu: float) -> Tensor:
    """The hybrid loss (1 - mu) * grpo + mu * sft: Eq. 3.

    A term with weight 0 is left out altogether and may be None, so pure RL (mu = 0) needs no expert batch and
    pure SFT (mu = 1) no rollouts. Under gradient accumulation pass a zero scalar for a term with no sequence
    in this micro-batch.

    Args:
        grpo: 0-d GRPO loss (Eq. 2), or None if mu == 1.
        sft: 0-d SFT loss (Eq. 1 or 6), or None if mu == 0.
        mu: share of the SFT loss, in [0, 1].

    Raises:
        ValueError: mu is outside [0, 1] or NaN, or a term with a non-zero weight is None.
    """
    if not 0.0 <= mu <= 1.0:
        raise ValueError(f"mu is {mu!r}; allowed: 0 <= mu <= 1")
    if grpo is None and mu != 1.0:
        raise ValueError(f"grpo is None but has weight 1 - mu = {1.0 - mu}; it may be None only where mu == 1")
    if sft is None and mu != 0.0:
        raise ValueError(f"sft is None but has weight mu = {mu}; it may be None only where mu == 0")
    if sft is None or mu == 0.0:
        assert grpo is not None
        return grpo
    if grpo is None or mu == 1.0:
        return sft
    return (1.0 - mu) * grpo + mu * sft


@torch.no_grad()
def clip_fraction(
    logprobs_BT: Tensor,
    old_logprobs_BT: Tensor,
    advantages_B: Tensor,
    mask_BT: Tensor,
    *,
    clip_eps: float,
    denom: float | Tensor,
) -> Tensor:
    """Share of sampled tokens whose gradient the clip of Eq. 2 removes; for logging.

    Those are the tokens with r > 1 + clip_eps and A > 0, or r < 1 - clip_eps and A < 0. Arguments, errors and
    the meaning of `denom` are those of `grpo_loss`; the shares of micro-batches add up.
    """
    ratio, advantages = _ratio_and_advantages(logprobs_BT, old_logprobs_BT, advantages_B, mask_BT)
    low, high = _clip_range(clip_eps)
    clipped = ((ratio > high) & (advantages > 0)) | ((ratio < low) & (advantages < 0))
    return clipped.sum() / _positive(denom)


@torch.no_grad()
def approx_kl(logprobs_BT: Tensor, old_logprobs_BT: Tensor, mask_BT: Tensor, *, denom: float | Tensor) -> Tensor:
    """Estimate of KL(pi_sample || pi_theta) per sampled token, in nats; for logging, never part of a loss.

    Mean of r - 1 - log r, which is unbiased and never negative (Schulman 2020, "Approximating KL divergence",
    k3). Arguments, errors and the meaning of `denom` are those of `grpo_loss`.
    """
    mask = _valid_mask(logprobs_BT, mask_BT)
    log_ratio = _log_ratio(logprobs_BT, old_logprobs_BT, mask)
    return (torch.expm1(log_ratio) - log_ratio).sum() / _positive(denom)


def _ratio_and_advantages(
    logprobs_BT: Tensor, old_logprobs_BT: Tensor, advantages_B: Tensor, mask_BT: Tensor
) -> tuple[Tensor, Tensor]:
    """r and A of every token for Eq. 2, each (B, T); at masked positions r = 1 and A = 0, so r A = 0."""
    mask = _valid_mask(logprobs_BT, mask_BT)
    advantages = _advantages_of_tokens(advantages_B, mask)
    return _log_ratio(logprobs_BT, old_logprobs_BT, mask).exp(), advantages


def _advantages_of_tokens(advantages_B: Tensor, mask: Tensor) -> Tensor:
    """The advantage of every token's sequence, shape (B, T): 0 at masked positions."""
    if advantages_B.shape != mask.shape[:1]:
        raise ValueError(
            f"advantages_B has shape {tuple(advantages_B.shape)}; allowed: one per sequence, {tuple(mask.shape[:1])}"
        )
    return _select(advantages_B.detach()[:, None].expand_as(mask), mask)


def _log_ratio(logprobs_BT: Tensor, old_logprobs_BT: Tensor, mask: Tensor) -> Tensor:
    """log r of Eq. 2, shape (B, T): 0 at masked positions, held at +-MAX_ABS_LOG_RATIO."""
    _same_shape("old_logprobs_BT", old_logprobs_BT, logprobs_BT)
    log_ratio = _select(logprobs_BT, mask) - _select(old_logprobs_BT.detach(), mask)
    return log_ratio.clamp(-MAX_ABS_LOG_RATIO, MAX_ABS_LOG_RATIO)


def _select(values_BT: Tensor, keep_BT: Tensor) -> Tensor:
    """`values_BT` in at least float32 where `keep_BT`, else 0, with no gradient to (or NaN from) the rest."""
    return torch.where(keep_BT, values_BT.to(torch.promote_types(values_BT.dtype, torch.float32)), 0.0)


def _valid_mask(logprobs_BT: Tensor, mask_BT: Tensor) -> Tensor:
    if logprobs_BT.dim() != 2:
        raise ValueError(f"logprobs_BT has shape {tuple(logprobs_BT.shape)}; allowed: two dimensions (B, T)")
    _same_shape("mask_BT", mask_BT, logprobs_BT)
    return mask_BT.bool()


def _same_shape(name: str, tensor: Tensor, logprobs_BT: Tensor) -> None:
    if tensor.shape != logprobs_BT.shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; allowed: as logprobs_BT, {tuple(logprobs_BT.shape)}")


def _positive(denom: float | Tensor) -> float:
    value = float(denom)
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"denom is {value!r}; allowed: the global number of tokens, finite and > 0")
    return value


def _clip_range(clip_eps: float) -> tuple[float, float]:
    if not clip_eps >= 0:
        raise ValueError(f"clip_eps is {clip_eps!r}; allowed: >= 0")
    return 1.0 - clip_eps, 1.0 + clip_eps
