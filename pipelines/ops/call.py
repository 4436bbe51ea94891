"""A call of Snakemake in this folder: who else is at work here, and whether it asks for something that there is.

Snakemake's own locks are files that name outputs; whoever is killed leaves them, and the next call is refused until
somebody says ``--unlock``. Here every call also holds a lock of the kernel's, which ends with its process: where no
other call holds it, the files are nobody's and go.
"""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from reference_impl.config.model import hint

LOCK = "calls.lock"
LEFT_BEHIND = "locks"
"""Snakemake's folder for its locks, in its own folder."""

_held: list[int] = []
"""The file that this process has locked, open to its end."""


def join(folder: Path) -> bool:
    """Be one of the calls at work in a project whose Snakemake folder is ``folder``; whether it is the only one.

    The only one removes the locks of calls that have died. Where the file system has no locks, nothing is done: a stale
    lock is then Snakemake's to report.
    """
    folder.mkdir(exist_ok=True)
    file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    _held.append(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(file, fcntl.LOCK_SH)
        return False
    except OSError:
        return True
    shutil.rmtree(folder / LEFT_BEHIND, ignore_errors=True)
    (folder / LEFT_BEHIND).mkdir(exist_ok=True)
    fcntl.flock(file, fcntl.LOCK_SH)
    return True


def asked(arguments: list[str]) -> list[str]:
    """The targets of Snakemake's command line; none where ``arguments`` are another program's."""
    from snakemake.cli import parse_args  # slow to import, and only the main process asks

    if Path(arguments[0]).name != "snakemake" and Path(arguments[0]).parent.name != "snakemake":
        return []
    return [str(target) for target in parse_args(arguments[1:])[1].targets or ()]


def check_targets(targets: Iterable[str], known: Iterable[str]) -> None:
    """Raises ValueError for a word that is neither a target nor a file, naming the nearest target."""
    names = sorted(known)
    for target in targets:
        if target not in names and os.sep not in target and not Path(target).suffix:
            raise ValueError(f"there is no target {target!r}{hint(target, names)} (docs/declarations.md lists them)")


def begin(
    arguments: list[str],
    known: Iterable[str],
    regraded: Mapping[str, Sequence[str]],
    compared: Sequence[str],
    reading: str = "",
) -> None:
    """What every call does first.

    ``known``: the targets; ``regraded``: those that grade again, with their files; ``compared``: the methods of
    `compare`; ``reading``: the preset of readings. Raises ValueError as `check_targets`, where there is nothing yet to
    grade again, or to compare, and where a preset is asked what readings change.
    """
    targets = asked(arguments)
    check_targets(targets, known)
    if "sensitivity" in targets and reading:
        raise ValueError(f"sensitivity compares each reading with the usual one: leave out reading={reading}")
    if "compare" in targets and not compared:
        raise ValueError("compare: which? --config methods='[sft_best_rl, chord_phi]'; the last is the baseline")
    for target in targets:
        if target in regraded and not regraded[target]:
            method = target.removeprefix("regrade").removeprefix("_") or "everything"
            raise ValueError(f"{target}: nothing has been sampled; `snakemake --cores 2 {method}` samples first")
    if not join(Path(".snakemake")):
        print("note: another Snakemake is at work in this folder; it keeps what it is making", file=sys.stderr)
