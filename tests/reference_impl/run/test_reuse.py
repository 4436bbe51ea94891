"""What is the same is made once: identities, locks between processes, links that later writes leave alone."""

import dataclasses
import errno
import fcntl
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reference_impl.config import RunConfig, load_declarations, load_scale, resolve_run
from reference_impl.config.resolve import NAMES
from reference_impl.files import write_json, write_jsonl
from reference_impl.run import reuse
from reference_impl.run.metrics import StepLog
from reference_impl.run.reuse import LINKED_FROM, LOCKS, RUN_FILES, RUNS, Claim, Once, link_files, run_identity
from reference_impl.run.source import _module, source_hash
from reference_impl.run.watch import Watch
from tests.reference_impl.run.test_first_validation import MADE_BY
from tests.reference_impl.test_trainer import config_of
from tests.support.own_files import PHI, own_files
from tests.support.ranks import on_ranks


def identity(config: RunConfig, **changes: Any) -> str:
    return run_identity(config, **{"checkpoint": "c", "data": {"prompts": "p"}, "made_by": MADE_BY, **changes})


def test_names_alone_do_not_tell_runs_apart() -> None:
    config = config_of("sft_light_rl")
    names: dict[str, Any] = dict.fromkeys(NAMES, "other")
    named = dataclasses.replace(config, **names)
    assert named.hash() != config.hash() and identity(named) == identity(config) == identity(config_of("sft_best_rl"))
    others: dict[str, Any] = {field.name: "other" for field in dataclasses.fields(RunConfig) if field.name not in NAMES}
    for name in ("judge", "strategy", "engine_options", "phi_file"):
        del others[name]
    found = {identity(dataclasses.replace(config, **{name: value})) for name, value in others.items()}
    found |= {identity(config, **{name: {"other": "x"}}) for name in ("checkpoint", "data")}
    found |= {identity(config, made_by={**MADE_BY, name: "other"}) for name in MADE_BY}
    half = config.strategy.model_copy(update={"precision": "bf16"})
    found |= {identity(dataclasses.replace(config, strategy=half)), identity(config)}
    assert len(found) == len(others) + 2 + len(MADE_BY) + 2


def test_the_code_of_a_users_phi_tells_runs_apart(tmp_path: Path) -> None:
    def identity_with(text: str) -> str:
        source_hash.cache_clear()
        _module.cache_clear()
        decl = load_declarations(mine=str(own_files(tmp_path, phi=text)))
        return identity(resolve_run(decl, load_scale("smoke"), "mine", "math", 0))

    assert identity_with(PHI) == identity_with(f"# a comment\n{PHI}") != identity_with(PHI.replace("4 *", "3 *"))


# ---- Locks. Another process is a fork of this one, as long as it is told to live.


class Other:
    """A process that does something and then waits to be killed."""

    def __init__(self, work: Callable[[], Any]) -> None:
        context = multiprocessing.get_context("fork")
        self.did = context.Event()

        def live() -> None:
            work()
            self.did.set()
            time.sleep(60)

        self.process = context.Process(target=live)
        self.process.start()
        assert self.did.wait(30)

    def kill(self) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join(30)


def test_a_lock_is_one_processs_until_that_ends(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "x.lock"
    mine = Claim(path, "math/mine/seed0")
    other = Other(lambda: Claim(path, "math/theirs/seed0").take())
    assert not mine.take() and mine.holder() == "math/theirs/seed0"
    other.kill()
    assert mine.take(), "the kernel has taken it back"
    mine.release()
    assert not path.exists()


def test_a_file_that_its_holder_has_removed_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes would hold two files of one name."""
    claim, last = Claim(tmp_path / "x.lock", "b"), Claim(tmp_path / "x.lock", "a")
    assert last.take()
    flock = fcntl.flock

    def late(file: int, operation: int) -> None:
        last.release()
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    assert not claim.take()
    monkeypatch.undo()
    assert claim.take()


def finished(results: Path, name: str, record: dict[str, Any], checkpoint: str = "best") -> Path:
    """A run that has ended."""
    folder = results / "runs" / "math" / name / "seed0"
    (folder / "best").mkdir(parents=True)
    (folder / "best" / "model.safetensors").write_bytes(b"1")
    write_jsonl(folder / "validation.jsonl", [{"step": 0, "checkpoint": None}, {"step": 2, "checkpoint": checkpoint}])
    write_json(folder / "run.json", record)
    return folder


def test_only_a_finished_run_with_all_its_files_is_found(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "math" / "mine" / "seed0"

    def source(own: Path = out) -> Path | None:
        with Once(tmp_path, RUNS, "same", own) as once:
            assert once.found == (once.source is not None)
            return once.source

    assert source() is None
    finished(tmp_path, "different", {"identity": "other"})
    finished(tmp_path, "selection", {})
    finished(tmp_path, "linked", {"identity": "same", LINKED_FROM: "math/first/seed0"})
    finished(tmp_path, "pruned", {"identity": "same"}, checkpoint="checkpoints/step-000002")
    unfinished = finished(tmp_path, "unfinished", {"identity": "same"})
    (unfinished / "run.json").rename(unfinished / "run.part")
    assert source() is None
    first = finished(tmp_path, "whole", {"identity": "same"})
    assert source() == first
    assert source(first) is None, "not itself"
    assert not list((tmp_path / LOCKS).iterdir())
    with Once(None, RUNS, "same", out) as once:
        assert not once.found


@pytest.mark.parametrize("results", [True, False])
def test_what_begins_has_no_record_of_an_end(tmp_path: Path, results: bool) -> None:
    """A job that outlived its Snakemake has written it, while this one was waiting to make the same again."""
    own = finished(tmp_path, "mine", {"identity": "same"})
    with Once(tmp_path if results else None, RUNS, "same", own):
        assert not (own / "run.json").exists() and (own / "validation.jsonl").exists()


def make(results: Path, name: str) -> None:
    """What a job does: link, or take half a second to make it."""
    out = results / "runs" / "math" / name / "seed0"
    with Once(results, RUNS, "same", out) as once:
        if once.found:
            assert once.source is not None
            link_files(once.source, out, RUN_FILES)
            write_json(out / "run.json", {"identity": "same", LINKED_FROM: once.linked_from})
        else:
            time.sleep(0.5)
            finished(results, name, {"identity": "same"})


def test_of_two_that_start_at_once_one_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reuse, "POLL_S", 0.02)
    context = multiprocessing.get_context("fork")
    jobs = [context.Process(target=make, args=(tmp_path, name)) for name in ("first", "second", "third")]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert [job.exitcode for job in jobs] == [0, 0, 0]
    records = {path.parts[-3]: json.loads(path.read_text()) for path in tmp_path.glob("runs/math/*/seed0/run.json")}
    (made,) = (name for name, record in records.items() if LINKED_FROM not in record)
    assert [record.get(LINKED_FROM) for record in records.values()].count(f"math/{made}/seed0") == 2
    inodes = {path.stat().st_ino for path in tmp_path.glob("runs/math/*/seed0/best/model.safetensors")}
    assert len(inodes) == 1


def test_where_the_first_fails_the_second_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reuse, "POLL_S", 0.02)
    first = tmp_path / "runs" / "math" / "first" / "seed0"
    other = Other(lambda: Once(tmp_path, RUNS, "same", first).__enter__())
    job = multiprocessing.get_context("fork").Process(target=make, args=(tmp_path, "second"))
    job.start()
    job.join(1)
    assert job.is_alive(), "it waits"
    other.kill()
    job.join(60)
    assert job.exitcode == 0
    record = json.loads((tmp_path / "runs/math/second/seed0/run.json").read_text())
    assert LINKED_FROM not in record
    assert "waiting for math/first/seed0, which is the same" in capfd.readouterr().err


def test_a_file_system_without_locks_makes_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def none(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with Once(tmp_path, RUNS, "same", tmp_path / "mine") as once:
        assert not once.found
    assert "No locks available: what is the same may be made twice" in capfd.readouterr().err


@pytest.mark.parametrize("there", [True, False])
def test_all_ranks_know_what_the_first_has_found(tmp_path: Path, there: bool) -> None:
    if there:
        finished(tmp_path, "first", {"identity": "same"})

    def work(rank: int) -> tuple[bool, bool]:
        with Once(tmp_path, RUNS, "same", tmp_path / "runs/math/mine/seed0") as once:
            return once.found, once.source is not None

    assert on_ranks(2, tmp_path, work) == [(there, there), (there, False)]


# ---- Links


def test_links_take_the_place_of_what_was_there(tmp_path: Path) -> None:
    source = finished(tmp_path, "first", {})
    (source / "tb").mkdir()
    (source / "tb" / "events").write_text("curve")
    out = finished(tmp_path, "second", {}, checkpoint="other")
    (out / "best" / "old.json").touch()
    (out / "checkpoints").mkdir()
    (out / "metrics.jsonl").touch()
    for _ in range(2):  # a job that was killed links again
        link_files(source, out, RUN_FILES)
        found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
        assert found == {"run.json", "validation.jsonl", "best/model.safetensors", "tb/events"}
        assert not (out / "checkpoints").exists()
        for name in found - {"run.json"}:
            assert (out / name).samefile(source / name)


def test_files_are_copied_where_they_cannot_be_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_disk(*_: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_disk)
    source = finished(tmp_path, "first", {})
    link_files(source, tmp_path / "out", RUN_FILES)
    assert (tmp_path / "out/best/model.safetensors").read_bytes() == b"1"
    assert not (tmp_path / "out/validation.jsonl").samefile(source / "validation.jsonl")


def test_a_run_that_starts_again_leaves_the_linked_files_of_the_other_alone(tmp_path: Path) -> None:
    source = finished(tmp_path, "first", {})
    before = (source / "validation.jsonl").read_bytes()
    out = tmp_path / "runs/math/second/seed0"
    link_files(source, out, RUN_FILES)
    log = StepLog(out, "math/second", Watch(4, "none"), 0)
    log.validation({"step": 0, "checkpoint": None, "accuracy": 0.0, "score": 0.0, "response_length": 1.0})
    log.close()
    assert len((out / "validation.jsonl").read_bytes().splitlines()) == 1
    assert (source / "validation.jsonl").read_bytes() == before
