"""Tests of the real vLLM engine: `make test-vllm` sets up an environment for them; elsewhere they are skipped."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPO
from tests.with_vllm.widened import widen_policy

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if importlib.util.find_spec("vllm") is None:
        skip = pytest.mark.skip(reason="vllm is not installed here: make test-vllm")
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped sandbox policy with attention heads that vLLM's CPU kernels know, in float32."""
    shipped = REPO / "pipelines/sandbox/policies/sandbox-math"
    return widen_policy(shipped, tmp_path_factory.mktemp("policy") / "sandbox-math")


@pytest.fixture(scope="session")
def running_engine(policy: Path) -> Iterator[Any]:
    """One colocated engine for all tests, because starting it takes a while."""
    import torch

    from reference_impl.rollout import load_engine

    torch.set_num_threads(1)
    engine, _ = load_engine("vllm", policy, 64, torch.float32)
    yield engine
    engine.close()  # type: ignore[attr-defined]


@pytest.fixture
def engine(running_engine: Any, policy: Path) -> Any:
    """The engine with the policy's own weights, started again if a test has closed it."""
    from tests.with_vllm.reference import load_reference

    if running_engine._llm is None:
        running_engine.restart()
    running_engine.update_weights(load_reference(policy).state_dict())
    return running_engine
