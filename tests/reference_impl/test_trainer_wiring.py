"""How the loop's parts are joined: who gets which reward, advantage, prompt, demonstration, mu; what is kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from reference_impl.files import read_jsonl
from reference_impl.rewards import REWARDS, Graded
from reference_impl.rollout import Completion, GenerationRequest, load_engine
from reference_impl.run.first_validation import Measured
from reference_impl.step.batching import TrainingSequence
from reference_impl.step.loss import StepTokens
from reference_impl.strategy import TorchStrategy
from reference_impl.trainer import Trainer
from tests.reference_impl.test_trainer import config_of, trainer_of

GROUP = 4


def spy_on_updates(trainer: Trainer) -> list[list[TrainingSequence]]:
    """Every step's sequences, as the update gets them."""
    seen: list[list[TrainingSequence]] = []
    losses = trainer.losses

    def spied(sequences: Sequence[TrainingSequence], mu: float, tokens: StepTokens) -> Any:
        seen.append(list(sequences))
        return losses(sequences, mu, tokens)

    trainer.losses = spied  # type: ignore[method-assign]
    return seen


def script(trainer: Trainer, correct: Sequence[Sequence[bool]]) -> list[GenerationRequest]:
    """Make the engine answer rightly where ``correct`` (P × G, in the order asked) says so; returns what it was asked.

    A right answer is the gold of the very prompt that was asked, so grading against another row's gold shows.
    """
    tokenizer = AutoTokenizer.from_pretrained(trainer.validator.tokenizer.name_or_path)
    gold = {prompt: row["gold"] for prompt, row in zip(trainer.prompts, trainer.data.prompts, strict=True)}
    flat = [value for group in correct for value in group]
    asked: list[GenerationRequest] = []

    def generate(requests: Sequence[GenerationRequest], **_: Any) -> list[Completion]:
        asked.extend(requests)
        completions = []
        for request, right in zip(requests, flat, strict=True):
            text = f"<think>\n1\n</think>\n\\boxed{{{gold[request.prompt_ids] if right else '-3'}}}"
            ids = (*tokenizer(text)["input_ids"], tokenizer.eos_token_id)
            completions.append(Completion(ids, text, tuple(-1.0 for _ in ids), truncated=False))
        return completions

    trainer.engine.engine.generate = generate  # type: ignore[method-assign]
    return asked


def likes_vowels(text: str, gold: str, truncated: bool) -> Graded:
    """A reward that a random policy can find: the share of a's and e's."""
    share = sum(text.count(letter) for letter in "ae") / max(1, len(text))
    return Graded(share, share > 0.1, True, share)


def test_every_rollout_gets_the_advantage_of_its_own_group(tiny_policy: Path, tmp_path: Path) -> None:
    trainer = trainer_of(config_of("grpo", rl_prompts=2, group_size=GROUP), tiny_policy, tmp_path)
    updates = spy_on_updates(trainer)
    script(trainer, [[True, False, False, False], [False, True, True, False]])
    trainer.engine.sync()
    trainer.train_step()
    # Rewards 1,0,0,0: mean 1/4, unbiased deviation 1/2, so 1.5 and -0.5.
    # Rewards 0,1,1,0: mean 1/2, unbiased deviation sqrt(1/3) = 0.57735, so +-0.8660.
    expected = [1.5, -0.5, -0.5, -0.5, -0.8660, 0.8660, 0.8660, -0.8660]
    assert [s.advantage for s in updates[0]] == pytest.approx(expected, abs=1e-3)
    assert len({s.prompt_ids for s in updates[0][:GROUP]}) == 1 and len({s.prompt_ids for s in updates[0]}) == 2
    record = read_jsonl(tmp_path / "metrics.jsonl")[0]
    assert record["accuracy"] == record["reward_mean"] == 3 / 8 and record["zero_variance_share"] == 0
    assert record["format_failure_rate"] == record["truncation_rate"] == 0 and record["grad_norm"] > 0


def test_right_answers_become_more_probable(tiny_policy: Path, tmp_path: Path) -> None:
    """One GRPO step raises the log-probability of the rewarded response and lowers that of the others."""
    trainer = trainer_of(config_of("grpo", rl_prompts=1, group_size=GROUP, learning_rate=1e-3), tiny_policy, tmp_path)
    updates = spy_on_updates(trainer)
    script(trainer, [[True, False, False, False]])
    before = AutoModelForCausalLM.from_pretrained(tiny_policy)
    trainer.engine.sync()
    trainer.train_step()

    def logprob(model: Any, sequence: TrainingSequence) -> float:
        ids = torch.tensor([sequence.prompt_ids + sequence.response_ids])
        with torch.no_grad():
            logprobs = torch.log_softmax(model(ids).logits[0, len(sequence.prompt_ids) - 1 : -1], dim=-1)
        return float(logprobs.gather(-1, torch.tensor(sequence.response_ids)[:, None]).mean())

    right, wrong = updates[0][0], updates[0][1]
    gain = {
        name: logprob(trainer.strategy.model, s) - logprob(before, s)
        for name, s in (("right", right), ("wrong", wrong))
    }
    assert gain["right"] > gain["wrong"]


def test_each_step_takes_the_next_prompts_seeds_and_demonstrations(tiny_policy: Path, tmp_path: Path) -> None:
    config = config_of("chord_phi", rl_prompts=2, group_size=GROUP, sft_batch=2, steps=3)
    trainer = trainer_of(config, tiny_policy, tmp_path)
    updates = spy_on_updates(trainer)
    asked = script(trainer, [[True] * GROUP] * 2)
    trainer.engine.sync()
    for _ in range(3):
        trainer.train_step()
    # Six prompts and six demonstrations, two of each a step: three steps see every one exactly once.
    for kind in ("rollout", "expert"):
        seen = [{s.prompt_ids for s in step if s.kind == kind} for step in updates]
        assert [len(prompts) for prompts in seen] == [2, 2, 2] and len(set().union(*seen)) == 6
    assert len({request.seed for request in asked}) == len(asked) == 3 * 2 * GROUP
    for sequence in updates[0]:
        assert (sequence.engine_logprobs != ()) is (sequence.kind == "rollout")


def test_a_prompt_twice_in_a_batch_gets_two_groups(tiny_policy: Path, tmp_path: Path) -> None:
    trainer = trainer_of(config_of("grpo", rl_prompts=2, group_size=GROUP, prompt_rows=1), tiny_policy, tmp_path)
    asked = script(trainer, [[True] * GROUP] * 2)
    trainer.train_step()
    assert len({request.prompt_ids for request in asked}) == 1 and len({request.seed for request in asked}) == 2 * GROUP


def test_logged_mu_is_the_schedules(tiny_policy: Path, tmp_path: Path) -> None:
    mu = {"schedule": "linear_decay", "start": 0.9, "end": 0.1, "decay_steps": 4}
    trainer_of(config_of("chord_mu", mu=mu, steps=6, validate_every=6), tiny_policy, tmp_path).train()
    found = [record["mu"] for record in read_jsonl(tmp_path / "metrics.jsonl")]
    assert found == pytest.approx([0.9, 0.7, 0.5, 0.3, 0.1, 0.1])


def test_the_best_checkpoint_on_validation_is_kept(tiny_policy: Path, tmp_path: Path) -> None:
    trainer = trainer_of(config_of("chord_phi", steps=4, validate_every=1), tiny_policy, tmp_path)
    scores = iter([0.9, 0.2, 0.6, 0.6, 0.4])  # step 0 is the untouched policy: measured, never chosen
    accuracies = iter([0.9, 0.8, 0.1, 0.2, 0.9])  # a judged response can be good and not flawless: the score decides
    weights: dict[int, torch.Tensor] = {}
    parameter = next(iter(trainer.strategy.weights()))

    def evaluate() -> Measured:
        weights[trainer.progress.step] = trainer.strategy.weights()[parameter].clone()
        return Measured(accuracy=next(accuracies), score=next(scores), stderr=0.0, response_length=1.0, scores=[])

    trainer.validator.measure = evaluate  # type: ignore[method-assign]
    progress = trainer.train()
    assert progress.best is not None and progress.best["step"] == 2  # the first of the two best
    kept = AutoModelForCausalLM.from_pretrained(tmp_path / "best").state_dict()[parameter]
    assert torch.equal(kept, weights[2]) and not torch.equal(kept, weights[4])


def test_gradients_are_clipped_before_the_update(tiny_policy: Path, tmp_path: Path) -> None:
    trainer = trainer_of(config_of("chord_phi", max_grad_norm=0.01), tiny_policy, tmp_path)
    strategy = trainer.strategy
    assert isinstance(strategy, TorchStrategy)
    norms = []

    def record_norm(*_: Any) -> None:
        gradients = [p.grad for p in strategy.model.parameters() if p.grad is not None]
        norms.append(torch.nn.utils.get_total_norm(gradients).item())

    strategy.optimizer.register_step_pre_hook(record_norm)
    loss = sum(p.square().sum() for p in strategy.model.parameters())
    assert isinstance(loss, torch.Tensor)
    strategy.backward(loss)
    assert strategy.step() > 1 and norms == [pytest.approx(0.01, rel=1e-3)]


def test_divergence_stops_the_run_with_the_weights_untouched(tiny_policy: Path, tmp_path: Path) -> None:
    trainer = trainer_of(config_of("grpo"), tiny_policy, tmp_path)
    before = {name: weight.clone() for name, weight in trainer.strategy.weights().items()}
    loss = next(iter(trainer.strategy.model.parameters())).sum() * float("nan")
    trainer.strategy.backward(loss)
    with pytest.raises(FloatingPointError, match="gradient norm is nan"):
        trainer.strategy.step()
    for name, weight in trainer.strategy.weights().items():
        assert torch.equal(weight, before[name])


def test_grpo_raises_what_it_is_rewarded_for(
    tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The complete loop must climb a reward that a random policy can find."""
    monkeypatch.setitem(REWARDS, "math", likes_vowels)
    config = config_of("grpo", group_size=8, steps=40, validate_every=40, learning_rate=3e-3, max_response_tokens=12)
    trainer_of(config, tiny_policy, tmp_path).train()
    rewards = [record["reward_mean"] for record in read_jsonl(tmp_path / "metrics.jsonl")]
    assert sum(rewards[-5:]) > 1.5 * sum(rewards[:5])


def test_half_precision_checkpoint_trains(tiny_policy: Path, tmp_path: Path) -> None:
    """Real policies are published in bfloat16; training and its rollouts hold them in float32."""
    model = AutoModelForCausalLM.from_pretrained(tiny_policy, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "policy")
    AutoTokenizer.from_pretrained(tiny_policy).save_pretrained(tmp_path / "policy")
    trainer = trainer_of(config_of("chord_phi", steps=2), tmp_path / "policy", tmp_path / "run")
    assert trainer.train().step == 2
    engine, _ = load_engine("transformers", tmp_path / "policy")
    assert engine.model.dtype == torch.bfloat16  # type: ignore[attr-defined]
