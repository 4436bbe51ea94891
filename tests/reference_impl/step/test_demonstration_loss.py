"""The demonstration loss of LUFFY and SRFT: golden values, gradients, limits, errors.

Masks, padding, micro-batches and precision are tested with the other losses' in test_losses_invariance.py.
"""

import math

import pytest
import torch
from torch import Tensor

from reference_impl.losses import demonstration_loss, grpo_loss
from tests.support.loss_batches import Batch


def row(*values: float, grad: bool = False) -> Tensor:
    return torch.tensor([values], dtype=torch.float64, requires_grad=grad)


@pytest.mark.parametrize(
    ("shaping", "prob", "value", "slope"),
    [
        (0.1, 0.1, 0.5, 0.25),  # f = 0.1 / 0.2; f' = 0.1 * 0.1 / 0.2^2
        (0.1, 0.9, 0.9, 0.09),  # 0.9 / 1; 0.9 * 0.1 / 1
        (0.1, 1.0, 1 / 1.1, 0.1 / 1.21),  # a token the policy is sure of keeps a little gradient
        (0.1, 0.001, 0.001 / 0.101, 0.0001 / 0.010201),  # 0.0098, ten times p: unlikely tokens are lifted
        (0.5, 0.5, 0.5, 0.25),
        (None, 0.1, 0.1, 0.1),  # f = p: its own derivative with respect to log p
        (None, 0.9, 0.9, 0.9),
        (None, 1.0, 1.0, 1.0),
    ],
)
@pytest.mark.parametrize("advantage", [2.0, -0.5])
def test_golden(shaping: float | None, prob: float, value: float, slope: float, advantage: float) -> None:
    logp = row(math.log(prob), grad=True)
    loss = demonstration_loss(logp, torch.tensor([advantage]), torch.ones(1, 1), shaping=shaping, denom=4)
    loss.backward()
    assert loss.item() == pytest.approx(-advantage * value / 4, rel=1e-12)
    torch.testing.assert_close(logp.grad, row(-advantage * slope / 4), rtol=1e-12, atol=0)


def test_it_sums_tokens_with_their_own_advantage() -> None:
    # f = 1/2, 9/10 with A = 1; 1/2 with A = -3 (0.9 masked): -(1.4 - 1.5) / 3.
    logp = torch.tensor([[0.1, 0.9], [0.1, 0.9]], dtype=torch.float64).log()
    mask = torch.tensor([[1, 1], [1, 0]])
    loss = demonstration_loss(logp, torch.tensor([1.0, -3.0]), mask, shaping=0.1, denom=3)
    assert loss.item() == pytest.approx(0.1 / 3, rel=1e-12)


@pytest.mark.parametrize("shaping", [0.1, None])
@pytest.mark.parametrize("logprob", [-50.0, -200.0, -1e4, -math.inf])
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_it_is_finite_where_p_vanishes(shaping: float | None, logprob: float, advantage: float) -> None:
    """p / (p + shaping) with its gradient as float32 computes it: exp(-200) is 0 there."""
    logp = torch.tensor([[logprob, math.log(0.1)]], requires_grad=True)
    loss = demonstration_loss(logp, torch.tensor([advantage]), torch.ones(1, 2), shaping=shaping, denom=1)
    loss.backward()
    value, slope = (0.1, 0.1) if shaping is None else (0.5, 0.25)
    assert loss.item() == pytest.approx(-advantage * value)
    assert logp.grad is not None
    vanishing, other = logp.grad[0].tolist()
    assert abs(vanishing) < 1e-20 and other == pytest.approx(-advantage * slope)


def test_without_shaping_it_is_the_unclipped_ratio_to_probability_one() -> None:
    batch = Batch(10)
    arguments = (batch.advantages, batch.mask)
    grpo = grpo_loss(batch.logp, torch.zeros_like(batch.logp), *arguments, clip_eps=math.inf, denom=batch.count)
    demonstration = demonstration_loss(batch.logp, *arguments, shaping=None, denom=batch.count)
    assert demonstration.item() == pytest.approx(grpo.item(), rel=1e-12)


@pytest.mark.parametrize("shaping", [0.1, None])
def test_gradcheck(shaping: float | None) -> None:
    batch = Batch(11, sequences=3, tokens=4)

    def loss(logp: Tensor) -> Tensor:
        return demonstration_loss(logp, batch.advantages, batch.mask, shaping=shaping, denom=7)

    assert torch.autograd.gradcheck(loss, (batch.logp.requires_grad_(),))


def test_no_gradient_reaches_the_advantages() -> None:
    batch = Batch(12)
    advantages = batch.advantages.requires_grad_()
    loss = demonstration_loss(batch.logp.requires_grad_(), advantages, batch.mask, shaping=0.1, denom=1)
    loss.backward()
    assert advantages.grad is None


@pytest.mark.parametrize("denom", [0, math.nan])
def test_denom_must_be_positive(denom: float) -> None:
    with pytest.raises(ValueError, match=f"denom is {float(denom)}"):
        demonstration_loss(torch.zeros(1, 2), torch.ones(1), torch.ones(1, 2), shaping=0.1, denom=denom)


@pytest.mark.parametrize("shaping", [0.0, -0.1, math.nan, math.inf])
def test_shaping_must_be_positive(shaping: float) -> None:
    with pytest.raises(ValueError, match=f"shaping is {shaping}"):
        demonstration_loss(torch.zeros(1, 2), torch.ones(1), torch.ones(1, 2), shaping=shaping, denom=1)


def test_shapes_must_agree() -> None:
    x, ones = torch.zeros(2, 3), torch.ones(2, 3)
    with pytest.raises(ValueError, match=r"mask_BT has shape \(2, 1\)"):
        demonstration_loss(x, torch.ones(2), ones[:, :1], shaping=0.1, denom=1)
    for advantages in (torch.ones(2, 1), torch.ones(3), torch.tensor(1.0)):
        with pytest.raises(ValueError, match="advantages_B has shape"):
            demonstration_loss(x, advantages, ones, shaping=0.1, denom=1)
