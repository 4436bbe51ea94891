"""What is noticed while a run trains: each kind once, from the step on at which a whole window is so."""

from pathlib import Path
from typing import Any

import pytest

from reference_impl.files import write_jsonl
from reference_impl.run.metrics import StepLog
from reference_impl.run.watch import SHORTEST_WINDOW, Watch

SOUND = {
    "zero_variance_share": 0.4, "format_failure_rate": 0.0, "truncation_rate": 0.0, "accuracy": 0.5, "entropy": 0.5,
    "phi_mean": 0.1, "reward_mean": 0.5, "response_length": 9.0, "mu": 0.1, "sft_loss": 1.0, "grad_norm": 1.0,
}  # fmt: skip


def seen(phi: str, changes: dict[int, dict[str, Any]], steps: int = 40) -> list[str]:
    """The warnings of a sound run with these metrics from a step on."""
    watch, record = Watch(steps, phi), dict[str, Any](SOUND)
    for step in range(1, steps + 1):
        record |= changes.get(step, {})
        watch.see({"step": step, **record})
    return watch.said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"zero_variance_share": 1.0}, "100 % of the groups have equal rewards"),
        ({"format_failure_rate": 0.95}, "95 % of the responses are badly formatted"),
        ({"truncation_rate": 0.9}, "90 % of the responses are cut at the token limit"),
        ({"accuracy": 0.0}, "no correct sample in 5 steps"),
        ({"entropy": 0.04}, "entropy has collapsed: 0.04 nats, 0.5 before"),
        ({"phi_mean": 0.01}, "mean phi is 0.01: p_one_minus_p hardly teaches here"),
    ],
)
def test_each_kind_is_said_once_when_a_window_is_full_of_it(change: dict[str, float], said: str) -> None:
    last = 10 + SHORTEST_WINDOW - 1
    (warning,) = seen("p_one_minus_p", {10: change})
    assert said in warning
    first = int(warning.removeprefix("from step ").partition(" ")[0])
    assert first == last if not warning.endswith("teaches here") else 10 < first <= last
    assert seen("p_one_minus_p", {10: change, 12: SOUND}) == []


def test_a_sound_run_and_steps_without_rollouts_say_nothing() -> None:
    assert seen("p_one_minus_p", {}) == []
    assert seen("none", {1: {"phi_mean": 0.0}}) == []  # plain SFT weighs nothing
    assert seen("p_one_minus_p", {1: dict.fromkeys(SOUND)}) == []


def test_a_resumed_run_remembers_and_does_not_repeat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad: list[dict[str, float | int | None]] = [{"step": step, **SOUND, "accuracy": 0.0} for step in range(1, 9)]
    whole, watch = Watch(40, "none"), Watch(40, "none", ["the tokenizer changes 1 of 2 demonstrations, first a"])
    for record in bad:
        whole.see(record)
    write_jsonl(tmp_path / "metrics.jsonl", bad)
    log = StepLog(tmp_path, "math/grpo", watch, start=7)
    assert "math/grpo  warning: the tokenizer changes 1 of 2" in capsys.readouterr().err
    log.step(bad[7], {"seconds": 1.0})
    log.close()
    assert watch.said[1:] == whole.said and len(whole.said) == 1
    assert "warning" not in capsys.readouterr().err
