"""Rollouts that are sampled while the update before their own runs."""

import dataclasses
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from reference_impl.config import load_scale
from reference_impl.config.scales import Scale
from reference_impl.files import read_jsonl
from reference_impl.rollout import Completion, EngineDeadError, GenerationRequest, fingerprint
from reference_impl.rollout.synced import SyncedEngine
from reference_impl.step.objective import build_objective
from reference_impl.trainer import Trainer
from tests.reference_impl.test_trainer import assert_resumes_identically, config_of, trainer_of

AHEAD = {"sample_ahead": True, "learning_rate": 1e-2}


def sampled_from(trainer: Trainer) -> tuple[list[str], list[str]]:
    """The weights of every request to the sampler, validations left out, and those that every step starts from."""
    sampler, policy = [], []
    generate, step = trainer.engine.engine.generate, trainer.train_step

    def noted(requests: Sequence[GenerationRequest], **settings: Any) -> list[Completion]:
        sampler.append(trainer.engine.engine.fingerprint())
        return generate(requests, **settings)

    def train_step() -> None:
        policy.append(fingerprint(trainer.strategy.weights()))
        trainer.engine.engine.generate = noted  # type: ignore[method-assign]
        step()
        if (begun := trainer.engine._begun) is not None:
            begun.result()
        trainer.engine.engine.generate = generate  # type: ignore[method-assign]

    trainer.train_step = train_step  # type: ignore[method-assign]
    trainer.train()
    return sampler, policy


def test_rollouts_are_off_by_one_update(tiny_policy: Path, tmp_path: Path) -> None:
    """Five batches: the first of the starting policy, each other of the weights before the update that runs beside."""
    config = config_of("chord_phi", steps=5, validate_every=2, **AHEAD)
    sampler, policy = sampled_from(trainer_of(config, tiny_policy, tmp_path))
    assert len(set(policy)) == 5
    assert sampler == [policy[0], *policy[:4]]


def test_the_ratio_is_over_what_the_sampler_said_and_is_clipped(tiny_policy: Path, tmp_path: Path) -> None:
    for name, changes in (("strict", {"learning_rate": 1e-2}), ("ahead", AHEAD)):
        trainer_of(config_of("grpo", **changes), tiny_policy, tmp_path / name).train()
    strict, ahead = (read_jsonl(tmp_path / name / "metrics.jsonl") for name in ("strict", "ahead"))
    assert strict[0] == {**ahead[0], "grpo_loss": pytest.approx(ahead[0]["grpo_loss"], abs=1e-6)} | {
        key: pytest.approx(ahead[0][key], rel=1e-4, abs=1e-6)
        for key in ("loss", "grad_norm", "entropy", "engine_kl", "engine_ess")
    }
    assert all(record["clip_fraction"] == 0 for record in strict)
    assert max(record["clip_fraction"] for record in ahead[1:]) > 0
    assert max(record["engine_kl"] for record in ahead[1:]) > 1e-3 > max(record["engine_kl"] for record in strict)


@pytest.mark.parametrize("run", ["chord_mu", "grpo", "luffy"])
def test_interrupted_run_continues_with_what_was_sampled_ahead(tiny_policy: Path, tmp_path: Path, run: str) -> None:
    config = config_of(run, steps=6, validate_every=2, **AHEAD)
    assert_resumes_identically(config, tiny_policy, tmp_path, done=3)


@pytest.mark.parametrize(
    ("run", "mu", "ahead"),
    [
        ("grpo", {"schedule": "constant", "value": 0.0}, [True, True, True, False]),
        ("sft-lr5e-06", {"schedule": "constant", "value": 1.0}, [False, False, False, False]),
        ("chord_mu", {"schedule": "binary", "switch_steps": 2}, [False, True, True, False]),
        ("chord_mu", {"schedule": "adaptive", "threshold": 0.5}, [True, True, True, False]),
        ("sasr", {"schedule": "gradient_norm", "warmup_steps": 1, "gamma": 1.0}, [False, False, False, False]),
    ],
)
def test_only_what_will_be_used_is_sampled_ahead(
    tiny_policy: Path, tmp_path: Path, run: str, mu: dict[str, Any], ahead: list[bool]
) -> None:
    """Not before a step of SFT, nor before one that may become one, nor after the last."""
    trainer = trainer_of(config_of(run, steps=4, mu=mu, **AHEAD), tiny_policy, tmp_path)
    found = []
    for _ in ahead:
        found.append(trainer.samples_ahead())
        trainer.progress.step += 1
    assert found == ahead


class Waiting:
    """A sampler that answers once it may."""

    def __init__(self) -> None:
        self.may, self.weights, self.dead = threading.Event(), {"w": torch.zeros(1)}, False

    def generate(self, requests: Sequence[GenerationRequest], **settings: Any) -> list[Completion]:
        assert self.may.wait(10)
        if self.dead:
            raise EngineDeadError("the engine is gone")
        return [Completion((1,), str(float(self.weights["w"])), (0.0,), False) for _ in requests]

    def update_weights(self, state: dict[str, torch.Tensor]) -> None:
        self.weights = {name: tensor.clone() for name, tensor in state.items()}

    def fingerprint(self) -> str:
        return fingerprint(self.weights)

    def restart(self) -> None:
        self.dead = False


def test_sampling_goes_on_beside_the_caller() -> None:
    policy, engine = {"w": torch.ones(1)}, Waiting()
    synced = SyncedEngine(engine, lambda: policy, 4, 1.0)  # type: ignore[arg-type]
    request = [GenerationRequest((1,), 0)]
    assert synced.finish() is None and synced.begun() is None
    synced.begin(request)
    policy["w"] += 1  # the update
    synced.stale = True
    engine.may.set()
    assert [done.text for done in synced.begun() or []] == ["1.0"], "of the weights at its beginning"
    assert [done.text for done in synced.generate(request)] == ["2.0"], "a validation comes between"
    assert [done.text for done in synced.finish() or []] == ["1.0"]
    assert synced.finish() is None


def test_an_engine_that_dies_ahead_ends_the_run() -> None:
    """The weights that it sampled from are gone; only the last state has what leads to them."""
    engine = Waiting()
    engine.dead = True
    engine.may.set()
    synced = SyncedEngine(engine, lambda: {"w": torch.ones(1)}, 4, 1.0)  # type: ignore[arg-type]
    synced.begin([GenerationRequest((1,), 0)])
    with pytest.raises(EngineDeadError, match="the engine is gone"):
        synced.finish()


def test_it_is_part_of_a_run_s_identity_where_it_is_on() -> None:
    config = config_of("grpo")
    assert dataclasses.replace(config, sample_ahead=True).hash() != config.hash()
    assert build_objective(config).strictly_on_policy
    assert not build_objective(dataclasses.replace(config, sample_ahead=True)).strictly_on_policy


def test_an_engine_that_sleeps_through_the_update_cannot_sample_meanwhile() -> None:
    scale = load_scale("gpu1").model_dump() | {"sample_ahead": True}
    with pytest.raises(ValueError, match="sample_ahead with placement colocated"):
        Scale.model_validate(scale)
    resources = scale["resources"] | {"train": scale["resources"]["train"] | {"gpu": 2}}
    placed = scale | {"engine_options": {"placement": "dedicated"}, "resources": resources}
    assert Scale.model_validate(placed).sample_ahead
