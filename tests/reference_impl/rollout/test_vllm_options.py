"""What surrounds the vLLM engine and needs no vLLM: placement, fingerprints that add up."""

import os
from pathlib import Path

import pytest
import torch

from reference_impl.config import EngineOptions
from reference_impl.rollout import load_engine
from reference_impl.rollout.engine import WEIGHT_SUM_MODULUS, fingerprint, weight_sums
from reference_impl.rollout.vllm_engine import dedicated_devices, eos_of, visible_devices
from reference_impl.text.chat import stop_ids


def test_vllm_wants_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no config\.json"):
        load_engine("vllm", tmp_path)


def test_dedicated_engines_take_the_gpus_behind_the_trainers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name, value in (("CUDA_VISIBLE_DEVICES", "3,5,6,7,8,9"), ("LOCAL_WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    # Two trainers on 3 and 5; the first's engine on 6 and 7, the second's on 8 and 9.
    assert dedicated_devices(EngineOptions(placement="dedicated", tensor_parallel_size=2)) == ["8", "9"]
    with pytest.raises(ValueError, match="needs 2 GPUs for training and 2 × 3 for rollouts; this machine shows 6"):
        dedicated_devices(EngineOptions(placement="dedicated", tensor_parallel_size=3))
    with visible_devices(["8", "9"]):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "8,9"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,5,6,7,8,9"


def test_stop_ids_are_those_of_the_transformers_engine(tiny_policy: Path) -> None:
    engine, tokenizer = load_engine("transformers", tiny_policy)
    assert stop_ids(tokenizer, eos_of(tiny_policy)) == engine.stop_ids  # type: ignore[attr-defined]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_sums_of_parts_add_up_to_those_of_the_whole(dtype: torch.dtype) -> None:
    whole = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    parts = [weight_sums(part) for part in whole.split([3, 4])]
    sums = tuple(sum(column) % WEIGHT_SUM_MODULUS for column in zip(*parts, strict=True))
    assert sums == weight_sums(whole) == weight_sums(whole.t())


def test_sums_are_of_the_numbers_bits() -> None:
    # float32 1.0 is 0x3F800000 = 1065353216, and -2.0 is 0xC0000000, as a signed number -1073741824.
    first = 1065353216 - 1073741824
    second = 1065353216**2 + 1073741824**2
    assert weight_sums(torch.tensor([1.0, -2.0])) == (first % 2**64, second % 2**64)


def test_smallest_change_changes_the_fingerprint() -> None:
    state = {"a": torch.linspace(-1, 1, 1000), "b": torch.zeros(3)}
    before = fingerprint(state)
    state["a"][500] = torch.nextafter(state["a"][500], torch.tensor(2.0))
    assert fingerprint(state) != before
    assert fingerprint({"a": state["b"], "b": state["a"]}) != fingerprint(state)
