"""The repository's own files, and a copy of them to try changes in."""

import shutil
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


def project_files() -> list[Path]:
    """Paths, relative to the repository, of everything that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPO,
        capture_output=True,
        check=True,
        text=True,
    )
    return [Path(name) for name in sorted(listed.stdout.split("\0")) if name and (REPO / name).is_file()]


def copy_project(target: Path) -> Path:
    """A copy of the repository's files in `target`, without results or history."""
    for path in project_files():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPO / path, target / path)
    return target


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call Snakemake in `folder` as a user would; both output streams are in `stdout`."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
        check=False,
    )
