"""When a state is saved: asked by the clock, a signal, the end of a job's time; never while the sampler lags."""

import os
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from reference_impl.files import read_jsonl
from reference_impl.run import saving
from reference_impl.run.saving import END, END_TIME, GO_ON, JOB, SAVE, InterruptedRunError, SaveClock, job_end
from tests.reference_impl.test_trainer import config_of, trainer_of


class Time:
    """A clock that the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "time", lambda: 1000.0 + self.now)


def test_the_clock_asks_for_a_state_every_so_many_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = Time(monkeypatch)
    clock, never = SaveClock(2.0), SaveClock(None)
    decisions = []
    for moment.now in (60.0, 119.0, 120.0, 130.0, 239.0, 250.0):
        decisions.append(clock.decision())
        assert never.decision() == GO_ON
        if decisions[-1] == SAVE:
            clock.restart()
    assert decisions == [GO_ON, GO_ON, SAVE, GO_ON, GO_ON, SAVE]


def test_a_job_ends_while_another_step_still_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = Time(monkeypatch)
    monkeypatch.setenv(END_TIME, "1100")
    clock = SaveClock(None)
    found = {}
    for moment.now in (10.0, 30.0, 39.0, 41.0):  # the longest step took 20 s: three of them end at 100
        found[moment.now] = clock.decision()
    assert found == {10.0: GO_ON, 30.0: GO_ON, 39.0: GO_ON, 41.0: END}
    monkeypatch.setenv(END_TIME, "unknown")
    assert SaveClock(None).decision() == GO_ON


@pytest.mark.parametrize(
    ("answer", "end"),
    [("echo 2026-11-27T22:00:00", datetime(2026, 11, 27, 22).timestamp()), ("echo N/A", None), ("exit 1", None)],
)
def test_the_end_of_a_job_is_asked_of_slurm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, end: float | None
) -> None:
    """A stand-in for squeue; `%e` is the job's end, in the machine's time."""
    script = tmp_path / "squeue"
    script.write_text(f'#!/bin/sh\n[ "$*" = "--noheader --jobs 7 --format %e" ] || exit 2\n{answer}\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv(END_TIME, raising=False)
    monkeypatch.setenv(JOB, "7")
    assert job_end() == end
    monkeypatch.delenv(JOB)
    assert job_end() is None


def test_a_signal_is_heard_inside_and_left_alone_outside() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with SaveClock(None) as clock:
        assert clock.decision() == GO_ON
        os.kill(os.getpid(), signal.SIGTERM)
        assert clock.decision() == END
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("run", ["chord_mu", "sft-lr5e-06", "chord_phi_relaxed"])
def test_a_run_that_is_asked_to_end_goes_on_as_if_it_had_not(tiny_policy: Path, tmp_path: Path, run: str) -> None:
    domain_of: dict[str, Any] = {"steps": 6, "validate_every": 6}
    config = config_of(run, **domain_of)
    trainer_of(config, tiny_policy, tmp_path / "through").train()
    broken = trainer_of(config, tiny_policy, tmp_path / "broken")
    step = broken.train_step

    def interrupted() -> None:
        step()
        if broken.progress.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    broken.train_step = interrupted  # type: ignore[method-assign]
    with pytest.raises(InterruptedRunError, match="asked to end after step"):
        broken.train()
    stopped = broken.progress.step
    assert stopped == (3 if config.sync_every == 1 else 3 + -3 % config.sync_every) < 6
    resumed = trainer_of(config, tiny_policy, tmp_path / "broken")
    assert resumed.progress.step == stopped
    resumed.train()
    for file in ("metrics.jsonl", "validation.jsonl", "best/model.safetensors"):
        if (tmp_path / "through" / file).exists():
            assert (tmp_path / "broken" / file).read_bytes() == (tmp_path / "through" / file).read_bytes()


def test_states_between_validations(tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of("sft-lr5e-06", steps=5, validate_every=5)
    trainer = trainer_of(config, tiny_policy, tmp_path)
    saved = []
    monkeypatch.setattr("reference_impl.trainer.save_state", lambda folder, progress, *_: saved.append(progress.step))
    trainer.train(save_minutes=1e-9)
    assert saved == [1, 2, 3, 4, 5]
    assert len(read_jsonl(tmp_path / "validation.jsonl")) == 2


def test_the_last_step_is_an_end_and_no_interruption(tiny_policy: Path, tmp_path: Path) -> None:
    trainer = trainer_of(config_of("sft-lr5e-06", steps=1, validate_every=1), tiny_policy, tmp_path)
    step = trainer.train_step

    def asked() -> None:
        step()
        os.kill(os.getpid(), signal.SIGTERM)

    trainer.train_step = asked  # type: ignore[method-assign]
    assert trainer.train().step == 1
    assert saving.INTERRUPTED == 75
