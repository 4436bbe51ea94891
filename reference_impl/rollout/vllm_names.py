"""The names and shapes under which a checkpoint, transformers and vLLM know the same weights.

A checkpoint of a mixture of experts has a tensor for every expert; transformers joins those of a layer in two, vLLM in
two others, and takes new weights under the checkpoint's names only.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.core_model_loading import revert_weight_conversion

ARCHITECTURES = {"PhimoeForCausalLM": "PhiMoEForCausalLM"}
"""transformers' name of an architecture, which its checkpoints have, → vLLM's, where the two differ."""
JOINED_EXPERTS = {"w13_weight": "gate_up_proj", "w2_weight": "down_proj"}
"""vLLM's name of a layer's joined experts → transformers'."""


class CheckpointNames:
    """transformers' names of a model's weights, as its `state_dict` has them, and the checkpoint's."""

    def __init__(self, checkpoint: Path) -> None:
        """Of the model in a checkpoint folder, of which only the configuration is read."""
        config = AutoConfig.from_pretrained(checkpoint)
        with torch.device("meta"):
            self._model = AutoModelForCausalLM.from_config(config)
        # Both ways in one table: a name of the checkpoint is a part of one of transformers'.
        self._whole = {
            part: name for name, tensor in self._model.state_dict().items() for part, _ in self._parts(name, tensor)
        }
        stated = config.architectures or []
        self.architectures = [ARCHITECTURES.get(name, name) for name in stated]
        """What vLLM calls the model."""

    def parts(self, weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """The weights under a checkpoint's names, taken one by one; a layer's experts each by itself."""
        for name, tensor in weights.items():
            yield from self._parts(name, tensor.detach())

    def whole(self, name: str) -> str:
        """transformers' name of the weight that a checkpoint's, or vLLM's joined experts, is or is a part of."""
        experts, _, leaf = name.rpartition(".")
        if leaf in JOINED_EXPERTS:
            experts = experts.removesuffix(".routed_experts") + "."
            joined = {whole for part, whole in self._whole.items() if part.startswith(experts)}
            return next((whole for whole in joined if whole.endswith(JOINED_EXPERTS[leaf])), name)
        return self._whole.get(name, name)

    def _parts(self, name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        yield from revert_weight_conversion(self._model, {name: tensor}).items()
