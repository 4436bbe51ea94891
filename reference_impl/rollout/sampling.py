"""Rollouts of a set of data rows, graded: shared by the training step and the validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from reference_impl.rewards import Graded, Reward
from reference_impl.rollout import Completion, GenerationRequest, RolloutEngine
from reference_impl.seeds import sample_seed
from reference_impl.strategy.distributed import gather


@dataclass(frozen=True)
class Rollout:
    """One sampled response and its grade."""

    prompt_ids: tuple[int, ...]
    completion: Completion
    graded: Graded


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


def sample_rollouts(
    engine: RolloutEngine,
    rows: Sequence[dict[str, Any]],
    prompts: Sequence[tuple[int, ...]],
    *,
    samples: int,
    reward: Reward,
    seed_parts: Sequence[str | int],
    max_tokens: int,
    temperature: float,
    first_place: int = 0,
) -> list[Rollout]:
    """``samples`` graded responses per row, row by row (P × G, flattened).

    The seed of each is named by ``seed_parts``, the row's place and id, and the sample's number: a prompt that stands
    twice in a batch gets two different groups. ``first_place`` is the place of the first row in the global batch, where
    the rows are a rank's share of it.
    """
    if not rows:
        return []
    requests = [
        GenerationRequest(prompt, sample_seed(*seed_parts, place, row["id"], sample))
        for place, (row, prompt) in enumerate(zip(rows, prompts, strict=True), first_place)
        for sample in range(samples)
    ]
    completions = engine.generate(requests, max_tokens=max_tokens, temperature=temperature)
    graded = reward.grade_all(
        [completion.text for completion in completions],
        [row["gold"] for row in rows for _ in range(samples)],
        [completion.truncated for completion in completions],
    )
    return [
        Rollout(request.prompt_ids, completion, grade)
        for request, completion, grade in zip(requests, completions, graded, strict=True)
    ]
