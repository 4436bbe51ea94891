"""Kill the smoke workflow at random moments, start it again each time, and compare it with an undisturbed run.

    python -m tests.harness.kills --kills 30

A third of the kills each meets training, evaluation and report: a moment is drawn at random from when a job of that
stage is first seen to run. Every third kill hits all processes at once, as a power cut does; every third Snakemake
alone, whose jobs live on for a while; every third asks a job to end (SIGTERM). Each line says which jobs a kill has
met. The workflow is only ever started again by the same command: nobody unlocks or cleans up.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import psutil

from tests.support.checkout import copy_project

COMMAND = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", "scale=smoke"]
VOLATILE = ("timings.jsonl", "seconds.jsonl", "summary.json.part")
"""Files that two undisturbed runs do not share either: they hold seconds."""
SECONDS = frozenset({"wall_seconds", "linked_from", "hardware"})
"""Keys of run.json that do not follow from the run: how long it took, and which of two equal runs came first."""
KINDS = ("everything", "Snakemake", "a job, asked to end")
STAGES = {"training": "reference_impl.", "evaluation": "evaluation.", "report": "reports."}
"""Stage → how the modules of its jobs begin."""
LONGEST_WAIT_S = {"training": 8.0, "evaluation": 4.0, "report": 2.0}
"""After a job of the stage is seen: less than such jobs last at `smoke`, so most kills meet one."""
A_ROUND = 4
"""Kills in each stage of a run from nothing to its end: so few that it goes on between them."""
POLL_S = 0.05


def start(folder: Path) -> subprocess.Popen[bytes]:
    """The workflow, in a session of its own."""
    log = (folder / "workflow.log").open("ab")
    return subprocess.Popen(COMMAND, cwd=folder, stdout=log, stderr=log, start_new_session=True)


def processes(folder: Path) -> list[psutil.Process]:
    """Everything that runs in a folder: Snakemake, its jobs and their warm parent."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == folder:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def modules(process: psutil.Process) -> list[str]:
    """Modules of the project's stages that a process was started for."""
    try:
        return [word for word in process.cmdline() if word.startswith(tuple(STAGES.values()))]
    except psutil.Error:
        return []


def running_jobs(folder: Path, stage: str) -> list[psutil.Process]:
    """The jobs of a stage that run now."""
    return [
        process for process in processes(folder) if any(word.startswith(STAGES[stage]) for word in modules(process))
    ]


def kill(folder: Path, workflow: subprocess.Popen[bytes], kind: str, stage: str) -> str:
    """One of KINDS, or the first where no job can be asked; returns which.

    The workflow has ended then, but where a job was asked to end: Snakemake goes on, and may start it again.
    """
    running, jobs = processes(folder), running_jobs(folder, stage)
    if kind == KINDS[1]:
        workflow.kill()
    elif kind == KINDS[2] and jobs:
        jobs[0].terminate()
    else:
        kind = KINDS[0]
        for process in running:
            process.suspend()  # none may notice that another has gone
        for process in running:
            process.kill()
    if kind != KINDS[2]:
        workflow.wait()
    return kind


def wait_for(
    folder: Path, workflow: subprocess.Popen[bytes], stages: Counter[str], rng: random.Random
) -> tuple[str, float] | None:
    """Until a job of one of the stages is seen, and a while more: the stage and how long; None where the workflow has
    ended before.
    """
    while workflow.poll() is None:
        if seen := [stage for stage in STAGES if stages[stage] and running_jobs(folder, stage)]:
            stage = rng.choice(seen)
            wait = rng.uniform(0.0, LONGEST_WAIT_S[stage])
            time.sleep(wait)
            return (stage, wait) if workflow.poll() is None else None
        time.sleep(POLL_S)
    return None


def contents(results: Path) -> dict[str, str]:
    """Path → what must be the same, as text or as a hash, of every file that follows from the run."""
    found = {}
    for path in sorted(results.rglob("*")):
        name = path.relative_to(results).as_posix()
        if not path.is_file() or path.name in VOLATILE or name.split("/")[0] in ("logs", "locks") or "/tb/" in name:
            continue
        if path.suffix == ".html" or path.name.startswith("."):
            continue  # says how long it took; Snakemake's own, or the part of a file that a killed job had written
        if path.name in ("run.json", "identity.json"):
            record = {key: value for key, value in json.loads(path.read_bytes()).items() if key not in SECONDS}
            found[name] = json.dumps(record, sort_keys=True)
        elif path.suffix == ".parquet":
            found[name] = pd.read_parquet(path).to_csv()
        else:
            found[name] = path.read_bytes().hex()
    return found


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """The files that are missing, superfluous or different."""
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))


def disturbed(folder: Path, stages: Counter[str], rng: random.Random, met: Counter[str]) -> Counter[str]:
    """Run the workflow to its end, killed on the way so often in each stage; what it did not meet.

    Raises SystemExit where the workflow fails by itself.
    """
    left, workflow, asked = Counter(stages), start(folder), False
    while True:
        found = wait_for(folder, workflow, left, rng)
        if found is None and workflow.wait() == 0:
            return left
        if found is None:
            if not asked:
                raise SystemExit(f"the workflow failed; see {folder / 'workflow.log'}")
            workflow, asked = start(folder), False
            continue
        stage, wait = found
        left[stage] -= 1
        jobs = sorted({word.partition(".")[2] for process in processes(folder) for word in modules(process)})
        kind = kill(folder, workflow, KINDS[met.total() % len(KINDS)], stage)
        met[f"{stage}, {kind}"] += 1
        line = f"{met.total():3d}  {stage:10s}  after {wait:3.1f} s  {kind:20s}"
        print(line, " during", ", ".join(jobs) or "nothing", flush=True)
        asked = kind == KINDS[2]
        if not asked:
            workflow = start(folder)


@contextmanager
def kept_where_it_failed() -> Iterator[Path]:
    """A temporary folder; where the block ends with an error it stays, and is named."""
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    except BaseException:
        print(f"kept: {folder}", file=sys.stderr)
        raise
    shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, met = random.Random(arguments.seed), Counter[str]()
    left = Counter((list(STAGES) * arguments.kills)[: arguments.kills])
    with kept_where_it_failed() as temporary:
        undisturbed = copy_project(temporary / "undisturbed")
        if start(undisturbed).wait() != 0:
            raise SystemExit((undisturbed / "workflow.log").read_text(encoding="utf-8")[-2000:])
        expected = contents(undisturbed / "results" / "smoke")
        rounds = 0
        while left.total():
            rounds += 1
            folder = copy_project(temporary / f"round{rounds}")
            began = time.monotonic()
            now = Counter({stage: min(count, A_ROUND) for stage, count in left.items()})
            left = left - now + disturbed(folder, now, rng, met)
            different = differences(expected, contents(folder / "results" / "smoke"))
            print(f"round {rounds}: {time.monotonic() - began:.0f} s, {len(different)} of {len(expected)} files differ")
            if different:
                raise SystemExit("\n".join(different[:20]))
    for what, count in sorted(met.items()):
        print(f"{count:3d}  {what}")
    print(f"{met.total()} kills in {rounds} rounds: all of {len(expected)} files are those of the undisturbed run")


if __name__ == "__main__":
    main()
