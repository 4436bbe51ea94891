"""Token weights phi: golden values, limits, masks, and the global statistics of the entropy variants."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from reference_impl.losses import sft_loss
from reference_impl.token_weights import NEEDS_GLOBAL_BATCH, TOKEN_WEIGHTS

NAMES = sorted(TOKEN_WEIGHTS)
PROBS = [0.0, 0.05, 0.4, 0.5, 0.95, 1.0]
GOLDEN: dict[str, list[float]] = {
    "none": [1, 1, 1, 1, 1, 1],
    "p_one_minus_p": [0, 0.0475, 0.24, 0.25, 0.0475, 0],  # 0.05 * 0.95; 0.4 * 0.6; 0.5 * 0.5
    "importance": PROBS,
    "is_clip": [0, 0.05, 0.4, 0, 0, 0],  # exactly 0.4 is kept, above is not
    "focal": [1, 0.9025, 0.36, 0.25, 0.0025, 0],  # 0.95^2; 0.6^2; 0.5^2; 0.05^2
    "power": [0, 0.0475**0.5, 0.24**0.5, 0.5, 0.0475**0.5, 0],  # the roots of p (1 - p)
}


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float32)


def random_batch(seed: int, sequences: int = 6, tokens: int = 31) -> tuple[Tensor, Tensor, Tensor]:
    """Prob, entropy and a mask with prompt and padding, of unequal lengths."""
    generator = torch.Generator().manual_seed(seed)
    prob = torch.rand(sequences, tokens, generator=generator)
    entropy = torch.rand(sequences, tokens, generator=generator) * 3
    lengths = torch.randint(1, tokens - 4, (sequences, 1), generator=generator)
    position = torch.arange(tokens)
    return prob, entropy, (position >= 3) & (position < 3 + lengths)


def test_the_names_are_the_public_interface() -> None:
    assert NAMES == [
        "entropy_norm",
        "entropy_top",
        "focal",
        "importance",
        "is_clip",
        "none",
        "p_one_minus_p",
        "power",
    ]


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_golden(name: str) -> None:
    prob = row(*PROBS)
    weights = TOKEN_WEIGHTS[name](prob, torch.full_like(prob, torch.nan), torch.ones_like(prob))
    torch.testing.assert_close(weights, row(*GOLDEN[name]), atol=1e-7, rtol=0)


def test_entropy_norm_golden() -> None:
    # Entropies 1, 2, 3 and 6 on valid tokens of two sequences: mean 12 / 4 = 3, so 1/3, 2/3, 1 and 2.
    # Means per sequence (1.5, 4.5) would give 2/3, 4/3, 2/3, 4/3; counting the masked 100s far less.
    entropy = torch.tensor([[1.0, 2.0, 100.0], [3.0, 6.0, 100.0]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 0]])
    weights = TOKEN_WEIGHTS["entropy_norm"](torch.rand(2, 3), entropy, mask)
    torch.testing.assert_close(weights, torch.tensor([[1 / 3, 2 / 3, 0], [1, 2, 0]]))


def test_entropy_norm_of_a_nearly_certain_policy() -> None:
    # Mean 0.002: also then the weights have mean 1.
    weights = TOKEN_WEIGHTS["entropy_norm"](row(1, 1), row(0.001, 0.003), row(1, 1))
    torch.testing.assert_close(weights, row(0.5, 1.5))


def test_entropy_norm_of_a_certain_policy_is_zero() -> None:
    weights = TOKEN_WEIGHTS["entropy_norm"](row(1, 1), row(0, 0), row(1, 1))
    assert torch.equal(weights, row(0, 0))


@pytest.mark.parametrize(
    ("tokens", "kept"),
    # ceil(0.05 N): rounding to the nearest would keep none of 1, 1 of 21 and 5 of 101.
    [(1, 1), (19, 1), (20, 1), (21, 2), (60, 3), (100, 5), (101, 6), (140, 7), (141, 8), (2000, 100)],
)
@pytest.mark.parametrize("tied", [True, False])
def test_entropy_top_keeps_exactly_five_percent(tokens: int, kept: int, tied: bool) -> None:
    entropy = torch.ones(1, tokens) if tied else torch.arange(tokens, dtype=torch.float32)[None]
    weights = TOKEN_WEIGHTS["entropy_top"](torch.rand(1, tokens), entropy, torch.ones(1, tokens))
    expected = torch.zeros(1, tokens)
    # Ties go to the earliest tokens; the rising entropies put the largest at the end.
    expected[0, slice(kept) if tied else slice(tokens - kept, tokens)] = 1
    assert torch.equal(weights, expected)


def test_entropy_top_share_is_a_decimal() -> None:
    # 0.07 * 100 is 7.000000000000001 in floating point, which would round up to 8.
    weights = TOKEN_WEIGHTS["entropy_top"](torch.rand(1, 100), torch.rand(1, 100), torch.ones(1, 100), share=0.07)
    assert weights.sum() == 7


@pytest.mark.parametrize("seed", range(10))
def test_entropy_top_against_a_sorted_list(seed: int) -> None:
    prob, entropy, mask = random_batch(seed)
    entropy = (entropy * 4).round()  # many ties
    places = [(b, t) for b in range(6) for t in range(31) if mask[b, t]]
    ranked = sorted(places, key=lambda place: (-entropy[place].item(), place))
    expected = torch.zeros_like(prob)
    for place in ranked[: math.ceil(len(places) / 4)]:
        expected[place] = 1
    assert torch.equal(TOKEN_WEIGHTS["entropy_top"](prob, entropy, mask, share=0.25), expected)


def test_entropy_top_is_over_the_batch_not_the_sequence() -> None:
    entropy = torch.stack([torch.full((20,), 2.0), torch.full((20,), 1.0)])
    weights = TOKEN_WEIGHTS["entropy_top"](torch.rand(2, 20), entropy, torch.ones(2, 20))
    assert weights.sum(dim=1).tolist() == [2, 0]  # 5 % of 40, both where the entropy is higher


@pytest.mark.parametrize("name", NAMES)
def test_global_statistics_are_declared(name: str) -> None:
    """Weights of two halves equal those of the whole exactly for the names outside NEEDS_GLOBAL_BATCH."""
    prob, entropy, mask = random_batch(0)
    entropy[3:] *= 2
    function = TOKEN_WEIGHTS[name]
    whole = function(prob, entropy, mask)
    parts = [function(prob[i], entropy[i], mask[i]) for i in (slice(3), slice(3, 6))]
    assert torch.equal(whole, torch.cat(parts)) == (name not in NEEDS_GLOBAL_BATCH)


@pytest.mark.parametrize("name", NAMES)
def test_only_global_weights_read_the_entropy(name: str) -> None:
    prob, entropy, mask = random_batch(1)
    if name in NEEDS_GLOBAL_BATCH:
        with pytest.raises(ValueError, match="entropy_BT is None"):
            TOKEN_WEIGHTS[name](prob, None, mask)
    else:
        assert torch.equal(TOKEN_WEIGHTS[name](prob, None, mask), TOKEN_WEIGHTS[name](prob, entropy, mask))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e30, -7.0])
def test_masked_positions_are_zero_and_never_read(name: str, garbage: float) -> None:
    prob, entropy, mask = random_batch(2)
    clean = TOKEN_WEIGHTS[name](prob, entropy, mask)
    dirty = TOKEN_WEIGHTS[name](prob.masked_fill(~mask, garbage), entropy.masked_fill(~mask, garbage), mask.long())
    assert torch.equal(clean, dirty)
    assert torch.equal(dirty[~mask], torch.zeros(int((~mask).sum())))
    assert (dirty[mask] > 0).any()


@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_nothing(name: str) -> None:
    prob, entropy, mask = random_batch(3)
    weights = TOKEN_WEIGHTS[name](prob, entropy, mask)
    left, right = 2, 5
    wide_prob, wide_entropy = (torch.nn.functional.pad(x, (left, right), value=9.0) for x in (prob, entropy))
    wide = TOKEN_WEIGHTS[name](wide_prob, wide_entropy, torch.nn.functional.pad(mask, (left, right)))
    assert torch.equal(wide[:, left:-right], weights)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_expert_tokens_has_zero_weights(name: str) -> None:
    prob, entropy, mask = random_batch(4)
    assert torch.equal(TOKEN_WEIGHTS[name](prob, entropy, torch.zeros_like(mask)), torch.zeros_like(prob))


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_detached_and_at_least_float32(name: str) -> None:
    prob, entropy, mask = random_batch(5)
    for given, returned in [
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ]:
        weights = TOKEN_WEIGHTS[name](prob.to(given).requires_grad_(), entropy.to(given).requires_grad_(), mask)
        assert weights.dtype == returned
        assert not weights.requires_grad
        assert weights.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_rounding_just_outside_the_range_is_harmless(name: str) -> None:
    """exp(log-prob) can be 1 + 1e-7 and an entropy -1e-8; no weight may turn negative or NaN."""
    function = partial(TOKEN_WEIGHTS[name], gamma=1.5) if name == "focal" else TOKEN_WEIGHTS[name]
    weights = function(row(1 + 1.2e-7, 1, 0), row(-1e-8, 0, 1), row(1, 1, 1))
    assert weights.isfinite().all() and (weights >= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_gradient_through_the_logits_is_that_of_a_constant_weight(name: str) -> None:
    """Eq. 6: d L / d logits = phi / N * (softmax - onehot), although phi comes from the same logits."""
    generator = torch.Generator().manual_seed(6)
    logits = torch.randn(3, 8, 11, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 11, (3, 8), generator=generator)
    logp_all = logits.log_softmax(-1)
    logp = logp_all.gather(-1, target[..., None])[..., 0]
    entropy = -(logp_all.exp() * logp_all).sum(-1)
    mask = torch.ones(3, 8)
    weights = TOKEN_WEIGHTS[name](logp.exp(), entropy, mask)
    sft_loss(logp, mask, weights_BT=weights, denom=24).backward()
    onehot = torch.nn.functional.one_hot(target, 11)
    expected = weights[..., None] / 24 * (logp_all.detach().exp() - onehot)
    torch.testing.assert_close(logits.grad, expected)
    assert expected.abs().max() > 0


def test_is_clip_variants() -> None:
    prob, entropy, mask = row(0.1, 0.3, 0.5, 1.0), row(1, 1, 1, 1), row(1, 1, 1, 1)
    is_clip = TOKEN_WEIGHTS["is_clip"]
    torch.testing.assert_close(is_clip(prob, entropy, mask), row(0.1, 0.3, 0, 0))
    torch.testing.assert_close(is_clip(prob, entropy, mask, variant="cap"), row(0.1, 0.3, 0.4, 0.4))
    bound = partial(is_clip, threshold=0.2, variant="cap")
    torch.testing.assert_close(bound(prob, entropy, mask), row(0.1, 0.2, 0.2, 0.2))


def test_focal_gamma() -> None:
    focal = partial(TOKEN_WEIGHTS["focal"], gamma=0.5)  # sqrt(1 - 0.75) = 0.5
    torch.testing.assert_close(focal(row(0.0, 0.75, 1.0), None, row(1, 1, 1)), row(1, 0.5, 0))


@pytest.mark.parametrize(
    ("a", "b", "name", "params"),
    [
        (0, 0, "none", {}),  # also at p = 0 and p = 1: 0^0 = 1
        (1, 0, "importance", {}),
        (1, 1, "p_one_minus_p", {}),
        *((0, gamma, "focal", {"gamma": gamma}) for gamma in (0.5, 1.0, 2.0)),
    ],
)
def test_power_is_the_family_of_others(a: float, b: float, name: str, params: dict[str, float]) -> None:
    prob = row(*PROBS)
    weights = TOKEN_WEIGHTS["power"](prob, None, torch.ones_like(prob), a=a, b=b)
    assert torch.equal(weights, TOKEN_WEIGHTS[name](prob, None, torch.ones_like(prob), **params))


def test_power_golden() -> None:
    power = partial(TOKEN_WEIGHTS["power"], a=2.0, b=0.5)  # 0.36^2 sqrt(0.64) = 0.1296 * 0.8
    torch.testing.assert_close(power(row(0.0, 0.36, 1.0), None, row(1, 1, 1)), row(0, 0.10368, 0))


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("is_clip", {"variant": "drop"}, "'drop'; allowed: 'zero', 'cap'"),
        ("is_clip", {"threshold": 1.5}, "threshold is 1.5"),
        ("focal", {"gamma": -1.0}, "gamma is -1.0"),
        ("focal", {"gamma": math.inf}, "gamma is inf"),
        ("power", {"a": -0.5}, "a is -0.5"),
        ("power", {"b": math.nan}, "b is nan"),
        ("entropy_top", {"share": 0.0}, "share is 0.0"),
        ("entropy_top", {"share": 5}, "share is 5"),
    ],
)
def test_parameters_out_of_range_are_refused(name: str, params: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TOKEN_WEIGHTS[name](row(0.5), row(1), row(1), **params)


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("is_clip", {"threshold": 0.0}, (0.0, 0.0)),
        ("is_clip", {"threshold": 1.0}, (0.25, 0.5)),
        ("focal", {"gamma": 0.0}, (1.0, 1.0)),
        ("entropy_top", {"share": 1.0}, (1.0, 1.0)),
    ],
)
def test_parameters_at_the_ends_of_their_range(
    name: str, params: dict[str, float], expected: tuple[float, float]
) -> None:
    assert torch.equal(TOKEN_WEIGHTS[name](row(0.25, 0.5), row(1, 2), row(1, 1), **params), row(*expected))


def test_share_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"share is 1\.5"):
        TOKEN_WEIGHTS["entropy_top"](row(0.5), row(1), row(1), share=1.5)


@pytest.mark.parametrize("name", sorted(NEEDS_GLOBAL_BATCH))
def test_nan_entropy_of_an_expert_token_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="nan on an expert token"):
        TOKEN_WEIGHTS[name](row(0.5, 0.5), row(1, math.nan), row(1, 1))


@pytest.mark.parametrize("name", NAMES)
def test_shapes_must_agree(name: str) -> None:
    what = "entropy_BT" if name in NEEDS_GLOBAL_BATCH else "prob_BT"
    with pytest.raises(ValueError, match=rf"^{what} has shape \(2, 1\); allowed: that of mask_BT, \(2, 3\)"):
        TOKEN_WEIGHTS[name](torch.rand(2, 1), torch.rand(2, 1), torch.ones(2, 3))
