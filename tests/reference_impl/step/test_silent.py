"""Sequences without an advantage cost no pass, and a step without them is the step with them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from reference_impl.run.metrics import Record
from reference_impl.step.batching import TrainingSequence
from reference_impl.step.silent import set_silent_aside
from tests.reference_impl.test_trainer import config_of, trainer_of
from tests.support.one_update import one_update

ADVANTAGES = (1.5, -0.5, -0.5, -0.5, 0.0, 0.0, 0.0, 0.0)


def sampled(policy: Path, folder: Path, advantages: Sequence[float] = ADVANTAGES) -> list[TrainingSequence]:
    """Two groups of four as the engine samples them, with these advantages, and two demonstrations."""
    trainer = trainer_of(config_of("grpo", rl_prompts=2, group_size=4), policy, folder)
    batch = trainer.next_prompts()
    completions = trainer.engine.generate(batch.requests())
    rollouts = batch.graded(completions, trainer.reward)
    groups, _ = trainer.advantages(rollouts)
    found = [replace(s, advantage=a) for s, a in zip(groups, advantages, strict=True)]
    return [*found, *trainer.expert[:2]]


def untold(sequences: Sequence[TrainingSequence]) -> list[TrainingSequence]:
    """The same from an engine that does not tell its entropies: none is set aside."""
    return [replace(sequence, engine_entropies=()) for sequence in sequences]


def updated(
    policy: Path, folder: Path, sequences: Sequence[TrainingSequence], mu: float, steps: int = 2, **changes: Any
) -> tuple[list[Record], dict[str, torch.Tensor]]:
    """What some equal steps log, and the weights after them."""
    trainer = trainer_of(config_of("chord_phi", **changes), policy, folder)
    logged = [one_update(trainer, sequences, mu) for _ in range(steps)]
    return logged, {name: tensor.clone() for name, tensor in trainer.strategy.model.state_dict().items()}


def nearly(record: Record) -> dict[str, Any]:
    return {key: value if value is None else pytest.approx(value, rel=1e-4, abs=1e-6) for key, value in record.items()}


@pytest.mark.parametrize("mu", [0.0, 0.3])
def test_a_step_is_the_same_without_them(tiny_policy: Path, tmp_path: Path, mu: float) -> None:
    """Loss, gradient norm and weights to rounding; only what compares the sampler with the update is over fewer."""
    sequences = [s for s in sampled(tiny_policy, tmp_path / "sampling") if mu > 0 or s.kind == "rollout"]
    (found, weights), (wanted, full) = (
        updated(tiny_policy, tmp_path / name, rows, mu, steps=1)
        for name, rows in (("without", sequences), ("with", untold(sequences)))
    )
    assert (wanted[0]["entropy"] or 0) > 0 and (wanted[0]["grad_norm"] or 0) > 0
    assert found[0] == nearly(wanted[0])
    torch.testing.assert_close(weights, full, atol=1e-6, rtol=1e-5)


def test_a_step_with_nothing_to_learn_is_a_step(tiny_policy: Path, tmp_path: Path) -> None:
    """Its gradient is zero, and the optimizer's momentum goes on as it does with a full pass."""
    first = [s for s in sampled(tiny_policy, tmp_path / "sampling") if s.kind == "rollout"]
    nothing = [replace(s, advantage=0.0) for s in first]
    weights = []
    for name, rows in (("without", nothing), ("with", untold(nothing))):
        trainer = trainer_of(config_of("chord_phi", learning_rate=1e-3), tiny_policy, tmp_path / name)
        one_update(trainer, untold(first), 0.0)
        before = trainer.strategy.model.get_output_embeddings().weight.detach().clone()
        logged = one_update(trainer, rows, 0.0)
        assert logged["grad_norm"] == logged["loss"] == 0
        assert (logged["engine_kl"] is None) == (name == "without")
        weights.append(trainer.strategy.model.state_dict())
        assert not torch.equal(before, trainer.strategy.model.get_output_embeddings().weight)
    torch.testing.assert_close(weights[0], weights[1], atol=1e-7, rtol=0)


def test_who_is_set_aside(tiny_policy: Path, tmp_path: Path) -> None:
    trainer = trainer_of(config_of("grpo"), tiny_policy, tmp_path)
    model, objective = trainer.strategy.model, trainer.objective
    prompt, response = (3, 4), (5, 6)
    expert = TrainingSequence(prompt, response, "expert")
    told = TrainingSequence(prompt, response, "rollout", engine_entropies=(0.1, 0.2))
    mixed = TrainingSequence(prompt, response, "demonstration")
    rows = [told, replace(told, advantage=0.1), replace(told, engine_entropies=()), mixed, expert]
    assert set_silent_aside(model, objective, rows) == ([rows[1], rows[2], expert], [told, mixed])
    for changes in ({"strictly_on_policy": False}, {"tis_cap": 2.0}, {"auxiliary": {"rollouts": None}}):
        assert set_silent_aside(model, replace(objective, **changes), rows) == (rows, [])
    model.config.output_router_logits = True
    assert set_silent_aside(model, objective, rows) == (rows, [])


@pytest.mark.parametrize("mu", [0.0, 0.3])
def test_packed_rows_give_the_same_step(tiny_policy: Path, tmp_path: Path, mu: float) -> None:
    sequences = [s for s in sampled(tiny_policy, tmp_path / "sampling") if mu > 0 or s.kind == "rollout"]
    for rows in (sequences, untold(sequences)):
        (found, weights), (wanted, plain) = (
            updated(
                tiny_policy, tmp_path / f"{shared}{len(rows[0].engine_entropies)}", rows, mu, 1, share_prompts=shared
            )
            for shared in (True, False)
        )
        assert found[0] == nearly(wanted[0])
        torch.testing.assert_close(weights, plain, atol=1e-6, rtol=1e-5)
