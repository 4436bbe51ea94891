"""What the benchmarks measure on: the sandbox's math policy as shipped and after GRPO's run, and its data."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from reference_impl.config import RunConfig, load_declarations, load_scale, resolve_run
from reference_impl.rollout import load_engine
from reference_impl.strategy import load_strategy
from reference_impl.train import load_data
from reference_impl.trainer import Data, Trainer

SCALE, DOMAIN = "mini", "math"


def run_config(method: str, **changes: Any) -> RunConfig:
    """A method's run at the default scale."""
    config = resolve_run(load_declarations(), load_scale(SCALE), method, DOMAIN, 0)
    return dataclasses.replace(config, **changes)


@dataclass(frozen=True)
class Setting:
    """A folder with both policies, the data of the domain and the sandbox's benchmarks."""

    folder: Path

    @property
    def start(self) -> Path:
        """The policy as shipped."""
        return self.folder / "start"

    @property
    def trained(self) -> Path:
        """The same after GRPO's run."""
        return self.folder / "trained"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def benchmarks(self) -> Path:
        return self.folder / "benchmarks"

    def rows(self) -> Data:
        return load_data(self.data, run_config("chord_phi"))

    def tokenizer(self) -> PreTrainedTokenizerBase:
        found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(self.start)
        return found

    def trainer(self, method: str, policy: Path, folder: Path, **changes: Any) -> Trainer:
        """A run's trainer at its first step."""
        config = run_config(method, **changes)
        engine, tokenizer = load_engine(config.engine, policy, config.rollout_batch, torch.float32)
        return Trainer(config, self.rows(), load_strategy(policy, config), engine, tokenizer, folder, "benchmark")
