"""How gradients become updates: plain torch, behind the small interface that a distributed strategy fills as well."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reference_impl.config import RunConfig
from reference_impl.models import load_model


class Strategy(Protocol):
    """A model, its optimizer, and the sums over ranks that exact global denominators need."""

    model: PreTrainedModel

    def backward(self, loss: Tensor) -> None:
        """Add a micro-batch's gradients. Losses carry the global denominator, so they are summed, never averaged."""
        ...

    def step(self) -> float:
        """Clip, update, clear the gradients; returns the global gradient norm before clipping.

        Raises FloatingPointError, with the weights untouched, where the norm is not finite.
        """
        ...

    def reset_optimizer(self) -> None:
        """Forget the optimizer's moments, as a new training run would."""
        ...

    def sum_over_ranks(self, value: float) -> float:
        """The sum of a number over all ranks."""
        ...

    def weights(self) -> Mapping[str, Tensor]:
        """The policy's current weights by name."""
        ...

    def export(self, folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        """Write a folder that ``AutoModelForCausalLM.from_pretrained`` loads (safetensors)."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Model and optimizer, for exact resumption."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`state_dict` gave."""
        ...


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

    def sum_over_ranks(self, value: float) -> float:
        return value

    def weights(self) -> Mapping[str, Tensor]:
        return self.model.state_dict()

    def export(self, folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
