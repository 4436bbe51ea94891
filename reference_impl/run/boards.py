"""Where curves are drawn: TensorBoard always, Weights & Biases where it is asked for.

This is the only file that imports W&B. Its own environment variables ask: ``WANDB_PROJECT`` names the project, and
without it nothing of it is imported. ``WANDB_MODE=offline`` writes to the run's folder alone and needs neither account
nor network. Which account, server and team is its own business too (``wandb login``, ``WANDB_API_KEY``,
``WANDB_BASE_URL``, ``WANDB_ENTITY``).
"""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch.utils.tensorboard import SummaryWriter


class Board(Protocol):
    """Where curves are drawn."""

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Points of a step, by name (``train/loss``)."""
        ...

    def close(self) -> None:
        """Write what is still in memory."""
        ...


class TensorBoard:
    """Event files in a folder; what an interrupted run drew after ``start`` is hidden."""

    def __init__(self, folder: Path, start: int) -> None:
        self.writer = SummaryWriter(str(folder), purge_step=start + 1)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


def check_boards() -> None:
    """Raises ValueError where W&B is asked for and is not installed."""
    if _project() and importlib.util.find_spec("wandb") is None:
        raise ValueError(
            f"WANDB_PROJECT is {_project()!r}, and wandb is not installed: pip install wandb, or unset WANDB_PROJECT"
        )


def asked_boards(folder: Path, name: str, identity: str, config: Mapping[str, Any]) -> Sequence[Board]:
    """The boards that the environment asks for, of a run in ``folder``.

    Raises ValueError where W&B refuses the run (no account, no network, a wrong name).
    """
    check_boards()
    project = _project()
    return [WandbBoard(folder, project, name, identity, config)] if project else []


class WandbBoard:
    """A run of W&B, which a resumed run continues: ``identity`` gives its id.

    W&B can follow TensorBoard's files itself (``sync_tensorboard``). It then keeps values as float32, and stores the
    run's absolute path and the event files, whose names hold the host's: neither is to leave this machine.
    """

    def __init__(self, folder: Path, project: str, name: str, identity: str, config: Mapping[str, Any]) -> None:
        import wandb

        # What it would collect on its own (command line, paths, host, git remote, packages, terminal) stays here:
        # run.json says what a reader needs.
        private = wandb.Settings(
            console="off",
            disable_git=True,
            disable_code=True,
            host="",
            quiet=True,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        try:
            self.run = wandb.init(
                project=project,
                id=identity[:32],
                resume="allow",
                name=name,
                dir=str(folder),
                config=dict(config),
                settings=private,
            )
        except wandb.Error as error:
            raise ValueError(
                f"Weights & Biases: {error}; WANDB_MODE=offline needs no account and no network"
            ) from error
        # W&B numbers its lines itself. A resumed run draws the steps since its last state again, with the same values.
        self.run.define_metric("step")
        for group in ("train/*", "validation/*"):
            self.run.define_metric(group, step_metric="step")

    def add(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log({"step": step, **values})

    def close(self) -> None:
        self.run.finish()


def _project() -> str:
    return os.environ.get("WANDB_PROJECT", "")
