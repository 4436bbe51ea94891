"""What defines each baseline and each phi, seen through the trainer: mixed groups (LUFFY, SRFT) and token weights."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel

from pipelines.sandbox import math_world
from reference_impl.config import load_declarations, load_scale, resolve_run
from reference_impl.files import read_jsonl
from reference_impl.rewards import REWARDS
from reference_impl.run.metrics import Record
from reference_impl.step.batching import TrainingSequence, prompt_ids
from reference_impl.strategy import TorchStrategy
from reference_impl.trainer import Data, Trainer
from tests.reference_impl.test_trainer import assert_resumes_identically, config_of, data_of, sequences_of, trainer_of
from tests.reference_impl.test_trainer_wiring import likes_vowels, script, spy_on_updates
from tests.support.one_update import one_update

pytestmark = pytest.mark.slow

GROUP = 4
LONG = 400
"""Response tokens that no demonstration is cut at."""
SRFT = resolve_run(load_declarations(), load_scale("smoke"), "srft", "tool", seed=0)
MIXED = {"rl_prompts": 2, "group_size": GROUP, "max_response_tokens": LONG, "max_grad_norm": 1e9}


@pytest.fixture(scope="module")
def sharp_policy(tiny_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny policy after some SFT: its probabilities lie all over [0, 1]."""
    folder = tmp_path_factory.mktemp("sharp")
    trainer = trainer_of(
        config_of("sft-lr1e-05", max_response_tokens=LONG, sft_batch=6, learning_rate=1e-2), tiny_policy, folder
    )
    for _ in range(60):
        trainer.train_step()
    trainer.strategy.export(folder / "policy", trainer.validator.tokenizer)
    return folder / "policy"


@pytest.fixture
def vowels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REWARDS, "math", likes_vowels)


def responses(model: PreTrainedModel, sequences: Sequence[TrainingSequence]) -> list[tuple[Tensor, Tensor]]:
    """Log-probs of each response's tokens (with gradient) and their entropies, one forward each, nothing padded."""
    found = []
    for sequence in sequences:
        logits = model(torch.tensor([sequence.prompt_ids + sequence.response_ids])).logits[0]
        logprobs = torch.log_softmax(logits[len(sequence.prompt_ids) - 1 : -1], dim=-1)
        taken = logprobs.gather(-1, torch.tensor(sequence.response_ids)[:, None])[:, 0]
        found.append((taken, -(logprobs.exp() * logprobs).sum(-1).detach()))
    return found


def gradient_of_the_step(trainer: Trainer) -> dict[str, Tensor]:
    """Filled with the gradients that the next optimizer step is made with."""
    strategy, gradients = trainer.strategy, dict[str, Tensor]()
    assert isinstance(strategy, TorchStrategy)

    def copy(*_: Any) -> None:
        for name, parameter in strategy.model.named_parameters():
            assert parameter.grad is not None
            gradients[name] = parameter.grad.clone()

    strategy.optimizer.register_step_pre_hook(copy)
    return gradients


def mixed_step(
    policy: Path, folder: Path, correct: Sequence[Sequence[bool]], **changes: Any
) -> tuple[list[TrainingSequence], Record, dict[str, Tensor], PreTrainedModel]:
    """One step of LUFFY (or what ``changes`` make of it): its sequences, metrics, gradients, and the policy before."""
    config = config_of("luffy", **(MIXED | changes))
    trainer = trainer_of(config, policy, folder)
    updates, gradients = spy_on_updates(trainer), gradient_of_the_step(trainer)
    asked = script(trainer, correct)
    trainer.engine.sync()
    trainer.train_step()
    assert len(asked) == 2 * (GROUP - 1), "a demonstration takes the place of a rollout"
    before = TorchStrategy.from_checkpoint(policy, config).model
    return updates[0], read_jsonl(folder / "metrics.jsonl")[0], gradients, before


def assert_gradients(model: PreTrainedModel, loss: Tensor, found: dict[str, Tensor]) -> None:
    loss.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6, msg=name)


# ---- LUFFY


def test_luffy_without_demonstrations_is_grpo(tiny_policy: Path, tmp_path: Path, vowels: None) -> None:
    none = {"demonstrations": 0, "shaping": 0.1}
    weights = []
    for name, config in (("luffy", config_of("luffy", mixed=none, steps=3)), ("grpo", config_of("grpo", steps=3))):
        trainer = trainer_of(dataclasses.replace(config, learning_rate=1e-3), tiny_policy, tmp_path / name)
        trainer.train()
        weights.append(trainer.strategy.weights())
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("luffy", "grpo")]
    assert metrics[0] == metrics[1]
    assert all(record["grad_norm"] > 0 for record in read_jsonl(tmp_path / "grpo/metrics.jsonl"))
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())


@pytest.mark.parametrize("normalise", [True, False])
def test_a_group_holds_the_demonstration_of_its_prompt(tiny_policy: Path, tmp_path: Path, normalise: bool) -> None:
    """Three rollouts and the prompt's own demonstration, advantages over all four."""
    correct = [[True, False, False], [False, False, False]]
    sequences, record, _, _ = mixed_step(tiny_policy, tmp_path, correct, normalise=normalise)
    tokenizer = AutoTokenizer.from_pretrained(tiny_policy)
    texts = {prompt_ids(tokenizer, row): row["response"] for row in math_world.aligned_rows(6, 0)}
    assert [s.kind for s in sequences] == (["rollout"] * 3 + ["demonstration"]) * 2
    for start in (0, GROUP):
        group = sequences[start : start + GROUP]
        assert len({s.prompt_ids for s in group}) == 1
        demonstration = tokenizer.decode(list(group[-1].response_ids))
        assert demonstration == texts[group[0].prompt_ids] + "<|im_end|>"
    # Rewards 1,0,0,1: mean 1/2, unbiased deviation sqrt(1/3) = 0.57735. Rewards 0,0,0,1: mean 1/4, deviation 1/2.
    plain = [0.5, -0.5, -0.5, 0.5, -0.25, -0.25, -0.25, 0.75]
    expected = [a / (0.57735 if i < GROUP else 0.5) for i, a in enumerate(plain)] if normalise else plain
    assert [s.advantage for s in sequences] == pytest.approx(expected, abs=1e-4)
    # What is logged of the policy is of its own responses; whether a group teaches depends on all of it.
    assert record["reward_mean"] == pytest.approx(1 / 6) and record["accuracy"] == pytest.approx(1 / 6)
    assert record["zero_variance_share"] == 0
    assert record["expert_tokens"] == 0 and record["sft_loss"] is None and record["auxiliary_loss"] is None
    counts = [sum(len(s.response_ids) for s in sequences if s.kind == kind) for kind in ("rollout", "demonstration")]
    assert [record["rollout_tokens"], record["demonstration_tokens"]] == counts


def test_a_perfect_group_teaches_nothing_and_a_cut_demonstration_is_a_failure(
    tiny_policy: Path, tmp_path: Path
) -> None:
    sequences, record, _, _ = mixed_step(tiny_policy, tmp_path / "perfect", [[True] * 3] * 2)
    assert {s.advantage for s in sequences} == {0.0} and record["zero_variance_share"] == 1
    assert record["grad_norm"] == 0
    # Cut at 24 tokens a demonstration has no answer: -1 (A.2), below the 0 of the wrong but complete rollouts.
    sequences, _, _, _ = mixed_step(tiny_policy, tmp_path / "cut", [[False] * 3] * 2, max_response_tokens=24)
    assert [s.advantage for s in sequences[:GROUP]] == pytest.approx([0.5, 0.5, 0.5, -1.5], abs=1e-3)


@pytest.mark.parametrize("budget", [1, 1_000_000])
@pytest.mark.parametrize("normalise", [True, False])
def test_luffys_update_is_its_formula(sharp_policy: Path, tmp_path: Path, normalise: bool, budget: int) -> None:
    """-(1/N) [Σ A log p over rollouts + Σ A p / (p + 0.1) over demonstrations], N all tokens, nothing clipped."""
    sequences, record, gradients, model = mixed_step(
        sharp_policy,
        tmp_path,
        [[True, False, False], [False, False, True]],
        normalise=normalise,
        micro_batch_tokens=budget,
    )
    tokens = sum(len(s.response_ids) for s in sequences)
    rollouts = demonstrations = torch.zeros(())
    value = 0.0
    for sequence, (logprobs, _) in zip(sequences, responses(model, sequences), strict=True):
        if sequence.kind == "demonstration":
            p = logprobs.exp()
            demonstrations = demonstrations - sequence.advantage * (p / (p + 0.1)).sum() / tokens
        else:
            rollouts = rollouts - sequence.advantage * logprobs.sum() / tokens
            value -= sequence.advantage * len(logprobs) / tokens  # the ratio's value is 1
    assert record["demonstration_loss"] == pytest.approx(demonstrations.item(), rel=1e-4)
    assert record["grpo_loss"] == pytest.approx(value, rel=1e-4)
    assert record["loss"] == pytest.approx(value + demonstrations.item(), rel=1e-4)
    assert_gradients(model, rollouts + demonstrations, gradients)


def test_luffy_resumes_identically(tiny_policy: Path, tmp_path: Path, vowels: None) -> None:
    config = config_of("luffy", steps=4, validate_every=2, learning_rate=1e-3, max_response_tokens=8)
    assert_resumes_identically(config, tiny_policy, tmp_path, done=3)


def test_every_prompt_needs_a_graded_demonstration(tiny_policy: Path, tmp_path: Path) -> None:
    config = config_of("luffy")
    data = data_of(config)

    def trainer_with(expert: list[dict[str, Any]]) -> None:
        whole = trainer_of(config_of("grpo"), tiny_policy, tmp_path)
        Trainer(
            config,
            Data(data.prompts, expert, data.validation),
            whole.strategy,
            whole.engine.engine,
            whole.validator.tokenizer,
            tmp_path,
            "",
        )

    with pytest.raises(ValueError, match=r"2 of 6 RL prompts have no expert demonstration, the first: math-rl-000000"):
        trainer_with(data.expert[1:5])
    ungraded = [{key: value for key, value in row.items() if key != "gold"} for row in data.expert[:1]]
    with pytest.raises(ValueError, match=r"1 demonstrations have no gold .*: math-rl-000000"):
        trainer_with(ungraded + data.expert[1:])


# ---- SRFT


@pytest.mark.parametrize("budget", [1, 1_000_000])
def test_srfts_update_is_its_formula(sharp_policy: Path, tmp_path: Path, budget: int) -> None:
    """Fu et al. 2025, Eq. 5-13, as the fidelity page reads them, coefficients 1:1:1 and weights without gradient.

    Demonstrations: ratio p / 1 times the advantage over the group of all four, and 0.5 exp(-H) (-log p). Own rollouts:
    0.1 exp(H) (-log p) right ones, log p wrong ones, without advantages.
    """
    sequences, record, gradients, model = mixed_step(
        sharp_policy,
        tmp_path,
        [[True, False, False], [False, False, True]],
        mixed=SRFT.mixed,
        auxiliary=SRFT.auxiliary,
        normalise=SRFT.normalise,
        micro_batch_tokens=budget,
    )
    own = sum(len(s.response_ids) for s in sequences if s.kind == "rollout")
    expert = sum(len(s.response_ids) for s in sequences if s.kind == "demonstration")
    off = extra = torch.zeros(())
    for sequence, (logprobs, entropy) in zip(sequences, responses(model, sequences), strict=True):
        uncertainty = math.exp(entropy.mean().item())
        if sequence.kind == "demonstration":
            off = off - sequence.advantage * logprobs.exp().sum() / (own + expert)
            extra = extra - 0.5 / uncertainty * logprobs.sum() / expert
        else:
            extra = extra + (-0.1 * uncertainty if sequence.correct else 1.0) * logprobs.sum() / own
    assert {s.correct for s in sequences if s.kind == "rollout"} == {True, False}
    assert record["demonstration_loss"] == pytest.approx(off.item(), rel=1e-4)
    assert record["auxiliary_loss"] == pytest.approx(extra.item(), rel=1e-4)
    assert record["grpo_loss"] == pytest.approx(0, abs=1e-6)
    assert record["loss"] == pytest.approx((off + extra).item(), rel=1e-4)
    assert_gradients(model, off + extra, gradients)


# ---- phi


def expert_update(policy: Path, folder: Path, **changes: Any) -> tuple[Record, list[Tensor], list[Tensor]]:
    """An SFT-only update on four demonstrations: metrics, and their tokens' probabilities and entropies before it."""
    sequences = [s for s in sequences_of(policy) if s.kind == "expert"]
    trainer = trainer_of(config_of("chord_phi", **changes), policy, folder)
    with torch.no_grad():
        found = responses(trainer.strategy.model, sequences)
    return one_update(trainer, sequences, 1.0), [lp.exp() for lp, _ in found], [entropy for _, entropy in found]


@pytest.mark.parametrize(
    ("phi", "weight"),
    [
        ({"name": "none"}, lambda p: torch.ones_like(p)),
        ({"name": "p_one_minus_p"}, lambda p: p * (1 - p)),
        ({"name": "importance"}, lambda p: p),
        ({"name": "focal", "gamma": 2.0}, lambda p: (1 - p) ** 2),
        ({"name": "power", "a": 2.0, "b": 0.5}, lambda p: p**2 * (1 - p) ** 0.5),
        ({"name": "is_clip", "threshold": 0.4, "variant": "zero"}, lambda p: p * (p <= 0.4)),
        ({"name": "is_clip", "threshold": 0.4, "variant": "cap"}, lambda p: p.clamp(max=0.4)),
    ],
    ids=["none", "chord", "importance", "focal", "power", "clip-zero", "clip-cap"],
)
def test_phi_weighs_every_expert_token(sharp_policy: Path, tmp_path: Path, phi: dict[str, Any], weight: Any) -> None:
    record, probabilities, _ = expert_update(sharp_policy, tmp_path, phi=phi)
    p = torch.cat(probabilities)
    assert (p < 0.3).any() and (p > 0.7).any(), "the policy must know some tokens and not others"
    weights = weight(p)
    assert record["expert_tokens"] == len(p)
    assert record["phi_mean"] == pytest.approx(weights.mean().item(), rel=1e-4)
    assert record["sft_loss"] == pytest.approx(-(weights * p.log()).mean().item(), rel=1e-4)
    share_of_unlikely = (weights * (p < p.median())).sum() / weights.sum()
    if phi["name"] == "focal":
        assert share_of_unlikely > 0.55, "Focal up-weights what the policy finds unlikely"
    elif phi["name"] == "importance":
        assert share_of_unlikely < 0.45, "importance sampling down-weights it"


@pytest.mark.parametrize("budget", [1, 300, 1_000_000])
def test_entropy_weights_compare_the_whole_batch(sharp_policy: Path, tmp_path: Path, budget: int) -> None:
    top = {"name": "entropy_top", "share": 0.05}
    record, probabilities, entropies = expert_update(sharp_policy, tmp_path / "top", phi=top, micro_batch_tokens=budget)
    p, entropy = torch.cat(probabilities), torch.cat(entropies)
    kept = math.ceil(0.05 * len(p))
    assert len(p) > 200 and record["phi_mean"] == pytest.approx(kept / len(p), rel=1e-6)
    chosen = entropy.topk(kept).indices
    assert record["sft_loss"] == pytest.approx(-p[chosen].log().sum().item() / len(p), rel=1e-4)
    norm = {"name": "entropy_norm"}
    record, _, _ = expert_update(sharp_policy, tmp_path / "norm", phi=norm, micro_batch_tokens=budget)
    assert record["phi_mean"] == pytest.approx(1.0, rel=1e-5)
    assert record["sft_loss"] == pytest.approx(-(entropy / entropy.mean() * p.log()).mean().item(), rel=1e-4)
