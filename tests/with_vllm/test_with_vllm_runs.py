"""Training and evaluation through the real vLLM engine, beside the same through the transformers engine."""

import dataclasses
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from evaluation import generate
from pipelines.sandbox import math_world
from reference_impl.config import load_declarations, load_scale, load_task, resolve_run
from reference_impl.files import read_jsonl, write_jsonl
from reference_impl.rollout import RolloutEngine, load_engine
from reference_impl.strategy import TorchStrategy
from reference_impl.trainer import Data, Trainer

STEPS = 10


def chord_run(engine: RolloutEngine, policy: Path, folder: Path) -> list[dict[str, Any]]:
    """The metrics of a short CHORD run of the sandbox policy, as the default scale declares it."""
    whole = resolve_run(load_declarations(), load_scale("mini"), "chord_phi", "math", seed=0)
    config = dataclasses.replace(whole, steps=STEPS, validate_every=STEPS, validation_rows=40, validation_samples=1)
    data = Data(
        math_world.rl_rows(config.prompt_rows, 0),
        math_world.expert_rows(config.expert_rows, 0),
        math_world.validation_rows(config.validation_rows, 0),
    )
    folder.mkdir()
    strategy = TorchStrategy.from_checkpoint(policy, config)
    tokenizer = AutoTokenizer.from_pretrained(policy)
    Trainer(config, data, strategy, engine, tokenizer, folder, config.hash()).train()
    return read_jsonl(folder / "metrics.jsonl")


def test_chord_learns_as_with_the_transformers_engine(engine: Any, policy: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    other, _ = load_engine("transformers", policy, 128, torch.float32)
    found, expected = chord_run(engine, policy, tmp_path / "vllm"), chord_run(other, policy, tmp_path / "transformers")
    assert len(found) == len(expected) == STEPS
    # 8 prompts × 8 rollouts a step with rewards in [-1, 1]: a step's mean varies by 0.1 and more, so ten steps are
    # compared by their mean; the demonstrations are the same, so their loss hardly varies.
    for key, tolerance in (("reward_mean", 0.15), ("accuracy", 0.15), ("entropy", 0.1), ("sft_loss", 0.1)):
        of_vllm, of_transformers = ([float(record[key]) for record in run] for run in (found, expected))
        assert statistics.fmean(of_vllm) == pytest.approx(statistics.fmean(of_transformers), abs=tolerance), key
    assert found[-1]["sft_loss"] < found[0]["sft_loss"] and expected[-1]["sft_loss"] < expected[0]["sft_loss"]
    assert max(record["engine_kl"] for record in found) < 1e-4
    assert min(record["engine_ess"] for record in found) > 0.999
    # The rollouts teach, too: most steps have groups whose rewards differ.
    assert sum(abs(record["grpo_loss"]) > 1e-3 for record in found) > STEPS / 2
    # The same weights and the same prompts: the first step's demonstrations cost the same.
    assert found[0]["sft_loss"] == pytest.approx(expected[0]["sft_loss"], rel=1e-5)


def test_evaluation(running_engine: Any, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`evaluation.generate` on a scale whose engine is vllm."""
    running_engine.close()  # a process holds one engine
    task = load_task("sandbox-amc")
    rows = math_world.validation_rows(task.rows, 0)
    write_jsonl(
        tmp_path / "sandbox-amc.jsonl",
        [{"id": row["id"], "problem": row["question"], "answer": row["gold"]} for row in rows],
    )
    scale = load_scale("mini")
    math = scale.domains["math"].model_copy(update={"tasks": ("sandbox-amc",)})
    few = scale.evaluation.model_copy(update={"max_items": 6, "max_samples": 4})
    scale = scale.model_copy(update={"engine": "vllm", "domains": {"math": math}, "evaluation": few})
    monkeypatch.setattr(generate, "load_scale", lambda *_: scale)
    command = ["--checkpoint", str(policy), "--domain", "math", "--method", "original", "--scale", "mini"]
    generate.main([*command, "--seed", "0", "--benchmarks", str(tmp_path), "--out", str(tmp_path / "out")])
    samples = read_jsonl(tmp_path / "out" / "sandbox-amc.jsonl")
    assert len(samples) == 6 * min(task.samples_per_problem, 4)
    assert any(sample["correct"] for sample in samples) and all(sample["response"] for sample in samples)
