"""The trainer's own step on sequences of a test's choice."""

from collections.abc import Sequence
from typing import Any

import torch

from reference_impl.mu import Mu
from reference_impl.rollout.sampling import PromptBatch
from reference_impl.run.metrics import Record
from reference_impl.step.batching import TrainingSequence
from reference_impl.trainer import Trainer


def one_update(trainer: Trainer, sequences: Sequence[TrainingSequence], mu: float) -> Record:
    """Train one step on these sequences, in the place of those sampled and drawn; returns what the update logs."""
    groups = [sequence for sequence in sequences if sequence.kind != "expert"]
    expert = [sequence for sequence in sequences if sequence.kind == "expert"]
    logged: list[Record] = []

    def log(mu: float, rollouts: Record, update: Record, *_: Any) -> None:
        logged.append(update)

    trainer.choose_mu = lambda outcomes=(): Mu(mu, {})  # type: ignore[method-assign]
    trainer.next_prompts = lambda: PromptBatch([], [], 0, ())  # type: ignore[method-assign]
    trainer.advantages = lambda rollouts: (groups, torch.zeros(0, 1))  # type: ignore[method-assign]
    trainer.expert_batch = lambda: expert  # type: ignore[method-assign]
    trainer.log_step = log  # type: ignore[method-assign, assignment]
    trainer.train_step()
    return logged[0]
