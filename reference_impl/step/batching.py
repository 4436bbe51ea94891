"""Token sequences, micro-batches by token budget, and log-probs of their responses.

A step's rollouts and expert demonstrations are sequences of one kind. They are sorted by length and cut into
micro-batches of similar length; since every loss is a sum over tokens divided by a denominator of the global step, the
cut changes nothing but memory and speed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reference_impl.step.shared_prefix import PackedRow, pack, packed_logprobs
from reference_impl.step.token_logprobs import spread, token_logprobs
from reference_impl.text.chat import end_of_turn, prompt_text

Kind = Literal["rollout", "demonstration", "expert"]
"""A response sampled from the policy; an expert's among the rollouts of its prompt's group; an expert's in the SFT
batch."""


@dataclass(frozen=True)
class TrainingSequence:
    """A prompt and its response, as token ids; the loss sees the response only.

    Members of a group have an ``advantage``; rollouts have ``engine_logprobs`` and, of some engines,
    ``engine_entropies`` (what the engine said of its own tokens) and are ``correct`` or not.
    """

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    kind: Kind
    advantage: float = 0.0
    engine_logprobs: tuple[float, ...] = ()
    engine_entropies: tuple[float, ...] = ()
    correct: bool = False
    complete: bool = True
    """Whether the response reaches its end of turn."""

    @property
    def tokens(self) -> int:
        return len(self.prompt_ids) + len(self.response_ids)


@dataclass(frozen=True)
class MicroBatch:
    """Right-padded tensors; position t of the (B, T) tensors is the prediction of token t+1 of the ids (B, T+1)."""

    ids_BT1: Tensor
    mask_BT: Tensor
    """1 where the predicted token belongs to the response."""
    real_BT1: Tensor
    """1 for tokens, 0 for padding."""
    kinds_B: tuple[Kind, ...]
    correct_B: Tensor
    advantages_B: Tensor
    engine_logprobs_BT: Tensor
    """The rollout engine's log-probs of rollout tokens, 0 elsewhere."""
    packed: PackedRow | None = None
    """The same sequences for the forward pass, each prompt once; None: they are passed as they stand here."""

    @property
    def rollout_mask_BT(self) -> Tensor:
        return self._mask_of("rollout")

    @property
    def demonstration_mask_BT(self) -> Tensor:
        return self._mask_of("demonstration")

    @property
    def expert_mask_BT(self) -> Tensor:
        return self._mask_of("expert")

    def _mask_of(self, kind: Kind) -> Tensor:
        rows_B = torch.tensor([found == kind for found in self.kinds_B], device=self.mask_BT.device)
        return self.mask_BT & rows_B[:, None]


@dataclass(frozen=True)
class Statistics:
    """What the losses need of a forward pass."""

    logprobs_BT: Tensor
    """Log-probs of the next tokens, with gradient; 0 outside the mask."""
    entropy_BT: Tensor
    """Entropies of the next-token distributions in nats, without gradient; 0 outside the mask."""
    router_loss: Tensor | None
    """Load-balancing loss of a mixture of experts, a mean over the micro-batch's tokens; None for a dense model."""


def prompt_ids(tokenizer: PreTrainedTokenizerBase, row: dict[str, Any]) -> tuple[int, ...]:
    """Token ids of a data row's chat, up to where the assistant's turn begins."""
    return tuple(tokenizer(prompt_text(tokenizer, row), add_special_tokens=False)["input_ids"])


def expert_sequence(tokenizer: PreTrainedTokenizerBase, row: dict[str, Any], max_tokens: int) -> TrainingSequence:
    """An expert row in the policy's own template, ended by its end-of-turn token and cut at ``max_tokens``.

    Prompt and response are tokenised apart, so the boundary is exactly where generation would begin.
    """
    response = (*tokenizer(row["response"], add_special_tokens=False)["input_ids"], end_of_turn(tokenizer))
    complete = len(response) <= max_tokens
    return TrainingSequence(prompt_ids(tokenizer, row), response[:max_tokens], kind="expert", complete=complete)


def changed_by_the_tokenizer(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One sentence where demonstrations do not come back from the tokenizer as they were; none where all do.

    The policy then learns a text that the graders would not read as the expert's: unknown characters, a normaliser.
    """

    def comes_back(text: str) -> bool:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        return bool(tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text)

    changed = [str(row["id"]) for row in rows if not comes_back(row["response"])]
    return (
        [f"the tokenizer changes {len(changed)} of {len(rows)} demonstrations, first {changed[0]}"] if changed else []
    )


def micro_batches(
    sequences: Sequence[TrainingSequence],
    budget: int,
    pad_id: int,
    device: torch.device | str = "cpu",
    packed: torch.dtype | None = None,
) -> Iterator[MicroBatch]:
    """Micro-batches of at most ``budget`` tokens, padding included (a longer sequence stands alone).

    Sequences of similar length are neighbours. ``packed`` is the precision of a model that takes packed rows: then
    those of one prompt are neighbours, and the prompt counts once.
    """
    if packed is None:
        order = sorted(sequences, key=lambda sequence: sequence.tokens)
        for places in cuts([sequence.tokens for sequence in order], budget):
            yield _pad([order[i] for i in places], pad_id, device)
        return
    longest: dict[tuple[int, ...], int] = {}
    for sequence in sequences:
        longest[sequence.prompt_ids] = max(longest.get(sequence.prompt_ids, 0), len(sequence.response_ids))
    order = sorted(sequences, key=lambda sequence: (longest[sequence.prompt_ids], sequence.prompt_ids))
    for places in packed_cuts(order, budget):
        part = [order[i] for i in places]
        row = pack([sequence.prompt_ids for sequence in part], [sequence.response_ids for sequence in part], packed)
        yield replace(_pad(part, pad_id, device), packed=row.to(device))


def packed_cuts(sequences: Sequence[TrainingSequence], budget: int) -> Iterator[range]:
    """Places of neighbours that are at most ``budget`` tokens in a packed row (a longer one alone)."""
    start = total = 0
    for i, sequence in enumerate(sequences):
        same = i > start and sequences[i - 1].prompt_ids == sequence.prompt_ids
        total += len(sequence.response_ids) if same else sequence.tokens
        if i > start and total > budget:
            yield range(start, i)
            start, total = i, sequence.tokens
    if sequences:
        yield range(start, len(sequences))


def cuts(lengths: Sequence[int], budget: int) -> Iterator[range]:
    """Places of neighbours that, padded to the longest of them, are at most ``budget`` tokens (a longer one alone)."""
    start = longest = 0
    for i, length in enumerate(lengths):
        longest = max(longest, length)
        if i > start and (i + 1 - start) * longest > budget:
            yield range(start, i)
            start, longest = i, length
    if lengths:
        yield range(start, len(lengths))


def _pad(sequences: Sequence[TrainingSequence], pad_id: int, device: torch.device | str) -> MicroBatch:
    width = max(sequence.tokens for sequence in sequences)
    ids_BT1 = torch.full((len(sequences), width), pad_id)
    mask_BT = torch.zeros(len(sequences), width - 1, dtype=torch.bool)
    real_BT1 = torch.zeros(len(sequences), width, dtype=torch.bool)
    engine_logprobs_BT = torch.zeros(len(sequences), width - 1)
    for place, sequence in enumerate(sequences):
        ids_BT1[place, : sequence.tokens] = torch.tensor(sequence.prompt_ids + sequence.response_ids)
        real_BT1[place, : sequence.tokens] = True
        response = slice(len(sequence.prompt_ids) - 1, sequence.tokens - 1)
        mask_BT[place, response] = True
        if sequence.engine_logprobs:
            engine_logprobs_BT[place, response] = torch.tensor(sequence.engine_logprobs)
    return MicroBatch(
        ids_BT1=ids_BT1.to(device),
        mask_BT=mask_BT.to(device),
        real_BT1=real_BT1.to(device),
        kinds_B=tuple(sequence.kind for sequence in sequences),
        correct_B=torch.tensor([sequence.correct for sequence in sequences], device=device),
        advantages_B=torch.tensor([sequence.advantage for sequence in sequences], device=device),
        engine_logprobs_BT=engine_logprobs_BT.to(device),
    )


def token_statistics(model: PreTrainedModel, batch: MicroBatch, temperature: float) -> Statistics:
    """Log-probs and entropies of a micro-batch's responses under the tempered policy."""
    if batch.packed is None:
        return Statistics(*token_logprobs(model, batch.ids_BT1, batch.real_BT1, batch.mask_BT, temperature))
    next_ids_N = batch.ids_BT1[:, 1:][batch.mask_BT]
    logprobs_N, entropy_N, router_loss = packed_logprobs(model, batch.packed, next_ids_N, temperature)
    return Statistics(spread(logprobs_N, batch.mask_BT), spread(entropy_N, batch.mask_BT), router_loss)


def epoch_indices(rows: int, batch: int, number: int, seed: int) -> list[int]:
    """Row indices of batch ``number`` of an endless stream that is reshuffled in every pass.

    A pure function of the batch's number, so a resumed run continues the same stream; a batch may straddle two passes.
    """
    indices = []
    for position in range(number * batch, (number + 1) * batch):
        epoch, place = divmod(position, rows)
        indices.append(_permutation(rows, epoch, seed)[place])
    return indices


@lru_cache(maxsize=4)
def _permutation(rows: int, epoch: int, seed: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return tuple(torch.randperm(rows, generator=generator).tolist())
