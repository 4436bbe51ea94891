"""DeepSpeed behind `strategy.Strategy`: the only file that imports it.

Losses here are shares over global denominators, which must be *summed* over micro-batches and ranks. DeepSpeed averages
over ranks, so every share is multiplied by their number first. It would also divide by a fixed number of accumulation
steps, which a token budget does not have: ``managed_gradient_accumulation: false`` leaves the end of a step to the
caller, whose micro-batches may then be as many as they like, in every step another number. In ZeRO-2 and 3 each
backward pass talks to the other ranks, in ZeRO-3 each forward pass too: all ranks must make equally many.
"""

import math
import os
import warnings
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_layers import GradientCheckpointingLayer

from reference_impl.config import RunConfig, StrategyChoice
from reference_impl.strategy import distributed
from reference_impl.strategy.base import SHARD_SIZE
from reference_impl.strategy.models import load_model

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # read when deepspeed is imported
import deepspeed
from deepspeed.ops import __compatible_ops__ as compatible_ops

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TIMEOUT = timedelta(minutes=60)
"""Of a collective: the others wait while rank 0 writes a checkpoint."""
BUCKET = 50_000_000
"""Elements that are reduced or gathered at once: 200 MB in float32."""
LAUNCHERS_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
TAG = "weights"
"""Name of the folder that DeepSpeed makes for its files in a saved state."""


def join_processes() -> None:
    """Join the other processes of this launch, and take this one's GPU.

    Raises ValueError without a launcher, or where it started more processes than the machine shows GPUs.
    """
    missing = [name for name in LAUNCHERS_VARIABLES if name not in os.environ]
    if missing:
        raise ValueError(
            f"strategy deepspeed without {', '.join(missing)} in the environment: start it with torchrun or deepspeed"
        )
    deepspeed.utils.logger.setLevel(os.environ.get("DEEPSPEED_LOG_LEVEL", "WARNING").upper())
    if torch.cuda.is_available():
        place, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if place >= gpus:
            raise ValueError(f"LOCAL_RANK {place}: this machine shows {gpus} GPUs, and every process needs its own")
        torch.cuda.set_device(place)
    else:
        # Shared-memory collectives for CPUs, which DeepSpeed would compile for a minute with a compiler of its own.
        compatible_ops["deepspeed_shm_comm"] = False
    # DeepSpeed's use of names that torch has since deprecated: a line per collective would drown the step lines.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    # DeepSpeed adopts a group that is there. Its own names a device, whereupon every group of the sampler's is split
    # off this one, and gives up after ten minutes, which rank 0 may need to save a state.
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group(backend, timeout=TIMEOUT)
    deepspeed.init_distributed(backend, auto_mpi_discovery=False)


def deepspeed_config(choice: StrategyChoice, max_grad_norm: float, hidden_size: int) -> dict[str, Any]:
    """DeepSpeed's own configuration of a strategy. ``hidden_size`` is the model's."""
    offload = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    zero: dict[str, Any] = {
        "stage": choice.zero_stage,
        "reduce_bucket_size": BUCKET,
        "allgather_bucket_size": BUCKET,
        "stage3_prefetch_bucket_size": min(BUCKET, hidden_size**2),
        # Smaller parameters (norms, biases) stay unsharded on every rank: the rule of Hugging Face's trainer.
        "stage3_param_persistence_threshold": 10 * hidden_size,
    }
    if choice.offload != "none":
        zero["offload_optimizer"] = offload
    if choice.offload == "parameters":
        zero["offload_param"] = offload
    return {
        "train_micro_batch_size_per_gpu": 1,  # required, and without meaning here
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": 0.0 if clips_itself(choice) else max_grad_norm,
        "bf16": {"enabled": choice.precision == "bf16", "check_grad_overflow": True},
        # Sums of many micro-batches would lose the small ones in bfloat16; without ZeRO DeepSpeed has no choice.
        "data_types": {"grad_accum_dtype": "fp32" if choice.zero_stage else choice.precision},
        "communication_data_type": "fp32",  # the same for the sum over ranks
        "zero_optimization": zero,
        # torch's AdamW: the same update as without DeepSpeed, and nothing to compile.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }


def clips_itself(choice: StrategyChoice) -> bool:
    """Whether DeepSpeed leaves the optimizer as it is: it would then neither tell the norm nor refuse a NaN."""
    return choice.zero_stage == 0 and choice.precision == "fp32"


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Keep only the layers' inputs for the backward pass, which computes the rest again.

    transformers does so in layers that are in training mode. The policy is in eval mode, for its dropout and sampled
    routing, all of which sit in the modules inside the layers: so the layers alone are set to training mode.
    """
    with warnings.catch_warnings():
        # An old name: the transformers of requirements/gpu.txt has no other, that of base.txt has both.
        warnings.simplefilter("ignore", FutureWarning)
        model.gradient_checkpointing_enable({"use_reentrant": False})
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.training = True


class EngineModel:
    """The policy as the losses see it: a model that is called through DeepSpeed's engine."""

    def __init__(self, engine: deepspeed.DeepSpeedEngine) -> None:
        self._engine = engine

    @property
    def device(self) -> torch.device:
        """Where inputs belong; the parameters may wait elsewhere, or hold nothing."""
        return torch.device(self._engine.device)

    def __call__(self, **inputs: Any) -> Any:
        return self._engine(**inputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine.module, name)


class DeepSpeedStrategy:
    """One process of several, or of one; every method but `backward` waits for the others, ZeRO-2's and 3's too."""

    def __init__(self, model: PreTrainedModel, config: RunConfig) -> None:
        self.config = config
        optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, betas=config.betas, weight_decay=0.0)
        self._norm = math.nan
        if clips_itself(config.strategy):
            optimizer.register_step_pre_hook(lambda *_: self._clip())
        settings = deepspeed_config(config.strategy, config.max_grad_norm, model.config.hidden_size)
        self.engine, *_ = deepspeed.initialize(
            model=model.eval(), optimizer=optimizer, config=settings, dist_init_required=False
        )
        if config.strategy.activation_checkpointing:
            checkpoint_activations(self.engine.module)
        self.model = cast(PreTrainedModel, EngineModel(self.engine))

    @classmethod
    def from_checkpoint(cls, checkpoint: Path, config: RunConfig) -> "DeepSpeedStrategy":
        """Start from a checkpoint folder, in the strategy's precision."""
        return cls(load_model(checkpoint, DTYPES[config.strategy.precision]), config)

    @property
    def layout(self) -> str:
        """What a saved state is split by."""
        choice = self.config.strategy
        offload = "" if choice.offload == "none" else f" with offload {choice.offload}"
        processes = distributed.world_size()
        return f"DeepSpeed ZeRO-{choice.zero_stage} in {choice.precision}{offload} on {processes} processes"

    def reset_optimizer(self) -> None:
        # In place, step count included, because DeepSpeed holds on to these tensors: a new AdamW's state is all zeros.
        for state in self.engine.basic_optimizer.state.values():
            for tensor in state.values():
                tensor.zero_()

    def backward(self, loss: Tensor) -> None:
        self.engine.backward(loss * distributed.world_size(), scale_wrt_gas=False)

    def step(self) -> float:
        self.engine.step()
        norm = self._norm if clips_itself(self.config.strategy) else float(self.engine.get_global_grad_norm())
        if not (self.engine.was_step_applied() and math.isfinite(norm)):
            raise FloatingPointError(f"the gradient norm is {norm}: the run diverged")
        return norm

    def _clip(self) -> None:
        norm = torch.nn.utils.clip_grad_norm_(self.engine.module.parameters(), self.config.max_grad_norm)
        self._norm = norm.item()
        if not math.isfinite(self._norm):
            raise FloatingPointError(f"the gradient norm is {self._norm}: the run diverged")

    def weights(self) -> Mapping[str, Tensor]:
        state = self._state()
        if self.config.strategy.zero_stage == 3:
            return GatheredWeights(state)
        return {name: tensor.detach() for name, tensor in state.items()}

    def export(self, folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        places = {name: id(tensor) for name, tensor in self._state().items()}
        # Tied weights have two names, and are written once where both are the same tensor.
        gathered: dict[int, Tensor] = {}
        for name, tensor in self.weights().items():
            if distributed.rank() == 0:
                gathered.setdefault(places[name], tensor.cpu())
        if distributed.rank() == 0:
            state = {name: gathered[place] for name, place in places.items()}
            self.engine.module.save_pretrained(folder, state_dict=state, max_shard_size=SHARD_SIZE)
            tokenizer.save_pretrained(folder)

    def _state(self) -> dict[str, Tensor]:
        """The module's parameters and buffers themselves, by name."""
        return dict(self.engine.module.state_dict(keep_vars=True))

    def save(self, folder: Path) -> None:
        self.engine.save_checkpoint(str(folder), tag=TAG, save_latest=False)

    def load(self, folder: Path) -> None:
        found, _ = self.engine.load_checkpoint(str(folder), tag=TAG)
        if found is None:
            raise ValueError(f"{folder} holds no state of DeepSpeed")


class GatheredWeights(Mapping[str, Tensor]):
    """ZeRO-3's weights, each unsharded only while it is read: the model need fit no GPU twice.

    Reading is a collective of all ranks: each must read the same weights in the same order.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        """``state``: the module's parameters and buffers themselves, by name."""
        self._state = state

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._state[name]
        with deepspeed.zero.GatheredParameters(tensor, enabled=hasattr(tensor, "ds_id")):
            return tensor.detach().clone()

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)
