"""Choosing SFT-light and SFT-best among the grid's checkpoints."""

import json
import shutil
from pathlib import Path

import pytest

from reference_impl.select import candidates, choose_best, select

IDENTITY = {"domain": "math", "scale": "mini", "seed": 0}


def write_run(folder: Path, scores: list[float]) -> Path:
    """A grid run with one kept checkpoint per epoch, whose 'weights' name run and epoch."""
    lines: list[dict[str, object]] = [{"step": 0, "epoch": 0.0, "score": 0.99, "accuracy": 0.99, "checkpoint": None}]
    for epoch, score in enumerate(scores, 1):
        checkpoint = f"checkpoints/step-{epoch:06d}"
        (folder / checkpoint).mkdir(parents=True)
        (folder / checkpoint / "weights").write_text(f"{folder.parent.name} epoch {epoch}")
        # The score chooses: accuracies in the opposite order would choose another.
        record = {"step": epoch, "epoch": float(epoch), "score": score, "accuracy": 1 - score, "checkpoint": checkpoint}
        lines.append(record)
    (folder / "validation.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    keys = ("config", "config_hash", "policy_hash", "data_hash", "packages", "hardware", "code_revision")
    identity = dict.fromkeys(keys) | IDENTITY | {"method": folder.parent.name}
    (folder / "run.json").write_text(json.dumps(identity))
    return folder


@pytest.fixture
def grid(tmp_path: Path) -> list[Path]:
    return [
        write_run(tmp_path / "sft-lr1e-06/seed0", [0.40, 0.50, 0.60]),
        write_run(tmp_path / "sft-lr5e-06/seed0", [0.45, 0.70, 0.65]),
        write_run(tmp_path / "sft-lr1e-05/seed0", [0.45, 0.70, 0.10]),
    ]


@pytest.mark.parametrize(
    ("method", "expected"), [("sft_light", "sft-lr5e-06 epoch 1"), ("sft_best", "sft-lr5e-06 epoch 2")]
)
def test_best_on_validation_is_copied(grid: list[Path], tmp_path: Path, method: str, expected: str) -> None:
    """Light chooses from epoch 1 only; the untouched policy of step 0 is no candidate; ties go to the first run."""
    select(method, grid, tmp_path / "out", IDENTITY)
    assert (tmp_path / "out/best/weights").read_text() == expected
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["best"]["run"] == expected.split()[0] and record["status"] == "complete"
    assert len(record["selected_from"]) == (3 if method == "sft_light" else 9)


def test_selecting_again_replaces_the_folder(grid: list[Path], tmp_path: Path) -> None:
    for method in ("sft_light", "sft_best"):
        select(method, grid, tmp_path / "out", IDENTITY)
    assert (tmp_path / "out/best/weights").read_text() == "sft-lr5e-06 epoch 2"
    assert not (tmp_path / "out/best.old").exists() and not (tmp_path / "out/best.part").exists()


def test_mistakes_are_named(grid: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="grpo selects nothing"):
        select("grpo", grid, tmp_path / "out", IDENTITY)
    with pytest.raises(ValueError, match=r"no checkpoint after epochs \[4\] \(kept: 1.0, 2.0, 3.0\)"):
        candidates(grid[0], [4])


def test_a_checkpoint_that_was_pruned_is_said_to_be(grid: list[Path], tmp_path: Path) -> None:
    select("sft_best", grid, tmp_path / "out", IDENTITY)
    shutil.rmtree(grid[1] / "checkpoints")
    with pytest.raises(
        ValueError, match=r"sft-lr5e-06/seed0/checkpoints/step-000002, .* is gone: .* --forcerun .*lr1e-06"
    ):
        select("sft_best", grid, tmp_path / "out", IDENTITY)
    assert (tmp_path / "out/best/weights").read_text() == "sft-lr5e-06 epoch 2", "what was chosen before stays"


def test_only_the_grids_own_finished_runs_are_taken(grid: list[Path], tmp_path: Path) -> None:
    other = write_run(tmp_path / "grpo/seed0", [0.9])
    with pytest.raises(ValueError, match="the grid's runs are sft-lr1e-06, sft-lr5e-06, sft-lr1e-05; given were grpo"):
        select("sft_best", [*grid, other], tmp_path / "out", IDENTITY)
    with pytest.raises(ValueError, match="is of seed 0, not 1"):
        select("sft_best", grid, tmp_path / "out", IDENTITY | {"seed": 1})
    (grid[1] / "run.json").unlink()
    with pytest.raises(ValueError, match="not a finished run"):
        select("sft_best", grid, tmp_path / "out", IDENTITY)


def test_of_a_tuned_grid_one_run_is_chosen_from(grid: list[Path], tmp_path: Path) -> None:
    select("sft_best", grid[:1], tmp_path / "out", IDENTITY)
    assert (tmp_path / "out/best/weights").read_text() == "sft-lr1e-06 epoch 3"


def test_order_of_the_runs_given_does_not_matter(grid: list[Path], tmp_path: Path) -> None:
    select("sft_light", grid[::-1], tmp_path / "out", IDENTITY)
    assert (tmp_path / "out/best/weights").read_text() == "sft-lr5e-06 epoch 1"


def test_first_of_equals() -> None:
    assert choose_best([{"score": 0.5, "n": 1}, {"score": 0.5, "n": 2}])["n"] == 1
