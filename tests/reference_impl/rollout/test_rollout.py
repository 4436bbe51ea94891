"""The transformers engine: seeds decide a sample, batching does not, log-probs are the model's own."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config

from reference_impl.rollout import (
    Completion,
    GenerationRequest,
    fingerprint,
    load_engine,
    transformers_engine,
)
from reference_impl.rollout.transformers_engine import (
    TransformersEngine,
    cache_bytes,
    nucleus,
    rows_at_once,
    sample_tokens,
)
from reference_impl.seeds import sample_seed


def engine_of(policy: Path, batch_size: int = 64) -> TransformersEngine:
    engine, _ = load_engine("transformers", policy, batch_size)
    assert isinstance(engine, TransformersEngine)
    return engine


def requests_of(policy: Path, samples: int = 3) -> list[GenerationRequest]:
    tokenizer = AutoTokenizer.from_pretrained(policy)
    texts = ["Let a=3, b=7.", "What is ab?", "a", "Let a=3, b=7. Then fold, a+4, swirl. What is ab?"]
    return [
        GenerationRequest(tuple(tokenizer(text)["input_ids"]), sample_seed("test", text, sample))
        for text in texts
        for sample in range(samples)
    ]


def test_sample_does_not_depend_on_batch_or_order(tiny_policy: Path) -> None:
    requests = requests_of(tiny_policy)
    together = engine_of(tiny_policy).generate(requests, max_tokens=12)
    alone = engine_of(tiny_policy, batch_size=1).generate(requests, max_tokens=12)
    backwards = engine_of(tiny_policy, batch_size=5).generate(requests[::-1], max_tokens=12)[::-1]
    assert [c.token_ids for c in together] == [c.token_ids for c in alone] == [c.token_ids for c in backwards]
    assert len({c.token_ids for c in together}) > 8, "different seeds should give different samples"


def test_logprobs_are_the_models_own(tiny_policy: Path) -> None:
    requests = requests_of(tiny_policy)
    model = AutoModelForCausalLM.from_pretrained(tiny_policy).eval()
    for request, completion in zip(requests, engine_of(tiny_policy).generate(requests, max_tokens=10), strict=True):
        ids = torch.tensor([request.prompt_ids + completion.token_ids])
        with torch.no_grad():
            logprobs = torch.log_softmax(model(ids).logits[0, len(request.prompt_ids) - 1 : -1], dim=-1)
        expected = logprobs.gather(-1, torch.tensor(completion.token_ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(completion.logprobs), expected, atol=1e-5, rtol=1e-5)


def test_bfloat16_logprobs_are_float32_of_the_models_logits(tiny_policy: Path) -> None:
    """Keys and values from a cache round differently: 2^-9 of logits near 1. A bfloat16 softmax is wrong by 2^-6 here:

    log-probs lie near -ln 400 = -6.0, where bfloat16 has steps of 2^-5.
    """
    model = AutoModelForCausalLM.from_pretrained(tiny_policy, dtype=torch.bfloat16).eval()
    engine, _ = load_engine("transformers", tiny_policy, dtype=torch.bfloat16)
    requests = requests_of(tiny_policy)
    for request, completion in zip(requests, engine.generate(requests, max_tokens=10), strict=True):
        ids = torch.tensor([request.prompt_ids + completion.token_ids])
        with torch.no_grad():
            logits = model(ids).logits[0, len(request.prompt_ids) - 1 : -1]
        expected = torch.log_softmax(logits.float(), dim=-1).gather(-1, torch.tensor(completion.token_ids)[:, None])
        torch.testing.assert_close(torch.tensor(completion.logprobs), expected[:, 0], atol=4e-3, rtol=0)


def test_gpu_batch_is_bounded_by_its_free_memory() -> None:
    """Qwen2.5-1.5B in bfloat16: 2 * 28 layers * 2 heads * 128 * 2 bytes = 28,672 bytes a token.

    60 GB free, half of it for sequences of 1,000 + 16,384 tokens of 0.498 GB: 60.
    """
    config = Qwen2Config(
        vocab_size=8, hidden_size=1536, num_hidden_layers=28, num_attention_heads=12, num_key_value_heads=2
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    assert cache_bytes(model) == 28_672
    sequence = 17_384 * cache_bytes(model)
    assert rows_at_once(256, 60 * 10**9, sequence) == 60
    assert rows_at_once(16, 60 * 10**9, sequence) == 16
    assert rows_at_once(256, 10**6, sequence) == 1
    assert rows_at_once(256, None, sequence) == 256


def test_bounded_batches_give_the_same_samples(tiny_policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = requests_of(tiny_policy)
    free = engine_of(tiny_policy).generate(requests, max_tokens=12)
    engine = engine_of(tiny_policy)
    batches: list[int] = []
    longest = max(len(request.prompt_ids) for request in requests) + 12
    # Half of it holds five sequences and a half.
    monkeypatch.setattr(transformers_engine, "free_memory", lambda _: 11 * longest * cache_bytes(engine.model))
    generate_batch = engine._generate_batch

    def counted(batch: list[GenerationRequest], *rest: Any) -> list[Completion]:
        batches.append(len(batch))
        return generate_batch(batch, *rest)

    monkeypatch.setattr(engine, "_generate_batch", counted)
    bounded = engine.generate(requests, max_tokens=12)
    assert batches == [5, 5, 2]
    assert [c.token_ids for c in bounded] == [c.token_ids for c in free]


def test_stop_token_ends_a_sequence_and_is_left_out_of_the_text(tiny_policy: Path) -> None:
    engine = engine_of(tiny_policy)
    request = requests_of(tiny_policy)[0]
    free = engine.generate([request], max_tokens=8)[0]
    assert free.truncated and len(free.token_ids) == 8
    engine.stop_ids = [free.token_ids[4]]
    stopped = engine.generate([request], max_tokens=8)[0]
    first = free.token_ids.index(free.token_ids[4])
    assert stopped.token_ids == free.token_ids[: first + 1] and not stopped.truncated
    assert stopped.text == engine.tokenizer.decode(list(free.token_ids[:first]))


def test_sampling_follows_the_distribution() -> None:
    probs = torch.tensor([0.5, 0.3, 0.15, 0.05])
    uniforms = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    ids, logprobs, entropies = sample_tokens(probs.log().expand(10_000, 4), uniforms, temperature=1.0, top_p=1.0)
    assert torch.bincount(ids).tolist() == [5000, 3000, 1500, 500]
    assert entropies[0].item() == pytest.approx(-sum(p * math.log(p) for p in probs.tolist()), rel=1e-6)
    torch.testing.assert_close(logprobs.exp(), probs[ids])
    hot, *_ = sample_tokens(probs.log().expand(10_000, 4), uniforms, temperature=0.5, top_p=1.0)
    # p^2 / sum p^2: 0.25 / 0.365 = 0.6849
    assert torch.bincount(hot)[0].item() == pytest.approx(6849, abs=2)


def test_a_token_that_cannot_be_sampled_has_no_share_in_the_entropy() -> None:
    logits_BV = torch.tensor([[0.0, 0.0, -math.inf]])
    _, _, entropies = sample_tokens(logits_BV, torch.zeros(1, dtype=torch.float64), temperature=1.0, top_p=0.5)
    assert entropies.item() == pytest.approx(math.log(2))


def test_nucleus_keeps_the_smallest_sufficient_set() -> None:
    probs = torch.tensor([[0.15, 0.5, 0.05, 0.3]])
    assert nucleus(probs, 0.8).tolist() == [pytest.approx([0.0, 0.5, 0.0, 0.3])]
    assert nucleus(probs, 0.81).tolist() == [pytest.approx([0.15, 0.5, 0.0, 0.3])]


def test_update_weights_changes_what_is_sampled_and_the_fingerprint(tiny_policy: Path) -> None:
    engine = engine_of(tiny_policy)
    requests = requests_of(tiny_policy)
    before, mark = engine.generate(requests, max_tokens=6), engine.fingerprint()
    state = {name: tensor + 0.05 * torch.ones_like(tensor) for name, tensor in engine.model.state_dict().items()}
    engine.update_weights(state)
    assert engine.fingerprint() == fingerprint(state) != mark
    assert [c.logprobs for c in engine.generate(requests, max_tokens=6)] != [c.logprobs for c in before]


def test_weights_of_another_model_are_refused(tiny_policy: Path) -> None:
    engine = engine_of(tiny_policy)
    state = dict(engine.model.state_dict())
    with pytest.raises(ValueError, match=r"only one of policy and engine has: model\.norm\.weight"):
        engine.update_weights({name: tensor for name, tensor in state.items() if name != "model.norm.weight"})
    with pytest.raises(ValueError, match=r"model\.norm\.weight: shape \(1,\)"):
        engine.update_weights(state | {"model.norm.weight": torch.ones(1)})


def test_mistakes_are_named(tiny_policy: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown rollout engine 'transformer'; did you mean 'transformers'"):
        load_engine("transformer", tiny_policy)
    with pytest.raises(ValueError, match=r"no config\.json"):
        load_engine("transformers", tmp_path)
    with pytest.raises(ValueError, match="temperature=0"):
        engine_of(tiny_policy).generate(requests_of(tiny_policy), max_tokens=4, temperature=0.0)


def test_seeds_are_stable() -> None:
    # A changed hash would silently resample every stored evaluation.
    assert sample_seed("sandbox-amc", "sandbox-amc-000", 0) == sample_seed("sandbox-amc", "sandbox-amc-000", 0)
    assert 0 <= sample_seed("x") < 2**63
    assert len({sample_seed("rollout", 0, step, sample) for step in range(50) for sample in range(50)}) == 2500
