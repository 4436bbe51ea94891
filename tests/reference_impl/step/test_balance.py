"""Sequences dealt out over ranks: all of them, none twice, unchanged, about as many tokens each."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from reference_impl.step.balance import balanced, dealt
from reference_impl.step.batching import TrainingSequence
from tests.support.ranks import on_ranks

PROMPTS = ((1, 2, 3), (4, 5), (6,))


def step_of(ranks: int) -> list[list[TrainingSequence]]:
    """Each rank's own share, of very unequal lengths; the last rank has none."""
    shares: list[list[TrainingSequence]] = []
    for rank in range(ranks - 1):
        rollouts = [
            TrainingSequence(
                prompt_ids=PROMPTS[(rank + place) % 3],
                response_ids=tuple(range(1, 2 + 30 * (rank == 0) + place)),
                kind="rollout",
                advantage=0.1 * place - 1 / 3,
                engine_logprobs=tuple(-0.1 / (token + 1) for token in range(1 + 30 * (rank == 0) + place)),
                engine_entropies=(0.5,) * (place % 2),
                correct=place % 2 == 0,
            )
            for place in range(6)
        ]
        expert = TrainingSequence((7,), (8, rank), "expert", complete=False)
        shares.append([*rollouts, expert, TrainingSequence((7,), (rank,), "demonstration", advantage=2.0)])
    return [*shares, []]


def test_one_process_keeps_its_own() -> None:
    own = step_of(2)[0]
    assert balanced(own) == own and balanced(own, by_prompt=True) == own


@pytest.mark.parametrize(
    ("sizes", "ranks", "owners"),
    [
        ([5, 4, 3, 3, 3], 2, [0, 1, 1, 0, 1]),  # 5 | 4, 4+3 | … 8 and 10
        ([1, 9], 3, [1, 0]),
        ([2, 2, 2, 2], 2, [0, 1, 0, 1]),
        ([], 2, []),
    ],
)
def test_the_largest_goes_first_to_who_has_least(sizes: list[int], ranks: int, owners: list[int]) -> None:
    assert dealt(sizes, ranks) == owners


@pytest.mark.parametrize("by_prompt", [False, True])
def test_every_sequence_is_learnt_from_once_and_arrives_as_it_was(tmp_path: Path, by_prompt: bool) -> None:
    ranks = 3
    shares = step_of(ranks)
    whole = [sequence for share in shares for sequence in share]

    def work(rank: int) -> Any:
        return balanced(shares[rank], by_prompt=by_prompt)

    found = on_ranks(ranks, tmp_path, work)
    places = [[whole.index(sequence) for sequence in part] for part in found]
    assert sorted(place for part in places for place in part) == list(range(len(whole))), "equal in all fields"
    assert all(part == sorted(part) for part in places), "in the order of the global step"
    assert {field.name for field in fields(TrainingSequence)} == vars(whole[0]).keys()
    owners: dict[tuple[int, ...], set[int]] = {}
    for rank, part in enumerate(found):
        for sequence in part:
            owners.setdefault(sequence.prompt_ids, set()).add(rank)
    if by_prompt:
        assert all(len(ranks) == 1 for ranks in owners.values())
    else:
        loads = [sum(sequence.tokens for sequence in part) for part in found]
        assert max(loads) - min(loads) <= max(sequence.tokens for sequence in whole)
        assert max(loads) < 0.5 * sum(sequence.tokens for sequence in shares[0]), "one rank had nearly all of it"
