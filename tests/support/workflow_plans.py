"""Dry runs of the workflow in a copy of the repository, and edits of its configuration."""

import re
from pathlib import Path

from tests.support.checkout import snakemake

SMOKE = ("--config", "scale=smoke")
DOMAINS = ("math", "tool", "medicine")
MATH_TASKS = ["sandbox-amc", "sandbox-aime24", "sandbox-aime25", "sandbox-mmlu-pro"]


def planned_jobs(folder: Path, *arguments: str) -> list[str]:
    """The one-line messages of the jobs that Snakemake would run."""
    result = snakemake(folder, "--dry-run", *arguments)
    assert result.returncode == 0, result.stdout
    return re.findall(r"^Job \d+: (.+)$", result.stdout, flags=re.MULTILINE)


def planned(folder: Path, *arguments: str) -> set[str]:
    """The same as a set."""
    return set(planned_jobs(folder, *arguments))


def edit(folder: Path, name: str, old: str, new: str) -> None:
    """Replace the one occurrence of `old` in a configuration file."""
    path = folder / "pipelines" / "config" / name
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {name}"
    path.write_text(text.replace(old, new), encoding="utf-8")
