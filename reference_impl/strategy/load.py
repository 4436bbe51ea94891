"""The strategy that a scale declares. DeepSpeed is imported only where it is declared."""

import os
from pathlib import Path

import torch

from reference_impl.config import RunConfig, StrategyChoice
from reference_impl.strategy.base import Strategy
from reference_impl.strategy.torch import TorchStrategy


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
        from reference_impl.strategy import deepspeed
    except ModuleNotFoundError as error:
        raise ValueError(f"strategy deepspeed: {error}; requirements/gpu.txt has it") from error
    deepspeed.join_processes()
    return deepspeed.DTYPES[choice.precision]


def load_strategy(checkpoint: Path, config: RunConfig) -> Strategy:
    """The run's strategy, holding the policy of a checkpoint folder."""
    if config.strategy.kind == "torch":
        return TorchStrategy.from_checkpoint(checkpoint, config)
    from reference_impl.strategy.deepspeed import DeepSpeedStrategy

    return DeepSpeedStrategy.from_checkpoint(checkpoint, config)
