"""How far DeepSpeed on two processes is from plain torch in one: launching, measuring, and a table to print.

python -m tests.support.deepspeed_equality
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from pipelines.sandbox import math_world
from pipelines.sandbox.policies import Shape
from pipelines.sandbox.pretrain import build_model, save, train_tokenizer
from reference_impl.run.metrics import Record
from tests.support.checkout import REPO
from tests.support.deepspeed_worker import BUDGETS, KINDS, case_config, trainer_of, trajectory

STAGES = range(4)
SHAPE = Shape(hidden_size=32, layers=2, heads=2, intermediate_size=64)


def launch(policy: Path, folder: Path, *parts: str) -> None:
    """Let two processes do the named parts of tests/support/deepspeed_worker.py, all where none is named."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    finished = subprocess.run(
        [*command, "-m", "tests.support.deepspeed_worker", str(policy), str(folder), *parts],
        cwd=REPO,
        env={**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    if finished.returncode != 0:
        raise RuntimeError(f"the launched processes failed:\n{finished.stderr[-4000:]}")


def found(folder: Path, part: str) -> dict[str, Any]:
    """What the launched processes wrote of a part."""
    return dict(json.loads((folder / f"{part}.json").read_text()))


def reference(policy: Path, folder: Path, kind: str, **changes: Any) -> list[Record]:
    """Plain torch, one process, one micro-batch a step."""
    return trajectory(trainer_of(case_config(kind, 1, **changes), policy, folder), policy, kind)


def difference(records: list[Record], expected: list[Record], key: str) -> float:
    """The largest relative difference of a logged quantity over the steps."""
    pairs = [(a[key], b[key]) for a, b in zip(records, expected, strict=True)]
    return max(abs(a - b) / abs(b) for a, b in pairs if a is not None and b is not None)


def table(cases: dict[str, Any], references: dict[str, list[Record]]) -> str:
    """Markdown: stage × kind × accumulation, the largest relative difference of loss and gradient norm."""
    lines = [
        "| ZeRO | step | micro-batches of the two processes | loss | gradient norm |",
        "| --- | --- | --- | --- | --- |",
    ]
    for stage in STAGES:
        for kind, accumulation in itertools.product(KINDS, BUDGETS):
            case = cases[f"{stage}/{accumulation}/{kind}"]
            loss, norm = (difference(case["records"], references[kind], key) for key in ("loss", "grad_norm"))
            counts = " and ".join(map(str, case["micro_batches"]))
            lines.append(f"| {stage} | {kind} | {counts} | {loss:.1e} | {norm:.1e} |")
    return "\n".join(lines)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        policy = folder / "policy"
        policy.mkdir()
        tokenizer = train_tokenizer(math_world, 400)
        save(build_model("qwen2", SHAPE, tokenizer), tokenizer, policy)
        launch(policy, folder, "equality")
        references = {kind: reference(policy, folder / "torch", kind) for kind in KINDS}
        print(table(found(folder, "equality"), references))


if __name__ == "__main__":
    main()
