"""docs/notebooks/one_step.ipynb: its code runs, as it stands, and prints what is committed with it."""

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.support.checkout import REPO

NOTEBOOK: dict[str, Any] = json.loads((REPO / "docs" / "notebooks" / "one_step.ipynb").read_text(encoding="utf-8"))
NUMBER = re.compile(r"[-+]?\d+\.\d+")


def code_cells() -> list[str]:
    return ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def committed_output() -> str:
    outputs = [output for cell in NOTEBOOK["cells"] for output in cell.get("outputs", ())]
    assert {(output["output_type"], output["name"]) for output in outputs} == {("stream", "stdout")}
    return "".join(line for output in outputs for line in output["text"])


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the cells print, one after the other in one process, in the notebook's own folder."""
    script = tmp_path_factory.mktemp("notebook") / "cells.py"
    script.write_text("\n\n".join(code_cells()), encoding="utf-8")
    environment = {**os.environ, "CHORD_MINE": "", "OMP_NUM_THREADS": "1"}
    folder = REPO / "docs" / "notebooks"
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_numbers_are_those_committed(printed: str) -> None:
    committed = committed_output()
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", committed)
    found, expected = (list(map(float, NUMBER.findall(text))) for text in (printed, committed))
    assert found == pytest.approx(expected, rel=1e-3, abs=2e-3)


def test_the_loss_is_made_of_its_parts() -> None:
    line = re.search(r"loss (\S+) = (\S+) x (\S+) \+ (\S+) x (\S+)", committed_output())
    assert line is not None
    loss, one, grpo, mu, sft = map(float, line.groups())
    assert loss == pytest.approx(one * grpo + mu * sft, abs=1e-6) and loss > 0
    norm = re.search(r"gradient norm (\S+)", committed_output())
    assert norm is not None and 0 < float(norm[1]) < 10


def test_it_is_small_and_names_no_machine() -> None:
    path = REPO / "docs" / "notebooks" / "one_step.ipynb"
    assert path.stat().st_size < 20_000
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|tmp|work|Users)/", text)
