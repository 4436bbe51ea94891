"""What processes of their own do for the tests on a GPU; rank 0 writes PART.json.

    python -m tests.with_gpu.worker PART POLICY FOLDER [OPTION …]

``--cpu`` among the options tries a part that needs no vLLM where there is no GPU.
"""

import dataclasses
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from reference_impl.config import DeepSpeedChoice, EngineOptions
from reference_impl.rollout import Completion, GenerationRequest, RolloutEngine, fingerprint, load_engine
from reference_impl.rollout.synced import SyncedEngine
from reference_impl.step.batching import TrainingSequence, micro_batches, token_statistics
from reference_impl.strategy import distributed, join_processes, load_strategy
from reference_impl.strategy.models import load_model
from reference_impl.trainer import Trainer
from tests.reference_impl.test_trainer import config_of, data_of
from tests.with_vllm.reference import requests_of

TOKENS = 64
UPDATES = 3


def engine_of(policy: Path, *, eager: bool = False) -> RolloutEngine:
    """vLLM in this process, in bf16, with a small share of the GPU."""
    options = EngineOptions(gpu_memory_utilization=0.3, enforce_eager=eager)
    return load_engine("vllm", policy, 64, torch.bfloat16, options)[0]


def trainer_logprobs(
    model: PreTrainedModel, requests: Sequence[GenerationRequest], completions: Sequence[Completion]
) -> list[float]:
    """What an update makes of the completions' tokens, in the requests' order."""
    found: list[float] = []
    for request, completion in zip(requests, completions, strict=True):
        sequence = TrainingSequence(request.prompt_ids, completion.token_ids, "rollout")
        (batch,) = micro_batches([sequence], 1 << 20, 0, model.device)
        with torch.no_grad():
            found += token_statistics(model, batch, 1.0).logprobs_BT[batch.mask_BT].tolist()
    return found


def differences(one: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """Mean and largest absolute difference, in nats."""
    apart = [abs(a - b) for a, b in zip(one, other, strict=True)]
    return {"mean": statistics.fmean(apart), "largest": max(apart)}


def logprobs(policy: Path, folder: Path, *options: str) -> dict[str, Any]:
    """The engine's log-probs of its own samples, beside the trainer's in bf16, and both beside float32."""
    engine = engine_of(policy, eager="--eager" in options)
    model = load_model(policy, torch.bfloat16)
    engine.update_weights(model.state_dict())
    requests = requests_of(policy, prompts=16, samples=8)
    completions = engine.generate(requests, max_tokens=TOKENS)
    sampled = [logprob for completion in completions for logprob in completion.logprobs]
    trained = trainer_logprobs(model, requests, completions)
    exact = trainer_logprobs(model.float(), requests, completions)
    return {
        "tokens": len(sampled),
        "engine and trainer": differences(sampled, trained),
        "trainer and float32": differences(trained, exact),
        "engine and float32": differences(sampled, exact),
    }


def sleep(policy: Path, folder: Path, *options: str) -> dict[str, Any]:
    """Sleep, an update meanwhile, waking with the new weights; and a sleep that keeps the old ones."""
    engine = engine_of(policy, eager="--eager" in options)
    model = load_model(policy, torch.bfloat16)
    requests = requests_of(policy)
    found: dict[str, Any] = {"fingerprints": [], "freed_gb": []}
    for number in range(UPDATES):
        engine.update_weights(model.state_dict())
        found["fingerprints"].append([engine.fingerprint(), fingerprint(model.state_dict())])
        completions = engine.generate(requests, max_tokens=TOKENS)
        sampled = [logprob for completion in completions for logprob in completion.logprobs]
        found[f"update {number}"] = differences(sampled, trainer_logprobs(model, requests, completions))
        before = torch.cuda.mem_get_info()[0]
        engine.sleep(weights_follow=True)
        found["freed_gb"].append((torch.cuda.mem_get_info()[0] - before) / 1e9)
        with torch.no_grad():  # every weight another, as after an update
            for parameter in model.parameters():
                parameter.mul_(0.85)
    engine.update_weights(model.state_dict())
    engine.sleep(weights_follow=False)
    found["fingerprints"].append([engine.fingerprint(), fingerprint(model.state_dict())])
    found["after the last"] = len(engine.generate(requests, max_tokens=4))
    return found


def ranks(policy: Path, folder: Path, *options: str) -> dict[str, Any]:
    """What ranks tell each other, over NCCL where there are GPUs."""
    join_processes(_choice(stage=2, processes=int(options[0])))
    own = torch.arange(distributed.rank() + 1)
    distributed.require_same("the policy", str(policy))
    distributed.barrier()
    return {
        "backend": torch.distributed.get_backend(),
        "gathered": [part.tolist() for part in distributed.gather(own)],
        "sum": distributed.sum_over_ranks([0.1, float(distributed.rank())]),
        "largest": distributed.max_over_ranks(distributed.rank()),
    }


def hand_over(policy: Path, folder: Path, *options: str) -> dict[str, Any]:
    """CHORD under ZeRO-3 in bf16, with the engine (vLLM; with --cpu transformers) in every process.

    The trainer itself compares fingerprints at every weight sync, and ends where they differ.
    """
    choice = _choice(stage=3, processes=int(options[0]))
    dtype = join_processes(choice)
    name = "transformers" if "--cpu" in options else "vllm"
    config = config_of("chord_phi", strategy=choice, engine=name, micro_batch_tokens=2048, steps=UPDATES)
    engine_options = EngineOptions(gpu_memory_utilization=0.3) if name == "vllm" else EngineOptions()
    config = dataclasses.replace(config, engine_options=engine_options)
    engine, tokenizer = load_engine(name, policy, config.rollout_batch, dtype, engine_options)
    trainer = Trainer(config, data_of(config), load_strategy(policy, config), engine, tokenizer, folder, config.hash())
    assert isinstance(trainer.engine, SyncedEngine)
    held = []
    for _ in range(UPDATES):
        trainer.train_step()
        trainer.engine.sync()
        held.append(engine.fingerprint())
    return {"held": held, "steps": trainer.progress.step}


def _choice(stage: int, processes: int) -> DeepSpeedChoice:
    settings = {"kind": "deepspeed", "zero_stage": stage, "precision": "bf16", "processes": processes}
    return DeepSpeedChoice.model_validate({**settings, "activation_checkpointing": True})


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "logprobs": logprobs,
    "sleep": sleep,
    "ranks": ranks,
    "hand_over": hand_over,
}


def main() -> None:
    part, policy, folder, *options = sys.argv[1:]
    found = PARTS[part](Path(policy), Path(folder), *options)
    if distributed.rank() == 0:
        (Path(folder) / f"{part}.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
