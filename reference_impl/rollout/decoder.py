"""What decodes for the transformers engine: prompts in, the logits of one next token after another out."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Sequences(Protocol):
    """A batch of sequences that are being decoded, with their keys and values."""

    def step(self, ids_B: Tensor) -> Tensor:
        """Append a token to each; the logits (B, V) of the next."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch, in this order."""
        ...


class Decoder(Protocol):
    """A model's weights, as they were when it was made."""

    def prefill(self, prompts: Sequence[tuple[int, ...]]) -> tuple[Tensor, Sequences]:
        """A sequence for each prompt, and the logits (B, V) of its first response token."""
        ...


def close_up(alive: Sequence[bool]) -> list[int]:
    """The rows that go on, each in its place, but for those that move from the end into the gaps: few are copied."""
    number = sum(alive)
    behind = [row for row in range(number, len(alive)) if alive[row]]
    return [row if alive[row] else behind.pop() for row in range(number)]
