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
from reference_impl.rollout.engine import EngineDeadError, GenerationRequest, weight_sums
from reference_impl.rollout.synced import SyncedEngine
from reference_impl.rollout.vllm_engine import VllmEngine


class FakeLLM:
    """Holds weights by name, loses them at level 2, and cannot be used asleep, as vLLM's workers cannot."""

    calls: list[str]

    def __init__(self, *_: Any, **settings: Any) -> None:
        assert settings["enable_sleep_mode"] is True
        self.calls, self.asleep = [], 0
        self.held: dict[str, tuple[int, int]] = {}
        self.llm_engine = SimpleNamespace(
            model_config=SimpleNamespace(max_model_len=64), step=self._step, abort_request=self._abort
        )
        self.queue: list[str] = []

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

    def enqueue(self, prompts: list[Any], settings: list[Any], use_tqdm: bool) -> list[str]:
        """vLLM's names: what was counted so far, and something random behind it."""
        assert not self.asleep and self.held and not self.queue
        self.calls.append("enqueue")
        first = 10 * self.calls.count("enqueue")
        self.queue = [f"{first + place}-ab12cd34" for place in range(len(prompts))]
        return list(self.queue)

    def _step(self) -> list[Any]:
        """Every other step ends the request that came last; its output has the name without what is random."""
        self.calls.append("step")
        name = self.queue.pop() if self.calls.count("step") % 2 == 0 else self.queue[0]
        finished = self.calls.count("step") % 2 == 0
        token = int(name.partition("-")[0])
        output = SimpleNamespace(token_ids=[token], logprobs=[{token: SimpleNamespace(logprob=-0.5)}])
        return [SimpleNamespace(request_id=name.partition("-")[0], outputs=[output], finished=finished)]

    def _abort(self, names: list[str], internal: bool) -> None:
        assert internal
        self.calls.append(f"abort {len(names)}")
        self.queue = [name for name in self.queue if name not in names]

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


def test_responses_come_as_they_end(engine: VllmEngine, tiny_policy: Path) -> None:
    engine.update_weights(AutoModelForCausalLM.from_pretrained(tiny_policy).state_dict())
    requests = [GenerationRequest((1, 2, place), place) for place in range(3)]
    ended = list(engine.as_they_end(requests, max_tokens=4))
    assert [(place, completion.token_ids) for place, completion in ended] == [(2, (12,)), (1, (11,)), (0, (10,))]
    some = engine.as_they_end(requests, max_tokens=4)
    assert next(some)[0] == 2
    some.close()  # who asked has stopped: what is left must not come with the next call's
    assert engine._llm.calls[-1] == "abort 2" and not engine._llm.queue
    assert [place for place, _ in engine.as_they_end(requests[:1], max_tokens=4)] == [0]
    assert list(engine.as_they_end([], max_tokens=4)) == []


def test_an_engine_that_dies_in_the_middle_says_so(engine: VllmEngine, tiny_policy: Path) -> None:
    engine.update_weights(AutoModelForCausalLM.from_pretrained(tiny_policy).state_dict())
    some = engine.as_they_end([GenerationRequest((1, 2, place), place) for place in range(3)], max_tokens=4)
    next(some)

    def fails() -> None:
        raise RuntimeError("no memory left")

    engine._llm.llm_engine.step = fails
    with pytest.raises(EngineDeadError, match="failed while sampling: RuntimeError: no memory left"):
        list(some)
    assert "abort" not in " ".join(engine._llm.calls)
