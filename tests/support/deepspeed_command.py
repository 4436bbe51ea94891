"""The training command, with an accident on one rank: what tests/support/two_machines.py lets torchrun start.

torchrun … -m -- tests.support.deepspeed_command ACCIDENT RANK ARGUMENTS OF reference_impl.train
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from torch import Tensor

from reference_impl import train
from reference_impl.rewards import RewardUnavailableError
from reference_impl.run.validation import Validator
from reference_impl.strategy.deepspeed import DeepSpeedStrategy
from reference_impl.trainer import Trainer

STEP = 3
"""Updates done, of 6, before a process is killed in a step; a state is saved after every one."""


def kill_this_process(*_: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def killed_in_a_step() -> None:
    """Between two backward passes."""
    losses = Trainer.losses

    def dying(trainer: Trainer, *arguments: Any) -> Any:
        if trainer.progress.step == STEP:
            backward = trainer.strategy.backward

            def only_once(loss: Tensor) -> None:
                backward(loss)
                kill_this_process()

            trainer.strategy.backward = only_once  # type: ignore[method-assign]
        return losses(trainer, *arguments)

    Trainer.losses = dying  # type: ignore[method-assign, assignment]


def killed_in_a_save() -> None:
    """While the other rank writes its part."""
    DeepSpeedStrategy.save = kill_this_process  # type: ignore[method-assign, assignment]


def no_judge() -> None:
    """In validation."""

    def validate(*_: Any) -> NoReturn:
        raise RewardUnavailableError("the judge does not answer")

    Validator.validate = validate  # type: ignore[method-assign, assignment]


ACCIDENTS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "killed in a step": killed_in_a_step,
    "killed in a save": killed_in_a_save,
    "no judge": no_judge,
}


def main() -> None:
    accident, rank, *arguments = sys.argv[1:]
    if os.environ["RANK"] == rank:
        ACCIDENTS[accident]()
    train.main(arguments)


if __name__ == "__main__":
    main()
