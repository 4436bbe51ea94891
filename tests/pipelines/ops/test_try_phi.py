"""Every φ of the user's is tried before anything starts, and once."""

import subprocess
from pathlib import Path

import pytest

from pipelines.ops.try_phi import try_own_phi
from reference_impl.config import load_declarations
from reference_impl.config.mine import MINE
from reference_impl.run import source
from tests.support.own_files import PHI, own_files


def tried(methods: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MINE, str(methods))
    source.source_hash.cache_clear()
    source._module.cache_clear()
    try_own_phi(load_declarations(), folder)


def test_each_version_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    methods = own_files(tmp_path)
    tried(methods, tmp_path / "snakemake", monkeypatch)
    with monkeypatch.context() as other:
        other.setattr(subprocess, "run", None)
        tried(methods, tmp_path / "snakemake", monkeypatch)
    own_files(tmp_path, phi=PHI.replace("return (4", "return -(4"))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"my_methods.yaml: mine: phi: my_phi.py:squared returns the weight -"):
            tried(methods, tmp_path / "snakemake", monkeypatch)


def test_without_one_nothing_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", None)
    try_own_phi(load_declarations(), tmp_path)
    tried(own_files(tmp_path, "mine: {like: chord_phi, phi: none}\n"), tmp_path, monkeypatch)
