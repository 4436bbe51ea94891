"""States on the disk: whole, damaged, of another run."""

import json
import shutil
from pathlib import Path

import pytest

from reference_impl.run.checkpoint import PROGRESS, Progress, earlier, load_state, save_state
from reference_impl.strategy import TorchStrategy
from tests.reference_impl.test_trainer import config_of, trainer_of


@pytest.fixture
def strategy(tiny_policy: Path) -> TorchStrategy:
    return TorchStrategy.from_checkpoint(tiny_policy, config_of("grpo"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def cut_record(path: Path) -> None:
    path.write_text(path.read_text()[:20])


@pytest.mark.parametrize(
    ("file", "damage"),
    [("state.pt", truncate), ("state.pt", Path.unlink), (PROGRESS, cut_record), (PROGRESS, Path.unlink)],
)
def test_a_damaged_state_gives_way_to_the_one_before(
    strategy: TorchStrategy, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, damage: object
) -> None:
    state = tmp_path / "state"
    for step in (1, 2, 3):
        save_state(state, Progress(step=step), strategy, "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state", "state.before"]
    loaded = load_state(state, strategy, "run")
    assert loaded is not None and loaded.step == 3
    assert callable(damage)
    damage(state / file)
    loaded = load_state(state, strategy, "run")
    assert loaded is not None and loaded.step == 2
    assert f"{state} is damaged, its {file}" in capsys.readouterr().err
    damage(earlier(state) / file)
    assert load_state(state, strategy, "run") is None


def test_a_crash_between_the_renames_leaves_the_state_before(strategy: TorchStrategy, tmp_path: Path) -> None:
    state = tmp_path / "state"
    save_state(state, Progress(step=1), strategy, "run")
    shutil.copytree(state, tmp_path / "state.part")
    state.rename(earlier(state))
    loaded = load_state(state, strategy, "run")
    assert loaded is not None and loaded.step == 1
    save_state(state, Progress(step=2), strategy, "run")  # the state before stays until this one is there
    assert [json.loads((folder / PROGRESS).read_text())["step"] for folder in (state, earlier(state))] == [2, 1]


def test_a_run_goes_on_from_the_state_before_as_if_nothing_had_happened(tiny_policy: Path, tmp_path: Path) -> None:
    config = config_of("chord_mu", steps=6, validate_every=2)
    trainer_of(config, tiny_policy, tmp_path / "through").train()
    broken = trainer_of(config, tiny_policy, tmp_path / "broken")
    step = broken.train_step

    def dies() -> None:
        if broken.progress.step == 5:
            raise KeyboardInterrupt
        step()

    broken.train_step = dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    truncate(tmp_path / "broken/state/state.pt")
    resumed = trainer_of(config, tiny_policy, tmp_path / "broken")
    assert resumed.progress.step == 2
    resumed.train()
    for file in ("metrics.jsonl", "validation.jsonl", "best/model.safetensors"):
        assert (tmp_path / "broken" / file).read_bytes() == (tmp_path / "through" / file).read_bytes()
