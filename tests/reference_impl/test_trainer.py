"""The training loop on a tiny policy: exact denominators, determinism, resumption, what each mu needs."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from pipelines.sandbox import math_world
from reference_impl.config import RunConfig, load_declarations, load_scale, resolve_run
from reference_impl.files import read_jsonl
from reference_impl.rollout import load_engine
from reference_impl.step.batching import TrainingSequence, epoch_indices, expert_sequence, micro_batches, prompt_ids
from reference_impl.strategy import TorchStrategy
from reference_impl.trainer import Data, Trainer
from tests.support.one_update import one_update

DECLARATIONS = load_declarations()


def config_of(run: str, **changes: Any) -> RunConfig:
    config = resolve_run(DECLARATIONS, load_scale("smoke"), run, "math", seed=0)
    small = {
        "max_response_tokens": 24,
        "validation_rows": 4,
        "prompt_rows": 6,
        "expert_rows": 6,
        "steps": 4,
        "validate_every": 2,
    }
    return dataclasses.replace(config, **(small | changes))


def data_of(config: RunConfig) -> Data:
    aligned = config.expert == "aligned"
    return Data(
        math_world.rl_rows(config.prompt_rows, 0),
        math_world.aligned_rows(config.prompt_rows, 0) if aligned else math_world.expert_rows(config.expert_rows, 0),
        math_world.validation_rows(config.validation_rows, 0),
    )


def trainer_of(config: RunConfig, policy: Path, folder: Path) -> Trainer:
    engine, tokenizer = load_engine(config.engine, policy, config.rollout_batch, torch.float32)
    folder.mkdir(parents=True, exist_ok=True)
    strategy = TorchStrategy.from_checkpoint(policy, config)
    return Trainer(config, data_of(config), strategy, engine, tokenizer, folder, config.hash())


def sequences_of(policy: Path) -> list[TrainingSequence]:
    """Eight sequences of unequal lengths: rollouts with advantages of both signs, and demonstrations."""
    tokenizer = AutoTokenizer.from_pretrained(policy)
    experts = [expert_sequence(tokenizer, row, 40 + 11 * i) for i, row in enumerate(math_world.expert_rows(4, 1))]
    rollouts = [
        dataclasses.replace(
            expert, kind="rollout", response_ids=expert.response_ids[: 7 + 5 * i], advantage=(-1) ** i * (i + 0.5)
        )
        for i, expert in enumerate(experts)
    ]
    return rollouts + experts


@pytest.mark.parametrize("run", ["grpo", "chord_mu", "chord_phi"])
@pytest.mark.parametrize("phi", ["none", "p_one_minus_p", "entropy_top", "entropy_norm"])
def test_micro_batches_do_not_change_the_update(tiny_policy: Path, tmp_path: Path, run: str, phi: str) -> None:
    """One micro-batch of eight equals eight of one: losses, gradient norm and weights."""
    results = []
    for name, budget in (("whole", 1_000_000), ("single", 1)):
        trainer = trainer_of(config_of(run, phi={"name": phi}, micro_batch_tokens=budget), tiny_policy, tmp_path / name)
        mu = 0.0 if run == "grpo" else 0.3
        sequences = [s for s in sequences_of(tiny_policy) if mu > 0 or s.kind == "rollout"]
        results.append(
            (one_update(trainer, sequences, mu), {k: v.clone() for k, v in trainer.strategy.weights().items()})
        )
    (whole, whole_weights), (single, single_weights) = results
    for key, value in whole.items():
        expected = None if value is None else pytest.approx(value, rel=1e-5, abs=1e-6)
        assert single[key] == expected, key
    for key, weight in whole_weights.items():
        # Of a step of 1e-4: Adam divides a gradient near zero by its own size, rounding included.
        torch.testing.assert_close(single_weights[key], weight, rtol=0, atol=5e-6)


def test_update_is_equation_3(tiny_policy: Path, tmp_path: Path) -> None:
    """The update's losses and gradient equal a direct evaluation of Eq. 1-3 without batching, padding or masks."""
    mu = 0.3
    sequences = sequences_of(tiny_policy)
    trainer = trainer_of(config_of("chord_mu", max_grad_norm=1e9), tiny_policy, tmp_path)
    model = TorchStrategy.from_checkpoint(tiny_policy, trainer.config).model
    sft = grpo = torch.zeros(())
    for sequence in sequences:
        ids = torch.tensor([sequence.prompt_ids + sequence.response_ids])
        logprobs = torch.log_softmax(model(ids).logits[0, len(sequence.prompt_ids) - 1 : -1], dim=-1)
        total = logprobs.gather(-1, torch.tensor(sequence.response_ids)[:, None]).sum()
        if sequence.kind == "expert":
            sft = sft - total
        else:
            grpo = grpo - sequence.advantage * total  # strictly on-policy: the gradient of Eq. 2 is that of A log pi
    tokens = {kind: sum(len(s.response_ids) for s in sequences if s.kind == kind) for kind in ("expert", "rollout")}
    loss = (1 - mu) * grpo / tokens["rollout"] + mu * sft / tokens["expert"]
    loss.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    metrics = one_update(trainer, sequences, mu)
    assert metrics["sft_loss"] == pytest.approx(sft.item() / tokens["expert"], rel=1e-5)
    assert metrics["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)
    # The ratio is 1, so the surrogate's value is minus the token mean of the advantages.
    mean_advantage = (
        sum(s.advantage * len(s.response_ids) for s in sequences if s.kind == "rollout") / tokens["rollout"]
    )
    assert metrics["grpo_loss"] == pytest.approx(-mean_advantage, rel=1e-5)


def test_two_runs_are_identical_bit_for_bit(tiny_policy: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        trainer_of(config_of("chord_phi"), tiny_policy, tmp_path / name).train()
    for file in ("metrics.jsonl", "validation.jsonl"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    assert len(read_jsonl(tmp_path / "first" / "metrics.jsonl")) == 4


def test_another_seed_is_another_run(tiny_policy: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        trainer_of(config_of("chord_phi", seed=seed), tiny_policy, tmp_path / str(seed)).train()
    assert (tmp_path / "0/metrics.jsonl").read_bytes() != (tmp_path / "1/metrics.jsonl").read_bytes()


def assert_resumes_identically(config: RunConfig, policy: Path, folder: Path, done: int) -> None:
    """A run that dies after ``done`` steps and is called again equals one that goes through, bit for bit."""
    trainer_of(config, policy, folder / "through").train()
    broken = trainer_of(config, policy, folder / "broken")
    step = broken.train_step
    calls: list[None] = []

    def dies_after_some() -> None:
        if len(calls) == done:
            raise KeyboardInterrupt
        step()
        calls.append(None)

    broken.train_step = dies_after_some  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    # Steps after the last saved state were logged already: they must be done again, and logged once.
    assert len(read_jsonl(folder / "broken/metrics.jsonl")) == done
    resumed = trainer_of(config, policy, folder / "broken")
    assert resumed.progress.step == done - done % config.validate_every > 0
    resumed.train()
    for file in ("metrics.jsonl", "validation.jsonl"):
        assert (folder / "broken" / file).read_bytes() == (folder / "through" / file).read_bytes()
    last = torch.load(folder / "broken/state/state.pt", weights_only=True)["model"]
    for name, weight in torch.load(folder / "through/state/state.pt", weights_only=True)["model"].items():
        assert torch.equal(last[name], weight), name
    kept = f"checkpoints/step-{config.steps:06d}" if config.keep == "epoch" else "best"
    weights = [(folder / name / kept / "model.safetensors").read_bytes() for name in ("broken", "through")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("run", ["chord_mu", "sft-lr5e-06"])
def test_interrupted_run_continues_identically(tiny_policy: Path, tmp_path: Path, run: str) -> None:
    assert_resumes_identically(config_of(run, steps=6, validate_every=2), tiny_policy, tmp_path, done=3)


def test_state_of_another_configuration_is_left_behind(
    tiny_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer_of(config_of("sft-lr5e-06"), tiny_policy, tmp_path).train()
    other = trainer_of(config_of("sft-lr5e-06", learning_rate=0.5), tiny_policy, tmp_path)
    assert other.progress.step == 0 and read_jsonl(tmp_path / "metrics.jsonl") == []
    assert "another configuration, code, policy or data: starting from step 0" in capsys.readouterr().err


def test_what_each_mu_needs(tiny_policy: Path, tmp_path: Path) -> None:
    """mu = 1 samples nothing, mu = 0 reads no demonstration, in between both: seen in the logged metrics."""
    records = {}
    for run in ("sft-lr5e-06", "grpo", "chord_phi"):
        trainer_of(config_of(run, steps=2), tiny_policy, tmp_path / run).train()
        records[run] = read_jsonl(tmp_path / run / "metrics.jsonl")[-1]
    sft, grpo, chord = records["sft-lr5e-06"], records["grpo"], records["chord_phi"]
    assert sft["rollout_tokens"] == 0 and sft["reward_mean"] is None and sft["grpo_loss"] is None and sft["mu"] == 1
    assert grpo["expert_tokens"] == 0 and grpo["sft_loss"] is None and grpo["mu"] == 0
    assert chord["rollout_tokens"] > 0 and chord["expert_tokens"] > 0 and chord["mu"] == 0.1
    assert 0 < chord["phi_mean"] <= 0.25 and sft["phi_mean"] == 1.0
    assert sft["grad_norm"] > 0 and chord["grad_norm"] > 0
    assert abs(chord["engine_kl"]) < 1e-6, "the engine samples from the very weights that are trained"
    # A random policy writes noise up to the limit, which earns the -1.0 of A.2.
    assert grpo["truncation_rate"] > 0.5 and grpo["reward_mean"] < -0.5


def test_sft_learns_its_demonstrations(tiny_policy: Path, tmp_path: Path) -> None:
    trainer_of(config_of("sft-lr1e-05", steps=30, validate_every=30), tiny_policy, tmp_path).train()
    losses = [record["sft_loss"] for record in read_jsonl(tmp_path / "metrics.jsonl")]
    assert losses[-1] < 0.8 * losses[0]


def test_stale_engine_is_noticed(tiny_policy: Path, tmp_path: Path) -> None:
    trainer = trainer_of(config_of("grpo"), tiny_policy, tmp_path)
    trainer.engine.sync()
    trainer.engine.engine.update_weights = lambda state: None  # type: ignore[method-assign]
    with torch.no_grad():
        next(iter(trainer.strategy.model.parameters())).add_(0.01)
    with pytest.raises(RuntimeError, match="rollout engine holds weights"):
        trainer.engine.sync()


def test_checkpoint_and_state_load_without_pickle_of_ours(tiny_policy: Path, tmp_path: Path) -> None:
    trainer_of(config_of("grpo", steps=2), tiny_policy, tmp_path).train()
    state = torch.load(tmp_path / "state/state.pt", weights_only=True)
    assert set(state) == {"model", "optimizer"}
    assert json.loads((tmp_path / "state/progress.json").read_text())["step"] == 2
    load_engine("transformers", tmp_path / "best")


def test_micro_batches_respect_the_budget_and_hold_everything_once(tiny_policy: Path) -> None:
    sequences = sequences_of(tiny_policy)
    batches = list(micro_batches(sequences, budget=300, pad_id=0))
    assert all(batch.ids_BT1.numel() <= 300 or len(batch.ids_BT1) == 1 for batch in batches)
    found = [
        (tuple(ids[1:][mask].tolist()), kind, float(advantage))
        for batch in batches
        for ids, mask, kind, advantage in zip(
            batch.ids_BT1, batch.mask_BT, batch.kinds_B, batch.advantages_B, strict=True
        )
    ]
    assert sorted(found) == sorted((s.response_ids, s.kind, s.advantage) for s in sequences)


def test_expert_boundary_is_where_generation_begins(tiny_policy: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_policy)
    row = math_world.expert_rows(1, 0)[0]
    sequence = expert_sequence(tokenizer, row, max_tokens=10_000)
    assert sequence.prompt_ids == prompt_ids(tokenizer, row)
    assert str(tokenizer.decode(list(sequence.prompt_ids))).endswith("<|im_start|>assistant\n")
    assert tokenizer.decode(list(sequence.response_ids)) == row["response"] + "<|im_end|>"


def test_epoch_stream_covers_all_rows_once_per_pass() -> None:
    stream = [i for number in range(6) for i in epoch_indices(rows=9, batch=3, number=number, seed=4)]
    assert sorted(stream[:9]) == sorted(stream[9:]) == list(range(9)) and stream[:9] != stream[9:]
    straddling = [i for number in range(9) for i in epoch_indices(rows=9, batch=4, number=number, seed=4)]
    assert sorted(straddling[:9]) == sorted(straddling[9:18]) == list(range(9))
