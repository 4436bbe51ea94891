"""Rollout engines: prompts in, sampled responses out, behind one interface."""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from reference_impl.config import EngineOptions, choose
from reference_impl.rollout.engine import (
    Completion,
    ContinuousEngine,
    EngineDeadError,
    GenerationRequest,
    RolloutEngine,
    fingerprint,
)
from reference_impl.rollout.fused_decoder import fused_or_plain
from reference_impl.rollout.transformers_engine import TransformersEngine
from reference_impl.rollout.vllm_engine import VllmEngine

__all__ = [
    "ENGINES",
    "Completion",
    "ContinuousEngine",
    "EngineDeadError",
    "GenerationRequest",
    "RolloutEngine",
    "fingerprint",
    "load_engine",
]

Loaded = tuple[RolloutEngine, PreTrainedTokenizerBase]


def _load_transformers(checkpoint: Path, batch_size: int, dtype: torch.dtype | str, options: EngineOptions) -> Loaded:
    return TransformersEngine.from_checkpoint(checkpoint, batch_size, dtype)


def _load_fused(checkpoint: Path, batch_size: int, dtype: torch.dtype | str, options: EngineOptions) -> Loaded:
    return TransformersEngine.from_checkpoint(checkpoint, batch_size, dtype, fused_or_plain)


ENGINES: dict[str, Callable[[Path, int, torch.dtype | str, EngineOptions], Loaded]] = {
    "fused": _load_fused,
    "transformers": _load_transformers,
    "vllm": VllmEngine.from_checkpoint,
}
"""Engine name (the ``engine`` of a scale) → loader of (checkpoint folder, sequences per batch, precision, options)."""


def load_engine(
    name: str,
    checkpoint: Path,
    batch_size: int = 64,
    dtype: torch.dtype | str = "auto",
    options: EngineOptions | None = None,
) -> Loaded:
    """The engine called ``name``, holding the weights of ``checkpoint``, and the checkpoint's tokenizer.

    ``dtype`` is the precision to hold them in; ``auto`` is the checkpoint's own. ``options`` are vLLM's
    (``engine_options`` of a scale, or of its ``evaluation``); no other engine has any.

    Raises ValueError for an unknown engine, or a folder that is not a checkpoint.
    """
    choose("rollout engine", name, ENGINES, "reference_impl.rollout")
    return ENGINES[name](checkpoint, batch_size, dtype, options or EngineOptions())
