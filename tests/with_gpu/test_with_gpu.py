"""Numbers that only a GPU can tell: log-probs in bf16, sleep and weight sync, CUDA graphs, memory, NCCL, ZeRO-3."""

import sys

import pytest

from pipelines.sandbox.policies import Shape
from reference_impl.benchmarks.logprob_memory import WAYS, measure_apart
from tests.support.deepspeed_equality import difference, found, launch, reference
from tests.with_gpu.conftest import Work

ROUNDING = 3.0
"""How much farther from float32 the engine's log-probs may be than the trainer's own, both in bf16: each rounds to 8
bits at its own places. A wrong temperature, position or weight is off by far more."""
FLOOR = 1e-3
"""Nats, below which that is no question."""
VLLM = pytest.mark.packages("vllm")
DEEPSPEED = pytest.mark.packages("deepspeed")


@VLLM
@pytest.mark.parametrize("graphs", ["with CUDA graphs", "without"])
def test_engine_and_trainer_agree_in_bf16(work: Work, graphs: str) -> None:
    """Both round what float32 has: neither is much farther from it than the other, nor from the other."""
    told = work("logprobs", *(["--eager"] if graphs == "without" else []))
    assert told["tokens"] > 1000
    bound = FLOOR + ROUNDING * told["trainer and float32"]["mean"]
    assert told["engine and float32"]["mean"] <= bound and told["engine and trainer"]["mean"] <= bound, told
    assert told["engine and trainer"]["largest"] <= FLOOR + 2 * ROUNDING * told["trainer and float32"]["largest"], told


@VLLM
@pytest.mark.parametrize("graphs", ["with CUDA graphs", "without"])
def test_an_engine_that_slept_samples_from_the_weights_it_got_since(work: Work, graphs: str) -> None:
    told = work("sleep", *(["--eager"] if graphs == "without" else []))
    assert all(engine == trainer for engine, trainer in told["fingerprints"])
    assert len({engine for engine, _ in told["fingerprints"]}) == len(told["fingerprints"]), "the weights changed"
    # Of its share, 0.3 of a GPU of at least 16 GB, at least the keys and values go.
    assert min(told["freed_gb"]) > 1.0, told
    # On a CPU, with transformers in the place of vLLM, bf16 rounded by 0.0002 to 0.005 nats on average, and weights of
    # the update before were off by 0.19 to 2.2.
    assert all(told[f"update {number}"]["mean"] < 0.03 for number in range(3)), told
    assert told["after the last"] == 16


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_chunks_of_logits_hold_less_memory_and_say_the_same(dtype: str) -> None:
    alone = measure_apart(1, 151936, dtype, sys.maxsize)
    whole, chunks = (measure_apart(4096, 151936, dtype, budget) for budget in WAYS.values())
    assert alone is not None and whole is not None and chunks is not None
    assert chunks["peak_bytes"] - alone["peak_bytes"] < (whole["peak_bytes"] - alone["peak_bytes"]) / 3
    tolerance = 1e-5 if dtype == "float32" else 2e-2
    for key in ("logprob", "entropy", "gradient_norm"):
        assert chunks[key] == pytest.approx(whole[key], rel=tolerance), key


@DEEPSPEED
@pytest.mark.gpus(2)
def test_ranks_talk_over_nccl(work: Work) -> None:
    told = work("ranks", "2", processes=2)
    assert told == {"backend": "nccl", "gathered": [[0], [0, 1]], "sum": [0.2, 1.0], "largest": 1}


@DEEPSPEED
@pytest.mark.gpus(2)
def test_two_gpus_train_as_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The table of tests/support/deepspeed_equality.py in float32, over NCCL: every ZeRO stage, SFT and CHORD."""
    from pipelines.sandbox import math_world
    from pipelines.sandbox.pretrain import build_model, save, train_tokenizer

    folder = tmp_path_factory.mktemp("equality")
    tokenizer = train_tokenizer(math_world, 400)
    shape = Shape(hidden_size=32, layers=2, heads=2, intermediate_size=64)
    save(build_model("qwen2", shape, tokenizer), tokenizer, folder / "policy")
    launch(folder / "policy", folder, "equality")
    for name, case in found(folder, "equality").items():
        expected = reference(folder / "policy", folder / "torch", name.split("/")[-1])
        for key in ("loss", "grad_norm"):
            assert difference(case["records"], expected, key) < 1e-3, (name, key)


@VLLM
@DEEPSPEED
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.gpus(2))])
def test_zero_3_hands_its_weights_over(work: Work, processes: int) -> None:
    told = work("hand_over", str(processes), processes=processes)
    assert told["steps"] == 3 and len(set(told["held"])) == 3, "every update's weights arrived, each another's"


@DEEPSPEED
@pytest.mark.slow
@pytest.mark.gpus(0)
def test_what_needs_no_vllm_runs_without_a_gpu(work: Work) -> None:
    """The parts themselves: so that a GPU finds no fault of theirs."""
    told = work("ranks", "2", processes=2)
    assert (told["gathered"], told["sum"], told["largest"]) == ([[0], [0, 1]], [0.2, 1.0], 1)
    told = work("hand_over", "1", "--cpu", processes=1)
    assert told["steps"] == 3 and len(set(told["held"])) == 3
