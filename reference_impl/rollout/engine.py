"""What every rollout engine offers, and the seeds and fingerprints that keep rollouts honest."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

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
    are the engine's own, natural logarithms under the sampling temperature, one per token.
    """

    token_ids: tuple[int, ...]
    text: str
    logprobs: tuple[float, ...]
    truncated: bool


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


def sample_seed(*parts: str | int) -> int:
    """A stable 63-bit seed for what ``parts`` name, e.g. ``("math", step, prompt_id, sample)``."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """A short fingerprint of named weights: equal for equal weights, different after any real update.

    Hashes each tensor's sum and sum of squares in float64, so that it costs one pass and no copy to the CPU.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(state):
        tensor = state[name].detach().to(torch.float64)
        digest.update(f"{name}:{tensor.sum().item()!r}:{tensor.square().sum().item()!r};".encode())
    return digest.hexdigest()
