"""What a run needs of its strategy: how gradients become updates, in one process or many."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

SHARD_SIZE = "5GB"
"""Largest safetensors file of an exported checkpoint."""


class Strategy(Protocol):
    """A model and its optimizer. Where several processes share a step, all of them make the same calls."""

    model: PreTrainedModel

    @property
    def layout(self) -> str:
        """Strategy and number of processes, in words: a saved state is loaded by the same again."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Add a micro-batch's gradients. Losses carry the global denominator, so they are summed, never averaged:

        over micro-batches and over ranks.
        """
        ...

    def step(self) -> float:
        """Clip, update, clear the gradients; returns the global gradient norm before clipping.

        Raises FloatingPointError, with the weights untouched, where the norm is not finite.
        """
        ...

    def reset_optimizer(self) -> None:
        """Forget the optimizer's moments, as a new training run would."""
        ...

    def weights(self) -> Mapping[str, Tensor]:
        """The policy's current weights by name, unsharded on every rank.

        Some strategies gather a weight when it is read: all ranks read the same ones in the same order.
        """
        ...

    def export(self, folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        """Let rank 0 write a folder that ``AutoModelForCausalLM.from_pretrained`` loads (safetensors)."""
        ...

    def save(self, folder: Path) -> None:
        """Write model and optimizer into ``folder``, for exact resumption."""
        ...

    def load(self, folder: Path) -> None:
        """Put back what :meth:`save` wrote."""
        ...
