"""What every rollout engine offers, and the fingerprints that keep its weights honest."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True)
class GenerationRequest:
    """One sample to draw: the prompt's tokens and the seed of its randomness."""

    prompt_ids: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class Completion:
    """One sampled response.

    ``token_ids`` ends with the end-of-turn token unless ``truncated``; ``text`` leaves that token out. ``logprobs``
    are the engine's own, natural logarithms under the sampling temperature, one per token. ``entropies`` are those of
    the distributions that the tokens were drawn from, in nats, before ``top_p`` cuts them; none where an engine does
    not tell them.
    """

    token_ids: tuple[int, ...]
    text: str
    logprobs: tuple[float, ...]
    truncated: bool
    entropies: tuple[float, ...] = ()


class EngineDeadError(RuntimeError):
    """The engine is unusable: it crashed, ran out of memory, or its process is gone. A new one may."""


class RolloutEngine(Protocol):
    """A sampler that holds a copy of the policy's weights."""

    def generate(
        self, requests: Sequence[GenerationRequest], *, max_tokens: int, temperature: float = 1.0, top_p: float = 1.0
    ) -> list[Completion]:
        """One completion per request, in the requests' order; each depends on its own prompt and seed only."""
        ...

    def update_weights(self, state: Mapping[str, Tensor]) -> None:
        """Replace the engine's weights by the policy's."""
        ...

    def fingerprint(self) -> str:
        """Fingerprint of the weights that the engine samples from."""
        ...

    def sleep(self, *, weights_follow: bool = False) -> None:
        """Free what memory it can until it is used again: the update comes now.

        ``weights_follow``: it gets new weights before it samples again, so those that it has need not be kept.
        """
        ...

    def restart(self) -> None:
        """Begin again with the checkpoint's weights, after `EngineDeadError`. Raises it where that cannot be."""
        ...


@runtime_checkable
class ContinuousEngine(RolloutEngine, Protocol):
    """An engine in which no response waits for the longest of a batch."""

    def as_they_end(
        self, requests: Sequence[GenerationRequest], *, max_tokens: int, temperature: float = 1.0, top_p: float = 1.0
    ) -> Iterator[tuple[int, Completion]]:
        """(A request's place, its completion), as responses end; else as `generate`. Who stops reading gives up the
        rest.
        """
        ...


def check_sampling(max_tokens: int, temperature: float, top_p: float) -> None:
    """Raises ValueError for a bad sampling setting."""
    if max_tokens < 1 or temperature <= 0 or not 0 < top_p <= 1:
        raise ValueError(
            f"max_tokens={max_tokens}, temperature={temperature}, top_p={top_p}: "
            "allowed are max_tokens >= 1, temperature > 0, 0 < top_p <= 1"
        )


WEIGHT_SUM_MODULUS = 1 << 64
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Bytes of a number → the integer type of the same bits."""


def weight_sums(tensor: Tensor) -> tuple[int, int]:
    """Sum and sum of squares, modulo 2^64, of a tensor's numbers read as integers of the same bits.

    Exact in any order: the same on every device, and those of a tensor's parts add up to the tensor's. Any change
    of a single number changes the first.
    """
    first = second = 0
    for piece in tensor.detach().contiguous().view(BITS[tensor.element_size()]).flatten().split(1 << 24):
        integers = piece.to(torch.int64)
        first, second = first + int(integers.sum()), second + int((integers * integers).sum())
    return first % WEIGHT_SUM_MODULUS, second % WEIGHT_SUM_MODULUS


def fingerprint_of_sums(sums: Mapping[str, tuple[int, int]]) -> str:
    """The fingerprint of weights by their names' `weight_sums`."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(sums):
        digest.update(f"{name}:{sums[name][0]}:{sums[name][1]};".encode())
    return digest.hexdigest()


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """A short fingerprint of named weights: equal for equal weights, different after any real update."""
    return fingerprint_of_sums({name: weight_sums(tensor) for name, tensor in state.items()})
