"""Group-relative advantages of GRPO (Section 2, below Eq. 2).

`P` prompts, `G` rollouts of each (the paper's K = 8), `rewards_PG[p, g]` the reward of rollout g of prompt p. In a
mixed group (LUFFY, SRFT) some columns are an expert's responses: they count in the statistics like any other.
"""

import torch
from torch import Tensor


def group_advantages(rewards_PG: Tensor, *, eps: float = 1e-6, normalise: bool = True) -> Tensor:
    """A = (R - mean(R)) / (std(R) + eps) within each prompt's group; A = R - mean(R) without `normalise`.

    The paper does not say which standard deviation: this is the unbiased one (divisor G - 1), with eps_z =
    1e-6. A group whose rewards are all equal gets exact zeros; without that rule the rounding error of the
    mean of, say, seven rewards of -0.1 would be divided by eps and become an advantage.

    Args:
        rewards_PG: finite rewards, shape (P, G) with G >= 2; integers and low precision are computed in
            float32.
        eps: epsilon_z, >= 0.
        normalise: False leaves out the division by the standard deviation, and with it eps: Dr. GRPO (Liu et al.
            2025) and LUFFY's own setting.

    Returns:
        Advantages, shape (P, G), without gradient.

    Raises:
        ValueError: wrong shape, G < 2, a reward that is not finite, or eps negative.
    """
    _check(rewards_PG)
    if not eps >= 0:
        raise ValueError(f"eps is {eps!r}; allowed: >= 0")
    rewards = rewards_PG.detach().to(torch.promote_types(rewards_PG.dtype, torch.float32))
    equal_P = _zero_variance_P(rewards_PG)
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    scale = rewards.std(dim=1, correction=1, keepdim=True) + eps if normalise else 1.0
    return torch.where(equal_P[:, None], 0.0, centred / scale)


def zero_variance_share(rewards_PG: Tensor) -> float:
    """Share of groups whose rewards are all equal, in [0, 1]: those groups give no policy gradient.

    Raises:
        ValueError: as `group_advantages`.
    """
    _check(rewards_PG)
    return _zero_variance_P(rewards_PG).float().mean().item()


def _zero_variance_P(rewards_PG: Tensor) -> Tensor:
    return (rewards_PG == rewards_PG[:, :1]).all(dim=1)


def _check(rewards_PG: Tensor) -> None:
    shape = tuple(rewards_PG.shape)
    if len(shape) != 2 or shape[0] < 1:
        raise ValueError(f"rewards_PG has shape {shape}; allowed: two dimensions (P, G) with P >= 1")
    if shape[1] < 2:
        raise ValueError(f"rewards_PG has G = {shape[1]}; allowed: G >= 2, one rollout has no group to compare with")
    if not torch.isfinite(rewards_PG).all():
        raise ValueError(f"rewards_PG holds a value that is not finite: {rewards_PG.tolist()}")
