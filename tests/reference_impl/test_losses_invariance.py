"""What must not change the losses: masked positions, padding, micro-batches, precision of the inputs."""

import math

import pytest
import torch
from torch import Tensor

from reference_impl.losses import approx_kl, chord_loss, clip_fraction, demonstration_loss, grpo_loss, sft_loss
from tests.support.loss_batches import Batch

EPS = 0.2

# --- masks and padding


def losses_and_gradients(batch: Batch, mask: Tensor) -> list[Tensor]:
    """Values and gradients of every loss, and the values of both logged quantities, of one batch."""
    results = []
    for loss in ("sft", "grpo", "shaped demonstration", "demonstration"):
        logp = batch.logp.clone().requires_grad_()
        if loss == "sft":
            total = sft_loss(logp, mask, weights_BT=batch.weights, denom=batch.count)
        elif loss == "grpo":
            total = grpo_loss(logp, batch.old, batch.advantages, mask, clip_eps=EPS, denom=batch.count)
        else:
            shaping = 0.1 if loss == "shaped demonstration" else None
            total = demonstration_loss(logp, batch.advantages, mask, shaping=shaping, denom=batch.count)
        total.backward()
        assert logp.grad is not None
        results += [total.detach(), logp.grad]
    arguments = (batch.logp, batch.old)
    results.append(clip_fraction(*arguments, batch.advantages, mask, clip_eps=EPS, denom=batch.count))
    results.append(approx_kl(*arguments, mask, denom=batch.count))
    return results


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e30, 0.0])
def test_masked_positions_are_never_read(garbage: float) -> None:
    clean, dirty = Batch(4), Batch(4)
    dirty.mask[2] = clean.mask[2] = False  # no valid token: this sequence's advantage is never read either
    for name in ("logp", "old", "weights"):
        getattr(dirty, name)[~dirty.mask] = garbage
    dirty.advantages[2] = garbage
    for reference, result in zip(
        losses_and_gradients(clean, clean.mask), losses_and_gradients(dirty, dirty.mask), strict=True
    ):
        assert torch.equal(reference, result)
        if result.dim() == 2:
            assert (result[~dirty.mask] == 0).all() and (result[dirty.mask] != 0).any()


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_mask_may_be_numbers(dtype: torch.dtype) -> None:
    batch = Batch(5)
    for a, b in zip(
        losses_and_gradients(batch, batch.mask),
        losses_and_gradients(batch, batch.mask.to(dtype)),
        strict=True,
    ):
        assert torch.equal(a, b)


def test_padding_changes_nothing() -> None:
    batch, wide = Batch(6), Batch(6)
    for name in ("logp", "old", "weights", "mask"):
        setattr(wide, name, torch.nn.functional.pad(getattr(batch, name), (3, 4)))
    for a, b in zip(losses_and_gradients(batch, batch.mask), losses_and_gradients(wide, wide.mask), strict=True):
        torch.testing.assert_close(a, b[:, 3:-4] if b.dim() == 2 else b, rtol=1e-14, atol=0)


def test_a_share_without_tokens_is_zero() -> None:
    batch = Batch(7)
    for result in losses_and_gradients(batch, torch.zeros_like(batch.mask)):
        assert (result == 0).all()


def test_nan_at_a_valid_position_stays_visible() -> None:
    batch = Batch(8)
    batch.logp[1, 0] = math.nan
    assert sft_loss(batch.logp, batch.mask, denom=batch.count).isnan()
    assert sft_loss(batch.logp, batch.mask, weights_BT=batch.weights, denom=batch.count).isnan()
    assert grpo_loss(batch.logp, batch.old, batch.advantages, batch.mask, clip_eps=EPS, denom=batch.count).isnan()
    for shaping in (0.1, None):
        arguments = (batch.logp, batch.advantages, batch.mask)
        assert demonstration_loss(*arguments, shaping=shaping, denom=batch.count).isnan()


# --- accumulation


@pytest.mark.parametrize("split", [1, 2, 3, 8])
def test_accumulated_gradient_does_not_depend_on_the_split(split: int) -> None:
    """8 x 1 = 1 x 8 for sequences of unequal lengths, through parameters that all tokens share."""
    batch = Batch(9)
    features = torch.randn(*batch.logp.shape, 4, generator=torch.Generator().manual_seed(9), dtype=torch.float64)

    def gradient(micro_batch: int, per_micro_batch_means: bool = False) -> Tensor:
        parameters = torch.zeros(4, dtype=torch.float64, requires_grad=True)
        for start in range(0, 8, micro_batch):
            i = slice(start, start + micro_batch)
            logp = batch.logp[i] + features[i] @ parameters
            mask = batch.mask[i]
            denom = mask.sum() * math.ceil(8 / micro_batch) if per_micro_batch_means else batch.count
            sft = sft_loss(logp, mask, weights_BT=batch.weights[i], denom=denom)
            grpo = grpo_loss(logp, batch.old[i], batch.advantages[i], mask, clip_eps=EPS, denom=denom)
            expert = demonstration_loss(logp, batch.advantages[i], mask, shaping=0.1, denom=denom)
            (chord_loss(grpo, sft, 0.3) + expert).backward()
        assert parameters.grad is not None
        return parameters.grad

    torch.testing.assert_close(gradient(split), gradient(8), rtol=1e-12, atol=1e-15)
    if split < 8:  # the defect that this guards against is visible on these lengths
        wrong = gradient(split, per_micro_batch_means=True)
        assert (wrong - gradient(8)).abs().max() > 0.01 * gradient(8).abs().max()


# --- precision


def test_low_precision_is_summed_in_float32() -> None:
    # 4095 tokens of log-prob -2^-7 (exact in bfloat16) sum to -31.9922; bfloat16, with spacing 0.125 there,
    # would make that -32.
    logp = torch.full((1, 4095), -(2.0**-7), dtype=torch.bfloat16)
    mask = torch.ones(1, 4095)
    loss = sft_loss(logp, mask, denom=4095)
    assert loss.dtype == torch.float32 and loss.item() == 2.0**-7
    # r = exp(2^-7) = 1.00784, which bfloat16 (spacing 2^-7 above 1) holds only as 1.0078125.
    old = torch.full_like(logp, -(2.0**-6))
    loss = grpo_loss(logp, old, torch.ones(1), mask, clip_eps=EPS, denom=4095)
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(-math.exp(2.0**-7), rel=1e-6)
    # f(p) = p / (p + 0.1) at p = exp(-2^-7) = 0.99222: 0.90845 (bfloat16 has 0.90625 and 0.91016).
    shaped = 0.9922179382602435 / 1.0922179382602435
    loss = demonstration_loss(logp, torch.ones(1), mask, shaping=0.1, denom=4095)
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(-shaped, rel=1e-6)
