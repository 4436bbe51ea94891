"""Rollout engines: prompts in, sampled responses out, behind one interface."""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from reference_impl.config import choose
from reference_impl.rollout.engine import Completion, GenerationRequest, RolloutEngine, fingerprint, sample_seed
from reference_impl.rollout.transformers_engine import TransformersEngine

__all__ = [
    "ENGINES",
    "Completion",
    "GenerationRequest",
    "RolloutEngine",
    "fingerprint",
    "load_engine",
    "sample_seed",
]

ENGINES: dict[str, Callable[[Path, int, torch.dtype | str], tuple[RolloutEngine, PreTrainedTokenizerBase]]] = {
    "transformers": TransformersEngine.from_checkpoint,
}
"""Engine name (the ``engine`` of a scale) → loader of (checkpoint folder, sequences per batch, precision)."""


def load_engine(
    name: str, checkpoint: Path, batch_size: int = 64, dtype: torch.dtype | str = "auto"
) -> tuple[RolloutEngine, PreTrainedTokenizerBase]:
    """The engine called ``name``, holding the weights of ``checkpoint``, and the checkpoint's tokenizer.

    ``dtype`` is the precision to hold them in; ``auto`` is the checkpoint's own.

    Raises ValueError for an unknown engine or a folder that is not a checkpoint.
    """
    choose("rollout engine", name, ENGINES, "reference_impl.rollout")
    return ENGINES[name](checkpoint, batch_size, dtype)
