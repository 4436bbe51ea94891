"""The real vLLM engine behind the rollout interface: samples, log-probs, weights, death."""

from pathlib import Path
from typing import Any

import pytest
import torch

from reference_impl.rollout import EngineDeadError, GenerationRequest, fingerprint
from tests.with_vllm.reference import load_reference, logprob_error, requests_of, train_a_step


def test_seeds_decide_the_samples_whatever_their_order(engine: Any, policy: Path) -> None:
    requests = requests_of(policy)
    together = engine.generate(requests, max_tokens=24)
    backwards = engine.generate(requests[::-1], max_tokens=24)[::-1]
    alone = [engine.generate([request], max_tokens=24)[0] for request in requests[:3]]
    assert [c.token_ids for c in together] == [c.token_ids for c in backwards]
    assert [c.token_ids for c in together[:3]] == [c.token_ids for c in alone]
    hot = engine.generate(requests[:4], max_tokens=24, temperature=2.0)
    assert len({c.token_ids for c in hot}) == 4, "four samples of one prompt"
    other_seeds = [GenerationRequest(request.prompt_ids, request.seed + 1) for request in requests]
    others = engine.generate(other_seeds, max_tokens=24)
    assert [c.token_ids for c in others] != [c.token_ids for c in together]


def test_completions_mean_what_those_of_the_transformers_engine_mean(engine: Any, policy: Path) -> None:
    completions = engine.generate(requests_of(policy), max_tokens=40)
    assert {c.truncated for c in completions} == {True, False}, "some responses are longer than 40 tokens, some are not"
    for completion in completions:
        ended = completion.token_ids[-1] in engine.stop_ids
        assert completion.truncated is not ended and len(completion.logprobs) == len(completion.token_ids) <= 40
        assert not set(completion.token_ids[:-1]) & set(engine.stop_ids)
        said = completion.token_ids[:-1] if ended else completion.token_ids
        assert completion.text == engine.tokenizer.decode(said) and "<|im_end|>" not in completion.text


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_those_of_transformers(engine: Any, policy: Path, temperature: float) -> None:
    requests = requests_of(policy)
    completions = engine.generate(requests, max_tokens=32, temperature=temperature)
    assert logprob_error(load_reference(policy), requests, completions, temperature) < 1e-4


def test_nucleus_leaves_out_the_tail(engine: Any, policy: Path) -> None:
    completions = engine.generate(requests_of(policy, samples=2), max_tokens=24, top_p=1e-6)
    assert completions[0].token_ids == completions[1].token_ids, "only the most probable token is left"


def test_trained_weights_arrive(engine: Any, policy: Path) -> None:
    model, requests = load_reference(policy), requests_of(policy, repeats=4)
    assert engine.fingerprint() == fingerprint(model.state_dict())
    before = engine.generate(requests, max_tokens=16)
    train_a_step(model, requests[0])
    assert engine.fingerprint() != fingerprint(model.state_dict())
    engine.update_weights(model.state_dict())
    assert engine.fingerprint() == fingerprint(model.state_dict())
    after = engine.generate(requests, max_tokens=16)
    assert logprob_error(model, requests, after) < 1e-4
    assert logprob_error(model, requests, before) > 1e-2, "the step is too small to be seen"


def test_without_emptying_the_prefix_cache_logprobs_would_be_wrong(
    engine: Any, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, requests = load_reference(policy), requests_of(policy, repeats=4)
    engine.generate(requests, max_tokens=4)
    train_a_step(model, requests[0], learning_rate=1e-2)
    with monkeypatch.context() as patch:
        patch.setattr(engine._llm, "reset_prefix_cache", lambda: True)
        engine.update_weights(model.state_dict())
    stale = engine.generate(requests, max_tokens=16)
    assert engine.fingerprint() == fingerprint(model.state_dict()), "the weights are right, the cached keys are not"
    assert logprob_error(model, requests, stale) > 1e-2
    engine.update_weights(model.state_dict())
    assert logprob_error(model, requests, engine.generate(requests, max_tokens=16)) < 1e-4


@pytest.mark.parametrize(
    "name",
    [
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.1.self_attn.k_proj.weight",
        "model.layers.1.mlp.up_proj.weight",
        "model.layers.2.mlp.down_proj.weight",
        "model.norm.weight",
    ],
)
def test_one_changed_number_changes_the_engines_fingerprint(engine: Any, policy: Path, name: str) -> None:
    state = {key: tensor.clone() for key, tensor in load_reference(policy).state_dict().items()}
    state["lm_head.weight"] = state["model.embed_tokens.weight"]  # tied
    before = fingerprint(state)
    flat = state[name].view(-1)
    flat[-1] = torch.nextafter(flat[-1], torch.tensor(9.0))
    engine.update_weights(state)
    assert engine.fingerprint() == fingerprint(state) != before


def test_lost_tensor_is_seen(engine: Any, policy: Path) -> None:
    """vLLM keeps the old values of what it is not given, without an error."""
    model = load_reference(policy)
    train_a_step(model, requests_of(policy)[0])
    state = model.state_dict()
    engine.update_weights({name: tensor for name, tensor in state.items() if "layers.1.self_attn.v_proj" not in name})
    assert engine.fingerprint() != fingerprint(state)


def test_response_ends_with_the_context(engine: Any, policy: Path) -> None:
    (request, *_) = requests_of(policy)
    longer = GenerationRequest((request.prompt_ids * 1024)[:1020], request.seed)
    (completion,) = engine.generate([longer], max_tokens=1024)
    assert len(completion.token_ids) <= 4 and (completion.truncated or len(completion.token_ids) < 4)
    with pytest.raises(ValueError, match="max_model_len is 1024"):
        engine.generate([GenerationRequest((request.prompt_ids * 1024)[:1024], 0)], max_tokens=1)


def test_bad_sampling_settings_are_named(engine: Any, policy: Path) -> None:
    with pytest.raises(ValueError, match="temperature=0"):
        engine.generate(requests_of(policy), max_tokens=4, temperature=0.0)


def test_engine_that_fails_says_so(engine: Any, policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("no memory left")

    with monkeypatch.context() as patch:
        patch.setattr(engine._llm.llm_engine.engine_core, "get_output", out_of_memory)
        with pytest.raises(EngineDeadError, match="failed while sampling: OutOfMemoryError: no memory left"):
            engine.generate(requests_of(policy), max_tokens=4)
    with pytest.raises(EngineDeadError, match="not running"):
        engine.generate(requests_of(policy), max_tokens=4)
    engine.restart()
    model = load_reference(policy)
    assert engine.fingerprint() == fingerprint(model.state_dict())
    with pytest.raises(EngineDeadError, match="failed while loading weights"):
        engine.update_weights({"model.layers.0.no_such.weight": torch.zeros(1)})
    engine.restart()
    requests = requests_of(policy)
    assert logprob_error(model, requests, engine.generate(requests, max_tokens=8)) < 1e-4
