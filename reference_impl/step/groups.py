"""Groups of responses to one prompt as training sequences, with demonstrations among them where a method mixes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reference_impl.advantages import group_advantages
from reference_impl.rewards import Reward
from reference_impl.rollout.sampling import Rollout
from reference_impl.step.batching import TrainingSequence


@dataclass(frozen=True)
class Demonstrations:
    """The expert's response to every RL prompt, and the reward that it gets."""

    sequences: Mapping[tuple[int, ...], TrainingSequence]
    """By the prompt's tokens."""
    rewards: Mapping[tuple[int, ...], float]

    @classmethod
    def align(
        cls,
        prompts: Sequence[Mapping[str, Any]],
        prompt_tokens: Sequence[tuple[int, ...]],
        experts: Sequence[Mapping[str, Any]],
        sequences: Sequence[TrainingSequence],
        reward: Reward,
        tokenizer: PreTrainedTokenizerBase,
    ) -> "Demonstrations":
        """The demonstration of each prompt, graded as a rollout would be: one that is cut, by what is left of it.

        ``prompt_tokens`` are those of ``prompts``, ``sequences`` those of ``experts``. Raises ValueError naming the
        first prompt without a demonstration.
        """
        ungraded = [row["id"] for row in experts if "gold" not in row]
        if ungraded:
            raise ValueError(f"{len(ungraded)} demonstrations have no gold to grade them by, the first: {ungraded[0]}")
        known = {sequence.prompt_ids for sequence in sequences}
        missing = [row["id"] for row, ids in zip(prompts, prompt_tokens, strict=True) if ids not in known]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(prompts)} RL prompts have no expert demonstration, the first: {missing[0]}; "
                "methods that mix demonstrations into groups need one for every prompt"
            )
        graded = reward.grade_all(
            [
                row["response"] if sequence.complete else str(tokenizer.decode(list(sequence.response_ids)))
                for row, sequence in zip(experts, sequences, strict=True)
            ],
            [row["gold"] for row in experts],
            [not sequence.complete for sequence in sequences],
        )
        mixed = [replace(sequence, kind="demonstration") for sequence in sequences]
        return cls(
            sequences={sequence.prompt_ids: sequence for sequence in mixed},
            rewards={s.prompt_ids: grade.reward for s, grade in zip(mixed, graded, strict=True)},
        )


def group_sequences(
    rollouts: Sequence[Rollout], group_size: int, demonstrations: Demonstrations | None, normalise: bool
) -> tuple[list[TrainingSequence], Tensor]:
    """Sequences with their advantages, and the rewards (P, G) that these come from.

    With demonstrations the last of each group of G is the expert's: statistics are over all G (Yan et al. 2025).
    """
    if not rollouts:  # one of many ranks may have no group
        return [], torch.zeros(0, group_size)
    sampled = group_size - (demonstrations is not None)
    sequences: list[TrainingSequence] = []
    rewards: list[float] = []
    for start in range(0, len(rollouts), sampled):
        group = rollouts[start : start + sampled]
        sequences += [
            TrainingSequence(
                r.prompt_ids,
                r.completion.token_ids,
                "rollout",
                engine_logprobs=r.completion.logprobs,
                engine_entropies=r.completion.entropies,
                correct=r.graded.correct,
            )
            for r in group
        ]
        rewards += [r.graded.reward for r in group]
        if demonstrations is not None:
            sequences.append(demonstrations.sequences[group[0].prompt_ids])
            rewards.append(demonstrations.rewards[group[0].prompt_ids])
    rewards_PG = torch.tensor(rewards).view(-1, group_size)
    advantages = group_advantages(rewards_PG, normalise=normalise).flatten().tolist()
    return [replace(s, advantage=a) for s, a in zip(sequences, advantages, strict=True)], rewards_PG
