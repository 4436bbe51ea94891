"""Loading checkpoints, the same way for training, rollouts and evaluation."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
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


def logits_and_router_loss(
    model: PreTrainedModel, ids_BT: Tensor, counts_BT: Tensor, **arguments: Any
) -> tuple[Tensor, Tensor | None]:
    """Logits (B, T, V) of right-padded sequences, and the load-balancing loss to add to theirs (dense models: None).

    ``counts_BT`` is 1 for tokens and 0 for padding, above 1 where a token stands for several. Only where the
    architecture asks for it (``output_router_logits`` of a mixture of experts, Switch Transformer Eq. 4-6) is there a
    router loss: the mean over the tokens by their counts, already times the architecture's coefficient. The logits need
    no attention mask, because the padding stands to the right, which causal attention hides from real tokens; the
    router loss does, for padding is routed like any token. ``arguments`` are further ones of the model's call.
    """
    if not getattr(model.config, "output_router_logits", False):
        return model(input_ids=ids_BT, use_cache=False, **arguments).logits, None
    outputs = model(input_ids=ids_BT, attention_mask=counts_BT.long(), use_cache=False, **arguments)
    return outputs.logits, model.config.router_aux_loss_coef * outputs.aux_loss
