"""The fused decode step: tokens and log-probs of the plain one, whatever ends when; other models decode plainly."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, PreTrainedModel, Qwen2Config, Qwen3Config

from pipelines.sandbox import math_world, medicine_world, tool_world
from pipelines.sandbox.policies import SHIPPED, Shape
from pipelines.sandbox.pretrain import build_model
from reference_impl.rollout import Completion, GenerationRequest, fingerprint, load_engine
from reference_impl.rollout.decoder import close_up
from reference_impl.rollout.fused_decoder import BLOCK, FusedDecoder, fused_or_plain
from reference_impl.rollout.fused_weights import fuse, supports
from reference_impl.rollout.plain_decoder import PlainDecoder
from reference_impl.rollout.transformers_engine import TransformersEngine
from reference_impl.seeds import sample_seed
from reference_impl.step.batching import prompt_ids

SIZES: dict[str, Any] = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
CONFIGS = {
    "qwen2, tied": Qwen2Config(**SIZES, num_attention_heads=4, num_key_value_heads=4, tie_word_embeddings=True),
    "qwen2, grouped": Qwen2Config(**SIZES, num_attention_heads=4, num_key_value_heads=2),
    "llama, grouped": LlamaConfig(**SIZES, num_attention_heads=4, num_key_value_heads=1, head_dim=12),
    "llama, large eps": LlamaConfig(**SIZES, num_attention_heads=4, rms_norm_eps=0.1),
    "qwen3, grouped": Qwen3Config(**SIZES, num_attention_heads=4, num_key_value_heads=2, head_dim=16),
    "qwen3, large eps": Qwen3Config(
        **SIZES, num_attention_heads=2, num_key_value_heads=2, head_dim=4, rms_norm_eps=0.1
    ),
}
PROMPTS = [tuple(random.Random(length).choices(range(3, 400), k=length)) for length in (1, 4, 5, 9, 9, 23)]


def random_model(config: Any, seed: int = 0) -> PreTrainedModel:
    """No weight is as transformers fills it: norms are not all ones, biases not zeros; tokens are far from equal."""
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(1 if "norm" in name else 0, 0.25)
    return model.eval()


def engines_of(model: PreTrainedModel, tokenizer: Any, batch_size: int = 64) -> tuple[TransformersEngine, ...]:
    """The plain one and the fused one."""
    return tuple(
        TransformersEngine(model, tokenizer, batch_size, decoder) for decoder in (PlainDecoder, fused_or_plain)
    )


def requests_of(samples: int, name: str = "fused") -> list[GenerationRequest]:
    return [GenerationRequest(prompt, sample_seed(name, *prompt, k)) for prompt in PROMPTS for k in range(samples)]


def assert_same(found: list[Completion], expected: list[Completion]) -> None:
    assert [completion.token_ids for completion in found] == [completion.token_ids for completion in expected]
    assert [(c.text, c.truncated) for c in found] == [(c.text, c.truncated) for c in expected]
    for part in ("logprobs", "entropies"):
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(getattr(a, part), getattr(b, part), atol=3e-5, rtol=0)


@pytest.fixture(scope="module")
def tokenizer(tiny_policy: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_policy)


@pytest.mark.parametrize("name", CONFIGS)
def test_tokens_and_logprobs_are_the_plain_engines(name: str, tokenizer: Any) -> None:
    """Responses of several blocks, which end one by one."""
    model = random_model(CONFIGS[name])
    assert supports(model)
    plain, fused = engines_of(model, tokenizer)
    plain.stop_ids = fused.stop_ids = list(range(0, 400, 50))
    for temperature, top_p in ((1.0, 1.0), (0.6, 1.0), (1.3, 0.8)):
        expected, found = (
            engine.generate(requests_of(3), max_tokens=2 * BLOCK + 9, temperature=temperature, top_p=top_p)
            for engine in (plain, fused)
        )
        assert_same(found, expected)
        lengths = {len(completion.token_ids) for completion in expected}
        assert len(lengths) > 5 and max(lengths) > 2 * BLOCK


@pytest.mark.parametrize(
    ("name", "world"),
    [
        ("sandbox-math", math_world),
        ("sandbox-math-base", math_world),
        ("sandbox-math-small", math_world),
        ("sandbox-tool", tool_world),
        ("sandbox-medicine", medicine_world),
        ("sandbox-tool-moe", tool_world),
    ],
)
def test_shipped_policies_sample_the_same(name: str, world: Any) -> None:
    engines = [load_engine(engine, SHIPPED / name, dtype=torch.float32) for engine in ("transformers", "fused")]
    requests = [
        GenerationRequest(prompt_ids(engines[0][1], row), sample_seed("shipped", row["id"], sample))
        for row in world.rl_rows(3, 0)
        for sample in range(3)
    ]
    expected, found = (engine.generate(requests, max_tokens=72) for engine, _ in engines)
    assert_same(found, expected)
    assert len({completion.token_ids for completion in found}) > 3


def test_logprobs_are_the_models_own(tokenizer: Any) -> None:
    model = random_model(CONFIGS["qwen2, grouped"])
    _, fused = engines_of(model, tokenizer)
    requests = requests_of(2)
    for request, completion in zip(requests, fused.generate(requests, max_tokens=50), strict=True):
        ids = torch.tensor([request.prompt_ids + completion.token_ids])
        with torch.no_grad():
            logprobs = torch.log_softmax(model(ids).logits[0, len(request.prompt_ids) - 1 : -1], dim=-1)
        expected = logprobs.gather(-1, torch.tensor(completion.token_ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(completion.logprobs), expected, atol=3e-5, rtol=0)


def test_a_sample_depends_on_its_prompt_and_seed_only(tokenizer: Any) -> None:
    model = random_model(CONFIGS["qwen2, tied"])
    requests = requests_of(3)
    orders = [random.Random(seed).sample(range(len(requests)), len(requests)) for seed in range(3)]
    _, together = engines_of(model, tokenizer)
    together.stop_ids = list(range(0, 400, 40))
    expected = together.generate(requests, max_tokens=50)
    for order, batch_size in zip(orders, (1, 7, 64), strict=True):
        _, engine = engines_of(model, tokenizer, batch_size)
        engine.stop_ids = together.stop_ids
        found = engine.generate([requests[i] for i in order], max_tokens=50)
        assert_same(found, [expected[i] for i in order])


def test_keys_and_values_of_a_prompt_are_kept_once(tokenizer: Any) -> None:
    """Four samples of each of three prompts: three prompts' in a layer, two of them once the last one's samples end."""
    with torch.inference_mode():
        decoder = FusedDecoder(fuse(random_model(CONFIGS["qwen2, tied"])))
        _, sequences = decoder.prefill([prompt for prompt in PROMPTS[1:4] for _ in range(4)])
        assert [cache.both.shape[1] for cache in sequences._prompts] == [3, 3]
        space = sequences._prompts[0].both.data_ptr()
        sequences.step(torch.arange(12))
        sequences.keep([0, 1, 2, 3, 4, 5])
        assert [cache.both.shape[1] for cache in sequences._prompts] == [2, 2]
        assert sequences._prompts[0].both.data_ptr() == space, "copied"


def test_weights_are_those_of_the_last_update(tokenizer: Any) -> None:
    """Also where they were changed in the model itself: what is derived from them does not outlive a call."""
    model, other = random_model(CONFIGS["qwen2, tied"]), random_model(CONFIGS["qwen2, tied"], seed=1)
    plain, fused = engines_of(model, tokenizer)
    before = fused.generate(requests_of(2), max_tokens=9)
    fused.update_weights(other.state_dict())
    assert fused.fingerprint() == fingerprint(other.state_dict())
    after = fused.generate(requests_of(2), max_tokens=9)
    assert [c.token_ids for c in after] != [c.token_ids for c in before]
    assert_same(after, TransformersEngine(other, tokenizer, 64).generate(requests_of(2), max_tokens=9))
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(1.1)
    assert_same(fused.generate(requests_of(2), max_tokens=9), plain.generate(requests_of(2), max_tokens=9))


UNKNOWN = {
    "scaled rotary embedding": LlamaConfig(
        **SIZES, num_attention_heads=4, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
    ),
    "partial rotary embedding": LlamaConfig(
        **SIZES,
        num_attention_heads=4,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
    ),
    "sliding window": Qwen2Config(
        **SIZES,
        num_attention_heads=4,
        num_key_value_heads=4,
        use_sliding_window=True,
        sliding_window=4,
        max_window_layers=0,
    ),
    "activation": Qwen2Config(**SIZES, num_attention_heads=4, num_key_value_heads=4, hidden_act="gelu"),
    "bias of the MLP": LlamaConfig(**SIZES, num_attention_heads=4, mlp_bias=True),
    "bias after attention": LlamaConfig(**SIZES, num_attention_heads=4, attention_bias=True),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_the_step_does_not_know_decodes_plainly(name: str, tokenizer: Any) -> None:
    model = random_model(UNKNOWN[name])
    assert not supports(model) and isinstance(fused_or_plain(model), PlainDecoder)
    plain, fused = engines_of(model, tokenizer)
    assert fused.generate(requests_of(1), max_tokens=9) == plain.generate(requests_of(1), max_tokens=9)


def test_other_precisions_and_architectures_decode_plainly(tokenizer: Any) -> None:
    assert not supports(random_model(CONFIGS["qwen2, tied"]).bfloat16())
    experts = Shape(hidden_size=32, layers=2, heads=2, intermediate_size=24, experts=4, experts_per_token=2)
    assert not supports(build_model("phimoe", experts, tokenizer))


def test_rows_close_up_by_the_fewest_moves() -> None:
    assert close_up([True, False, True, False, True, True]) == [0, 5, 2, 4]
    assert close_up([True, True, False]) == [0, 1]
    assert close_up([False, False, True]) == [2]
