"""What our engine adds to vLLM's workers: loading weights from files, and checksums of the weights that they hold.

vLLM puts the methods of :class:`WorkerExtension` beside its worker's own (``worker_extension_cls``), in whatever
process the worker runs.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import vllm._custom_ops as vllm_ops
from torch import Tensor, nn
from vllm.distributed import get_tensor_model_parallel_rank, get_tensor_model_parallel_world_size
from vllm.model_executor.layers.fused_moe.routed_experts import RoutedExperts
from vllm.model_executor.layers.linear import LinearBase, QKVParallelLinear, ReplicatedLinear, RowParallelLinear
from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding
from vllm.model_executor.models.phimoe import PhiMoEForCausalLM
from vllm.platforms import current_platform

from reference_impl.rollout.engine import WEIGHT_SUM_MODULUS, weight_sums
from reference_impl.rollout.weight_files import read_buckets

if current_platform.is_cpu():
    # oneDNN repacks a layer's weights and drops the original, which then nobody can check: take torch's own product.
    vllm_ops._supports_onednn = False


def _biased_logits(self: Any, hidden_states: Tensor) -> Any:
    bias = self.lm_head.bias if self.config.lm_head_bias else None
    return self.logits_processor(self.lm_head, hidden_states, bias)


# vLLM 0.32.0 gives this model's head a bias, filled where a checkpoint has one, and leaves it out of the logits.
PhiMoEForCausalLM.compute_logits = _biased_logits


class WorkerExtension:
    """Methods for ``collective_rpc``; ``self`` is vLLM's worker."""

    def load_checkpoint_tensors(self: Any, tensors: Iterable[tuple[str, Tensor]]) -> None:
        """Load tensors by a checkpoint's names."""
        self.reload_weights(weights_iterator=tensors)
        if current_platform.is_cpu():
            pack_experts(self.get_model())

    def load_weight_files(self: Any, folder: str) -> None:
        """Load what comes through the files of a folder, by a checkpoint's names."""
        self.load_checkpoint_tensors(read_buckets(Path(folder), get_tensor_model_parallel_rank()))

    def held_weight_sums(self: Any) -> dict[str, tuple[int, int]]:
        """`weight_sums` of every tensor that this worker accounts for, by a checkpoint's names."""
        return own_weight_sums(self.get_model())


def pack_experts(model: nn.Module) -> None:
    """Bring experts into the order that the CPU's kernel reads: vLLM 0.32.0 does so at the first loading only."""
    for module in model.modules():
        if isinstance(module, RoutedExperts):
            module.quant_method.moe_kernel.fused_experts.process_weights_after_loading(module)


def own_weight_sums(model: nn.Module) -> dict[str, tuple[int, int]]:
    """`weight_sums` by a checkpoint's names; over all workers of an engine they add up to those of the checkpoint.

    vLLM joins projections that read the same input (``packed_modules_mapping``), pads the vocabulary, and splits layers
    over its workers; all three are undone here. A part that several workers hold counts for the first of them. The
    experts of a layer stay joined, in the order that its kernel reads: sums know no order, and zeros add nothing.
    """
    sums: dict[str, tuple[int, int]] = {}
    for module_name, module in model.named_modules(remove_duplicate=False):
        for parameter_name, parameter in module.named_parameters(recurse=False):
            for name, part in checkpoint_parts(model, module_name, module, parameter_name, parameter):
                first, second = sums.get(name, (0, 0))
                more = weight_sums(part)
                sums[name] = ((first + more[0]) % WEIGHT_SUM_MODULUS, (second + more[1]) % WEIGHT_SUM_MODULUS)
    return sums


def checkpoint_parts(
    model: nn.Module, module_name: str, module: Any, parameter_name: str, parameter: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """The checkpoint's tensors inside one parameter of vLLM's, as far as this worker accounts for them."""
    rank, size = get_tensor_model_parallel_rank(), get_tensor_model_parallel_world_size()
    kinds = LinearBase | VocabParallelEmbedding | RoutedExperts
    split = isinstance(module, kinds) and not isinstance(module, ReplicatedLinear)
    if isinstance(module, RowParallelLinear) and parameter_name == "bias":
        split = False
    if rank > 0 and not split:
        return
    if isinstance(module, VocabParallelEmbedding):
        parameter = parameter[: module.shard_indices.num_org_elements]
    parent, _, leaf = module_name.rpartition(".")
    joined = getattr(model, "packed_modules_mapping", {}).get(leaf, [leaf])
    if len(joined) == 1:
        yield f"{module_name}.{parameter_name}", parameter
        return
    for part_name, part in zip(joined, parameter.split([n // size for n in module.output_sizes]), strict=True):
        copies = module.num_kv_head_replicas if isinstance(module, QKVParallelLinear) and part_name != joined[0] else 1
        if rank % copies == 0:
            yield f"{parent}.{part_name}.{parameter_name}".removeprefix("."), part
