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

Why no kernel of Liger's: its fused linear cross-entropy makes the weight's gradient in the forward pass, before the
gradient of each token's loss is known, so that its per-token losses had wrong gradients (linkedin/Liger-Kernel pull
request 1298), and it knows no entropy. ``LigerFusedLinearScaledCrossEntropyFunction`` (pull requests 1334 and 1354) has
per-token losses, temperature and entropy, but is a kernel for bfloat16 on Hopper GPUs only, and chunked PyTorch
elsewhere, as here. Liger's GRPO contains the loss, and here a loss sees log-probs only.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import Module
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from reference_impl.models import logits_and_router_loss

LOGITS_BUDGET = 1 << 26
"""Logits held at once, 256 MiB in float32: 441 tokens at a vocabulary of 152k, 84k tokens at one of 800. With
softmax, entropy and gradients, about four times as much is held."""


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
    t+1 belongs to a response. Both results are float32 of shape (B, T), entropies in nats, zero outside the mask. Up to
    ``logits_budget`` logits, all of them are made at once, which is faster: nothing is computed twice.

    Raises ValueError above the budget for an architecture that changes its logits after the output embedding (Gemma's
    soft-capping, Cohere's and Granite's scaling).
    """
    if ids_BT1.numel() * model.config.vocab_size > logits_budget:
        return _chunked(model, ids_BT1, real_BT1, mask_BT, temperature, logits_budget)
    logits_BT1V, router_loss = logits_and_router_loss(model, ids_BT1, real_BT1)
    logprobs_BT, entropy_BT = _of_logits(logits_BT1V[:, :-1], ids_BT1[:, 1:], temperature)
    return logprobs_BT.masked_fill(~mask_BT, 0.0), entropy_BT.masked_fill(~mask_BT, 0.0), router_loss


def _of_logits(logits_XV: Tensor, next_ids_X: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probs of the given tokens and entropies, in float32 whatever the logits' type."""
    all_logprobs_XV = torch.log_softmax(logits_XV.float() / temperature, dim=-1)
    logprobs_X = all_logprobs_XV.gather(-1, next_ids_X[..., None])[..., 0]
    with torch.no_grad():
        entropy_X = -(all_logprobs_XV.exp() * all_logprobs_XV).sum(-1)
    return logprobs_X, entropy_X


def _chunked(
    model: PreTrainedModel, ids_BT1: Tensor, real_BT1: Tensor, mask_BT: Tensor, temperature: float, logits_budget: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    head = model.get_output_embeddings()
    to_logits = head.forward
    chunk_tokens = max(1, logits_budget // model.config.vocab_size)
    positions_N = torch.nn.functional.pad(mask_BT, (0, 1)).flatten().nonzero()[:, 0]
    next_ids_N = ids_BT1[:, 1:][mask_BT]
    results: list[Tensor] = []

    def chunk_statistics(hidden_nH: Tensor, next_ids_n: Tensor) -> tuple[Tensor, Tensor]:
        return _of_logits(to_logits(hidden_nH), next_ids_n, temperature)

    def forward(hidden_BT1H: Tensor) -> Tensor:
        """Log-probs (B, T+1) where the model expects logits; the entropies are left in ``results``."""
        hidden_NH = hidden_BT1H.flatten(0, 1).index_select(0, positions_N)
        logprobs, entropies = zip(
            *(
                checkpoint(chunk_statistics, hidden_nH, next_ids_n, use_reentrant=False, preserve_rng_state=False)
                for hidden_nH, next_ids_n in zip(
                    hidden_NH.split(chunk_tokens), next_ids_N.split(chunk_tokens), strict=True
                )
            ),
            strict=True,
        )
        zeros_X = torch.zeros(ids_BT1.numel(), device=hidden_NH.device)
        logprobs_BT1, entropy_BT1 = (
            zeros_X.index_copy(0, positions_N, torch.cat(chunks)).view_as(ids_BT1) for chunks in (logprobs, entropies)
        )
        results.extend((logprobs_BT1, entropy_BT1))
        return logprobs_BT1

    with _forward_replaced(head, forward):
        found_BT1, router_loss = logits_and_router_loss(model, ids_BT1, real_BT1)
    # A model that only hands on what its output embedding returned hands on this very memory.
    if not results or found_BT1.shape != ids_BT1.shape or found_BT1.data_ptr() != results[0].data_ptr():
        raise ValueError(
            f"{type(model).__name__} changes its logits after its output embedding, so they cannot be made in chunks; "
            f"allowed: micro-batches of at most {logits_budget // model.config.vocab_size} tokens, padding included, "
            f"found {ids_BT1.numel()}"
        )
    return found_BT1[:, :-1], results[1][:, :-1], router_loss


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
