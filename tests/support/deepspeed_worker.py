"""What two processes do for test_deepspeed.py and deepspeed_equality.py. Rank 0 writes PART.json.

    torchrun --standalone --nproc-per-node 2 -m tests.support.deepspeed_worker POLICY FOLDER [PART …]

The steps of `trajectory` are the same on any number of processes, and are shared between them unequally.
"""

import dataclasses
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from pipelines.sandbox.policies import Shape
from pipelines.sandbox.pretrain import build_model, save
from reference_impl import train
from reference_impl.config import DeepSpeedChoice, RunConfig, StrategyChoice, TorchChoice
from reference_impl.rollout import fingerprint, load_engine
from reference_impl.run import saving
from reference_impl.run.checkpoint import save_state
from reference_impl.run.metrics import Record
from reference_impl.step.balance import balanced
from reference_impl.step.batching import TrainingSequence, micro_batches
from reference_impl.step.token_logprobs import token_logprobs
from reference_impl.strategy import deepspeed, distributed, join_processes, load_strategy
from reference_impl.trainer import Trainer
from tests.reference_impl.test_trainer import config_of, data_of, sequences_of
from tests.support.one_update import one_update
from tests.support.two_machines import arguments, write_inputs

STEPS = 20
FEW_STEPS = 5
RESET_AFTER = 3
KINDS = {"sft": ("sft-lr5e-06", 1.0), "chord": ("chord_phi", 0.3)}
"""Kind of step → the run whose objective it has, and its mu."""
BUDGETS = {1: 1_000_000, 4: 230}
"""The most micro-batches that a rank has in a step → token budget that makes as many."""


def choice_of(stage: int, **changes: Any) -> StrategyChoice:
    return DeepSpeedChoice.model_validate({"kind": "deepspeed", "zero_stage": stage, "processes": 2, **changes})


def case_config(kind: str, accumulation: int, **changes: Any) -> RunConfig:
    # Steps so large that a wrong gradient of one step shows in the loss of the next; betas that are nobody's default.
    usual = {"learning_rate": 1e-3, "betas": (0.8, 0.95), "micro_batch_tokens": BUDGETS[accumulation]}
    return config_of(KINDS[kind][0], **(usual | changes))


def trainer_of(config: RunConfig, policy: Path, folder: Path) -> Trainer:
    folder.mkdir(parents=True, exist_ok=True)
    dtype = deepspeed.DTYPES[config.strategy.precision]
    engine, tokenizer = load_engine("transformers", policy, config.rollout_batch, dtype)
    strategy = load_strategy(policy, config)
    return Trainer(config, data_of(config), strategy, engine, tokenizer, folder, config.hash())


def step_sequences(policy: Path, kind: str) -> Iterator[list[TrainingSequence]]:
    """Every step's sequences: other advantages and another order in each."""
    sequences = sequences_of(policy)
    everything = sequences if kind == "chord" else [s for s in sequences if s.kind == "expert"] * 2
    for step in range(STEPS):
        turned = everything[step % len(everything) :] + everything[: step % len(everything)]
        yield [dataclasses.replace(s, advantage=s.advantage * (-1) ** (step + place)) for place, s in enumerate(turned)]


def own_part(sequences: Sequence[TrainingSequence]) -> list[TrainingSequence]:
    """Rank 0 gets all but the last two: other token counts of either kind, and more micro-batches."""
    if distributed.world_size() == 1:
        return list(sequences)
    return list(sequences[:-2] if distributed.rank() == 0 else sequences[-2:])


def trajectory(trainer: Trainer, policy: Path, kind: str, steps: int = STEPS) -> list[Record]:
    """The metrics of the first ``steps`` updates, the optimizer forgotten once on the way."""
    records = []
    for step, sequences in zip(range(steps), step_sequences(policy, kind), strict=False):
        if step == RESET_AFTER:
            trainer.strategy.reset_optimizer()
        records.append(one_update(trainer, own_part(sequences), KINDS[kind][1]))
    return records


def command(policy: Path, folder: Path) -> dict[str, Any]:
    """The training command, without an accident."""
    if distributed.rank() == 0:
        write_inputs(folder)
    distributed.barrier()
    train.main(arguments(policy, folder, folder / "run"))
    return {}


def micro_batch_counts(policy: Path, kind: str, accumulation: int) -> list[int]:
    """The most micro-batches that this rank has in a step, of every rank."""
    counts = [
        len(list(micro_batches(own_part(sequences), BUDGETS[accumulation], 0)))
        for sequences in step_sequences(policy, kind)
    ]
    return [int(part) for part in distributed.gather(torch.tensor([max(counts)]))]


def equality(policy: Path, folder: Path) -> dict[str, Any]:
    """Every ZeRO stage, one and four micro-batches, SFT and CHORD, each rank learning from its own share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reference_impl.trainer.balanced", lambda sequences, by_prompt: list(sequences))
        return undistributed(policy, folder)


def undistributed(policy: Path, folder: Path) -> dict[str, Any]:
    """Ranks that differ in their tokens and micro-batches."""
    return {
        f"{stage}/{accumulation}/{kind}": {
            "micro_batches": micro_batch_counts(policy, kind, accumulation),
            "records": trajectory(
                trainer_of(case_config(kind, accumulation, strategy=choice_of(stage)), policy, folder), policy, kind
            ),
        }
        for stage in range(4)
        for kind in KINDS
        for accumulation in BUDGETS
    }


def balance(policy: Path, folder: Path) -> dict[str, Any]:
    """The same steps, dealt out over the ranks by length; with them the tokens that each rank learns from."""
    found: dict[str, Any] = {}
    for stage in range(4):
        config = case_config("chord", 4, strategy=choice_of(stage))
        found[str(stage)] = trajectory(trainer_of(config, policy, folder), policy, "chord")
    parts = (balanced(own_part(sequences)) for sequences in step_sequences(policy, "chord"))
    tokens = torch.tensor([sum(sequence.tokens for sequence in part) for part in parts])
    return {**found, "tokens": [part.tolist() for part in distributed.gather(tokens)]}


def clocks(policy: Path, folder: Path) -> dict[str, Any]:
    """The steps at which each rank saves, where their clocks differ: seconds a step by rank 0's and by rank 1's."""
    found: dict[str, Any] = {}
    for name, seconds in (("rank 0 is due", (50, 7)), ("rank 1 alone is due", (7, 50))):
        config = loop_config("chord_phi", 2, steps=6, validate_every=6)
        trainer = trainer_of(config, policy, folder / name)
        saved: list[int] = []

        def save(*arguments: Any, trainer: Trainer = trainer, saved: list[int] = saved) -> None:
            saved.append(trainer.progress.step)
            save_state(*arguments)

        def now(trainer: Trainer = trainer, a_step: int = seconds[distributed.rank()]) -> float:
            return float(trainer.progress.step * a_step)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("reference_impl.trainer.save_state", save)
            patch.setattr(saving, "time", SimpleNamespace(monotonic=now, time=time.time))
            trainer.train(save_minutes=2.0)
        found[name] = [part.tolist() for part in distributed.gather(torch.tensor(saved))]
    return found


def options(policy: Path, folder: Path) -> dict[str, Any]:
    """What changes no number, or hardly any: memory options, weights that need the global batch, bfloat16."""
    offloads = ((1, "optimizer"), (2, "optimizer"), (3, "parameters"))
    cases: dict[str, dict[str, Any]] = {
        **{f"{stage}/offload {what}": {"offload": what} for stage, what in offloads},
        **{f"{stage}/activation checkpointing": {"activation_checkpointing": True} for stage in (0, 3)},
        **{f"{stage}/bf16": {"precision": "bf16"} for stage in range(4)},
    }
    for stage, what in offloads:
        everything = {"precision": "bf16", "offload": what, "activation_checkpointing": True}
        cases[f"{stage}/bf16, offload {what}, activation checkpointing"] = everything
    found = {}
    for name, changes in cases.items():
        config = case_config("chord", 4, strategy=choice_of(int(name[0]), **changes))
        found[name] = trajectory(trainer_of(config, policy, folder), policy, "chord", FEW_STEPS)
    for stage, phi in ((0, "entropy_top"), (3, "entropy_norm")):
        config = case_config("chord", 4, phi={"name": phi}, strategy=choice_of(stage))
        found[f"{stage}/{phi}"] = trajectory(trainer_of(config, policy, folder), policy, "chord", FEW_STEPS)
    return found


def architectures(policy: Path, folder: Path) -> dict[str, Any]:
    """A mixture of experts; logits in chunks, which ranks have unequally many of."""
    found: dict[str, Any] = {}
    experts = folder / "experts"
    if distributed.rank() == 0:
        write_mixture(policy, experts)
    distributed.barrier()
    for stage in (2, 3):
        # A sequence a micro-batch, so that one process has the same ones: the router loss is a mean over each.
        config = case_config("chord", 4, micro_batch_tokens=1, strategy=choice_of(stage))
        found[f"{stage}/experts"] = trajectory(trainer_of(config, experts, folder), policy, "chord", FEW_STEPS)
    with pytest.MonkeyPatch.context() as patch:
        chunked = functools.partial(token_logprobs, logits_budget=800)  # two tokens
        patch.setattr("reference_impl.step.batching.token_logprobs", chunked)
        for on in (False, True):
            config = case_config("chord", 4, strategy=choice_of(3, activation_checkpointing=on))
            trainer = trainer_of(config, policy, folder)
            found[f"3/chunks, checkpointing {on}"] = trajectory(trainer, policy, "chord", FEW_STEPS)
    return found


def exports(policy: Path, folder: Path) -> dict[str, Any]:
    """Checkpoints in bfloat16 and in several files, of tied and untied weights; returns the weights' fingerprints."""
    found = {}
    experts = folder / "experts"
    if distributed.rank() == 0:
        write_mixture(policy, experts)
    distributed.barrier()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deepspeed, "SHARD_SIZE", "20KB")
        for name, stage in (*(("tied", stage) for stage in range(4)), ("experts", 3)):
            config = case_config("sft", 1, strategy=choice_of(stage, precision="bf16"))
            trainer = trainer_of(config, policy if name == "tied" else experts, folder)
            trajectory(trainer, policy, "sft", steps=1)
            trainer.validator.export(folder / f"{name}-{stage}")
            found[f"{name}-{stage}"] = fingerprint(trainer.strategy.weights())
    return found


def write_mixture(policy: Path, folder: Path) -> None:
    """A random mixture of four experts that knows the tokens of ``policy``; its output embedding is its own."""
    torch.manual_seed(0)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(policy)
    shape = Shape(hidden_size=32, layers=2, heads=2, intermediate_size=48, experts=4, experts_per_token=2)
    model = build_model("phimoe", shape, tokenizer)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() + 0.01)
    save(model, tokenizer, folder)


def recomputation(policy: Path, folder: Path) -> dict[str, Any]:
    """Calls of a layer's feed-forward part in one micro-batch, and the modules in training mode."""
    found = {}
    for on in (False, True):
        choice = choice_of(0, activation_checkpointing=on)
        trainer = trainer_of(case_config("sft", 1, strategy=choice), policy, folder)
        calls: list[None] = []
        feed_forward = trainer.strategy.model.model.layers[0].mlp
        hook = feed_forward.register_forward_pre_hook(lambda *_, calls=calls: calls.append(None))
        trajectory(trainer, policy, "sft", steps=1)
        hook.remove()
        training = sorted({type(m).__name__ for m in trainer.strategy.model.modules() if m.training})
        found[str(on)] = {"calls": len(calls), "training": training}
    return found


def divergence(policy: Path, folder: Path) -> dict[str, Any]:
    """What a gradient that is not a number, on one rank only, does in every stage."""
    found = {}
    for stage, precision in [(stage, precision) for stage in range(4) for precision in ("fp32", "bf16")]:
        choice = choice_of(stage, precision=precision)
        strategy = trainer_of(case_config("sft", 1, strategy=choice), policy, folder).strategy
        before = fingerprint(strategy.weights())
        loss = strategy.model(input_ids=torch.tensor([[1, 2, 3]])).logits.float().sum()
        strategy.backward(loss * (float("nan") if distributed.rank() == 1 else 1.0))
        try:
            strategy.step()
            found[f"{stage}/{precision}"] = "no error"
        except FloatingPointError as error:
            untouched = fingerprint(strategy.weights()) == before
            found[f"{stage}/{precision}"] = f"{error}; untouched: {untouched}"
    return found


class Killed(Exception):
    """Ends a run between two of its saved states."""


def dies_after(trainer: Trainer, steps: int) -> None:
    step = trainer.train_step

    def train_step() -> None:
        if trainer.progress.step == steps:
            raise Killed
        step()

    trainer.train_step = train_step  # type: ignore[method-assign]


def loop_config(run: str, stage: int | None, **changes: Any) -> RunConfig:
    """A complete run whose batches no number of processes divides; without a stage, in one process of plain torch."""
    sizes = {"rl_prompts": 3, "sft_batch": 5, "validation_rows": 5, "steps": 4, "learning_rate": 1e-3}
    strategy = TorchChoice() if stage is None else choice_of(stage)
    return config_of(run, **(sizes | {"micro_batch_tokens": 300, "strategy": strategy} | changes))


LOOPS = {
    "chord_phi": {},
    "grpo": {"rl_prompts": 1},  # a rank without a group
    "luffy": {"max_response_tokens": 12},
}
"""Run → what is changed: each with its own of what ranks must agree on."""
RESUMED: dict[str, dict[str, Any]] = {
    **{str(stage): {"strategy": choice_of(stage)} for stage in range(4)},
    "2-bf16": {"strategy": choice_of(2, precision="bf16")},
    "3-bf16": {"strategy": choice_of(3, precision="bf16")},
    "2-bf16-offload": {"strategy": choice_of(2, precision="bf16", offload="optimizer")},
    "3-ahead": {"strategy": choice_of(3), "sample_ahead": True},
}
"""Name of a run that is stopped and resumed → what is changed. In bf16 the state holds the optimizer's float32 copy;
sampled ahead, each rank's responses to the next prompts."""


def loops(policy: Path, folder: Path) -> dict[str, Any]:
    """Whole runs: through, and killed after step 3 and resumed from the state of step 2."""
    found: dict[str, Any] = {}
    for run, changes in LOOPS.items():
        trainer_of(loop_config(run, 2, **changes), policy, folder / run).train()
    for name, changes in RESUMED.items():
        config = loop_config("chord_phi", None, **changes)
        through = trainer_of(config, policy, folder / f"through-{name}")
        through.train()
        broken = trainer_of(config, policy, folder / f"broken-{name}")
        dies_after(broken, 3)
        try:
            broken.train()
        except Killed:
            distributed.barrier()
        again = trainer_of(config, policy, folder / f"broken-{name}")
        resumed_at = again.progress.step
        again.train()
        weights = [fingerprint(trainer.strategy.weights()) for trainer in (through, again)]
        # Validated after the last step: what it exports is the policy as it is.
        again.validator.export(folder / f"export-{name}")
        found[name] = {"resumed_at": resumed_at, "weights": weights, "engine": again.engine.engine.fingerprint()}
    return found


PARTS: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "equality": equality,
    "balance": balance,
    "clocks": clocks,
    "options": options,
    "architectures": architectures,
    "exports": exports,
    "recomputation": recomputation,
    "divergence": divergence,
    "loops": loops,
    "command": command,
}


def main() -> None:
    policy, folder, parts = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    torch.set_num_threads(1)
    join_processes(choice_of(0))
    for part in parts or PARTS:
        found = PARTS[part](policy, folder / part)
        if distributed.rank() == 0:
            (folder / f"{part}.json").write_text(json.dumps(found))
    distributed.barrier()


if __name__ == "__main__":
    main()
