"""Loading checkpoints, the same way for training, rollouts and evaluation."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

logging.disable_progress_bar()  # a bar per checkpoint would drown the step lines


def load_model(checkpoint: Path, dtype: torch.dtype | str) -> PreTrainedModel:
    """The checkpoint's model, on the GPU where there is one, else the CPU (safetensors only, no remote code).

    Raises ValueError for a folder that is not a checkpoint.
    """
    if not (checkpoint / "config.json").is_file():
        raise ValueError(f"{checkpoint} is not a checkpoint folder: it has no config.json")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype, use_safetensors=True)
    return model.to(device)  # type: ignore[arg-type]
