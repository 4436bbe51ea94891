"""Is every φ of the user's one? It is tried before anything starts, in a process of its own: a plan has no torch."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from pipelines.plan.digest import digest
from reference_impl.config import Declarations
from reference_impl.config.methods import OwnPhi
from reference_impl.run.source import source_hash

TRIED = "tried"
"""Folder, in Snakemake's own, with an empty file for what was tried and is sound."""

TRIAL = "reference_impl.own_phi:needs_global_batch"


def try_own_phi(declarations: Declarations, folder: Path) -> None:
    """Try the φ of the user's methods, once per version of them; ``folder`` is Snakemake's own.

    The process finds the user's file as every job does (`CHORD_MINE`). Raises ValueError with a line for each φ that is
    none.
    """
    found: list[list[Any]] = []
    for method in map(declarations.method, declarations.mine_names):
        path = declarations.phi_file(method)
        if path is not None:
            assert isinstance(method.phi, OwnPhi)
            source = source_hash(f"{path}:{method.phi.function}", TRIAL)
            found.append([method.name, method.phi.params, source])
    marker = folder / TRIED / digest(found)
    if not found or marker.is_file():
        return
    command = [sys.executable, "-m", "reference_impl.own_phi"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip().removeprefix("error: "))
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
