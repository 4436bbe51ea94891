"""Log-probs and entropies of response tokens whose logits never exist all at once.

At 16k tokens and a vocabulary of 152k, float32 logits take 10 GB, and their softmax and its gradient as much again,
several times over. Above a budget the logits are therefore made for a few tokens at a time, in the forward pass and
once more in the backward pass (Chen et al. 2016, arXiv 1604.06174), and for response tokens only. The price is one
more product of hidden states and output embedding.

The chunks run *inside* the model's own call of its output embedding, whose ``forward`` is replaced for that call. So
the architecture still decides what reaches the embedding, its router loss comes out as ever, biases and tied weights
need no case of their own, and whoever hooks the embedding (ZeRO-3 gathers a partitioned weight there) sees one call
per micro-batch, whatever the number of chunks: were it one per chunk, ranks with responses of different lengths would
wait for each other for ever.

Precision: logits are made in the model's, everything after them in float32 (float64 for a float64 model), and so is the
sum of the output embedding's gradients over the chunks: in bfloat16 each further chunk would cost accuracy. Why no
kernel of Liger's is used, and what is measured: docs/memory.md.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import Module, Parameter
from transformers import PreTrainedModel

from reference_impl.strategy.models import logits_and_router_loss

LOGITS_BUDGET = 1 << 26
"""Logits held at once, 256 MiB in float32: 441 tokens at a vocabulary of 152k, 84k tokens at one of 800. With softmax
and entropy, about four times as much is held; the backward pass also holds the output embedding's gradient, in
float32 and once more in the model's precision."""


def token_logprobs(
    model: PreTrainedModel,
    ids_BT1: Tensor,
    real_BT1: Tensor,
    mask_BT: Tensor,
    temperature: float,
    logits_budget: int = LOGITS_BUDGET,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Log-probs (with gradient) and entropies (without) of the tempered policy, and the router loss if there is one.

    ``ids_BT1`` are right-padded token ids, ``real_BT1`` is 1 for tokens, and position t of ``mask_BT`` is 1 where token
    t+1 belongs to a response. Both results have shape (B, T), are float32 (float64 of a float64 model), entropies in
    nats, and zero outside the mask. Raises ValueError as `next_token_logprobs`.
    """
    sources_N = torch.nn.functional.pad(mask_BT, (0, 1)).flatten().nonzero()[:, 0]
    logprobs_N, entropy_N, router_loss = next_token_logprobs(
        model, ids_BT1, real_BT1, sources_N, ids_BT1[:, 1:][mask_BT], temperature, logits_budget
    )
    return spread(logprobs_N, mask_BT), spread(entropy_N, mask_BT), router_loss


def spread(values_N: Tensor, mask_BT: Tensor) -> Tensor:
    """(B, T): the values, in order, where the mask is 1, and 0 elsewhere."""
    return values_N.new_zeros(mask_BT.shape).masked_scatter(mask_BT, values_N)


def next_token_logprobs(
    model: PreTrainedModel,
    ids_BT: Tensor,
    counts_BT: Tensor,
    sources_N: Tensor,
    next_ids_N: Tensor,
    temperature: float,
    logits_budget: int = LOGITS_BUDGET,
    **arguments: Any,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Log-probs (N,) of the next tokens, entropies (N,) of the distributions that they come from, the router loss.

    ``sources_N`` are the places, among the B * T, of the tokens that each is next to; a place may stand several times.
    ``counts_BT`` and ``arguments`` are those of `strategy.models.logits_and_router_loss`. Up to ``logits_budget``
    logits, all of them are made at once, which is faster: nothing is computed twice.

    Raises ValueError above the budget for an architecture that changes its logits after the output embedding (Gemma's
    soft-capping, Cohere's and Granite's scaling).
    """
    head = model.get_output_embeddings()
    to_logits = head.forward
    chunk_tokens = max(1, logits_budget // model.config.vocab_size)
    in_chunks = len(next_ids_N) > chunk_tokens
    made: list[Tensor] = []

    def forward(hidden_BTH: Tensor) -> Tensor:
        """What the model takes for its logits: those (1, N, V), or log-probs (1, N), of the sources only."""
        hidden_NH = hidden_BTH.flatten(0, 1).index_select(0, sources_N)
        if in_chunks:
            learning = [weight for weight in head.parameters() if weight.requires_grad]
            made.extend(_InChunks.apply(to_logits, chunk_tokens, temperature, next_ids_N, hidden_NH, *learning))
            return made[0][None]
        return to_logits(hidden_NH[None])

    with _forward_replaced(head, forward):
        found_1N, router_loss = logits_and_router_loss(model, ids_BT, counts_BT, **arguments)
    if not in_chunks:
        return *_of_logits(found_1N[0], next_ids_N, temperature), router_loss
    # A model that only hands on what its output embedding returned hands on this very memory.
    if not made or found_1N.shape != (1, len(next_ids_N)) or found_1N.data_ptr() != made[0].data_ptr():
        raise ValueError(
            f"{type(model).__name__} changes its logits after its output embedding, so they cannot be made in chunks; "
            f"allowed: micro-batches with at most {chunk_tokens} tokens of responses, found {len(next_ids_N)}"
        )
    return found_1N[0], made[1], router_loss


def _of_logits(logits_XV: Tensor, next_ids_X: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probs of the given tokens and entropies, in float32 at least whatever the logits' type."""
    all_logprobs_XV = torch.log_softmax(_wide(logits_XV) / temperature, dim=-1)
    logprobs_X = all_logprobs_XV.gather(-1, next_ids_X[..., None])[..., 0]
    with torch.no_grad():
        entropy_X = -(all_logprobs_XV.exp() * all_logprobs_XV).sum(-1)
    return logprobs_X, entropy_X


def _wide_type(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(_wide_type(tensor))


class _InChunks(torch.autograd.Function):
    """`_of_logits` of hidden states (N, H) through an output embedding, ``chunk_tokens`` of them at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        to_logits: Callable[[Tensor], Tensor],
        chunk_tokens: int,
        temperature: float,
        next_ids_N: Tensor,
        hidden_NH: Tensor,
        *weights: Parameter,
    ) -> tuple[Tensor, Tensor]:
        """Log-probs and entropies (N,). ``weights`` are the output embedding's, those that learn."""
        ctx.to_logits, ctx.chunk_tokens, ctx.temperature = to_logits, chunk_tokens, temperature
        # Not among the saved tensors, which autograd checks for changes: ZeRO-3 empties and gathers them in between.
        ctx.weights = weights
        ctx.save_for_backward(next_ids_N, hidden_NH)
        parts = [
            _of_logits(to_logits(hidden_nH), next_ids_n, temperature)
            for next_ids_n, hidden_nH in _chunks(chunk_tokens, next_ids_N, hidden_NH)
        ]
        logprobs_N, entropy_N = (torch.cat(chunks) for chunks in zip(*parts, strict=True))
        ctx.mark_non_differentiable(entropy_N)
        return logprobs_N, entropy_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_N: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """d log p(y) / d z_v = (1[v = y] - p_v) / temperature, and from the logits z on what autograd makes of them."""
        next_ids_N, hidden_NH = ctx.saved_tensors
        hidden_gradients = []
        sums = [torch.zeros_like(weight, dtype=_wide_type(weight)) for weight in ctx.weights]
        for next_ids_n, hidden_nH, gradient_n in _chunks(ctx.chunk_tokens, next_ids_N, hidden_NH, gradient_N):
            hidden_nH = hidden_nH.detach().requires_grad_()
            with torch.enable_grad():
                logits_nV = ctx.to_logits(hidden_nH)
            scale_n1 = gradient_n[:, None] / ctx.temperature
            gradient_nV = torch.softmax(_wide(logits_nV.detach()) / ctx.temperature, dim=-1).mul_(-scale_n1)
            gradient_nV.scatter_add_(-1, next_ids_n[:, None], scale_n1)
            inputs = (hidden_nH, *ctx.weights)
            of_hidden, *of_weights = torch.autograd.grad(logits_nV, inputs, gradient_nV.to(logits_nV.dtype))
            hidden_gradients.append(of_hidden)
            for total, part in zip(sums, of_weights, strict=True):
                total += part
        weight_gradients = (total.to(weight.dtype) for total, weight in zip(sums, ctx.weights, strict=True))
        return None, None, None, None, torch.cat(hidden_gradients), *weight_gradients


def _chunks(tokens: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The tensors cut along their first dimension; one empty chunk of empty tensors."""
    return zip(*(tensor.split(tokens) for tensor in tensors), strict=True)


@contextmanager
def _forward_replaced(module: Module, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let ``forward`` run in the place of the module's own, inside whatever hooks the module has."""
    before = vars(module).get("forward")
    vars(module)["forward"] = forward
    try:
        yield
    finally:
        if before is None:
            del vars(module)["forward"]
        else:
            vars(module)["forward"] = before
