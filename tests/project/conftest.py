"""One finished smoke workflow for all tests that start from one."""

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.checkout import copy_project, snakemake
from tests.support.workflow_plans import SMOKE


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which the complete smoke workflow has run; not to be changed. xdist's workers share it."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder, done = shared / "finished", shared / "finished.txt"
    with FileLock(shared / "finished.lock"):
        if not done.exists():
            result = snakemake(copy_project(folder), "--cores", "2", *SMOKE)
            done.write_text(result.stdout if result.returncode else "", encoding="utf-8")
    assert not done.read_text(encoding="utf-8"), done.read_text(encoding="utf-8")
    return folder


@pytest.fixture
def finished_editable(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished workflow, its records and times included, for one test to change."""
    return Path(shutil.copytree(finished, tmp_path / "finished"))
