"""Groups packed behind one prompt: the log-probs, losses and gradients of the plain path, for every architecture."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    OlmoeConfig,
    PhimoeConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3Config,
)

from reference_impl.step.batching import MicroBatch, TrainingSequence, micro_batches, packed_cuts, token_statistics
from reference_impl.step.shared_prefix import pack, share_prompts

V = 61
SHAPE: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "intermediate_size": 24,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ROUTED: dict[str, Any] = {"output_router_logits": True, "router_aux_loss_coef": 0.5, "num_experts_per_tok": 2}
SHARING: dict[str, PretrainedConfig] = {
    "qwen2": Qwen2Config(**SHAPE, tie_word_embeddings=True),
    "qwen2 without groups of heads": Qwen2Config(**SHAPE | {"num_key_value_heads": 4}),
    "qwen2 with a window that is not used": Qwen2Config(**SHAPE, sliding_window=4, use_sliding_window=False),
    "qwen3": Qwen3Config(**SHAPE),
    "llama": LlamaConfig(**SHAPE),
    "mistral without a window": MistralConfig(**SHAPE, sliding_window=None),
    "phimoe": PhimoeConfig(**SHAPE, **ROUTED, num_local_experts=4),
    "qwen2 moe": Qwen2MoeConfig(
        **SHAPE, **ROUTED, num_experts=4, moe_intermediate_size=12, shared_expert_intermediate_size=12
    ),
    "olmoe": OlmoeConfig(**SHAPE, **ROUTED, num_experts=4),
}
DECLINING: dict[str, PretrainedConfig] = {
    "mistral with a window": MistralConfig(**SHAPE, sliding_window=4),
    "qwen2 with a window": Qwen2Config(**SHAPE, sliding_window=4, use_sliding_window=True, max_window_layers=0),
    "gemma2, soft-capped": Gemma2Config(**SHAPE),
    "gemma3, some layers with a window": Gemma3TextConfig(**SHAPE),
}


def model_of(config: PretrainedConfig, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Random weights, large enough for decided predictions."""
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(deepcopy(config))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(0, 0.3)
    return model.to(dtype).eval()  # type: ignore[arg-type]


def sequences_of(groups: dict[int, tuple[int, ...]], seed: int = 0) -> list[TrainingSequence]:
    """``groups``: tokens of a prompt → tokens of its responses."""
    generator = torch.Generator().manual_seed(seed)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, V, (n,), generator=generator).tolist())

    found = []
    for length, responses in groups.items():
        prompt = tokens(length)
        found += [TrainingSequence(prompt, tokens(n), "rollout", advantage=n - 3.5) for n in responses]
    return found


GROUPS = sequences_of({5: (3, 1, 7, 3), 2: (4,), 9: (1, 12), 1: (2, 2)})


def passed(model: PreTrainedModel, batch: MicroBatch, temperature: float = 0.7) -> tuple[Tensor, ...]:
    """Log-probs, entropies and router loss of a micro-batch, with the gradients of a loss that weighs every token."""
    model.zero_grad()
    stats = token_statistics(model, batch, temperature)
    router = torch.zeros(()) if stats.router_loss is None else stats.router_loss
    loss = -(stats.logprobs_BT * batch.advantages_B[:, None]).sum() + router
    loss.backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]
    return stats.logprobs_BT.detach(), stats.entropy_BT, router.detach(), *gradients


def assert_close(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> None:
    """To 1e-5 of each tensor's largest number, as float32 can: the sums of a gradient are in another order."""
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5 * max(1.0, float(other.abs().max())), rtol=0)


def both(model: PreTrainedModel, sequences: list[TrainingSequence]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The same micro-batch packed and plain; the plain one by transformers' own attention."""
    assert model.config._attn_implementation == "sdpa" and share_prompts(model)
    (batch,) = micro_batches(sequences, 10_000, 0, packed=model.dtype)
    found = passed(model, batch)
    model.config._attn_implementation = "sdpa"
    return found, passed(model, replace(batch, packed=None))


@pytest.mark.parametrize("architecture", SHARING)
def test_equals_the_plain_path(architecture: str) -> None:
    """Log-probs, entropies, the router loss (prompts counted as often as they stand in the plain one), gradients."""
    found, wanted = both(model_of(SHARING[architecture]), GROUPS)
    assert ("moe" in architecture) == (float(wanted[2]) > 0)
    assert max(float(gradient.abs().max()) for gradient in wanted[3:]) > 0.1
    assert_close(found, wanted)


def test_bfloat16() -> None:
    found, wanted = both(model_of(SHARING["llama"], torch.bfloat16), GROUPS)
    torch.testing.assert_close(found[0], wanted[0], atol=0.1, rtol=0.1)


@pytest.mark.parametrize("lengths", [{3: (5,)}, {4: (1, 1)}, {1: (1,), 2: (1,)}, {7: (2,) * 8}])
def test_small_and_single_groups(lengths: dict[int, tuple[int, ...]]) -> None:
    found, wanted = both(model_of(SHARING["qwen2"]), sequences_of(lengths))
    assert_close(found, wanted)


def test_with_activation_checkpointing() -> None:
    """The attention is called again in the backward pass, and sees the same layout."""
    model = model_of(SHARING["qwen2"])
    _, wanted = both(model, GROUPS)
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    found, _ = both(model, GROUPS)
    assert_close(found, wanted)


@pytest.mark.parametrize("architecture", DECLINING)
def test_an_architecture_that_cannot_is_left_as_it_is(architecture: str) -> None:
    model = model_of(DECLINING[architecture])
    before = model.config._attn_implementation
    assert not share_prompts(model) and model.config._attn_implementation == before


def test_a_model_that_shares_prompts_computes_and_saves_as_before(tmp_path: Any) -> None:
    model = model_of(SHARING["qwen2"])
    ids_BT = torch.tensor([[5, 6, 7, 8], [9, 4, 0, 0]])
    before = model(input_ids=ids_BT).logits
    model.save_pretrained(tmp_path / "before")
    assert share_prompts(model)
    assert torch.equal(model(input_ids=ids_BT).logits, before)
    model.save_pretrained(tmp_path / "after")
    configs = [(tmp_path / name / "config.json").read_bytes() for name in ("before", "after")]
    assert configs[0] == configs[1]


def test_a_layout_that_attention_never_sees_is_an_error() -> None:
    model = model_of(SHARING["qwen2"])
    (batch,) = micro_batches(GROUPS, 10_000, 0, packed=torch.float32)
    with pytest.raises(ValueError, match=r"0 of 2 layers have seen it\): share_prompts must be false"):
        token_statistics(model, batch, 1.0)  # share_prompts(model) was not called


def test_a_packed_row_by_hand() -> None:
    row = pack([(5, 6), (7,), (5, 6)], [(8,), (9, 4), (3, 2, 1)], torch.float32)
    #                    the prompts: 5 6 | 7, the responses: 8 | 9 4 | 3 2 1
    assert row.ids_1L.tolist() == [[5, 6, 7, 8, 9, 4, 3, 2, 1]]
    assert row.positions_1L.tolist() == [[0, 1, 0, 2, 1, 2, 2, 3, 4]]
    assert row.counts_1L.tolist() == [[2, 2, 1, 1, 1, 1, 1, 1, 1]]
    assert row.sources_N.tolist() == [1, 2, 4, 1, 6, 7]
    assert row.prompt_of_B.tolist() == [0, 1, 0]
    seen = (row.bias_B1TK[1, 0] == 0).int()  # the second response: keys of its prompt and a padding, then its own
    assert seen.tolist() == [[1, 0, 1, 0, 0], [1, 0, 1, 1, 0], [1, 0, 1, 1, 1]]


def test_micro_batches_keep_a_group_together_and_hold_the_budget() -> None:
    """A prompt counts once in each micro-batch that has a response to it."""
    for budget in (8, 14, 20, 1000):
        batches = list(micro_batches(GROUPS, budget, 0, packed=torch.float32))
        assert sum(len(batch.kinds_B) for batch in batches) == len(GROUPS)
        for batch in batches:
            assert batch.packed is not None
            assert batch.packed.ids_1L.shape[1] <= budget or len(batch.kinds_B) == 1
    assert [len(places) for places in packed_cuts(GROUPS[:4], 5 + 3 + 1 + 7)] == [3, 1]
