"""Token weights phi of the expert loss (Eq. 4, Eq. 5 and the variants of B.2).

`TOKEN_WEIGHTS[name](prob_BT, entropy_BT, mask_BT) -> weights_BT`, all of shape (B, T): `prob_BT` is p_t =
pi_theta(y*_t), `entropy_BT` the entropy H(t) in nats of the policy's full next-token distribution at that
position, `mask_BT` 1 (or True) on expert tokens. A variant's own parameters are keyword arguments with the
paper's value as default; bind others with `functools.partial`. Adding a variant is one function and its name
in `TOKEN_WEIGHTS`.

Every weight is detached (phi never carries gradient), at least float32, exactly 0 where the mask is 0
whatever prob and entropy hold there (NaN included), and finite for p = 0 and p = 1.

**Global statistics.** The names in `NEEDS_GLOBAL_BATCH` compare a token with all the others, so they must be
called once on the expert tokens of the *global batch*, never on a micro-batch or on one rank's part:
"the top 5 % of this micro-batch" is another set of tokens, and training would depend on how the batch was
split. Compute prob and entropy of the global batch first, then the weights, then slice the weights for the
micro-batches. Padding between the tokens does not matter. The other functions take each token by itself and
can be called on any part. They are also the ones that do not read the entropy: for them `entropy_BT` may be
None, which saves computing it.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor


def none(prob_BT: Tensor, entropy_BT: Tensor | None, mask_BT: Tensor) -> Tensor:
    """phi = 1: plain SFT (Eq. 1)."""
    return _finish(torch.ones_like(_prob(prob_BT, mask_BT)), mask_BT)


def p_one_minus_p(prob_BT: Tensor, entropy_BT: Tensor | None, mask_BT: Tensor) -> Tensor:
    """phi = p (1 - p): CHORD-phi (Eq. 5); largest, 0.25, at p = 0.5."""
    prob = _prob(prob_BT, mask_BT)
    return _finish(prob * (1 - prob), mask_BT)


def importance(prob_BT: Tensor, entropy_BT: Tensor | None, mask_BT: Tensor) -> Tensor:
    """phi = p: importance sampling with the expert's probability taken as 1 (Eq. 4)."""
    return _finish(_prob(prob_BT, mask_BT), mask_BT)


def entropy_top(prob_BT: Tensor, entropy_BT: Tensor | None, mask_BT: Tensor, *, share: float = 0.05) -> Tensor:
    """phi = 1 on the `share` of expert tokens with the highest entropy, else 0 (B.2 "Entropy Top").

    Of N expert tokens exactly ceil(share * N) are kept, so a batch with any token keeps at least one. Equal
    entropies are ranked by position, earlier sequence first and then earlier token, so the count is exact and
    the choice deterministic.

    Raises:
        ValueError: share is outside (0, 1], or entropy_BT is None or NaN on an expert token.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share!r}; allowed: 0 < share <= 1")
    entropy = _entropy(entropy_BT, mask_BT)
    mask = mask_BT.bool()
    # As a decimal fraction, since in floating point 0.07 * 100 = 7.000000000000001 and its ceiling is 8.
    count = math.ceil(Fraction(str(share)) * int(mask.sum()))
    ranked = entropy[mask].sort(descending=True, stable=True).indices
    kept = torch.zeros_like(entropy[mask])
    kept[ranked[:count]] = 1.0
    return torch.zeros_like(entropy).masked_scatter(mask, kept)


def entropy_norm(prob_BT: Tensor, entropy_BT: Tensor | None, mask_BT: Tensor) -> Tensor:
    """phi = H / mean(H) over the expert tokens of the batch: the mean weight is 1 (B.2 "Entropy Norm").

    Where every entropy is 0, or there is no expert token, every weight is 0.

    Raises:
        ValueError: entropy_BT is None or NaN on an expert token.
    """
    entropy = _entropy(entropy_BT, mask_BT)
    mean = entropy.sum() / mask_BT.bool().sum()
    return torch.where(mean > 0, entropy / mean, 0.0)


def is_clip(
    prob_BT: Tensor,
    entropy_BT: Tensor | None,
    mask_BT: Tensor,
    *,
    threshold: float = 0.4,
    variant: str = "zero",
) -> Tensor:
    """Importance sampling that "clips tokens with p > 0.4" (B.2 "IS Clip").

    The paper leaves open what clipping means. `zero` (default): phi = p up to the threshold and 0 above it.
    `cap`: phi = min(p, threshold). A token exactly at the threshold is not clipped.

    Raises:
        ValueError: threshold is outside [0, 1], or variant is unknown.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold!r}; allowed: 0 <= threshold <= 1")
    prob = _prob(prob_BT, mask_BT)
    if variant == "zero":
        return _finish(torch.where(prob > threshold, 0.0, prob), mask_BT)
    if variant == "cap":
        return _finish(prob.clamp(max=threshold), mask_BT)
    raise ValueError(f"variant is {variant!r}; allowed: 'zero', 'cap'")


def focal(prob_BT: Tensor, entropy_BT: Tensor | None, mask_BT: Tensor, *, gamma: float = 2.0) -> Tensor:
    """phi = (1 - p)^gamma (B.2 "Focal Loss"; Lin et al. 2017, whose gamma is 2).

    Raises:
        ValueError: gamma is negative (infinite at p = 1), infinite or NaN.
    """
    if not 0 <= gamma < math.inf:
        raise ValueError(f"gamma is {gamma!r}; allowed: finite and >= 0")
    return _finish((1 - _prob(prob_BT, mask_BT)) ** gamma, mask_BT)


def power(prob_BT: Tensor, entropy_BT: Tensor | None, mask_BT: Tensor, *, a: float = 0.5, b: float = 0.5) -> Tensor:
    """phi = p^a (1 - p)^b, by default a = b = 0.5.

    The family of Eq. 1 (0, 0), Eq. 4 (1, 0), Eq. 5 (1, 1) and focal loss (0, gamma), with 0^0 = 1; not of the paper as
    such. Weights are not normalised: the larger a and b, the less the expert teaches in all.

    Raises:
        ValueError: a or b is negative (infinite at p = 0 or p = 1), infinite or NaN.
    """
    for name, exponent in (("a", a), ("b", b)):
        if not 0 <= exponent < math.inf:
            raise ValueError(f"{name} is {exponent!r}; allowed: finite and >= 0")
    prob = _prob(prob_BT, mask_BT)
    return _finish(prob**a * (1 - prob) ** b, mask_BT)


TokenWeight = Callable[..., Tensor]

TOKEN_WEIGHTS: dict[str, TokenWeight] = {
    "none": none,
    "p_one_minus_p": p_one_minus_p,
    "importance": importance,
    "entropy_top": entropy_top,
    "entropy_norm": entropy_norm,
    "is_clip": is_clip,
    "focal": focal,
    "power": power,
}

NEEDS_GLOBAL_BATCH: frozenset[str] = frozenset({"entropy_top", "entropy_norm"})


def own_weights(
    function: TokenWeight,
    name: str,
    prob_BT: Tensor,
    entropy_BT: Tensor | None,
    mask_BT: Tensor,
    **params: Any,
) -> Tensor:
    """phi of a function that is not one of these, with what every phi owes done for it: it gets probabilities and
    entropies without gradient, at least float32, 0 where the mask is 0, and its weights are 0 there whatever it says.

    Raises:
        ValueError: no tensor of the mask's shape, or one that carries gradient.
        FloatingPointError: a weight of a token is negative, infinite or NaN.
    """
    mask_BT = mask_BT.bool()
    entropy = None if entropy_BT is None else _entropy(entropy_BT, mask_BT)
    weights = function(_prob(prob_BT, mask_BT), entropy, mask_BT, **params)
    if not isinstance(weights, Tensor):
        raise ValueError(f"{name} returns {type(weights).__name__}; allowed: a tensor, a weight for every token")
    if weights.shape != mask_BT.shape:
        raise ValueError(f"{name} returns shape {tuple(weights.shape)} for tokens of shape {tuple(mask_BT.shape)}")
    if weights.requires_grad:
        raise ValueError(f"{name} returns weights with gradient: phi weighs the loss and is not trained")
    weights = _finish(weights.to(torch.promote_types(weights.dtype, torch.float32)), mask_BT)
    if not bool(((weights >= 0) & weights.isfinite()).all()):
        wrong = weights[~((weights >= 0) & weights.isfinite())][0].item()
        raise FloatingPointError(f"{name} returns the weight {wrong:g}; allowed: finite and >= 0")
    return weights


def _prob(prob_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """p without gradient, 0 at masked positions, in [0, 1] (exp of a rounded log-prob can exceed 1)."""
    return _clean("prob_BT", prob_BT, mask_BT).clamp(0.0, 1.0)


def _entropy(entropy_BT: Tensor | None, mask_BT: Tensor) -> Tensor:
    """H without gradient, 0 at masked positions, >= 0. NaN on a token is an error: it would rank first."""
    if entropy_BT is None:
        raise ValueError("entropy_BT is None; the entropy weights need the entropy of every expert token")
    entropy = _clean("entropy_BT", entropy_BT, mask_BT)
    if entropy.isnan().any():
        raise ValueError("entropy_BT is nan on an expert token (-inf logits? define 0 * log 0 as 0)")
    return entropy.clamp(min=0.0)


def _clean(name: str, values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    if values_BT.shape != mask_BT.shape:
        raise ValueError(f"{name} has shape {tuple(values_BT.shape)}; allowed: that of mask_BT, {tuple(mask_BT.shape)}")
    values = values_BT.detach()
    return torch.where(mask_BT.bool(), values.to(torch.promote_types(values.dtype, torch.float32)), 0.0)


def _finish(weights_BT: Tensor, mask_BT: Tensor) -> Tensor:
    return torch.where(mask_BT.bool(), weights_BT, 0.0)
