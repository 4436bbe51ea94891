"""`run.json`: what it says of code, packages and machine, and what it keeps to itself."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch

from reference_impl.run.provenance import environment
from tests.conftest import REPO


def test_provenance_names_the_gpus_and_nothing_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: "NVIDIA A100" if i else "NVIDIA H100")
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 27, 5))
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    record = environment()
    hardware = record["hardware"]
    assert hardware["device"] == "1 × NVIDIA H100, 2 × NVIDIA A100"
    assert (hardware["cuda"], hardware["nccl"], hardware["processes"]) == ("12.8", "2.27.5", 1)
    assert "driver" in hardware
    assert record["packages"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", record["code_revision"]), "a commit, never a tag"
    text = json.dumps(record)
    for private in ("hf_secret", str(Path.home()), str(REPO)):
        assert private not in text
    assert all(
        isinstance(value, str | int | None) for part in ("packages", "hardware") for value in record[part].values()
    )
