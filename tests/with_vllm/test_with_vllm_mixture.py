"""A mixture of experts: joined by transformers, joined otherwise by vLLM, synced expert by expert."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from reference_impl.rollout import fingerprint, load_engine
from tests.conftest import REPO
from tests.with_vllm.reference import load_reference, logprob_error, requests_of, train_a_step

SHIPPED = REPO / "pipelines/sandbox/policies/sandbox-tool-moe"


@pytest.fixture
def mixture(tmp_path: Path) -> Path:
    """Random weights in the shape of Phi-mini-MoE: untied, with biases, and with heads that vLLM's CPU kernels know."""
    config = AutoConfig.from_pretrained(SHIPPED)
    config.hidden_size = 32 * config.num_attention_heads
    config.tie_word_embeddings, config.attention_bias, config.lm_head_bias = False, True, True
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    folder = tmp_path / "mixture"
    shutil.copytree(SHIPPED, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json", "manifest.json"))
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def mixture_engine(running_engine: Any, mixture: Path) -> Iterator[Any]:
    running_engine.close()  # a process holds one engine
    engine, _ = load_engine("vllm", mixture, 64, torch.float32)
    yield engine
    engine.close()  # type: ignore[attr-defined]


def test_trained_experts_arrive(mixture_engine: Any, mixture: Path, tmp_path: Path) -> None:
    model, requests = load_reference(mixture), requests_of(mixture)
    assert mixture_engine.fingerprint() == fingerprint(model.state_dict())
    assert logprob_error(model, requests, mixture_engine.generate(requests, max_tokens=16)) < 1e-4
    train_a_step(model, requests[0])
    assert mixture_engine.fingerprint() != fingerprint(model.state_dict())
    mixture_engine.update_weights(model.state_dict())
    assert mixture_engine.fingerprint() == fingerprint(model.state_dict())
    synced = mixture_engine.generate(requests, max_tokens=16)
    assert logprob_error(model, requests, synced) < 1e-4
    assert logprob_error(load_reference(mixture), requests, synced) > 1e-2, "the step is too small to be seen"

    # A checkpoint as the trainer writes it: the engine that starts from it samples the same.
    model.save_pretrained(mixture)
    mixture_engine.restart()
    assert mixture_engine.generate(requests, max_tokens=16) == synced

    state = model.state_dict()
    state["model.layers.1.mlp.experts.down_proj"] = state["model.layers.1.mlp.experts.down_proj"].clone()
    state["model.layers.1.mlp.experts.down_proj"][-1, 0, 0] += 1
    expected = fingerprint(state)
    mixture_engine.update_weights({name: tensor for name, tensor in state.items() if "layers.1.mlp" not in name})
    assert mixture_engine.fingerprint() != expected, "experts that were left out are seen"
