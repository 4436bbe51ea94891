"""Group advantages (Section 2): golden values, which standard deviation, groups without variance."""

import statistics

import pytest
import torch

from reference_impl.advantages import group_advantages, zero_variance_share


def test_golden_one_success_in_eight() -> None:
    # mean = 1/8; squared deviations 0.875^2 + 7 * 0.125^2 = 0.875; unbiased variance 0.875 / 7 = 0.125,
    # std = 0.353553. A = 0.875 / 0.353553 = 2.474874 and -0.125 / 0.353553 = -0.353553 (eps = 1e-6 moves
    # the sixth digit). The population standard deviation would give 2.645751.
    rewards = torch.tensor([[1.0, 0, 0, 0, 0, 0, 0, 0]])
    advantages = group_advantages(rewards)
    torch.testing.assert_close(advantages[0, 0].item(), 2.474867, atol=1e-6, rtol=0)
    torch.testing.assert_close(advantages[0, 1:], torch.full((7,), -0.353552), atol=1e-6, rtol=0)


def test_eps_is_added_to_the_standard_deviation() -> None:
    # mean 0.5, unbiased variance 2 * 0.25 / 1 = 0.5, std 0.707107; 0.5 / (0.707107 + 0.5) = 0.414214.
    # Adding eps to the variance instead would give 0.5 / sqrt(0.5 + 0.5) = 0.5.
    advantages = group_advantages(torch.tensor([[0.0, 1.0]]), eps=0.5)
    torch.testing.assert_close(advantages, torch.tensor([[-0.414214, 0.414214]]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("seed", range(10))
def test_against_a_loop_over_groups(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    allowed = torch.tensor([-1.0, -0.1, 0.0, 1.0], dtype=torch.float64)  # the reward scheme of A.2
    rewards = allowed[torch.randint(0, 4, (5, 8), generator=generator)]
    expected = []
    for group in rewards.tolist():
        mean, std = statistics.fmean(group), statistics.stdev(group)
        expected.append([(r - mean) / (std + 1e-6) if std > 0 else 0.0 for r in group])
    torch.testing.assert_close(group_advantages(rewards), torch.tensor(expected, dtype=torch.float64))


def test_groups_do_not_see_each_other() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.0], [100.0, -50.0, 3.0]])
    torch.testing.assert_close(group_advantages(rewards)[:1], group_advantages(rewards[:1]), atol=0, rtol=0)


@pytest.mark.parametrize("reward", [0.0, 1.0, -0.1, -1.0, 1 / 3, 1e6 + 0.1])
@pytest.mark.parametrize("group", [2, 3, 7, 8])
@pytest.mark.parametrize("eps", [1e-6, 0.0])
def test_equal_rewards_give_exact_zeros(reward: float, group: int, eps: float) -> None:
    # Seven rewards of -0.1 have a float32 mean that differs from -0.1; (R - mean) / (std + eps) is not 0.
    equal = torch.full((1, group), reward)
    assert torch.equal(group_advantages(equal, eps=eps), torch.zeros(1, group))
    assert zero_variance_share(equal) == 1.0
    mixed = group_advantages(torch.cat([equal, torch.linspace(0, 1, group)[None]]), eps=eps)
    assert torch.equal(mixed[0], torch.zeros(group))
    assert mixed[1].abs().max() > 0.5


def test_low_precision_and_integer_rewards_are_computed_in_float32() -> None:
    golden = group_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
    for dtype in (torch.bfloat16, torch.int64):
        advantages = group_advantages(torch.tensor([[1, 0, 0, 0]], dtype=dtype))
        assert advantages.dtype == torch.float32
        assert torch.equal(advantages, golden)


def test_advantages_carry_no_gradient() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.5]], requires_grad=True)
    assert not group_advantages(rewards).requires_grad


def test_zero_variance_share_counts_groups() -> None:
    # All right, all wrong, one different: 2 of 3. Groups with the same mean are not thereby equal.
    rewards = torch.tensor([[1.0] * 7, [-0.1] * 7, [1.0] + [0.0] * 6])
    assert zero_variance_share(rewards) == pytest.approx(2 / 3)
    assert zero_variance_share(rewards[2:]) == 0.0
    assert zero_variance_share(rewards[:2]) == 1.0


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        (torch.zeros(3, 1), "G = 1"),
        (torch.zeros(8), r"\(8,\)"),
        (torch.zeros(0, 8), r"\(0, 8\)"),
        (torch.tensor([[0.0, float("nan")]]), "nan"),
        (torch.tensor([[0.0, float("inf")]]), "inf"),
    ],
)
def test_rewards_that_have_no_advantage_are_refused(rewards: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        group_advantages(rewards)
    with pytest.raises(ValueError, match=message):
        zero_variance_share(rewards)


@pytest.mark.parametrize("eps", [-1e-6, float("nan")])
def test_eps_must_not_be_negative(eps: float) -> None:
    with pytest.raises(ValueError, match="eps is"):
        group_advantages(torch.tensor([[0.0, 1.0]]), eps=eps)
