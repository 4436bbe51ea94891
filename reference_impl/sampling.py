"""Rollouts of a set of data rows, graded: shared by the training step and the validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reference_impl.rewards import Graded, Reward
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
    reward: Reward,
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
    graded = reward.grade_all(
        [completion.text for completion in completions],
        [row["gold"] for row in rows for _ in range(samples)],
        [completion.truncated for completion in completions],
    )
    return [
        Rollout(request.prompt_ids, completion, grade)
        for request, completion, grade in zip(requests, completions, graded, strict=True)
    ]
