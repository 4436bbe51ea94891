"""A dense model's weights in the form that the fused decode step reads."""

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

ARCHITECTURES = ("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
"""transformers' classes of one family: RMS norms before attention and MLP, rotary embedding, gated MLP."""
WEIGHTS = re.compile(
    r"(model\.(embed_tokens|norm)|lm_head)\.weight"
    r"|model\.layers\.\d+\.((input|post_attention)_layernorm|self_attn\.([qkvo]_proj|[qk]_norm)|mlp\.(gate|up|down)_proj)"
    r"\.weight|model\.layers\.\d+\.self_attn\.[qkv]_proj\.bias"
)
"""The names of all weights that the fused step knows what to do with."""


@dataclass(frozen=True)
class FusedLayer:
    """A layer. Matrices are (in, out), as in x @ W; one after a norm contains it, but for the division by |x|."""

    qkv: Tensor
    qkv_bias: Tensor
    qk_scale: Tensor | None
    """(heads + key-value heads, head size): what queries and keys of length 1 are multiplied by, in Qwen3."""
    out: Tensor
    gate_up: Tensor
    down: Tensor


@dataclass(frozen=True)
class FusedWeights:
    """A model. Scores need no scaling: queries have it. The two halves of queries and keys, which the rotary embedding
    turns against each other, are interleaved: neighbours are the two parts of a complex number.
    """

    embedding: Tensor
    layers: tuple[FusedLayer, ...]
    unembedding: Tensor
    frequencies: Tensor
    """(head size / 2,): of the rotary embedding, in radians a position."""
    least: Tensor
    """(): the length of an x whose numbers are all the root of the norms' epsilon."""
    head_least: Tensor
    """The same of a query or key."""
    heads: int
    kv_heads: int
    head_size: int


def supports(model: PreTrainedModel) -> bool:
    """Whether the fused step computes what the model does: an architecture it knows, with no weight and no option that
    it does not, in float32 on the CPU.
    """
    config: Any = model.config
    return (
        type(model).__name__ in ARCHITECTURES
        and model.device.type == "cpu"
        and all(WEIGHTS.fullmatch(name) for name in model.state_dict())
        and all(weight.dtype == torch.float32 for weight in model.parameters())
        and config.hidden_act == "silu"
        and config.rope_parameters.keys() <= {"rope_type", "rope_theta"}
        and config.rope_parameters["rope_type"] == "default"
        and set(getattr(config, "layer_types", None) or ()) <= {"full_attention"}
    )


def fuse(model: PreTrainedModel) -> FusedWeights:
    """The weights, as they are now, of a model that `supports` accepts."""
    config: Any = model.config
    body: Any = model.model
    heads = config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return FusedWeights(
        embedding=body.embed_tokens.weight,
        layers=tuple(_layer(layer, head_size) for layer in body.layers),
        unembedding=_after_norm(body.norm, model.lm_head.weight),
        frequencies=body.rotary_emb.inv_freq,
        least=torch.tensor((config.rms_norm_eps * config.hidden_size) ** 0.5),
        head_least=torch.tensor((config.rms_norm_eps * head_size) ** 0.5),
        heads=heads,
        kv_heads=config.num_key_value_heads,
        head_size=head_size,
    )


def _layer(layer: Any, head_size: int) -> FusedLayer:
    attention, mlp = layer.self_attn, layer.mlp
    q, k = (_interleaved(_with_bias(projection), head_size) for projection in (attention.q_proj, attention.k_proj))
    v = _with_bias(attention.v_proj)
    qk_scale = None
    if hasattr(attention, "q_norm"):
        # Of a query's scale, the root of the head size in the norm and that of the scores cancel out.
        q_scale, k_scale = (
            _interleaved(norm.weight[:, None], head_size).flatten() for norm in (attention.q_norm, attention.k_norm)
        )
        heads, kv_heads = len(q) // head_size, len(k) // head_size
        qk_scale = torch.stack([q_scale] * heads + [k_scale * head_size**0.5] * kv_heads)
    else:
        q = q * head_size**-0.5
    qkv = torch.cat([q, k, v])
    return FusedLayer(
        qkv=_after_norm(layer.input_layernorm, qkv[:, :-1]),
        qkv_bias=qkv[:, -1].contiguous(),
        qk_scale=qk_scale,
        out=attention.o_proj.weight.t(),
        gate_up=_after_norm(layer.post_attention_layernorm, torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])),
        down=mlp.down_proj.weight.t(),
    )


def _with_bias(projection: Any) -> Tensor:
    """(out, in + 1): the bias, or zeros, in the last column."""
    weight = projection.weight
    bias = weight.new_zeros(len(weight)) if projection.bias is None else projection.bias
    return torch.cat([weight, bias[:, None]], dim=1)


def _interleaved(rows: Tensor, head_size: int) -> Tensor:
    """(heads * head size, in) with the two halves of each head interleaved."""
    return rows.view(-1, 2, head_size // 2, rows.shape[-1]).transpose(1, 2).flatten(0, 2)


def _after_norm(norm: Any, weight: Tensor) -> Tensor:
    # An RMS norm is x / |x| * size^0.5 * scale.
    return (weight * (norm.weight * len(norm.weight) ** 0.5)).t()
