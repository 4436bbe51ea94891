"""A folder with the client and the parent of `pipelines.ops.warm`, in which the parent imports next to nothing."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from pipelines.ops import warm
from tests.support.checkout import REPO

Ended = subprocess.CompletedProcess[str]


@dataclass
class Project:
    """A folder with the client and the parent, a place for sockets, and a process that stands for a workflow."""

    folder: Path
    sockets: Path
    workflow: subprocess.Popen[bytes]

    def environment(self, **changes: str) -> dict[str, str]:
        # pytest says in a variable which test runs: a workflow's jobs have one and the same environment.
        usual = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        name = warm.process_name(self.workflow.pid)
        return {
            **usual,
            "TMPDIR": str(self.sockets),
            "MINE": "mine",
            "CUDA_VISIBLE_DEVICES": "",
            warm.WORKFLOW: name,
            **changes,
        }

    def write(self, code: str, name: str = "job") -> None:
        (self.folder / f"{name}.py").write_text(code, encoding="utf-8")

    def begin(self, *arguments: str, through: str = "pipelines.ops.warm", **options: Any) -> subprocess.Popen[str]:
        """Start `job.py` as a job."""
        words = [sys.executable, "-m", *([through] if through else []), "job", *arguments]
        usual: dict[str, Any] = {
            "env": self.environment(),
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        }
        return subprocess.Popen(words, cwd=self.folder, **(usual | options))

    def run(self, *arguments: str, through: str = "pipelines.ops.warm", **options: Any) -> Ended:
        job = self.begin(*arguments, through=through, **options)
        output, errors = job.communicate(timeout=60)
        return subprocess.CompletedProcess(job.args, job.returncode, output, errors)

    def parents(self) -> list[psutil.Process]:
        """The warm parents that run here, told by their folder; not their forks."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.cwd() == str(self.folder) and process.name() == "warm parent":
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def edit(self, old: str, new: str) -> None:
        """Change the parent's code."""
        path = self.folder / "pipelines/ops/warm_parent.py"
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, old
        path.write_text(text.replace(old, new), encoding="utf-8")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Project]:
    """A project with its workflow; at the end, nothing of it runs."""
    for package in warm.PACKAGES:
        (folder / package).mkdir()
    shutil.copytree(REPO / "pipelines/ops", folder / "pipelines/ops")
    sockets = Path(tempfile.mkdtemp(prefix="w"))  # a socket's path is short
    made = Project(folder, sockets, subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
    imported = (REPO / "pipelines/ops/warm_parent.py").read_text(encoding="utf-8")
    made.edit(imported[imported.index("IMPORTED = (") : imported.index(')\n"""What jobs run')], 'IMPORTED = ("json",')
    try:
        yield made
    finally:
        made.workflow.kill()
        made.workflow.communicate()
        soon(lambda: not left_behind(made.folder))
        shutil.rmtree(sockets)


def left_behind(folder: Path) -> list[psutil.Process]:
    """Every process whose folder this is."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def soon(holds: Callable[[], Any], seconds: float = 120) -> Any:
    """What `holds` returns, once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
