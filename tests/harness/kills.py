"""Kill the smoke workflow at random moments, start it again each time, and compare it with an undisturbed run.

    python -m tests.harness.kills --kills 30

Every third kill hits all processes at once, as a power cut does; every third Snakemake alone, whose jobs live on for a
while; every third asks a job that trains or samples to end (SIGTERM). Each line says which jobs a kill has met. The
workflow is only ever started again by the same command: nobody unlocks or cleans up.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import psutil

from tests.support.checkout import copy_project

COMMAND = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", "scale=smoke"]
VOLATILE = ("timings.jsonl", "summary.json.part")
"""Files that two undisturbed runs do not share either: they hold seconds."""
SECONDS = frozenset({"wall_seconds", "linked_from", "hardware"})
"""Keys of run.json that do not follow from the run: how long it took, and which of two equal runs came first."""
JOBS = frozenset({"reference_impl.train", "evaluation.generate"})
KINDS = ("everything", "Snakemake", "a job, asked to end")
LONGEST_WAIT_S = 20.0
MODULES = ("reference_impl.", "evaluation.", "reports.", "pipelines.data.", "pipelines.policy.")


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


def stages(running: list[psutil.Process]) -> list[str]:
    """What the jobs that run are about: train, generate, score, tables …"""
    found = set()
    for process in running:
        try:
            words = [
                word for word in process.cmdline() if word.startswith(("reference_impl.", "evaluation.", "reports."))
            ]
        except psutil.Error:
            continue
        found |= {word.rpartition(".")[2] for word in words}
    return sorted(found)


def kill(folder: Path, workflow: subprocess.Popen[bytes], kind: str) -> str:
    """One of KINDS, or the first where no job can be asked; returns which when the workflow has ended."""
    running = processes(folder)
    jobs = [process for process in running if JOBS.intersection(process.cmdline())]
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
    workflow.wait()
    return kind


def contents(results: Path) -> dict[str, str]:
    """Path → what must be the same, as text or as a hash, of every file that follows from the run."""
    found = {}
    for path in sorted(results.rglob("*")):
        name = path.relative_to(results).as_posix()
        if not path.is_file() or path.name in VOLATILE or name.split("/")[0] in ("logs", "locks") or "/tb/" in name:
            continue
        if path.suffix == ".html":
            continue  # says how long it took
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


def disturbed(folder: Path, kills: int, done: int, rng: random.Random, met: Counter[str]) -> int:
    """Run the workflow to its end, killed on the way as often as it lives long enough; how often that was."""
    count = 0
    while True:
        workflow = start(folder)
        wait = rng.uniform(1.0, LONGEST_WAIT_S) if done + count < kills else None
        try:
            workflow.wait(wait)
        except subprocess.TimeoutExpired:
            stage = ", ".join(stages(processes(folder))) or "planning"
            kind = kill(folder, workflow, KINDS[(done + count) % len(KINDS)])
            count += 1
            met[kind] += 1
            print(f"{done + count:3d}  after {wait:4.1f} s  {kind:20s}  during {stage}", flush=True)
            continue
        if workflow.returncode == 0:
            return count
        if wait is None:
            raise SystemExit(f"the workflow failed; see {folder / 'workflow.log'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, met = random.Random(arguments.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as temporary:
        undisturbed = copy_project(Path(temporary, "undisturbed"))
        if start(undisturbed).wait() != 0:
            raise SystemExit((undisturbed / "workflow.log").read_text(encoding="utf-8")[-2000:])
        expected = contents(undisturbed / "results" / "smoke")
        done = rounds = 0
        while done < arguments.kills:
            rounds += 1
            folder = copy_project(Path(temporary, f"round{rounds}"))
            began = time.monotonic()
            done += disturbed(folder, arguments.kills, done, rng, met)
            different = differences(expected, contents(folder / "results" / "smoke"))
            print(f"round {rounds}: {time.monotonic() - began:.0f} s, {len(different)} of {len(expected)} files differ")
            if different:
                raise SystemExit("\n".join(different[:20]))
    print(
        f"{done} kills in {rounds} rounds ({dict(met)}): all of {len(expected)} files are those of the undisturbed run"
    )


if __name__ == "__main__":
    main()
