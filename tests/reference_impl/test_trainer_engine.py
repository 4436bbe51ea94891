"""What the trainer does where its sampler dies, must make room, or is not quite the policy."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from reference_impl import train
from reference_impl.config import EngineOptions, load_declarations, load_scale, resolve_run
from reference_impl.files import read_jsonl
from reference_impl.losses import grpo_loss
from reference_impl.rollout import EngineDeadError
from reference_impl.step.batching import TrainingSequence
from reference_impl.strategy import TorchStrategy
from reference_impl.trainer import Trainer
from tests.reference_impl.test_trainer import config_of, sequences_of, trainer_of
from tests.support.one_update import one_update

pytestmark = pytest.mark.slow


def dies(call: Callable[..., Any], when: set[int], said: list[str]) -> Callable[..., Any]:
    """The call, with an engine's death in the place of those whose numbers are in ``when``."""

    def dying(*args: Any, **kwargs: Any) -> Any:
        said.append("call")
        if len(said) - 1 in when:
            raise EngineDeadError("the engine is gone")
        return call(*args, **kwargs)

    return dying


@pytest.mark.parametrize("method", ["generate", "update_weights", "fingerprint"])
@pytest.mark.parametrize("when", [0, 2])
def test_run_with_a_dying_engine_is_the_run_without(
    tiny_policy: Path, tmp_path: Path, method: str, when: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sampling, weight sync and validation are tried again with a new engine, which holds the policy's weights."""
    trainer_of(config_of("chord_phi"), tiny_policy, tmp_path / "through").train()
    trainer = trainer_of(config_of("chord_phi"), tiny_policy, tmp_path / "dying")
    restarts: list[None] = []

    def restart() -> None:
        restarts.append(None)
        with torch.no_grad():
            for weight in trainer.engine.engine.model.parameters():  # type: ignore[attr-defined]
                weight.zero_()

    trainer.engine.engine.restart = restart  # type: ignore[method-assign]
    setattr(trainer.engine.engine, method, dies(getattr(trainer.engine.engine, method), {when}, []))
    trainer.train()
    assert len(restarts) == 1 and "the engine is gone; starting it again" in capsys.readouterr().err
    for file in ("metrics.jsonl", "validation.jsonl"):
        assert (tmp_path / "dying" / file).read_bytes() == (tmp_path / "through" / file).read_bytes()


def test_run_whose_engine_dies_twice_ends_and_resumes_from_its_state(tiny_policy: Path, tmp_path: Path) -> None:
    config = config_of("grpo", steps=4, validate_every=2)
    trainer_of(config, tiny_policy, tmp_path / "through").train()
    trainer = trainer_of(config, tiny_policy, tmp_path / "dying")
    # Calls 0 to 3: the first validation, two steps, the one after them. Call 4 and its second attempt die.
    trainer.engine.engine.generate = dies(trainer.engine.engine.generate, {4, 5}, [])  # type: ignore[method-assign]
    with pytest.raises(SystemExit, match="error: the engine is gone"):
        main_with(trainer)
    assert len(read_jsonl(tmp_path / "dying/metrics.jsonl")) == 2
    again = trainer_of(config, tiny_policy, tmp_path / "dying")
    assert again.progress.step == 2
    again.train()
    assert (tmp_path / "dying/metrics.jsonl").read_bytes() == (tmp_path / "through/metrics.jsonl").read_bytes()


def main_with(trainer: Any) -> None:
    """The command, with a trainer that is prepared already."""
    with pytest.MonkeyPatch.context() as patch:
        inputs = train.Inputs(trainer.data, {"data_hash": {}}, "", {}, torch.float32)
        patch.setattr(train, "check_inputs", lambda *_: inputs)
        patch.setattr(train, "prepare", lambda *_: trainer)
        options = {
            "run": "grpo",
            "domain": "math",
            "scale": "smoke",
            "seed": "0",
            "policy": "p",
            "data": "d",
            "out": "o",
        }
        train.main([part for key, value in options.items() for part in (f"--{key}", value)])


def test_engine_sleeps_through_the_update_and_no_longer(tiny_policy: Path, tmp_path: Path) -> None:
    trainer = trainer_of(config_of("chord_phi", steps=2, validate_every=2), tiny_policy, tmp_path)
    calls: list[str] = []

    def note(owner: Any, name: str) -> None:
        call = getattr(owner, name)

        def noted(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return call(*args, **kwargs)

        setattr(owner, name, noted)

    for name in ("generate", "sleep", "update_weights"):
        note(trainer.engine.engine, name)
    note(trainer, "losses")
    trainer.train()
    step = ["update_weights", "generate", "sleep", "losses"]
    # The first validation and the first step sample from the same weights.
    assert calls == ["update_weights", "generate", *step[1:], *step, "update_weights", "generate"]


def test_weights_are_synced_only_where_they_are_sampled_from(tiny_policy: Path, tmp_path: Path) -> None:
    """SFT samples for validation alone: before step 1 and after steps 2 and 4."""
    trainer = trainer_of(config_of("sft-lr5e-06", steps=4, validate_every=2), tiny_policy, tmp_path)
    calls: list[str] = []
    trainer.engine.engine.update_weights = dies(trainer.engine.engine.update_weights, set(), calls)  # type: ignore[method-assign]
    trainer.train()
    assert len(calls) == 3


def test_prompt_as_long_as_the_context_is_refused_before_training(tiny_policy: Path, tmp_path: Path) -> None:
    trainer = trainer_of(config_of("grpo"), tiny_policy, tmp_path)
    trainer.strategy.model.config.max_position_embeddings = max(map(len, trainer.prompts))
    with pytest.raises(ValueError, match=r"a prompt of .* tokens leaves no place for a response"):
        Trainer(
            trainer.config,
            trainer.data,
            trainer.strategy,
            trainer.engine.engine,
            AutoTokenizer.from_pretrained(tiny_policy),
            tmp_path,
            "other",
        )


def with_engine_logprobs(sequences: list[TrainingSequence], policy: Path, shift: float) -> list[TrainingSequence]:
    """The sequences as an engine would have sampled that gives their tokens ``shift`` nats less, by turns more."""
    model = TorchStrategy.from_checkpoint(policy, config_of("grpo")).model
    given = []
    for sequence in sequences:
        ids = torch.tensor([sequence.prompt_ids + sequence.response_ids])
        with torch.no_grad():
            logprobs_TV = torch.log_softmax(model(ids).logits[0, len(sequence.prompt_ids) - 1 : -1], dim=-1)
        logprobs_T = logprobs_TV.gather(-1, torch.tensor(sequence.response_ids)[:, None])[:, 0]
        signs_T = torch.tensor([(-1.0) ** i for i in range(len(logprobs_T))])
        given.append(dataclasses.replace(sequence, engine_logprobs=tuple((logprobs_T - shift * signs_T).tolist())))
    return given


def test_update_weighs_tokens_by_truncated_ratios(tiny_policy: Path, tmp_path: Path) -> None:
    """With log r = +-ln 4 by turns and a cap of 2, tokens count 2 and 1/4: value, gradient and ESS, written again."""
    sequences = [s for s in sequences_of(tiny_policy) if s.kind == "rollout"]
    sequences = with_engine_logprobs(sequences, tiny_policy, torch.tensor(4.0).log().item())
    trainer = trainer_of(config_of("grpo", tis_cap=2.0, max_grad_norm=1e9), tiny_policy, tmp_path)
    model = TorchStrategy.from_checkpoint(tiny_policy, trainer.config).model
    metrics = one_update(trainer, sequences, 0.0)
    tokens = sum(len(s.response_ids) for s in sequences)
    total, value, ratios = torch.zeros(()), 0.0, []
    for sequence in sequences:
        ids = torch.tensor([sequence.prompt_ids + sequence.response_ids])
        logprobs_TV = torch.log_softmax(model(ids).logits[0, len(sequence.prompt_ids) - 1 : -1], dim=-1)
        logprobs_T = logprobs_TV.gather(-1, torch.tensor(sequence.response_ids)[:, None])[:, 0]
        weights_T = torch.tensor([2.0 if i % 2 == 0 else 0.25 for i in range(len(logprobs_T))])
        total = total - sequence.advantage * (weights_T * logprobs_T).sum() / tokens
        value -= sequence.advantage * weights_T.sum().item() / tokens
        ratios += [4.0 if i % 2 == 0 else 0.25 for i in range(len(logprobs_T))]
    total.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    assert metrics["grpo_loss"] == pytest.approx(value, rel=1e-4)
    assert metrics["grad_norm"] == pytest.approx(norm.item(), rel=1e-3)
    assert metrics["engine_ess"] == pytest.approx(sum(ratios) ** 2 / (tokens * sum(r * r for r in ratios)), rel=1e-4)


def test_cap_has_no_effect_where_the_ratio_is_over_the_samplers_logprobs(tiny_policy: Path, tmp_path: Path) -> None:
    sequences = [s for s in sequences_of(tiny_policy) if s.kind == "rollout"]
    sequences = with_engine_logprobs(sequences, tiny_policy, 1.0)
    found = []
    for name, cap in (("without", None), ("with", 1.5)):
        config = config_of("grpo_relaxed", steps=8, validate_every=8, sync_every=8, tis_cap=cap)
        found.append(one_update(trainer_of(config, tiny_policy, tmp_path / name), sequences, 0.0))
    assert found[0] == found[1] and 0 < (found[0]["engine_ess"] or 0) < 1


def test_the_samplers_log_probs_as_the_old_ones_and_a_second_clip(tiny_policy: Path, tmp_path: Path) -> None:
    """With r = 4 and 1/4 by turns, written again: A r clipped at 0.8 and 1.2, and at 3 where A is negative.

    Whether weights were synced for this step or for the one before makes no difference to what is below the line.
    """
    sequences = [s for s in sequences_of(tiny_policy) if s.kind == "rollout"]
    sequences = with_engine_logprobs(sequences, tiny_policy, torch.tensor(4.0).log().item())
    asked: dict[str, dict[str, Any]] = {
        "policy": {},
        "sampler": {"old_logprobs": "sampler"},
        "limited": {"old_logprobs": "sampler", "dual_clip": 3.0},
        "relaxed": {"sync_every": 8, "steps": 8, "validate_every": 8},
    }
    found = {
        name: one_update(trainer_of(config_of("grpo", **changes), tiny_policy, tmp_path / name), sequences, 0.0)
        for name, changes in asked.items()
    }
    tokens = sum(len(s.response_ids) for s in sequences)

    def by_hand(positive: tuple[float, float], negative: tuple[float, float]) -> float:
        terms = [
            s.advantage * (positive if s.advantage > 0 else negative)[i % 2]
            for s in sequences
            for i in range(len(s.response_ids))
        ]
        return -sum(terms) / tokens

    assert found["policy"]["grpo_loss"] == pytest.approx(by_hand((1, 1), (1, 1)), rel=1e-4)
    assert found["sampler"]["grpo_loss"] == pytest.approx(by_hand((1.2, 0.25), (4, 0.8)), rel=1e-4)
    assert found["limited"]["grpo_loss"] == pytest.approx(by_hand((1.2, 0.25), (3, 0.8)), rel=1e-4)
    assert found["relaxed"] == found["sampler"]


def test_weights_of_the_loss_are_factors_of_its_terms() -> None:
    logprobs_BT = torch.tensor([[-1.0, -2.0], [-0.5, -3.0]], requires_grad=True)
    weights_BT = torch.tensor([[2.0, 0.5], [0.0, float("nan")]])
    mask_BT = torch.tensor([[1, 1], [1, 0]])
    loss = grpo_loss(
        logprobs_BT, logprobs_BT, torch.tensor([1.0, -3.0]), mask_BT, clip_eps=0.2, denom=3, weights_BT=weights_BT
    )
    loss.backward()
    # -(1 * 2 + 1 * 0.5 - 3 * 0) / 3, and the gradient of every term is its weight times -A / 3
    assert loss.item() == pytest.approx(-2.5 / 3)
    torch.testing.assert_close(logprobs_BT.grad, torch.tensor([[-2 / 3, -0.5 / 3], [0.0, 0.0]]))
    with pytest.raises(ValueError, match="weights_BT"):
        grpo_loss(logprobs_BT, logprobs_BT, torch.ones(2), mask_BT, clip_eps=0.2, denom=3, weights_BT=torch.ones(2))


def test_the_cap_is_part_of_a_runs_identity_and_the_engines_options_are_not() -> None:
    declarations, scale = load_declarations(), load_scale("mini")

    def hash_with(**changes: Any) -> str:
        return resolve_run(declarations, scale.model_copy(update=changes), "grpo", "math", 0).hash()

    assert hash_with() == hash_with(engine_options=EngineOptions(placement="dedicated")) != hash_with(tis_cap=2.0)
    assert hash_with() != hash_with(engine_options=EngineOptions(max_model_len=500)), "it cuts responses"
