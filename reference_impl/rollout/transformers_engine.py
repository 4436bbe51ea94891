"""Batched sampling with a `transformers` model, on the CPU or on a GPU without vLLM.

Requests are sorted by prompt length and cut into batches; a prompt that several requests share is prefilled once;
sequences that end leave the batch. The randomness of a sequence comes from its own seed, on the CPU, so it depends
neither on the device nor on which batch it falls into.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from reference_impl.rollout.decoder import Decoder, close_up
from reference_impl.rollout.engine import Completion, GenerationRequest, check_sampling, fingerprint
from reference_impl.rollout.plain_decoder import PlainDecoder
from reference_impl.strategy.models import load_model
from reference_impl.text.chat import stop_ids

CACHE_SHARE = 0.5
"""Of a GPU's free memory, for a batch's keys and values at their longest. The other half is for what comes and goes: a
layer's keys and values copied when they grow, and repeated where several heads share them; logits and their sums."""


class TransformersEngine:
    """Sample from a ``transformers`` causal language model on the device that it lives on."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        batch_size: int,
        decoder_of: Callable[[PreTrainedModel], Decoder] = PlainDecoder,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: allowed are positive integers")
        self.model = model.eval()
        if getattr(model.config, "output_router_logits", False):
            model.config.output_router_logits = False  # a mixture of experts balances its load in training only
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.decoder_of = decoder_of
        eos = model.generation_config.eos_token_id if model.generation_config is not None else None
        self.stop_ids = stop_ids(tokenizer, eos)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Path,
        batch_size: int,
        dtype: torch.dtype | str,
        decoder_of: Callable[[PreTrainedModel], Decoder] = PlainDecoder,
    ) -> "tuple[TransformersEngine, PreTrainedTokenizerBase]":
        """Load a checkpoint folder."""
        model = load_model(checkpoint, dtype)
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        return cls(model, tokenizer, batch_size, decoder_of), tokenizer

    def update_weights(self, state: Mapping[str, Tensor]) -> None:
        """Copy the policy's weights in, one by one as they are read. Raises ValueError where the two differ in the
        names or shapes of weights.
        """
        own = self.model.state_dict()
        if state.keys() != own.keys():
            raise ValueError(f"only one of policy and engine has: {', '.join(sorted(state.keys() ^ own.keys()))}")
        for name, tensor in state.items():
            if tensor.shape != own[name].shape:  # `copy_` would broadcast
                raise ValueError(f"{name}: shape {tuple(tensor.shape)}, the engine's is {tuple(own[name].shape)}")
            own[name].copy_(tensor)

    def fingerprint(self) -> str:
        """Fingerprint of the weights sampled from."""
        return fingerprint(self.model.state_dict())

    @torch.inference_mode()
    def generate(
        self, requests: Sequence[GenerationRequest], *, max_tokens: int, temperature: float = 1.0, top_p: float = 1.0
    ) -> list[Completion]:
        """See :class:`~reference_impl.rollout.engine.RolloutEngine`. Raises ValueError for a bad sampling setting."""
        check_sampling(max_tokens, temperature, top_p)
        order = sorted(range(len(requests)), key=lambda i: (len(requests[i].prompt_ids), requests[i].prompt_ids))
        completions: dict[int, Completion] = {}
        longest = max((len(request.prompt_ids) for request in requests), default=0) + max_tokens
        rows = rows_at_once(self.batch_size, free_memory(self.model.device), longest * cache_bytes(self.model))
        decoder = self.decoder_of(self.model)
        for start in range(0, len(order), rows):
            chunk = order[start : start + rows]
            batch = self._generate_batch([requests[i] for i in chunk], decoder, max_tokens, temperature, top_p)
            completions.update(zip(chunk, batch, strict=True))
        return [completions[i] for i in range(len(requests))]

    def _generate_batch(
        self, requests: list[GenerationRequest], decoder: Decoder, max_tokens: int, temperature: float, top_p: float
    ) -> list[Completion]:
        uniforms = [np.random.Generator(np.random.Philox(request.seed)).random(max_tokens) for request in requests]
        logits_BV, sequences = decoder.prefill([request.prompt_ids for request in requests])
        uniforms_TB = torch.from_numpy(np.stack(uniforms, axis=1)).to(logits_BV.device)
        alive_B = torch.arange(len(requests), device=logits_BV.device)
        drawn = []
        for t in range(max_tokens):
            ids_B, *found = sample_tokens(logits_BV, uniforms_TB[t, alive_B], temperature, top_p)
            drawn.append((alive_B, ids_B, *found))
            goes_on = [token not in self.stop_ids for token in ids_B.tolist()]
            if not any(goes_on) or t + 1 == max_tokens:
                break
            if not all(goes_on):
                rows = close_up(goes_on)
                alive_B, ids_B = alive_B[rows], ids_B[rows]
                sequences.keep(rows)
            logits_BV = sequences.step(ids_B)
        # One sequence after the other, in the order of their tokens.
        request_N, *values = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        order_N, lengths_B = request_N.argsort(stable=True), request_N.bincount().tolist()
        by_request = ((part.tolist() for part in value_N[order_N].split(lengths_B)) for value_N in values)
        return [self._completion(*item) for item in zip(*by_request, strict=True)]

    def sleep(self, *, weights_follow: bool = False) -> None:
        """Give memory that torch keeps for the next batch back to the GPU: the update needs it in other sizes.

        A second copy of the policy's weights, those sampled from, stays.
        """
        torch.cuda.empty_cache()  # does nothing where no GPU was used

    def restart(self) -> None:
        """Nothing to start: this engine is a model in this process, and what ends it ends the process."""

    def _completion(self, token_ids: list[int], logprobs: list[float], entropies: list[float]) -> Completion:
        stopped = token_ids[-1] in self.stop_ids
        text = str(self.tokenizer.decode(token_ids[:-1] if stopped else token_ids, skip_special_tokens=False))
        return Completion(tuple(token_ids), text, tuple(logprobs), truncated=not stopped, entropies=tuple(entropies))


def free_memory(device: torch.device) -> int | None:
    """Bytes free on a GPU, those among them that torch keeps unused; None for the CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(device)[0]


def cache_bytes(model: PreTrainedModel) -> int:
    """Bytes of one token's keys and values in all layers."""
    config = model.config
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * head_size * model.dtype.itemsize)


def rows_at_once(batch_size: int, free: int | None, sequence_bytes: int) -> int:
    """Sequences of a batch: at most ``batch_size``, as many as `CACHE_SHARE` of the free bytes holds, at least one."""
    if free is None:
        return batch_size
    return max(1, min(batch_size, int(free * CACHE_SHARE) // sequence_bytes))


def sample_tokens(
    logits_BV: Tensor, uniforms_B: Tensor, temperature: float, top_p: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Inverse-CDF sampling: token ids (B,), their log-probabilities (B,) and the entropy (B,) of each distribution,
    both of the tempered distribution, in nats.

    One uniform number in [0, 1) decides one token, so a sequence's randomness is a short list of its own. The sums
    run in float64: in float32 the tail of a large vocabulary would be lost.
    """
    logprobs_BV = torch.log_softmax(logits_BV.float() / temperature, dim=-1)
    terms_BV = logprobs_BV.double()
    probs_BV = terms_BV.exp()
    # 0 * log 0 is 0: a logit of -inf has no share in it.
    entropy_B = -terms_BV.clamp_(min=-1e30).mul_(probs_BV).sum(-1)
    if top_p < 1:
        probs_BV = nucleus(probs_BV, top_p)
    cumulative_BV = probs_BV.cumsum_(-1)
    thresholds_B1 = uniforms_B[:, None] * cumulative_BV[:, -1:]
    ids_B1 = torch.searchsorted(cumulative_BV, thresholds_B1, right=True).clamp_(max=probs_BV.shape[-1] - 1)
    return ids_B1[:, 0], logprobs_BV.gather(-1, ids_B1)[:, 0], entropy_B


def nucleus(probs_BV: Tensor, top_p: float) -> Tensor:
    """Zero all but the smallest set of most probable tokens that holds at least ``top_p`` of the mass."""
    sorted_BV, order_BV = probs_BV.sort(dim=-1, descending=True)
    before_BV = sorted_BV.cumsum(-1) - sorted_BV
    return torch.zeros_like(probs_BV).scatter(-1, order_BV, sorted_BV * (before_BV < top_p))
