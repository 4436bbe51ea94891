"""Rollouts of a set of data rows, graded: shared by the training step and the validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reference_impl.rewards import REWARDS, Graded
from reference_impl.rollout import Completion, GenerationRequest, RolloutEngine, sample_seed


@dataclass(frozen=True)
class Rollout:
    """One sampled response and its grade."""

    prompt_ids: tuple[int, ...]
    completion: Completion
    graded: Graded


def sample_rollouts(
    engine: RolloutEngine,
    rows: Sequence[dict[str, Any]],
    prompts: Sequence[tuple[int, ...]],
    *,
    samples: int,
    reward: str,
    seed_parts: Sequence[str | int],
    max_tokens: int,
    temperature: float,
) -> list[Rollout]:
    """``samples`` graded responses per row, row by row (P × G, flattened).

    The seed of each is named by ``seed_parts``, the row's place and id, and the sample's number: a prompt that stands
    twice in a batch gets two different groups.
    """
    requests = [
        GenerationRequest(prompt, sample_seed(*seed_parts, place, row["id"], sample))
        for place, (row, prompt) in enumerate(zip(rows, prompts, strict=True))
        for sample in range(samples)
    ]
    completions = engine.generate(requests, max_tokens=max_tokens, temperature=temperature)
    grade = REWARDS[reward]
    rollouts = []
    for i, (request, completion) in enumerate(zip(requests, completions, strict=True)):
        graded = grade(completion.text, rows[i // samples]["gold"], completion.truncated)
        rollouts.append(Rollout(request.prompt_ids, completion, graded))
    return rollouts
