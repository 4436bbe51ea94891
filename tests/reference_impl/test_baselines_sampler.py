"""The relaxed protocol (B.2), a mixture-of-experts policy (B.6) and a judged reward (B.4), through the trainer."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from pipelines.sandbox import math_world, medicine_world
from pipelines.sandbox.pretrain import build_model, save, train_tokenizer
from reference_impl.config import LocalJudgeSettings, load_declarations, load_scale, resolve_run
from reference_impl.files import read_jsonl
from reference_impl.judge.rubric import LocalJudge, answer_to_judge, parse_rubric
from reference_impl.rewards import REWARDS, Graded
from reference_impl.rollout import Completion, GenerationRequest, fingerprint, load_engine
from reference_impl.run.metrics import Record
from reference_impl.step.batching import TrainingSequence
from reference_impl.strategy import TorchStrategy
from reference_impl.trainer import Data, Trainer
from tests.reference_impl.test_moe import SHAPE, load_balancing
from tests.reference_impl.test_trainer import assert_resumes_identically, config_of, trainer_of
from tests.reference_impl.test_trainer_wiring import likes_vowels, spy_on_updates

pytestmark = pytest.mark.slow

RELAXED = {"rl_prompts": 2, "group_size": 4, "max_response_tokens": 8, "max_grad_norm": 1e9}


@pytest.fixture
def vowels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REWARDS, "math", likes_vowels)


def response_logprobs(model: Any, sequence: TrainingSequence) -> torch.Tensor:
    ids = torch.tensor([sequence.prompt_ids + sequence.response_ids])
    logprobs = torch.log_softmax(model(ids).logits[0, len(sequence.prompt_ids) - 1 : -1], dim=-1)
    return logprobs.gather(-1, torch.tensor(sequence.response_ids)[:, None])[:, 0]


# ---- Relaxed protocol


@pytest.mark.parametrize(("every", "steps"), [(2, 5), (3, 4)])
def test_weights_are_synced_every_nth_step(
    tiny_policy: Path, tmp_path: Path, vowels: None, every: int, steps: int
) -> None:
    """The sampler holds the policy of the last multiple of n, and at the end, for validation, the newest."""
    config = config_of(
        "grpo_relaxed",
        **(RELAXED | {"sync_every": every, "steps": steps, "validate_every": 100, "learning_rate": 1e-3}),
    )
    trainer = trainer_of(config, tiny_policy, tmp_path)
    policy, sampler = [], []
    generate = trainer.engine.engine.generate

    def spied(*arguments: Any, **options: Any) -> Any:
        policy.append(fingerprint(trainer.strategy.weights()))
        sampler.append(trainer.engine.engine.fingerprint())
        return generate(*arguments, **options)

    trainer.engine.engine.generate = spied  # type: ignore[method-assign]
    trainer.train()
    policy, sampler = policy[1:], sampler[1:]  # the validation before the first step
    assert len(set(policy)) == len(policy) == steps + 1
    assert sampler == [policy[step - step % every] for step in range(steps)] + [policy[steps]]


def test_off_policy_step_is_equation_2_with_the_samplers_logprobs(
    tiny_policy: Path, tmp_path: Path, vowels: None
) -> None:
    """After a large first step ratios leave the clip range: value, clip fraction, KL and gradient, written again."""
    config = config_of("grpo_relaxed", **(RELAXED | {"learning_rate": 0.01}))
    trainer = trainer_of(config, tiny_policy, tmp_path)
    updates = spy_on_updates(trainer)
    trainer.engine.sync()
    trainer.train_step()
    model = TorchStrategy.from_checkpoint(tiny_policy, config).model
    sampler = TorchStrategy.from_checkpoint(tiny_policy, config).model
    model.load_state_dict(trainer.strategy.weights())
    trainer.train_step()
    first, second = read_jsonl(tmp_path / "metrics.jsonl")
    assert first["clip_fraction"] == 0 and abs(first["engine_kl"]) < 1e-6
    tokens = sum(len(s.response_ids) for s in updates[1])
    loss, clipped, kl = torch.zeros(()), 0, 0.0
    for sequence in updates[1]:
        with torch.no_grad():
            old = response_logprobs(sampler, sequence)  # the weights before the first step
        torch.testing.assert_close(torch.tensor(sequence.engine_logprobs), old, rtol=0, atol=1e-5)
        ratio, advantage = (response_logprobs(model, sequence) - old).exp(), sequence.advantage
        loss = loss - torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).sum() / tokens
        clipped += int((ratio > 1.2).sum() if advantage > 0 else (ratio < 0.8).sum() if advantage < 0 else 0)
        kl += (ratio - 1 - ratio.log()).sum().item()
    loss.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    assert 0 < clipped < tokens
    assert second["clip_fraction"] == pytest.approx(clipped / tokens)
    assert second["engine_kl"] == pytest.approx(kl / tokens, rel=1e-3) and second["engine_kl"] > 1e-3
    assert second["grpo_loss"] == pytest.approx(loss.item(), rel=1e-3, abs=1e-6)
    assert second["grad_norm"] == pytest.approx(norm.item(), rel=1e-3)


def test_on_policy_step_of_the_relaxed_protocol_is_the_strict_one(
    tiny_policy: Path, tmp_path: Path, vowels: None
) -> None:
    records = []
    for every in (1, 2):
        config = config_of("chord_phi_relaxed", **(RELAXED | {"sync_every": every}))
        trainer = trainer_of(config, tiny_policy, tmp_path / str(every))
        trainer.engine.sync()
        trainer.train_step()
        records.append(read_jsonl(tmp_path / str(every) / "metrics.jsonl")[0])
    strict, relaxed = records
    assert strict["grad_norm"] > 0 and strict["sft_loss"] > 0
    for key, value in strict.items():
        assert relaxed[key] == (None if value is None else pytest.approx(value, rel=1e-4, abs=1e-6)), key


def test_relaxed_run_resumes_identically(tiny_policy: Path, tmp_path: Path, vowels: None) -> None:
    config = config_of("chord_phi_relaxed", steps=7, validate_every=4, **(RELAXED | {"learning_rate": 1e-3}))
    assert config.sync_every == 2
    assert_resumes_identically(config, tiny_policy, tmp_path, done=6)


# ---- Mixture of experts


@pytest.fixture(scope="module", params=[True, False], ids=["router-loss", "no-router-loss"])
def moe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bool]:
    """A random mixture of experts that asks for a router loss, or does not."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(math_world, 400)
    model = build_model("phimoe", SHAPE, tokenizer)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "router" in name:
                parameter.mul_(20)  # decided routers: few tokens tie
    model.config.output_router_logits = request.param
    folder = tmp_path_factory.mktemp("moe")
    save(model, tokenizer, folder)
    return folder, request.param


@pytest.mark.parametrize("run", ["grpo", "chord_phi"])
@pytest.mark.parametrize("budget", [1, 1_000_000])
def test_router_loss_is_added_where_the_architecture_asks_for_it(
    moe: tuple[Path, bool], tmp_path: Path, vowels: None, run: str, budget: int
) -> None:
    """Over all real tokens of the step, never over padding; per micro-batch by its share of them."""
    folder, asked = moe
    trainer = trainer_of(config_of(run, micro_batch_tokens=budget, **RELAXED), folder, tmp_path)
    updates = spy_on_updates(trainer)
    trainer.engine.sync()
    trainer.train_step()
    (record,) = read_jsonl(tmp_path / "metrics.jsonl")
    mu = record["mu"]
    parts = (1 - mu) * record["grpo_loss"] + (mu * record["sft_loss"] if mu else 0)
    # Sampling and training are the same forward pass, though the sampler never computes a router loss.
    assert abs(record["engine_kl"]) < 1e-6
    if not asked:
        assert record["router_loss"] is None
        assert record["loss"] == pytest.approx(parts, rel=1e-5, abs=1e-7)
        return
    before = TorchStrategy.from_checkpoint(folder, trainer.config).model
    rows = [[*s.prompt_ids, *s.response_ids] for s in updates[0]]
    total = sum(map(len, rows))
    with torch.no_grad():
        if budget == 1:
            expected = sum(float(load_balancing(before, [row])) * len(row) / total for row in rows)
        else:
            assert len(set(map(len, rows))) > 1 or run == "grpo", "there must be padding to be left out"
            expected = float(load_balancing(before, rows))
    assert record["router_loss"] == pytest.approx(0.001 * expected, rel=1e-4)
    assert record["loss"] == pytest.approx(parts + record["router_loss"], rel=1e-5, abs=1e-7)


def test_router_loss_alone_moves_the_routers(
    moe: tuple[Path, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal rewards leave GRPO no gradient: whatever moves is moved by the router loss."""
    monkeypatch.setitem(REWARDS, "math", lambda text, gold, truncated: Graded(0.5, False, True, 0.5))
    folder, asked = moe
    trainer = trainer_of(config_of("grpo", **RELAXED), folder, tmp_path)
    before = {name: weight.clone() for name, weight in trainer.strategy.weights().items()}
    trainer.engine.sync()
    trainer.train_step()
    (record,) = read_jsonl(tmp_path / "metrics.jsonl")
    assert record["zero_variance_share"] == 1 and (record["grad_norm"] > 0) is asked
    routers = [name for name in before if "router" in name]
    assert len(routers) == SHAPE.layers
    moved = [not torch.equal(trainer.strategy.weights()[name], before[name]) for name in routers]
    assert moved == [asked] * len(routers)


def test_exported_mixture_keeps_its_router_loss(moe: tuple[Path, bool], tmp_path: Path) -> None:
    folder, asked = moe
    trainer_of(config_of("grpo", steps=1, **RELAXED), folder, tmp_path).train()
    assert (
        TorchStrategy.from_checkpoint(tmp_path / "best", config_of("grpo")).model.config.output_router_logits is asked
    )


# ---- Judged reward


def judged_trainer(policy: Path, folder: Path, noise: float) -> Trainer:
    config = resolve_run(load_declarations(), load_scale("smoke"), "chord_phi", "medicine", seed=0)
    assert config.reward == "judge" and config.judge == LocalJudgeSettings(kind="local", noise=0.05)
    small: dict[str, Any] = {"max_response_tokens": 400, "steps": 2, "validate_every": 2, "rl_prompts": 2}
    config = dataclasses.replace(config, judge=LocalJudgeSettings(kind="local", noise=noise), group_size=4, **small)
    engine, tokenizer = load_engine(config.engine, policy, config.rollout_batch, torch.float32)
    rows = medicine_world.expert_rows(4, 0)
    data = Data(rows, rows, medicine_world.validation_rows(2, 0))
    return Trainer(config, data, TorchStrategy.from_checkpoint(policy, config), engine, tokenizer, folder, "")


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_judged_reward_trains(tiny_policy: Path, tmp_path: Path, noise: float) -> None:
    """Answers that say all, less and nothing of what the rubric asks: their scores are the rewards."""
    trainer = judged_trainer(tiny_policy, tmp_path, noise)
    tokenizer = AutoTokenizer.from_pretrained(tiny_policy)
    rows = dict(zip(trainer.prompts, trainer.data.prompts, strict=True))
    graded: list[float] = []

    def generate(requests: Sequence[GenerationRequest], **_: Any) -> list[Completion]:
        completions = []
        for i, request in enumerate(requests):
            row = rows[request.prompt_ids]
            thought, _, answer = row["response"].rpartition("</think>")
            words = answer.split()
            text = f"{thought}</think>" + " ".join(words[: len(words) * (3 - i % 4) // 3])
            ids = (*tokenizer(text)["input_ids"], tokenizer.eos_token_id)
            completions.append(Completion(ids, text, tuple(-1.0 for _ in ids), truncated=False))
            said = answer_to_judge(text, truncated=False)
            score = 0.0
            if said is not None:
                rubric = parse_rubric(row["gold"]["rubric"])
                judgement = LocalJudge(noise).score(row["gold"]["question"], said, rubric, seed=0)
                assert judgement.score is not None
                score = judgement.score
            graded.append(score)
        return completions

    trainer.engine.engine.generate = generate  # type: ignore[method-assign]
    updates = spy_on_updates(trainer)
    trainer.engine.sync()
    trainer.train_step()
    (record,) = read_jsonl(tmp_path / "metrics.jsonl")
    rewards = torch.tensor(graded).view(2, 4)
    assert len(rewards.unique()) > 2, "the judge must tell the answers apart"
    centred = rewards - rewards.mean(1, keepdim=True)
    expected = (centred / (rewards.std(1, keepdim=True) + 1e-6)).flatten().tolist()
    assert [s.advantage for s in updates[0] if s.kind == "rollout"] == pytest.approx(expected, abs=1e-4)
    assert record["reward_mean"] == pytest.approx(rewards.mean().item())
    assert record["accuracy"] == pytest.approx((rewards == 1).float().mean().item())
    assert record["grad_norm"] > 0 and record["sft_loss"] > 0 and record["mu"] == 0.1


def test_a_judged_run_goes_through(tiny_policy: Path, tmp_path: Path) -> None:
    """With real, hopeless rollouts: no answer, no score, and the score chooses the checkpoint."""
    trainer = judged_trainer(tiny_policy, tmp_path, noise=0.05)
    trainer.engine.max_tokens = 8
    assert trainer.train().step == 2
    validations: list[Record] = read_jsonl(tmp_path / "validation.jsonl")
    assert [record["score"] for record in validations] == [0.0, 0.0] and (tmp_path / "best/config.json").is_file()
