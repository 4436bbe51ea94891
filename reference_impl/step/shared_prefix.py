"""Groups of responses in one packed row in which the prompt that they share stands once.

G responses to a prompt of P tokens are G * P + sum(T) tokens for `batching.micro_batches`, padding aside, and
P + sum(T) here: causal attention makes the prompt's hidden states the same before every response. A packed row (1, L)
is all distinct prompts, then all responses, without padding; positions in it are those that each token has in its own
sequence. Attention alone sees where a sequence begins: `shared_prefix_attention`, behind transformers' attention
interface, lets a token attend to the tokens before it in its own response and to the prompt of that response.

The plain path, padded sequences one by one, is `batching.token_statistics` without `MicroBatch.packed`; both give the
same log-probs and gradients (tests/reference_impl/step/test_shared_prefix.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from reference_impl.step.token_logprobs import next_token_logprobs

NAME = "shared_prefix"
"""Of the attention in transformers' interface, and of the argument that brings it a row's layout."""


@dataclass(frozen=True)
class PackedRow:
    """A row of S prompts and B responses, L tokens. A place is a token's index in the row; padding's place is 0."""

    ids_1L: Tensor
    positions_1L: Tensor
    counts_1L: Tensor
    """Sequences that share a token: its weight in a router's mean over tokens."""
    sources_N: Tensor
    """Place before each response token, from whose hidden state it is predicted; response by response."""
    prompt_places_SP: Tensor
    response_places_BT: Tensor
    prompt_of_B: Tensor
    bias_B1TK: Tensor
    """0 where a response token sees a key, else -inf; K = P + T: its prompt's tokens, then its response's."""
    row_L: Tensor
    """Where a token stands among the S * P and B * T padded ones."""
    calls: list[Module] = field(default_factory=list)
    """The attentions that have seen this layout."""

    def to(self, device: torch.device | str) -> "PackedRow":
        found = {part.name: getattr(self, part.name) for part in fields(self) if part.name != "calls"}
        return PackedRow(**{name: tensor.to(device) for name, tensor in found.items()})


def pack(prompts: Sequence[tuple[int, ...]], responses: Sequence[tuple[int, ...]], dtype: torch.dtype) -> PackedRow:
    """The row of these sequences, ``prompts[b]`` being that of ``responses[b]``; none of either is empty.

    ``dtype`` is the model's: a bias of attention must have it.
    """
    distinct = list(dict.fromkeys(prompts))
    of = {prompt: s for s, prompt in enumerate(distinct)}
    prompt_of_B = torch.tensor([of[prompt] for prompt in prompts])
    prompt_places_SP, prompt_real_SP = _places([len(prompt) for prompt in distinct], 0)
    start = sum(map(len, distinct))
    response_places_BT, response_real_BT = _places([len(response) for response in responses], start)

    last_S = (prompt_places_SP * prompt_real_SP).amax(1)
    before_BT = torch.cat([last_S[prompt_of_B, None], response_places_BT[:, :-1]], dim=1)
    lengths_B = torch.tensor([len(prompt) for prompt in prompts])
    response_positions_BT = lengths_B[:, None] + torch.arange(response_places_BT.shape[1])
    prompt_positions_SP = torch.arange(prompt_places_SP.shape[1]).expand_as(prompt_places_SP)

    width = response_places_BT.shape[1]
    own_BTT = torch.ones(width, width, dtype=torch.bool).tril().expand(len(responses), -1, -1)
    prompt_BTP = prompt_real_SP[prompt_of_B, None, :].expand(-1, width, -1)
    seen_B1TK = torch.cat([prompt_BTP, own_BTT], dim=2)[:, None]
    return PackedRow(
        ids_1L=torch.tensor([token for part in (*distinct, *responses) for token in part])[None],
        positions_1L=torch.cat([prompt_positions_SP[prompt_real_SP], response_positions_BT[response_real_BT]])[None],
        counts_1L=torch.cat(
            [
                torch.bincount(prompt_of_B)[:, None].expand_as(prompt_real_SP)[prompt_real_SP],
                torch.ones(sum(map(len, responses)), dtype=torch.long),
            ]
        )[None],
        sources_N=before_BT[response_real_BT],
        prompt_places_SP=prompt_places_SP,
        response_places_BT=response_places_BT,
        prompt_of_B=prompt_of_B,
        bias_B1TK=torch.zeros(seen_B1TK.shape, dtype=dtype).masked_fill(~seen_B1TK, -torch.inf),
        row_L=torch.cat([prompt_real_SP.flatten(), response_real_BT.flatten()]).nonzero()[:, 0],
    )


def _places(lengths: Sequence[int], start: int) -> tuple[Tensor, Tensor]:
    """Places of parts that stand one after the other from ``start`` on, right-padded with 0, and where they are."""
    real_XT = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    places_XT = torch.zeros(real_XT.shape, dtype=torch.long)
    return places_XT.masked_scatter(real_XT, torch.arange(start, start + sum(lengths))), real_XT


def shared_prefix_attention(
    module: Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    shared_prefix: PackedRow | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention within the sequences of a packed row; transformers' own (sdpa) without one.

    Args:
        query: (1, heads, L, head size); ``key`` and ``value`` have as many heads or, grouped, fewer.
        shared_prefix: the row's layout, an argument of the model's call.

    Returns:
        (1, L, heads, head size), and None for the weights, as the interface wants it.
    """
    if shared_prefix is None:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return found
    row = shared_prefix
    row.calls.append(module)
    queries, keys, values = (_by_token(tensor) for tensor in (query, key, value))
    heads, size = query.shape[1], query.shape[3]
    options: dict[str, Any] = {"dropout_p": dropout, "scale": scaling, "enable_gqa": heads != key.shape[1]}

    prompt_keys, prompt_values = (_padded(tensor, row.prompt_places_SP, size) for tensor in (keys, values))
    of_prompts = scaled_dot_product_attention(
        _padded(queries, row.prompt_places_SP, size), prompt_keys, prompt_values, is_causal=True, **options
    )
    all_keys, all_values = (
        torch.cat([prompts.index_select(0, row.prompt_of_B), _padded(tensor, row.response_places_BT, size)], dim=2)
        for prompts, tensor in ((prompt_keys, keys), (prompt_values, values))
    )
    of_responses = scaled_dot_product_attention(
        _padded(queries, row.response_places_BT, size), all_keys, all_values, attn_mask=row.bias_B1TK, **options
    )
    rows = torch.cat([part.transpose(1, 2).reshape(-1, heads * size) for part in (of_prompts, of_responses)])
    return rows.index_select(0, row.row_L).view(1, -1, heads, size), None


def packed_logprobs(
    model: PreTrainedModel, row: PackedRow, next_ids_N: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    """`token_logprobs.next_token_logprobs` of all responses of a row, whose tokens are ``next_ids_N``.

    Raises ValueError where an attention of the model has not seen the row's layout: its numbers would be wrong.
    """
    found = next_token_logprobs(
        model,
        row.ids_1L,
        row.counts_1L,
        row.sources_N,
        next_ids_N,
        temperature,
        position_ids=row.positions_1L,
        shared_prefix=row,
    )
    if len(row.calls) < model.config.num_hidden_layers:
        raise ValueError(
            f"{type(model).__name__} hands its attention no layout of packed rows ({len(row.calls)} of "
            f"{model.config.num_hidden_layers} layers have seen it): share_prompts must be false for it"
        )
    return found


def _by_token(heads_1HLD: Tensor) -> Tensor:
    """(L, H * D): what belongs to a token in one row, which is copied as a whole."""
    return heads_1HLD[0].transpose(0, 1).flatten(1)


def _padded(tokens_LX: Tensor, places_BT: Tensor, size: int) -> Tensor:
    """(B, H, T, D) of the tokens at these places."""
    return tokens_LX.index_select(0, places_BT.flatten()).view(*places_BT.shape, -1, size).transpose(1, 2)


def share_prompts(model: PreTrainedModel) -> bool:
    """Let a model take packed rows; False, and nothing is done, where its architecture cannot.

    It can where every layer's attention is full, causal and called through transformers' interface without anything
    but a scale (no sliding window, soft-capping, sink or position bias). Without a packed row the model goes on as
    before.
    """
    config = model.config
    full = set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
    windowed = getattr(config, "sliding_window", None) is not None and getattr(config, "use_sliding_window", True)
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    known = config._attn_implementation in ("sdpa", NAME)
    if not (model._supports_attention_backend and full and known) or windowed or capped:
        return False
    AttentionInterface.register(NAME, shared_prefix_attention)
    config._attn_implementation = NAME
    return True
