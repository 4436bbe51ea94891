"""ESS and truncated importance sampling: golden values, limits, masks, gradients."""

import math

import pytest
import torch
from torch import Tensor

from reference_impl.step.mismatch import ess, ratio_sums, tis_weights_BT


def logs(*ratios: float) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probs of which the ratios to the engine's are these, the engine's, and a mask of ones; each (1, T)."""
    engine_1T = torch.full((1, len(ratios)), -2.0)
    return engine_1T + torch.tensor([ratios]).log(), engine_1T, torch.ones_like(engine_1T)


def test_weights_are_ratios_up_to_the_cap() -> None:
    weights_1T = tis_weights_BT(*logs(0.5, 1.0, 1.5, 8.0), cap=2.0)
    torch.testing.assert_close(weights_1T, torch.tensor([[0.5, 1.0, 1.5, 2.0]]))


def test_weights_pass_no_gradient_and_ignore_what_is_masked() -> None:
    logprobs_1T, engine_1T, mask_1T = logs(0.5, 1.0, 3.0)
    logprobs_1T = logprobs_1T.clone()
    logprobs_1T[0, 1], mask_1T[0, 1] = float("nan"), 0.0
    logprobs_1T.requires_grad_()
    weights_1T = tis_weights_BT(logprobs_1T, engine_1T, mask_1T, cap=2.0)
    assert not weights_1T.requires_grad
    torch.testing.assert_close(weights_1T, torch.tensor([[0.5, 0.0, 2.0]]))


def test_ratio_beyond_float32_is_capped() -> None:
    far_11, near_11 = torch.tensor([[0.0]]), torch.tensor([[-500.0]])
    assert tis_weights_BT(far_11, near_11, torch.ones(1, 1), cap=5.0).item() == pytest.approx(5.0)
    assert math.isfinite(ratio_sums(far_11, near_11, torch.ones(1, 1))[1])


def test_effective_sample_size() -> None:
    # (1 + 3)^2 / (2 (1 + 9)) = 16 / 20
    assert ess(*ratio_sums(*logs(1.0, 3.0)), 2) == pytest.approx(0.8)
    assert ess(*ratio_sums(*logs(1.0, 1.0, 1.0)), 3) == 1.0
    # A constant ratio reweights nothing.
    assert ess(*ratio_sums(*logs(2.0, 2.0)), 2) == pytest.approx(1.0)
    # One token with all the weight: 1 / n.
    assert ess(*ratio_sums(*logs(1e6, 1e-6, 1e-6, 1e-6)), 4) == pytest.approx(0.25, rel=1e-5)


def test_effective_sample_size_adds_up_over_micro_batches() -> None:
    whole = ess(*ratio_sums(*logs(0.5, 1.0, 2.0, 4.0)), 4)
    parts = ratio_sums(*logs(0.5, 1.0)), ratio_sums(*logs(2.0, 4.0))
    # (0.5 + 1 + 2 + 4)^2 / (4 (0.25 + 1 + 4 + 16)) = 56.25 / 85
    assert whole == pytest.approx(56.25 / 85)
    assert ess(parts[0][0] + parts[1][0], parts[0][1] + parts[1][1], 4) == pytest.approx(whole)


def test_effective_sample_size_of_nothing() -> None:
    logprobs_1T, engine_1T, mask_1T = logs(2.0, 3.0)
    assert ratio_sums(logprobs_1T, engine_1T, torch.zeros_like(mask_1T)) == (0.0, 0.0)
    assert ess(0.0, 0.0, 3) == 0.0, "every ratio has underflowed"


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="cap is 0"):
        tis_weights_BT(*logs(1.0), cap=0.0)
    with pytest.raises(ValueError, match="cap is nan"):
        tis_weights_BT(*logs(1.0), cap=float("nan"))
    with pytest.raises(ValueError, match="same shape"):
        ratio_sums(*logs(1.0)[:2], torch.ones(1, 2))
