"""Plain torch behind `strategy.Strategy`: one process, one device; the CPU default."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reference_impl.config import RunConfig
from reference_impl.strategy.base import SHARD_SIZE
from reference_impl.strategy.models import load_model

TORCH_LAYOUT = "torch in 1 process"


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
        # Into a file of ours: where torch writes by itself, a full disk is a RuntimeError about its own lines.
        with (folder / "state.pt").open("wb") as file:
            torch.save({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}, file)

    def load(self, folder: Path) -> None:
        state = torch.load(folder / "state.pt", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
