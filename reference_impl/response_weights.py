"""SRFT's weights of responses by their entropy (Fu et al. 2025, arXiv 2506.19767, Eq. 5-13; Table 12, D.1).

`B` responses, `T` tokens. The weights go into `losses.sft_loss(weights_BT=...)`:

* demonstrations: 0.5 * sg(exp(-H)), so that an uncertain policy imitates the expert less;
* own rollouts: 0.1 * sg(exp(H)) on correct ones and -1 on wrong ones, so that the policy imitates its own right
  answers, the more so the more uncertain it is, and moves away from its wrong ones. There is no advantage.

H is the mean token entropy of the response under the policy, in nats.
"""

import math

import torch
from torch import Tensor


def mean_entropy(entropy_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean entropy of each response's tokens, shape (B,), in nats, without gradient; 0 for a row without tokens.

    Masked positions are never read; NaN on a token stays visible. At least float32.

    Args:
        entropy_BT: entropy of the policy's next-token distribution, shape (B, T).
        mask_BT: 1 (or True) on the response's tokens, shape (B, T).

    Raises:
        ValueError: shapes differ or are not (B, T).
    """
    if entropy_BT.dim() != 2 or entropy_BT.shape != mask_BT.shape:
        raise ValueError(
            f"entropy_BT has shape {tuple(entropy_BT.shape)}; allowed: (B, T) as mask_BT, {tuple(mask_BT.shape)}"
        )
    mask = mask_BT.bool()
    entropy = entropy_BT.detach().to(torch.promote_types(entropy_BT.dtype, torch.float32))
    return torch.where(mask, entropy, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def entropy_weights_BT(entropy_BT: Tensor, mask_BT: Tensor, *, coefficient: float, exponent: float) -> Tensor:
    """coefficient * exp(exponent * H_b) on every token of response b, 0 elsewhere; shape (B, T), without gradient.

    Args:
        entropy_BT, mask_BT: as `mean_entropy`.
        coefficient: weight at H = 0, finite and > 0; SRFT: 0.5 for demonstrations, 0.1 for own rollouts.
        exponent: factor of H, finite; SRFT: -1 for demonstrations, +1 for own rollouts.

    Raises:
        ValueError: as `mean_entropy`, coefficient is not finite and > 0, or exponent is not finite.
    """
    if not 0 < coefficient < math.inf:
        raise ValueError(f"coefficient is {coefficient!r}; allowed: finite and > 0")
    if not math.isfinite(exponent):
        raise ValueError(f"exponent is {exponent!r}; allowed: finite")
    weights_B = coefficient * (exponent * mean_entropy(entropy_BT, mask_BT)).exp()
    return torch.where(mask_BT.bool(), weights_B[:, None], 0.0)


def signed_weights_BT(weights_BT: Tensor, correct_B: Tensor) -> Tensor:
    """`weights_BT` on correct responses, -1 on the tokens of wrong ones; 0 stays 0. Shape (B, T).

    SRFT's loss of own rollouts is w E[-log p] over correct plus E[log p] over wrong ones: the entropy weight is
    on the correct ones alone.

    Args:
        weights_BT: `entropy_weights_BT` of the rollouts: > 0 on tokens, 0 elsewhere.
        correct_B: boolean, whether each rollout is correct. Rewards are refused: -1 would count as true.

    Raises:
        ValueError: correct_B is not boolean or not of shape (B,).
    """
    if correct_B.dtype != torch.bool or correct_B.shape != weights_BT.shape[:1]:
        raise ValueError(
            f"correct_B is {correct_B.dtype} of shape {tuple(correct_B.shape)}; allowed: torch.bool, one per "
            f"response, {tuple(weights_BT.shape[:1])}"
        )
    return torch.where(correct_B[:, None], weights_BT, -(weights_BT != 0).to(weights_BT.dtype))
