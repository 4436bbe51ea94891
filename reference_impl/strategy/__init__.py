"""How gradients become updates: plain torch or DeepSpeed, behind one small interface."""

from reference_impl.strategy.base import Strategy
from reference_impl.strategy.load import join_processes, load_strategy
from reference_impl.strategy.torch import TorchStrategy

__all__ = ["Strategy", "TorchStrategy", "join_processes", "load_strategy"]
