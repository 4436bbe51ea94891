"""What would be the same is made once: a second run, or evaluation, of the same identity links the files of the first.

SFT-light + RL and SFT-best + RL are one run where validation chose one checkpoint for both, which is known only when
they start. Whoever starts first makes it, and holds a lock while it does (flock, which the kernel takes back when a
process ends, however it ends); a second waits, and makes it itself where the first has failed.
"""

import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reference_impl.config import RunConfig
from reference_impl.files import read_jsonl, replace_folder
from reference_impl.run.code import run_code
from reference_impl.run.identity import hash_of
from reference_impl.strategy.distributed import max_over_ranks, rank

LOCKS = "locks"
"""Folder of a scale's results with a file for everything that is being made."""
POLL_S = 1.0
LINKED_FROM = "linked_from"
"""Key of a record: whose files these are, as <domain>/<name>/seed<k>."""


@dataclass(frozen=True)
class Kind:
    """Things in a results folder that may be the same, in ``<folder>/<domain>/<name>/seed<k>``."""

    folder: str
    record: str
    """The file that is written last; its ``identity`` names all that decides the others."""
    whole: Callable[[Path], bool]
    """Whether a folder with this record still has all that another would link."""


def _has_checkpoints(run: Path) -> bool:
    """Whether all that a run has kept is there: a grid's checkpoints are pruned."""
    kept = {record["checkpoint"] for record in read_jsonl(run / "validation.jsonl")} - {None}
    return all(list((run / checkpoint).glob("*.safetensors")) for checkpoint in kept)


RUNS = Kind("runs", "run.json", _has_checkpoints)
RUN_FILES = ("metrics.jsonl", "timings.jsonl", "validation.jsonl", "tb", "best", "checkpoints")
"""What a run leaves beside its record."""


def run_identity(config: RunConfig, checkpoint: str, data: Mapping[str, str], made_by: Mapping[str, Any]) -> str:
    """The hash of all that decides a run's numbers, whatever its method is called.

    ``checkpoint`` and ``data`` are hashes of what it starts from and of its data files; ``made_by`` says which code
    runs where (`run.provenance.made_by`).
    """
    own = {} if config.phi_file is None else {"phi": run_code(config).get("phi")}  # no part of the project's code
    return hash_of({"settings": config.settings(), "checkpoint": checkpoint, "data": data, **made_by, **own})


class Claim:
    """A lock on what is to be made: one process has it at a time."""

    def __init__(self, path: Path, owner: str) -> None:
        self.path = path
        self.owner = owner
        self.file: int | None = None

    def take(self) -> bool:
        """Whether this process has it now. Raises OSError where the file system has no locks."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, file)
            with contextlib.suppress(BlockingIOError, FileNotFoundError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file), self.path.stat()):  # else its last holder has just removed it
                    os.truncate(file, 0)
                    os.write(file, self.owner.encode())
                    undo.pop_all()
                    self.file = file
        return self.file is not None

    def holder(self) -> str:
        """Who has it, in words."""
        with contextlib.suppress(OSError):
            return self.path.read_text(encoding="utf-8") or "another job"
        return "another job"

    def release(self) -> None:
        """Give it back; the file goes with it."""
        if self.file is not None:
            self.path.unlink(missing_ok=True)
            os.close(self.file)
            self.file = None


BUSY, MINE, FOUND = range(3)


class Once:
    """``with Once(results, RUNS, identity, out) as once``: what is made in the block is made once in a results folder.

    In the block, ``once.found`` says on every rank that another of the same identity is finished, and
    ``once.source`` on rank 0 where it is: link it. Else make it: no other process makes it meanwhile.
    """

    def __init__(self, results: Path | None, kind: Kind, identity: str, out: Path) -> None:
        """``results``: a scale's results folder; None: nothing is shared, and nothing is found."""
        self.results = results
        self.kind = kind
        self.identity = identity
        self.out = out
        self.found = False
        self.source: Path | None = None
        self.claim: Claim | None = None
        if results is not None:
            self.claim = Claim(results / LOCKS / f"{identity}.lock", "/".join(out.parts[-3:]))

    def __enter__(self) -> Self:
        if self.results is None:
            self._forget()
            return self
        said = False
        while (state := max_over_ranks(self._state() if rank() == 0 else BUSY)) == BUSY:
            if rank() == 0 and not said and self.claim is not None:
                print(f"waiting for {self.claim.holder()}, which is the same", file=sys.stderr, flush=True)
                said = True
            time.sleep(POLL_S)
        self.found = state == FOUND
        self._forget()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.claim is not None:
            self.claim.release()

    def _forget(self) -> None:
        """Remove the record of what stands in the folder: it is the last thing written, and now says too much.

        A job that outlives its Snakemake may have written it after the next one has started the same job again, which
        would leave it beside half-written files if it were interrupted.
        """
        if rank() == 0:
            (self.out / self.kind.record).unlink(missing_ok=True)

    @property
    def linked_from(self) -> str:
        """Whose files the source's are; rank 0's to ask."""
        assert self.source is not None
        return "/".join(self.source.parts[-3:])

    def record(self) -> dict[str, Any]:
        """The source's record; rank 0's to ask."""
        assert self.source is not None
        record: dict[str, Any] = json.loads((self.source / self.kind.record).read_bytes())
        return record

    def _state(self) -> int:
        """Rank 0's view: someone makes it, it is made, or this process is to make it."""
        assert self.claim is not None
        try:
            if not self.claim.take():
                return BUSY
        except OSError as error:
            print(f"{self.claim.path}: {error}: what is the same may be made twice", file=sys.stderr, flush=True)
        self.source = self._finished()
        return MINE if self.source is None else FOUND

    def _finished(self) -> Path | None:
        """The folder of another that is finished and has this identity.

        One that was linked itself is none: made again, the first would link what it was linked from.
        """
        assert self.results is not None
        for path in sorted(self.results.glob(f"{self.kind.folder}/*/*/seed*[0-9]/{self.kind.record}")):
            record = json.loads(path.read_bytes())
            same = record.get("identity") == self.identity and LINKED_FROM not in record
            if same and path.parent.resolve() != self.out.resolve() and self.kind.whole(path.parent):
                return path.parent
        return None


def link_files(source: Path, out: Path, names: Iterable[str]) -> None:
    """Put these files and folders of ``source`` in the place of ``out``'s: hard links, or copies where none can be."""
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        if (source / name).is_dir():
            part = out / f"{name}.part"
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(source / name, part, copy_function=_link)
            replace_folder(part, out / name)
        else:
            shutil.rmtree(out / name, ignore_errors=True)
            (out / name).unlink(missing_ok=True)
            if (source / name).is_file():
                _link(str(source / name), str(out / name))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copy2(source, target)
