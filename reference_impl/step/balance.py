"""Sequences of a step dealt out again over the ranks, so that none waits for the one with the longest responses.

Each rank samples its own share of the prompts, and lengths differ: learning from its own rollouts, the slowest rank
would have a third more tokens than the mean. Every loss is a sum over tokens divided by a denominator of the global
step, so who computes a token's share changes a result by rounding only. (A mixture of experts' router loss is a mean
over each micro-batch, and does a little.) With one process nothing happens.
"""

from collections.abc import Hashable, Sequence
from typing import get_args

import torch
from torch import Tensor

from reference_impl.step.batching import Kind, TrainingSequence
from reference_impl.strategy.distributed import gather, rank, world_size

KINDS: tuple[Kind, ...] = get_args(Kind)


def balanced(sequences: Sequence[TrainingSequence], *, by_prompt: bool = False) -> list[TrainingSequence]:
    """This rank's part of all ranks' sequences, dealt out by length, in the order of the global step.

    ``by_prompt``: sequences of one prompt stay together, where its tokens are computed once. All ranks call it.
    """
    if world_size() == 1:
        return list(sequences)
    everything = _gathered(sequences)
    keys: list[Hashable] = [s.prompt_ids if by_prompt else place for place, s in enumerate(everything)]
    tokens: dict[Hashable, int] = {}
    for key, sequence in zip(keys, everything, strict=True):
        prompt = len(sequence.prompt_ids) if key not in tokens else 0
        tokens[key] = tokens.get(key, 0) + prompt + len(sequence.response_ids)
    owners = dict(zip(tokens, dealt([*tokens.values()], world_size()), strict=True))
    return [sequence for key, sequence in zip(keys, everything, strict=True) if owners[key] == rank()]


def dealt(sizes: Sequence[int], ranks: int) -> list[int]:
    """The rank of each: the largest first, each to the rank that has least so far (Graham 1969: at most a third of the
    best possible more).
    """
    owners, loads = [0] * len(sizes), [0] * ranks
    for place in sorted(range(len(sizes)), key=lambda place: (-sizes[place], place)):
        owners[place] = loads.index(min(loads))
        loads[owners[place]] += sizes[place]
    return owners


def _gathered(sequences: Sequence[TrainingSequence]) -> list[TrainingSequence]:
    """All ranks' sequences, by rank: float64 holds a Python number exactly, so none changes on its way."""
    facts = [
        [
            len(s.prompt_ids),
            len(s.response_ids),
            len(s.engine_logprobs),
            len(s.engine_entropies),
            KINDS.index(s.kind),
            s.correct,
            s.complete,
        ]
        for s in sequences
    ]
    ids = [token for s in sequences for token in (*s.prompt_ids, *s.response_ids)]
    numbers = [number for s in sequences for number in (s.advantage, *s.engine_logprobs, *s.engine_entropies)]
    parts = zip(
        gather(torch.tensor(facts, dtype=torch.long).view(len(facts), 7)),
        gather(torch.tensor(ids, dtype=torch.long)),
        gather(torch.tensor(numbers, dtype=torch.float64)),
        strict=True,
    )
    return [sequence for part in parts for sequence in _unpacked(*part)]


def _unpacked(facts_N7: Tensor, ids: Tensor, numbers: Tensor) -> list[TrainingSequence]:
    """One rank's sequences."""
    left_ids, left_numbers = iter(ids.tolist()), iter(numbers.tolist())

    def ints(count: int) -> tuple[int, ...]:
        return tuple(next(left_ids) for _ in range(count))

    def floats(count: int) -> tuple[float, ...]:
        return tuple(next(left_numbers) for _ in range(count))

    return [
        TrainingSequence(
            prompt_ids=ints(prompt),
            response_ids=ints(response),
            kind=KINDS[kind],
            advantage=floats(1)[0],
            engine_logprobs=floats(logprobs),
            engine_entropies=floats(entropies),
            correct=bool(correct),
            complete=bool(complete),
        )
        for prompt, response, logprobs, entropies, kind, correct, complete in facts_N7.tolist()
    ]
