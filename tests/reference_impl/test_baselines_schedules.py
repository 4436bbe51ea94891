"""What defines each schedule of mu, seen through the trainer: SASR, binary, adaptive, periodic, cosine, warm-up."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reference_impl.files import read_jsonl
from reference_impl.rewards import REWARDS
from reference_impl.run.metrics import Record
from reference_impl.seeds import sample_seed
from reference_impl.trainer import Trainer
from tests.reference_impl.test_trainer import assert_resumes_identically, config_of, trainer_of
from tests.reference_impl.test_trainer_wiring import likes_vowels, script

pytestmark = pytest.mark.slow

QUICK = {"learning_rate": 1e-3, "max_response_tokens": 8, "rl_prompts": 2, "group_size": 4, "sft_batch": 3}


@pytest.fixture
def vowels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rewards that differ within a group, so that every step of a random policy has a gradient."""
    monkeypatch.setitem(REWARDS, "math", likes_vowels)


def trained(policy: Path, folder: Path, mu: dict[str, Any], **changes: Any) -> tuple[list[Record], Trainer]:
    """A quick run with a schedule of mu: its metrics, each with a gradient, and its trainer."""
    config = config_of("chord_mu", mu=mu, **(QUICK | {"validate_every": 100} | changes))
    trainer = trainer_of(config, policy, folder)
    trainer.train()
    records = read_jsonl(folder / "metrics.jsonl")
    assert all(record["grad_norm"] > 0 for record in records)
    return records, trainer


def constant(value: float) -> dict[str, Any]:
    return {"schedule": "constant", "value": value}


def assert_same_weights(first: Trainer, second: Trainer) -> None:
    expected: dict[str, Tensor] = dict(second.strategy.weights())
    for name, weight in first.strategy.weights().items():
        assert torch.equal(weight, expected[name]), name


# ---- SASR


def sasr(warmup: int, gamma: float) -> dict[str, Any]:
    return {"schedule": "gradient_norm", "warmup_steps": warmup, "gamma": gamma}


def test_sasr_with_gamma_0_is_sft(tiny_policy: Path, tmp_path: Path, vowels: None) -> None:
    """p = G / (G + 0 + 1e-8): SFT is as good as certain in every step after the warm-up too."""
    found, first = trained(tiny_policy, tmp_path / "sasr", sasr(2, 0.0), steps=5)
    expected, second = trained(tiny_policy, tmp_path / "sft", constant(1.0), steps=5)
    assert found == expected and [record["mu"] for record in found] == [1.0] * 5
    assert_same_weights(first, second)


def test_sasr_without_warmup_is_grpo(tiny_policy: Path, tmp_path: Path, vowels: None) -> None:
    """Without an SFT step both norms are 0, so p = 0."""
    found, first = trained(tiny_policy, tmp_path / "sasr", sasr(0, 1.0), steps=4)
    expected, second = trained(tiny_policy, tmp_path / "grpo", constant(0.0), steps=4)
    assert found == expected and [record["mu"] for record in found] == [0.0] * 4
    assert_same_weights(first, second)


@pytest.mark.parametrize("seed", [0, 1])
def test_sasr_draws_by_the_logged_gradient_norms(tiny_policy: Path, tmp_path: Path, vowels: None, seed: int) -> None:
    warmup, gamma = 2, 0.7
    records, _ = trained(tiny_policy, tmp_path, sasr(warmup, gamma), steps=12, seed=seed)
    latest, last_of_warmup = 0.0, records[warmup - 1]["grad_norm"]
    assert last_of_warmup is not None
    expected = []
    for step, record in enumerate(records):
        drawn = sample_seed("mu", seed, step) / 2**63
        p = 1.0 if step < warmup else latest / (latest + gamma * last_of_warmup + 1e-8)
        expected.append(float(drawn < p))
        if record["mu"] == 1:  # the norm of the latest SFT step; it stays through the GRPO steps
            assert record["grad_norm"] is not None and record["rollout_tokens"] == 0
            latest = record["grad_norm"]
        else:
            assert record["expert_tokens"] == 0
    found = [record["mu"] for record in records]
    assert found == expected and found[:warmup] == [1.0] * warmup and set(found[warmup:]) == {0.0, 1.0}


@pytest.mark.parametrize("done", [5, 7])
def test_sasr_resumes_identically(tiny_policy: Path, tmp_path: Path, vowels: None, done: int) -> None:
    config = config_of("sasr", mu=sasr(2, 0.7), steps=9, validate_every=3, **QUICK)
    assert_resumes_identically(config, tiny_policy, tmp_path, done)


# ---- Binary: SFT, then RL


def test_binary_mu_is_two_stage_training(tiny_policy: Path, tmp_path: Path, vowels: None) -> None:
    """Three SFT steps, then four of a GRPO run that starts from their weights with a new optimizer: bit for bit."""
    one, both = trained(tiny_policy, tmp_path / "one", {"schedule": "binary", "switch_steps": 3}, steps=7)
    first, sft = trained(tiny_policy, tmp_path / "sft", constant(1.0), steps=3)
    sft.strategy.export(tmp_path / "between", sft.validator.tokenizer)
    second, grpo = trained(tmp_path / "between", tmp_path / "grpo", constant(0.0), steps=4)
    clock = {"step", "paper_step"}
    two = [{key: value for key, value in record.items() if key not in clock} for record in first + second]
    assert [{key: value for key, value in record.items() if key not in clock} for record in one] == two
    assert [record["mu"] for record in one] == [1.0] * 3 + [0.0] * 4
    assert_same_weights(both, grpo)


@pytest.mark.parametrize(("every", "done"), [(3, 3), (3, 5), (2, 5)], ids=["at", "redone", "after"])
def test_binary_mu_resumes_identically(tiny_policy: Path, tmp_path: Path, vowels: None, every: int, done: int) -> None:
    """Interrupted where the stage changes, in the step after it, and with moments of the second stage."""
    config = config_of("chord_mu", mu={"schedule": "binary", "switch_steps": 3}, steps=7, validate_every=every, **QUICK)
    assert_resumes_identically(config, tiny_policy, tmp_path, done)


# ---- Adaptive


def test_adaptive_mu_follows_the_rewards_of_its_step(tiny_policy: Path, tmp_path: Path) -> None:
    tau = 0.5
    config = config_of("chord_mu", mu={"schedule": "adaptive", "threshold": tau}, rl_prompts=2, group_size=4)
    trainer = trainer_of(config, tiny_policy, tmp_path)
    trainer.engine.sync()
    for right in (0, 3, 4, 7, 1):  # of 8 rollouts, each with reward 1 or 0
        flat = [i < right for i in range(8)]
        script(trainer, [flat[::2], flat[1::2]])
        trainer.train_step()
    records = read_jsonl(tmp_path / "metrics.jsonl")
    assert [record["reward_mean"] for record in records] == [0, 3 / 8, 4 / 8, 7 / 8, 1 / 8]
    assert [record["mu"] for record in records] == [0.5, 0.125, 0.0, 0.0, 0.375]
    for record in records:
        assert record["mu"] == max(0.0, tau - record["reward_mean"])
        assert (record["expert_tokens"] > 0) is (record["sft_loss"] is not None) is (record["mu"] > 0)
    assert trainer.progress.expert_batches == 3, "a step without expert loss takes no batch from the stream"
    assert trainer.progress.rollout_batches == 5, "rollouts are sampled once a step"


def test_adaptive_mu_of_1_samples_for_its_rewards_only(tiny_policy: Path, tmp_path: Path) -> None:
    """Noise up to the limit earns -1 (A.2), so 0.5 - reward is above 1: pure SFT, yet with a reward."""
    mu = {"schedule": "adaptive", "threshold": 0.5}
    trainer = trainer_of(config_of("chord_mu", mu=mu, **QUICK), tiny_policy, tmp_path)
    trainer.engine.sync()
    trainer.train_step()
    (record,) = read_jsonl(tmp_path / "metrics.jsonl")
    assert record["mu"] == 1.0 and record["reward_mean"] < -0.5 and record["rollout_tokens"] == 0
    assert record["grpo_loss"] is record["zero_variance_share"] is None and record["sft_loss"] > 0


def test_adaptive_mu_resumes_identically(tiny_policy: Path, tmp_path: Path, vowels: None) -> None:
    mu = {"schedule": "adaptive", "threshold": 0.085}  # about the share of a's and e's of a random policy
    config = config_of("chord_mu", mu=mu, steps=6, validate_every=2, **QUICK)
    assert_resumes_identically(config, tiny_policy, tmp_path, done=3)
    found = [record["mu"] for record in read_jsonl(tmp_path / "through/metrics.jsonl")]
    assert min(found) == 0 < max(found) < 1


# ---- Declared walks


@pytest.mark.parametrize(
    ("mu", "expected"),
    [
        # Two SFT steps in every five, from the first step on.
        ({"schedule": "periodic", "period_steps": 5, "sft_steps": 2}, [1, 1, 0, 0, 0, 1, 1]),
        # 0.1 + 0.8 (1 + cos(pi s / 4)) / 2: cos is 1, 0.7071, 0, -0.7071, -1.
        (
            {"schedule": "cosine_decay", "start": 0.9, "end": 0.1, "decay_steps": 4},
            [0.9, 0.782843, 0.5, 0.217157, 0.1, 0.1],
        ),
        # 0.3 s / 2, then 0.3 - 0.25 (s - 2) / 2.
        (
            {"schedule": "warmup_decay", "peak": 0.3, "end": 0.05, "warmup_steps": 2, "decay_steps": 2},
            [0, 0.15, 0.3, 0.175, 0.05, 0.05],
        ),
    ],
    ids=["periodic", "cosine", "warmup"],
)
def test_schedules_walk_as_declared(
    tiny_policy: Path, tmp_path: Path, vowels: None, mu: dict[str, Any], expected: list[float]
) -> None:
    records, trainer = trained(tiny_policy, tmp_path, mu, steps=len(expected))
    assert [record["mu"] for record in records] == pytest.approx(expected, abs=1e-6)
    for record, value in zip(records, expected, strict=True):
        assert bool(record["rollout_tokens"]) is (value < 1) and bool(record["expert_tokens"]) is (value > 0)
        if 0 < value < 1:
            grpo, sft, whole = record["grpo_loss"], record["sft_loss"], record["loss"]
            assert grpo is not None and sft is not None and whole is not None
            assert whole == pytest.approx((1 - value) * grpo + value * sft, rel=1e-4)
    assert trainer.progress.rollout_batches == sum(value < 1 for value in expected)
    assert trainer.progress.expert_batches == sum(value > 0 for value in expected)
