"""SRFT's response weights: golden values, masks, signs, and what they do inside the SFT loss."""

import math

import pytest
import torch

from reference_impl.losses import sft_loss
from reference_impl.response_weights import entropy_weights_BT, mean_entropy, signed_weights_BT

LN2 = math.log(2)

# Mean entropies ln 2 (of 0 and 2 ln 2), 2 ln 2 (one token) and, without any token, 0.
ENTROPY = torch.tensor([[0.0, 2 * LN2, 9.0], [2 * LN2, 9.0, 9.0], [9.0, 9.0, 9.0]], dtype=torch.float64)
MASK = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]])


def test_mean_entropy_golden() -> None:
    torch.testing.assert_close(mean_entropy(ENTROPY, MASK), torch.tensor([LN2, 2 * LN2, 0.0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("coefficient", "exponent", "first", "second"),
    [
        (0.5, -1.0, 0.25, 0.125),  # demonstrations: 0.5 / 2 and 0.5 / 4
        (0.1, 1.0, 0.2, 0.4),  # own rollouts: 0.1 * 2 and 0.1 * 4
        (0.5, 1.0, 1.0, 2.0),  # demonstrations with the other sign of H
        (0.5, 0.0, 0.5, 0.5),
    ],
)
def test_entropy_weights_golden(coefficient: float, exponent: float, first: float, second: float) -> None:
    weights = entropy_weights_BT(ENTROPY, MASK, coefficient=coefficient, exponent=exponent)
    expected = torch.tensor([[first, first, 0], [second, 0, 0], [0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(weights, expected)


def test_srft_imitates_the_expert_less_and_itself_more_where_it_is_uncertain() -> None:
    entropy = torch.linspace(0, 5, 20)[:, None]
    mask = torch.ones_like(entropy)
    assert (entropy_weights_BT(entropy, mask, coefficient=0.5, exponent=-1.0).diff(dim=0) < 0).all()
    assert (entropy_weights_BT(entropy, mask, coefficient=0.1, exponent=1.0).diff(dim=0) > 0).all()


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_masked_positions_are_never_read(garbage: float, dtype: torch.dtype) -> None:
    dirty = torch.where(MASK.bool(), ENTROPY, garbage)
    assert torch.equal(mean_entropy(dirty, MASK.to(dtype)), mean_entropy(ENTROPY, MASK))
    clean = entropy_weights_BT(ENTROPY, MASK, coefficient=0.5, exponent=-1.0)
    assert torch.equal(entropy_weights_BT(dirty, MASK.to(dtype), coefficient=0.5, exponent=-1.0), clean)


def test_nan_on_a_token_stays_visible_in_its_own_row() -> None:
    entropy = ENTROPY.clone()
    entropy[0, 1] = math.nan
    weights = entropy_weights_BT(entropy, MASK, coefficient=0.5, exponent=-1.0)
    assert weights[0, :2].isnan().all() and weights[0, 2] == 0 and not weights[1:].isnan().any()


def test_padding_and_batch_mates_change_nothing() -> None:
    alone = entropy_weights_BT(ENTROPY[:1], MASK[:1], coefficient=0.1, exponent=1.0)
    pad = torch.nn.functional.pad
    wide = entropy_weights_BT(pad(ENTROPY, (2, 1)), pad(MASK, (2, 1)), coefficient=0.1, exponent=1.0)
    assert torch.equal(wide[:1, 2:-1], alone)
    assert (wide[:, :2] == 0).all() and (wide[:, -1] == 0).all()


def test_weights_carry_no_gradient_and_low_precision_is_computed_in_float32() -> None:
    entropy = ENTROPY.clone().requires_grad_()
    assert not mean_entropy(entropy, MASK).requires_grad
    assert not entropy_weights_BT(entropy, MASK, coefficient=0.5, exponent=-1.0).requires_grad
    # 257 entropies of 1 and one of 0: the bfloat16 sum would stick at 256.
    low = torch.tensor([[1.0] * 257 + [0.0]], dtype=torch.bfloat16)
    mean = mean_entropy(low, torch.ones(1, 258))
    assert mean.dtype == torch.float32 and mean.item() == pytest.approx(257 / 258, rel=1e-6)


def test_signed_weights_golden() -> None:
    weights = torch.tensor([[0.2, 0.2, 0.0], [0.4, 0.0, 0.0], [0.0, 0.0, 0.0]])
    signed = signed_weights_BT(weights, torch.tensor([True, False, False]))
    assert torch.equal(signed, torch.tensor([[0.2, 0.2, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert torch.equal(signed_weights_BT(weights, torch.tensor([True] * 3)), weights)


def test_own_rollouts_are_imitated_when_right_and_avoided_when_wrong() -> None:
    """SRFT's loss of own rollouts: 0.1 exp(H) (-log p) over the right one, + log p over the wrong one."""
    # p = 1/2 everywhere, 3 tokens: right (2 tokens, weight 0.2): 2 * 0.2 ln 2; wrong (1 token): -ln 2. Together
    # -0.6 ln 2 / 3 = -0.2 ln 2. Gradients -0.2 / 3 = -0.0666667 and +1 / 3.
    logp = torch.full((3, 3), -LN2, dtype=torch.float64, requires_grad=True)
    weights = entropy_weights_BT(ENTROPY, MASK, coefficient=0.1, exponent=1.0)
    signed = signed_weights_BT(weights, torch.tensor([True, False, False]))
    loss = sft_loss(logp, MASK, weights_BT=signed, denom=3)
    loss.backward()
    assert loss.item() == pytest.approx(-0.2 * LN2, rel=1e-12)
    expected = torch.tensor([[-0.2 / 3, -0.2 / 3, 0], [1 / 3, 0, 0], [0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(logp.grad, expected)


@pytest.mark.parametrize(
    ("coefficient", "exponent", "message"),
    [
        (0.0, 1.0, "coefficient is 0.0"),
        (-0.1, 1.0, "coefficient is -0.1"),
        (math.nan, 1.0, "coefficient is nan"),
        (0.5, math.inf, "exponent is inf"),
        (0.5, math.nan, "exponent is nan"),
    ],
)
def test_parameters_are_checked(coefficient: float, exponent: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        entropy_weights_BT(ENTROPY, MASK, coefficient=coefficient, exponent=exponent)


def test_shapes_and_types_are_checked() -> None:
    with pytest.raises(ValueError, match=r"entropy_BT has shape \(3, 2\)"):
        mean_entropy(ENTROPY[:, :2], MASK)
    with pytest.raises(ValueError, match=r"entropy_BT has shape \(3,\)"):
        mean_entropy(ENTROPY[0], MASK[0])
    with pytest.raises(ValueError, match=r"torch\.bool of shape \(2,\)"):
        signed_weights_BT(ENTROPY, torch.tensor([True, False]))
    with pytest.raises(ValueError, match=r"torch\.float32 of shape"):
        signed_weights_BT(ENTROPY, torch.tensor([1.0, -1.0, 0.0]))  # rewards: -1 would be true
