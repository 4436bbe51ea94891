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


def test_without_normalisation_only_the_mean_is_taken_off() -> None:
    # mean 1/4: 3/4 and -1/4, whatever the spread and eps are; ten times the rewards, ten times the advantages.
    rewards = torch.tensor([[1.0, 0, 0, 0], [10.0, 0, 0, 0]])
    expected = torch.tensor([[0.75, -0.25, -0.25, -0.25], [7.5, -2.5, -2.5, -2.5]])
    for eps in (0.0, 1e-6, 0.5):
        assert torch.equal(group_advantages(rewards, eps=eps, normalise=False), expected)


def test_the_expert_of_a_mixed_group_counts_like_a_rollout() -> None:
    # Seven rollouts, of which one is right, and the expert (last): mean 2/8, squared deviations
    # 2 * 0.75^2 + 6 * 0.25^2 = 1.5, unbiased std sqrt(1.5 / 7) = 0.462910. A = 0.75 / 0.462910 = 1.620185 for both
    # right answers and -0.540062 for the others. Among the seven alone the right one would have
    # (6/7) / 0.377964 = 2.267787.
    mixed = torch.tensor([[0.0, 0, 1, 0, 0, 0, 0, 1]])
    advantages = group_advantages(mixed)[0]
    torch.testing.assert_close(advantages[[2, 7]], torch.full((2,), 1.620185), atol=1e-5, rtol=0)
    torch.testing.assert_close(advantages[[0, 1, 3, 4, 5, 6]], torch.full((6,), -0.540062), atol=1e-5, rtol=0)
    # LUFFY's own setting: 1 - 2/8 and 0 - 2/8.
    assert group_advantages(mixed, normalise=False)[0, [2, 7, 0]].tolist() == [0.75, 0.75, -0.25]


@pytest.mark.parametrize("normalise", [True, False])
def test_the_expert_gives_a_hopeless_group_a_gradient_and_a_perfect_one_none(normalise: bool) -> None:
    hopeless, perfect = [0.0] * 7 + [1.0], [1.0] * 8
    advantages = group_advantages(torch.tensor([hopeless, perfect]), normalise=normalise)
    assert advantages[0, -1] > 0 and (advantages[0, :-1] < 0).all()
    assert torch.equal(advantages[1], torch.zeros(8))


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
@pytest.mark.parametrize("normalise", [True, False])
def test_equal_rewards_give_exact_zeros(reward: float, group: int, eps: float, normalise: bool) -> None:
    # Seven rewards of -0.1 have a float32 mean that differs from -0.1; (R - mean) / (std + eps) is not 0.
    equal = torch.full((1, group), reward)
    assert torch.equal(group_advantages(equal, eps=eps, normalise=normalise), torch.zeros(1, group))
    assert zero_variance_share(equal) == 1.0
    mixed = group_advantages(torch.cat([equal, torch.linspace(0, 1, group)[None]]), eps=eps, normalise=normalise)
    assert torch.equal(mixed[0], torch.zeros(group))
    assert mixed[1].abs().max() >= 0.5


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
