"""Eq. 1, 2, 3 and 6: golden values, gradients, identities, limits, errors."""

import math
import random

import pytest
import torch
from torch import Tensor

from reference_impl.losses import approx_kl, chord_loss, clip_fraction, dual_clip_grpo_loss, grpo_loss, sft_loss
from tests.support.loss_batches import Batch

LN2 = math.log(2)
EPS = 0.2


def row(*values: float, grad: bool = False) -> Tensor:
    return torch.tensor([values], dtype=torch.float64, requires_grad=grad)


# --- Eq. 1 and 6


def test_sft_golden() -> None:
    # Probabilities 1/2, 1/4 | 1/8, 1/2, 1/2: ln 2 * (1 + 2 + 3 + 1 + 1) = 8 ln 2 over 5 tokens. The mean of
    # the two sequences' means would be (1.5 + 5/3) / 2 ln 2 = 1.58 ln 2 instead of 1.6 ln 2.
    logp = torch.tensor([[0.5, 0.25, 0.9], [0.125, 0.5, 0.5]]).log()
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert sft_loss(logp, mask, denom=5).item() == pytest.approx(8 * LN2 / 5, rel=1e-6)
    assert sft_loss(logp, mask, denom=10).item() == pytest.approx(8 * LN2 / 10, rel=1e-6)


def test_weighted_sft_is_divided_by_tokens_not_by_weights() -> None:
    # p (1 - p) at 1/2 and 1/4: 1/4 * ln 2 + 3/16 * 2 ln 2 = 0.625 ln 2, over 2 tokens = 0.3125 ln 2.
    # Divided by the sum of the weights, 0.4375, it would be 1.43 ln 2.
    logp = row(0.5, 0.25).log()
    loss = sft_loss(logp, torch.ones(1, 2), weights_BT=row(0.25, 0.1875), denom=2)
    assert loss.item() == pytest.approx(0.3125 * LN2, rel=1e-12)


def test_phi_carries_no_gradient() -> None:
    # d L / d logp = -p (1 - p) / 4: 0.05 * 0.95 / 4 = 0.011875; 0.25 / 4 = 0.0625. If phi carried gradient,
    # -logp * p (1 - 2 p) / 4 would come on top: at p = 0.05 that is 2.9957 * 0.045 / 4 = 0.0337, other sign.
    logp = row(0.05, 0.5, 0.95).log().requires_grad_()
    prob = logp.exp()
    sft_loss(logp, torch.ones(1, 3), weights_BT=prob * (1 - prob), denom=4).backward()
    torch.testing.assert_close(logp.grad, row(-0.011875, -0.0625, -0.011875))


def test_a_weight_of_one_is_plain_sft() -> None:
    batch = Batch(0)
    plain = sft_loss(batch.logp, batch.mask, denom=batch.count)
    weighted = sft_loss(batch.logp, batch.mask, weights_BT=torch.ones_like(batch.logp), denom=batch.count)
    assert torch.equal(plain, weighted)


def test_impossible_tokens() -> None:
    """p -> 0: weight 0 times log-prob -inf is 0 in value and gradient; with any other weight it is inf."""
    logp = row(-math.inf, math.log(0.5), grad=True)
    loss = sft_loss(logp, torch.ones(1, 2), weights_BT=row(0.0, 0.25), denom=2)
    loss.backward()
    assert loss.item() == pytest.approx(0.125 * LN2)
    assert logp.grad is not None and torch.equal(logp.grad, row(0.0, -0.125))
    assert sft_loss(logp, torch.ones(1, 2), denom=2).item() == math.inf


def test_a_negative_weight_pushes_its_token_down() -> None:
    # Weights 1/2 and -1 on p = 1/2 and 1/4: -(0.5 * -ln 2 - 1 * -2 ln 2) / 2 = -0.75 ln 2; gradient -phi / 2.
    logp = row(0.5, 0.25).log().requires_grad_()
    loss = sft_loss(logp, torch.ones(1, 2), weights_BT=row(0.5, -1.0), denom=2)
    loss.backward()
    assert loss.item() == pytest.approx(-0.75 * LN2, rel=1e-12)
    torch.testing.assert_close(logp.grad, row(-0.25, 0.5))


# --- Eq. 2


@pytest.mark.parametrize(
    ("ratio", "advantage", "surrogate", "slope"),
    [
        (1.5, 1.0, 1.2, 0.0),  # min(1.5, 1.2): clipped above, no gradient
        (0.5, 1.0, 0.5, 0.5),  # min(0.5, 0.8): the clip would raise it, so it does not act
        (1.5, -1.0, -1.5, -1.5),  # min(-1.5, -1.2): not clipped
        (0.5, -1.0, -0.8, 0.0),  # min(-0.5, -0.8): clipped below, no gradient
        (1.1, 2.0, 2.2, 2.2),  # inside the range: r A, and d(r A)/d logp = r A
        (0.9, -2.0, -1.8, -1.8),
        (1.1, 0.0, 0.0, 0.0),
    ],
)
def test_grpo_golden_on_both_sides_of_both_clips(
    ratio: float, advantage: float, surrogate: float, slope: float
) -> None:
    logp = row(math.log(ratio) - 2.0, grad=True)
    loss = grpo_loss(logp, row(-2.0), torch.tensor([advantage]), torch.ones(1, 1), clip_eps=EPS, denom=4)
    loss.backward()
    assert loss.item() == pytest.approx(-surrogate / 4, abs=1e-12)
    torch.testing.assert_close(logp.grad, row(-slope / 4))


@pytest.mark.parametrize(
    ("ratio", "advantage", "surrogate", "slope"),
    [
        (4.0, -1.0, -3.0, 0.0),  # max(min(-4, -1.2), -3): limited, no gradient
        (2.0, -1.0, -2.0, -2.0),  # max(-2, -3): not limited
        (0.5, -1.0, -0.8, 0.0),  # max(-0.8, -3): Eq. 2's own clip
        (4.0, 1.0, 1.2, 0.0),  # a positive advantage has no second clip
    ],
)
def test_dual_clip_golden(ratio: float, advantage: float, surrogate: float, slope: float) -> None:
    logp = row(math.log(ratio), grad=True)
    arguments = (logp, row(0.0), torch.tensor([advantage]), torch.ones(1, 1))
    loss = dual_clip_grpo_loss(*arguments, clip_eps=EPS, dual_clip=3.0, denom=4)
    loss.backward()
    assert loss.item() == pytest.approx(-surrogate / 4, abs=1e-12)
    torch.testing.assert_close(logp.grad, row(-slope / 4))
    if ratio < 3:
        assert loss.item() == grpo_loss(*arguments, clip_eps=EPS, denom=4).item()


@pytest.mark.parametrize("dual_clip", [1.0, -3.0, math.inf, math.nan])
def test_dual_clip_is_finite_and_above_one(dual_clip: float) -> None:
    arguments = (row(0.0), row(0.0), torch.ones(1), torch.ones(1, 1))
    with pytest.raises(ValueError, match=r"dual_clip is .*; allowed: finite and > 1"):
        dual_clip_grpo_loss(*arguments, clip_eps=EPS, dual_clip=dual_clip, denom=1)


def test_clip_range_follows_clip_eps() -> None:
    # r = 3, A = 1: 1 + 0.5, or not clipped at all.
    arguments = (row(math.log(3.0)), row(0.0), torch.ones(1), torch.ones(1, 1))
    assert grpo_loss(*arguments, clip_eps=0.5, denom=1).item() == pytest.approx(-1.5)
    assert grpo_loss(*arguments, clip_eps=math.inf, denom=1).item() == pytest.approx(-3.0)


@pytest.mark.parametrize("clip_eps", [0.2, 0.0, math.inf])
@pytest.mark.parametrize("detached", [True, False])
def test_on_policy_gradient_is_the_policy_gradient(clip_eps: float, detached: bool) -> None:
    """Strictly on-policy (Section 2): gradient exactly that of -A log pi, although the ratio's value is 1."""
    batch = Batch(1)
    logp = batch.logp.clone().requires_grad_()
    old = logp.detach() if detached else logp
    loss = grpo_loss(logp, old, batch.advantages, batch.mask, clip_eps=clip_eps, denom=batch.count)
    loss.backward()
    reference = batch.logp.clone().requires_grad_()
    (-(batch.advantages[:, None] * reference)[batch.mask].sum() / batch.count).backward()
    torch.testing.assert_close(logp.grad, reference.grad, rtol=1e-14, atol=0)
    lengths = batch.mask.sum(dim=1)
    assert loss.item() == pytest.approx(-(batch.advantages * lengths).sum().item() / batch.count)


def test_advantage_belongs_to_the_sequence_also_in_a_square_batch() -> None:
    # Two sequences of two tokens: rows [1, 1] and [10, 10]; along the wrong axis the gradient would be [1,
    # 10] twice.
    logp = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    grpo_loss(logp, logp, torch.tensor([1.0, 10.0]), torch.ones(2, 2), clip_eps=EPS, denom=1).backward()
    torch.testing.assert_close(logp.grad, torch.tensor([[-1.0, -1], [-10, -10]], dtype=torch.float64))


def test_no_gradient_reaches_old_logprobs_or_advantages() -> None:
    batch = Batch(2)
    logp, old = batch.logp.requires_grad_(), batch.old.requires_grad_()
    advantages = batch.advantages.requires_grad_()
    grpo_loss(logp, old, advantages, batch.mask, clip_eps=EPS, denom=batch.count).backward()
    assert old.grad is None and advantages.grad is None
    assert logp.grad is not None and logp.grad.abs().sum() > 0


@pytest.mark.parametrize("log_ratio", [200.0, 1000.0, math.inf, -200.0, -1000.0])
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_huge_ratios_do_not_overflow(log_ratio: float, advantage: float) -> None:
    """exp(200) is inf in float32, and the gradient of a clipped token would be 0 * inf = NaN."""
    old = torch.tensor([[-log_ratio - 1, -1.0]])
    logp = torch.tensor([[-1.0, -1.0]], requires_grad=True)
    loss = grpo_loss(logp, old, torch.tensor([advantage]), torch.ones(1, 2), clip_eps=EPS, denom=1)
    loss.backward()
    assert logp.grad is not None
    assert math.isfinite(loss.item())
    assert torch.equal(logp.grad, torch.tensor([[0.0, -advantage]]))


@pytest.mark.parametrize("log_ratio", [-19.0, -5.0, 5.0, 19.0])
def test_the_overflow_guard_does_not_touch_smaller_ratios(log_ratio: float) -> None:
    # Unclipped: A < 0 for r > 1, A > 0 for r < 1. The gradient is exactly -r A.
    advantage = -math.copysign(1.0, log_ratio)
    logp = row(log_ratio - 1, grad=True)
    grpo_loss(logp, row(-1.0), torch.tensor([advantage]), torch.ones(1, 1), clip_eps=EPS, denom=1).backward()
    torch.testing.assert_close(logp.grad, row(-math.exp(log_ratio) * advantage), rtol=1e-12, atol=0)


# --- Eq. 3


def test_chord_golden() -> None:
    # 0.75 * 2 + 0.25 * 10 = 4; the weights the other way round would give 8.
    grpo, sft = torch.tensor(2.0, requires_grad=True), torch.tensor(10.0, requires_grad=True)
    loss = chord_loss(grpo, sft, 0.25)
    loss.backward()
    assert loss.item() == 4.0
    assert grpo.grad is not None and sft.grad is not None
    assert (grpo.grad.item(), sft.grad.item()) == (0.75, 0.25)


@pytest.mark.parametrize("unused", [None, torch.tensor(math.nan), torch.tensor(5.0)])
def test_chord_at_its_ends_is_the_one_loss_alone(unused: Tensor | None) -> None:
    used = torch.tensor(0.3)
    assert torch.equal(chord_loss(used, unused, 0), used)
    assert torch.equal(chord_loss(unused, used, 1.0), used)


@pytest.mark.parametrize("mu", [-0.1, 1.0000001, math.nan, math.inf])
def test_mu_outside_the_unit_interval_is_refused(mu: float) -> None:
    with pytest.raises(ValueError, match=f"mu is {mu}"):
        chord_loss(torch.tensor(1.0), torch.tensor(1.0), mu)


@pytest.mark.parametrize("mu", [0.0, 0.5, 1.0])
def test_a_missing_term_with_a_weight_is_refused(mu: float) -> None:
    one = torch.tensor(1.0)
    if mu < 1:
        with pytest.raises(ValueError, match="grpo is None"):
            chord_loss(None, one, mu)
    if mu > 0:
        with pytest.raises(ValueError, match="sft is None"):
            chord_loss(one, None, mu)


# --- against the equations, written as loops


def looped_sft(batch: Batch, weighted: bool) -> float:
    total, tokens = 0.0, 0
    for b in range(batch.mask.shape[0]):
        for t in range(int(batch.mask[b].sum())):
            phi = batch.weights[b, t].item() if weighted else 1.0
            total += phi * math.log(math.exp(batch.logp[b, t].item()))
            tokens += 1
    return -total / tokens


def looped_grpo(batch: Batch) -> float:
    total, tokens = 0.0, 0
    for b in range(batch.mask.shape[0]):
        advantage = batch.advantages[b].item()
        for t in range(int(batch.mask[b].sum())):
            r = math.exp(batch.logp[b, t].item()) / math.exp(batch.old[b, t].item())
            total += min(r * advantage, min(max(r, 0.8), 1.2) * advantage)
            tokens += 1
    return -total / tokens


@pytest.mark.parametrize("seed", range(25))
def test_against_loops_over_the_equations(seed: int) -> None:
    batch = Batch(seed, sequences=1 + seed % 5 + 1, tokens=2 + seed % 7)
    plain = sft_loss(batch.logp, batch.mask, denom=batch.count)
    phi = sft_loss(batch.logp, batch.mask, weights_BT=batch.weights, denom=batch.count)
    grpo = grpo_loss(batch.logp, batch.old, batch.advantages, batch.mask, clip_eps=EPS, denom=batch.count)
    mu = random.Random(seed).random()
    assert plain.item() == pytest.approx(looped_sft(batch, weighted=False), rel=1e-12)
    assert phi.item() == pytest.approx(looped_sft(batch, weighted=True), rel=1e-12)
    assert grpo.item() == pytest.approx(looped_grpo(batch), rel=1e-12)
    expected = (1 - mu) * looped_grpo(batch) + mu * looped_sft(batch, weighted=True)
    assert chord_loss(grpo, phi, mu).item() == pytest.approx(expected, rel=1e-12)


def test_gradcheck() -> None:
    """Numerical gradients of the hybrid loss, with ratios inside the clip range and beyond both its ends."""
    batch = Batch(3, sequences=4, tokens=5)
    ratio = (batch.logp - batch.old).exp()[batch.mask]
    assert ratio.min() < 0.8 and ratio.max() > 1.2 and ((ratio - 1).abs() < 0.2).any()

    def loss(logp: Tensor, expert_logp: Tensor) -> Tensor:
        grpo = grpo_loss(logp, batch.old, batch.advantages, batch.mask, clip_eps=EPS, denom=7)
        sft = sft_loss(expert_logp, batch.mask, weights_BT=batch.weights, denom=11)
        return chord_loss(grpo, sft, 0.3)

    assert torch.autograd.gradcheck(loss, (batch.logp.requires_grad_(), batch.old.clone().requires_grad_()))


# --- errors


@pytest.mark.parametrize("denom", [4, 4.0, torch.tensor(4), torch.tensor(4.0)])
def test_denom_may_be_a_number_or_a_scalar_tensor(denom: float | Tensor) -> None:
    assert sft_loss(row(-1.0, -3.0), torch.ones(1, 2), denom=denom).item() == 1.0


@pytest.mark.parametrize("denom", [0, -1, math.nan, math.inf, torch.tensor(0)])
def test_denom_must_be_positive(denom: float | Tensor) -> None:
    x, ones = torch.zeros(1, 2), torch.ones(1, 2)
    with pytest.raises(ValueError, match="denom is"):
        sft_loss(x, ones, denom=denom)
    with pytest.raises(ValueError, match="denom is"):
        grpo_loss(x, x, torch.ones(1), ones, clip_eps=EPS, denom=denom)


@pytest.mark.parametrize("clip_eps", [-0.2, math.nan])
def test_clip_eps_must_not_be_negative(clip_eps: float) -> None:
    x = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="clip_eps is"):
        grpo_loss(x, x, torch.ones(1), torch.ones(1, 2), clip_eps=clip_eps, denom=1)


def test_shapes_must_agree() -> None:
    x, ones, column, flat = torch.zeros(2, 3), torch.ones(2, 3), torch.ones(2, 1), torch.ones(2)
    with pytest.raises(ValueError, match=r"mask_BT has shape \(2, 1\)"):
        sft_loss(x, column, denom=1)
    with pytest.raises(ValueError, match=r"weights_BT has shape \(2, 1\)"):
        sft_loss(x, ones, weights_BT=column, denom=1)
    with pytest.raises(ValueError, match=r"logprobs_BT has shape \(3,\)"):
        sft_loss(x[0], ones[0], denom=1)
    with pytest.raises(ValueError, match=r"old_logprobs_BT has shape \(2, 1\)"):
        grpo_loss(x, column, flat, ones, clip_eps=EPS, denom=1)
    for advantages in (column, torch.ones(3), torch.tensor(1.0)):
        with pytest.raises(ValueError, match="advantages_B has shape"):
            grpo_loss(x, x, advantages, ones, clip_eps=EPS, denom=1)


# --- logged quantities


def test_clip_fraction_golden() -> None:
    # Ratios 1.5, 0.5, 1.1 with A = 1 (one clipped) and with A = -1 (another one): 2 of 6, and nothing where A
    # = 0.
    logp = torch.tensor([1.5, 0.5, 1.1]).log().expand(3, 3)
    arguments = (logp, torch.zeros(3, 3), torch.tensor([1.0, -1.0, 0.0]), torch.ones(3, 3))
    assert clip_fraction(*arguments, clip_eps=EPS, denom=9).item() == pytest.approx(2 / 9)


@pytest.mark.parametrize("seed", range(5))
def test_clip_fraction_counts_the_tokens_without_gradient(seed: int) -> None:
    batch = Batch(seed)
    logp = batch.logp.requires_grad_()
    arguments = (logp, batch.old, batch.advantages, batch.mask)
    grpo_loss(*arguments, clip_eps=EPS, denom=batch.count).backward()
    assert logp.grad is not None
    still = (logp.grad[batch.mask] == 0).sum().item()
    fraction = clip_fraction(*arguments, clip_eps=EPS, denom=batch.count)
    assert 0 < still == pytest.approx(fraction.item() * batch.count)
    assert not fraction.requires_grad


def test_approx_kl_golden() -> None:
    # r = 2: 2 - 1 - ln 2 = 0.306853; r = 1/2: 1/2 - 1 + ln 2 = 0.193147; together 0.5 over 2 tokens.
    logp = row(LN2 - 1, -LN2 - 1, 50.0, grad=True)
    kl = approx_kl(logp, row(-1.0, -1.0, -1.0), row(1, 1, 0), denom=2)
    assert kl.item() == pytest.approx(0.25)
    assert not kl.requires_grad


def test_weights_of_rollout_tokens_scale_their_terms() -> None:
    # On policy every ratio is 1, so a token's term is its weight times its advantage: -(2 * 1 + 3 * 1 + 0.5 * -4) / 3.
    logprobs, mask = torch.full((2, 2), -1.0), torch.tensor([[1, 1], [1, 0]])
    weights = torch.tensor([[2.0, 3.0], [0.5, math.nan]])
    advantages = torch.tensor([1.0, -4.0])
    loss = grpo_loss(logprobs, logprobs, advantages, mask, clip_eps=0.2, denom=3, weights_BT=weights)
    assert loss.item() == pytest.approx(-1.0)
    with pytest.raises(ValueError, match=r"^weights_BT has shape \(1, 2\)"):
        grpo_loss(logprobs, logprobs, advantages, mask, clip_eps=0.2, denom=3, weights_BT=weights[:1])
