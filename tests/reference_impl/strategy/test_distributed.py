"""Shares of a step, what ranks tell each other, and how a scale declares the processes."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from reference_impl.config import (
    DeepSpeedChoice,
    TorchChoice,
    load_declarations,
    load_scale,
    resolve_run,
)
from reference_impl.rewards import Graded
from reference_impl.rollout import Completion
from reference_impl.rollout.sampling import Outcome, Rollout, gather_outcomes
from reference_impl.run.checkpoint import load_state
from reference_impl.step.batching import Statistics, TrainingSequence, micro_batches
from reference_impl.step.loss import empty_micro_batch, global_weights
from reference_impl.step.objective import build_objective
from reference_impl.strategy import Strategy, distributed, join_processes
from tests.support.ranks import on_ranks


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 5, 8])
def test_shares_are_consecutive_and_complete(monkeypatch: pytest.MonkeyPatch, ranks: int, count: int) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: ranks)
    places: list[int] = []
    sizes = []
    for rank in range(ranks):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        places += distributed.share(count)
        sizes.append(len(distributed.share(count)))
    assert places == list(range(count))
    assert max(sizes) - min(sizes) <= 1


def test_one_process_needs_no_group() -> None:
    values = torch.arange(3)
    assert distributed.gather(values)[0] is values
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    assert distributed.sum_over_ranks([0.1]) == [0.1] and distributed.max_over_ranks(7) == 7
    distributed.barrier()


def test_ranks_gather_tensors_of_unequal_length(tmp_path: Path) -> None:
    def work(rank: int) -> Any:
        rows = torch.full((rank * 2 % 3, 2), float(rank), dtype=torch.float64)  # 0, 2 and 1 rows
        flags = torch.ones(rank, dtype=torch.bool)
        return (
            [part.tolist() for part in distributed.gather(rows)],
            [len(part) for part in distributed.gather(flags)],
            distributed.sum_over_ranks([rank + 0.5])[0],
            distributed.max_over_ranks(rank),
            list(distributed.share(4)),
        )

    found = on_ranks(3, tmp_path, work)
    assert [result[:4] for result in found] == [([[], [[1.0, 1.0]] * 2, [[2.0, 2.0]]], [0, 1, 2], 4.5, 2)] * 3
    assert [result[4] for result in found] == [[0], [1], [2, 3]]


def refusal(call: Callable[[], Any]) -> str:
    """What a ValueError says; empty where there is none."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


def test_ranks_that_were_given_different_things_refuse_together(tmp_path: Path) -> None:
    """Each would wait for ever for another that does something else."""

    def work(rank: int) -> tuple[str, str]:
        alike = refusal(lambda: distributed.require_same("data", "the same"))
        return alike, refusal(lambda: distributed.require_same("data", "mine" if rank == 1 else "ours"))

    assert on_ranks(3, tmp_path, work) == [("", "data: not the same in all 3 processes; rank 0 and 1 differ")] * 3
    distributed.require_same("data", "alone")


def test_a_state_that_one_machine_does_not_see_is_refused_by_all(tmp_path: Path) -> None:
    for rank in range(2):
        (tmp_path / str(rank) / "state").mkdir(parents=True)
    (tmp_path / "0/state/progress.json").write_text('{"identity": "run"}')

    def work(rank: int) -> str:
        strategy = cast(Strategy, None)  # is not reached
        return refusal(lambda: load_state(tmp_path / str(rank) / "state", strategy, "run"))

    for message in on_ranks(2, tmp_path, work):
        assert "progress.json (all machines must see the same run folder): not the same" in message


def rollout(reward: float, tokens: int) -> Rollout:
    completion = Completion(tuple(range(tokens)), "", (0.0,) * tokens, truncated=tokens > 2)
    return Rollout((1,), completion, Graded(reward, reward == 1, reward >= 0, abs(reward)))


def test_every_rank_knows_every_outcome(tmp_path: Path) -> None:
    """In the order of the global step, numbers exact: what a controller of mu makes of them is the same everywhere."""
    found = on_ranks(2, tmp_path, lambda rank: gather_outcomes([rollout(-0.1, 3), rollout(1.0, 2)] if rank else []))
    outcomes = [Outcome(-0.1, 0.1, False, False, True, 3), Outcome(1.0, 1.0, True, True, False, 2)]
    assert found == [outcomes, outcomes]


def statistics_of(sequence: TrainingSequence, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Made-up log-probs and entropies (T) of a sequence: functions of its tokens."""
    values = torch.zeros(width)
    ids = torch.tensor((*sequence.prompt_ids, *sequence.response_ids)[1:])
    values[: len(ids)] = ids / 10.0
    return -values, values


@pytest.mark.parametrize("phi", ["entropy_top", "entropy_norm"])
def test_weights_of_the_whole_batch_do_not_depend_on_the_ranks(tmp_path: Path, phi: str) -> None:
    config = resolve_run(load_declarations(), load_scale("smoke"), "chord_phi", "math", seed=0)
    objective = build_objective(dataclasses.replace(config, phi={"name": phi}))
    sequences = [TrainingSequence((1,), tuple(range(2 + i, 4 + 2 * i)), "expert") for i in range(5)]

    def weights(own: list[TrainingSequence]) -> list[float]:
        batches = [*(batch for s in own for batch in micro_batches([s], 100, 0)), empty_micro_batch(0, "cpu")]
        parts = []
        for place, batch in enumerate(batches):
            width = batch.mask_BT.shape[1]
            pair = statistics_of(own[place], width) if place < len(own) else (torch.zeros(width), torch.zeros(width))
            parts.append(Statistics(pair[0][None], pair[1][None], None))
        found = global_weights(objective, batches, parts)
        return [
            float(value)
            for batch, weight in zip(batches, found, strict=True)
            if weight is not None
            for value in weight[batch.expert_mask_BT]
        ]

    def work(rank: int) -> list[float]:
        return weights([[*sequences[:4]], [], [sequences[4]]][rank])

    expected = weights(sequences)
    first, second, third = on_ranks(3, tmp_path, work)
    assert second == [] and len(set(expected)) > 1
    assert first + third == pytest.approx(expected, rel=1e-6)


# ---- the declaration


def test_default_strategy_is_plain_torch_and_no_part_of_a_runs_identity() -> None:
    config = resolve_run(load_declarations(), load_scale("mini"), "chord_phi", "math", seed=0)
    assert config.strategy == TorchChoice() and config.strategy.kind == "torch"
    large = DeepSpeedChoice(
        kind="deepspeed", zero_stage=3, offload="parameters", activation_checkpointing=True, processes=8
    )
    assert dataclasses.replace(config, strategy=large).hash() == config.hash()
    half = large.model_copy(update={"precision": "bf16"})
    assert dataclasses.replace(config, strategy=half).hash() != config.hash(), "precision is mathematics"
    assert dataclasses.replace(config, strategy=half).to_dict()["strategy"]["zero_stage"] == 3


def test_as_many_processes_as_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join_processes(TorchChoice()) == torch.float32
    with pytest.raises(ValueError, match=r"for processes: 2, and 1 were started"):
        join_processes(DeepSpeedChoice(kind="deepspeed", processes=2))
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(ValueError, match=r"for processes: 1, and 8 were started"):
        join_processes(TorchChoice())
