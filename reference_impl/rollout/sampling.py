"""Rollouts of a set of data rows, graded: shared by the training step and the validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from reference_impl.rewards import Graded, Reward
from reference_impl.rollout.engine import Completion, GenerationRequest
from reference_impl.seeds import sample_seed
from reference_impl.strategy.distributed import gather


@dataclass(frozen=True)
class Rollout:
    """One sampled response and its grade."""

    prompt_ids: tuple[int, ...]
    completion: Completion
    graded: Graded


@dataclass(frozen=True)
class PromptBatch:
    """Rows to sample G responses to each, as (P × G) requests and rollouts, row by row."""

    rows: Sequence[dict[str, Any]]
    prompts: Sequence[tuple[int, ...]]
    """Each row's token ids."""
    samples: int
    seed_parts: tuple[str | int, ...]
    """What the batch is, in names: with a row's place and id and the sample's number they seed a response."""
    first_place: int = 0
    """Place of the first row in the batch of all ranks, of which these rows are one's share."""

    def requests(self) -> list[GenerationRequest]:
        """One request per response. A prompt that stands twice in a batch gets two different groups."""
        return [
            GenerationRequest(prompt, sample_seed(*self.seed_parts, place, row["id"], sample))
            for place, (row, prompt) in enumerate(zip(self.rows, self.prompts, strict=True), self.first_place)
            for sample in range(self.samples)
        ]

    def graded(self, completions: Sequence[Completion], reward: Reward) -> list[Rollout]:
        """The responses with their rewards."""
        grades = reward.grade_all(
            [completion.text for completion in completions],
            [row["gold"] for row in self.rows for _ in range(self.samples)],
            [completion.truncated for completion in completions],
        )
        prompts = [prompt for prompt in self.prompts for _ in range(self.samples)]
        return [Rollout(*parts) for parts in zip(prompts, completions, grades, strict=True)]


@dataclass(frozen=True)
class Outcome:
    """What all ranks know of a rollout: enough for the log, the controllers of mu and the validation."""

    reward: float
    score: float
    correct: bool
    well_formatted: bool
    truncated: bool
    tokens: int


def gather_outcomes(rollouts: Sequence[Rollout]) -> list[Outcome]:
    """The outcomes of all ranks' rollouts, in the order of the global step."""
    rows = [
        [
            grade.reward,
            grade.score,
            grade.correct,
            grade.well_formatted,
            completion.truncated,
            len(completion.token_ids),
        ]
        for grade, completion in ((rollout.graded, rollout.completion) for rollout in rollouts)
    ]
    # float64 holds a Python number exactly: what is computed from these is the same on any number of ranks.
    parts = gather(torch.tensor(rows, dtype=torch.float64).view(len(rows), 6))
    return [
        Outcome(reward, score, bool(correct), bool(well_formatted), bool(truncated), int(tokens))
        for reward, score, correct, well_formatted, truncated, tokens in torch.cat(parts).tolist()
    ]
