"""How gradients become updates: plain torch, behind the small interface that `deepspeed_strategy` fills as well."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reference_impl.config import RunConfig, StrategyChoice
from reference_impl.models import load_model


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
        """The policy's current weights by name, whole on every rank.

        Some strategies gather a weight when it is looked at: all ranks look at the same ones in the same order.
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


TORCH_LAYOUT = "torch in 1 process"
SHARD_SIZE = "5GB"
"""Largest safetensors file of an exported checkpoint."""


class TorchStrategy:
    """One process, one device: the CPU default."""

    def __init__(self, model: PreTrainedModel, config: RunConfig) -> None:
        # Without dropout or sampled routing (a mixture of experts), the update sees the very policy that sampled.
        self.model = model.eval()
        self.config = config
        self.reset_optimizer()

    @classmethod
    def from_checkpoint(cls, checkpoint: Path, config: RunConfig) -> "TorchStrategy":
        """Start from a checkpoint folder, in float32."""
        return cls(load_model(checkpoint, torch.float32), config)

    @property
    def layout(self) -> str:
        return TORCH_LAYOUT

    def reset_optimizer(self) -> None:
        # No weight decay: the paper's optimizer is Adam (A.1).
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.config.learning_rate, betas=self.config.betas, weight_decay=0.0
        )

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def step(self) -> float:
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"the gradient norm is {norm.item()}: the run diverged")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def weights(self) -> Mapping[str, Tensor]:
        return self.model.state_dict()

    def export(self, folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model.save_pretrained(folder, max_shard_size=SHARD_SIZE)
        tokenizer.save_pretrained(folder)

    def save(self, folder: Path) -> None:
        torch.save({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}, folder / "state.pt")

    def load(self, folder: Path) -> None:
        state = torch.load(folder / "state.pt", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def join_processes(choice: StrategyChoice) -> torch.dtype:
    """Join the processes that share the run, before anything is loaded; returns the precision of its weights.

    Raises ValueError where not as many were started as the scale declares, and without DeepSpeed where it is needed.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != choice.processes:
        raise ValueError(
            f"the scale's strategy is for processes: {choice.processes}, and {started} were started (WORLD_SIZE); "
            "torchrun --nproc-per-node N -m -- reference_impl.train … starts N on a machine"
        )
    if choice.kind == "torch":
        return torch.float32
    try:
        from reference_impl import deepspeed_strategy
    except ModuleNotFoundError as error:
        raise ValueError(f"strategy deepspeed: {error}; requirements/gpu.txt has it") from error
    deepspeed_strategy.join_processes()
    return deepspeed_strategy.DTYPES[choice.precision]


def load_strategy(checkpoint: Path, config: RunConfig) -> Strategy:
    """The run's strategy, holding the policy of a checkpoint folder."""
    if config.strategy.kind == "torch":
        return TorchStrategy.from_checkpoint(checkpoint, config)
    from reference_impl.deepspeed_strategy import DeepSpeedStrategy

    return DeepSpeedStrategy.from_checkpoint(checkpoint, config)
