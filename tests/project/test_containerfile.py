"""Containerfile, which no test can build: what it copies and installs is there, and pinned."""

import re
from pathlib import Path

import pytest

from tests.support.checkout import REPO

TEXT = (REPO / "Containerfile").read_text(encoding="utf-8")
LINES = [line for line in TEXT.splitlines() if line and not line.startswith("#")]


def test_every_file_that_it_copies_or_installs_exists() -> None:
    copied = [line.split()[1] for line in LINES if line.startswith("COPY ")]
    named = re.findall(r"--(?:requirement|constraint|file) (\S+)", TEXT)
    assert set(copied) == {"requirements", "environment.yml", "."}
    expected = {f"requirements/{name}.txt" for name in ("torch", "base", "constraints")} | {"environment.yml"}
    assert set(named) == expected
    assert all((REPO / name).exists() for name in (*copied, *named))


def test_stages_are_those_that_the_argument_chooses() -> None:
    stages = re.findall(r"^FROM \S+ AS (\w+)$", TEXT, flags=re.MULTILINE)
    default = re.search(r"^ARG ENVIRONMENT=(\w+)$", TEXT, flags=re.MULTILINE)
    assert stages == ["cpu", "gpu"] and default is not None and default[1] == "cpu"
    assert LINES.index("ARG ENVIRONMENT=cpu") < LINES.index("FROM ${ENVIRONMENT}")
    docs = (REPO / "docs" / "environment.md").read_text(encoding="utf-8")
    assert set(re.findall(r"--build-arg (\w+)=", docs)) <= set(re.findall(r"^ARG (\w+)=", TEXT, flags=re.MULTILINE))


def test_installed_is_what_make_setup_installs() -> None:
    makefile = (REPO / "Makefile").read_text(encoding="utf-8")
    recipe = makefile.split("$(BASE_STAMP):\n")[1].split("\n\n")[0]
    assert re.findall(r"--requirement (\S+)", recipe) == re.findall(r"--requirement (\S+)", TEXT)


@pytest.mark.parametrize("name", [".venv", "results", ".snakemake"])
def test_what_is_made_here_is_left_out(name: str) -> None:
    assert name in Path(REPO, ".dockerignore").read_text(encoding="utf-8").splitlines()
