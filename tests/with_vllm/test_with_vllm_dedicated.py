"""A dedicated engine: in processes of its own, beside which no colocated one runs."""

import os
import signal
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
import torch

from reference_impl.config import EngineOptions
from reference_impl.rollout import EngineDeadError, fingerprint, load_engine
from tests.with_vllm.reference import load_reference, logprob_error, requests_of, train_a_step


def test_dedicated_engine_lives_dies_and_starts_again(policy: Path) -> None:
    """In a process of its own: weights by file, and death by the kernel's hand."""
    engine: Any
    engine, _ = load_engine("vllm", policy, 64, torch.float32, EngineOptions(placement="dedicated"))
    model, requests = load_reference(policy), requests_of(policy, repeats=4)
    engine.generate(requests, max_tokens=8)
    train_a_step(model, requests[0])
    engine.update_weights(model.state_dict())
    assert engine.fingerprint() == fingerprint(model.state_dict())
    assert logprob_error(model, requests, engine.generate(requests, max_tokens=16)) < 1e-4
    (process,) = engine._llm.llm_engine.engine_core.resources.engine_manager.processes
    assert process.pid != os.getpid()
    # Killed while it samples: vLLM itself would wait for it for ever.
    Timer(0.3, os.kill, (process.pid, signal.SIGKILL)).start()
    with pytest.raises(EngineDeadError, match="failed while sampling"):
        engine.generate(requests * 40, max_tokens=500)
    with pytest.raises(EngineDeadError, match="not running"):
        engine.generate(requests, max_tokens=8)
    engine.restart()
    assert engine.fingerprint() == fingerprint(load_reference(policy).state_dict())
    engine.close()
