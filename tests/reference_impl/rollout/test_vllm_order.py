"""The order in which the engine sleeps, wakes, takes weights and samples: a stand-in for vLLM notes all it is asked."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from reference_impl.config import EngineOptions
from reference_impl.rollout.engine import GenerationRequest, weight_sums
from reference_impl.rollout.synced import SyncedEngine
from reference_impl.rollout.vllm_engine import VllmEngine


class FakeLLM:
    """Holds weights by name, loses them at level 2, and cannot be used asleep, as vLLM's workers cannot."""

    calls: list[str]

    def __init__(self, *_: Any, **settings: Any) -> None:
        assert settings["enable_sleep_mode"] is True
        self.calls, self.asleep = [], 0
        self.held: dict[str, tuple[int, int]] = {}
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=64))

    def sleep(self, level: int) -> None:
        assert not self.asleep
        self.asleep = level
        self.calls.append(f"sleep {level}")
        if level == 2:
            self.held = {}

    def wake_up(self) -> None:
        assert self.asleep
        self.asleep = 0
        self.calls.append("wake")

    def collective_rpc(self, method: str, args: tuple[Any, ...] = ()) -> list[Mapping[str, tuple[int, int]]]:
        assert not self.asleep
        self.calls.append(method)
        if method == "load_checkpoint_tensors":
            self.held = {name: weight_sums(tensor) for name, tensor in args[0]}
        return [self.held]

    def reset_prefix_cache(self) -> bool:
        self.calls.append("forget prefixes")
        return True

    def generate(self, prompts: list[Any], settings: list[Any], use_tqdm: bool) -> list[Any]:
        assert not self.asleep and self.held
        self.calls.append("generate")
        token = SimpleNamespace(logprob=-0.5)
        output = SimpleNamespace(token_ids=[7], logprobs=[{7: token}], finish_reason="stop", stop_reason=None, text="x")
        return [SimpleNamespace(outputs=[output]) for _ in prompts]


@pytest.fixture
def engine(tiny_policy: Path, monkeypatch: pytest.MonkeyPatch) -> VllmEngine:
    vllm, envs = ModuleType("vllm"), ModuleType("vllm.envs")
    vllm.LLM, vllm.SamplingParams = FakeLLM, SimpleNamespace  # type: ignore[attr-defined]
    envs.disable_envs_cache = lambda: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "vllm.envs", envs)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    made, _ = VllmEngine.from_checkpoint(tiny_policy, 4, torch.float32, EngineOptions())
    return made


REQUESTS = [GenerationRequest((1, 2, 3), 0)]


def test_a_step_on_policy(engine: VllmEngine, tiny_policy: Path) -> None:
    """Weights go in before it samples; it forgets them while the policy learns, for newer ones follow."""
    state = AutoModelForCausalLM.from_pretrained(tiny_policy).state_dict()
    synced = SyncedEngine(engine, lambda: state, max_tokens=4, temperature=1.0)
    for _ in range(2):
        synced.generate(REQUESTS)
        synced.sleep(sync_follows=True)
        synced.stale = True
    first = ["load_checkpoint_tensors", "forget prefixes", "held_weight_sums", "generate", "sleep 2"]
    assert engine._llm.calls == [*first, "wake", *first]


def test_a_sampler_that_lags_keeps_its_weights(engine: VllmEngine, tiny_policy: Path) -> None:
    state = AutoModelForCausalLM.from_pretrained(tiny_policy).state_dict()
    synced = SyncedEngine(engine, lambda: state, max_tokens=4, temperature=1.0)
    synced.generate(REQUESTS)
    synced.sleep(sync_follows=False)
    synced.generate(REQUESTS)
    assert engine._llm.calls[-3:] == ["sleep 1", "wake", "generate"]


def test_promised_weights_that_do_not_come_are_an_error(engine: VllmEngine, tiny_policy: Path) -> None:
    state = AutoModelForCausalLM.from_pretrained(tiny_policy).state_dict()
    engine.update_weights(state)
    engine.sleep(weights_follow=True)
    with pytest.raises(RuntimeError, match="was promised weights"):
        engine.generate(REQUESTS, max_tokens=4)
    engine.update_weights(state)
    assert engine.generate(REQUESTS, max_tokens=4)[0].token_ids == (7,)
