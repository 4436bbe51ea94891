"""Schedules and controllers of mu, the share of the SFT loss in Eq. 3.

`MU_SCHEDULES[name](step, signals, state, **params) -> (mu, state)` gives the mu of one update:

* `step` counts updates from 0, so the first update uses the schedule's starting value.
* `signals` is what a controller may react to. Plain schedules ignore it.
* `state` is what a controller remembers between steps: a mapping of names to numbers, so that it goes into a
  checkpoint as it is. Start with `{}` and pass back what the last call returned. Functions never change the
  mapping they were given.
* `params` are the declared parameters. Those whose name ends in `_steps` are step counts, declared in the
  paper's steps and shortened by `scale_params` on smaller scales; all others are left alone.

Adding a schedule is one function and its name in `MU_SCHEDULES`.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MuState = Mapping[str, float]
MuSchedule = Callable[..., tuple[float, MuState]]


@dataclass(frozen=True)
class Signals:
    """What is known when mu is chosen. None means: not measured at this step."""

    reward_mean: float | None = None  # mean reward of the rollouts of this step


def constant(step: int, signals: Signals, state: MuState, *, value: float) -> tuple[float, MuState]:
    """mu = value at every step: CHORD-phi's mu = 0.1; 0 is pure RL and 1 pure SFT.

    Raises:
        ValueError: value is outside [0, 1].
    """
    return _share("value", value), state


def linear_decay(
    step: int, signals: Signals, state: MuState, *, start: float, end: float, decay_steps: float
) -> tuple[float, MuState]:
    """mu falls linearly from `start` at step 0 to `end` at step `decay_steps` and stays there.

    CHORD-mu's schedule (A.1, 4.3): the paper names the end points (0.9 and 0.05) and the number of steps but
    no shape; linear is this project's default reading. `decay_steps` need not be whole (see `scale_params`).

    Raises:
        ValueError: start or end is outside [0, 1], end > start, decay_steps <= 0, or step < 0.
    """
    _share("start", start)
    _share("end", end)
    if end > start:
        raise ValueError(f"end is {end!r}; allowed: at most start = {start!r}, mu only decays")
    if not 0 < decay_steps < math.inf:
        raise ValueError(f"decay_steps is {decay_steps!r}; allowed: finite and > 0")
    if step < 0:
        raise ValueError(f"step is {step!r}; allowed: >= 0, steps count from 0")
    done = min(1.0, step / decay_steps)
    # Written as a mixture because start + (end - start) * 1 need not be exactly `end` in floating point.
    return (1.0 - done) * start + done * end, state


MU_SCHEDULES: dict[str, MuSchedule] = {
    "constant": constant,
    "linear_decay": linear_decay,
}


def scale_params(name: str, params: Mapping[str, float], divisor: float) -> dict[str, float]:
    """The parameters of schedule `name` on a scale that takes one step for `divisor` steps of the paper.

    Parameters that are step counts (`*_steps`) are divided and kept at 1 or more, so that a phase of the
    schedule is never scaled away; a declared 0 stays 0. They are not rounded: the scaled schedule at step s
    is then exactly the paper's at step s * divisor, whether or not the divisor divides the count.

    Raises:
        ValueError: the schedule, or a parameter, is unknown, a parameter is missing, or divisor is not finite
            and > 0.
    """
    if name not in MU_SCHEDULES:
        raise ValueError(f"mu schedule is {name!r}; allowed: {', '.join(sorted(MU_SCHEDULES))}")
    if not 0 < divisor < math.inf:
        raise ValueError(f"divisor is {divisor!r}; allowed: finite and > 0")
    declared = _parameters(MU_SCHEDULES[name])
    allowed = ", ".join(sorted(declared))
    for key in params:
        if key not in declared:
            raise ValueError(f"mu schedule {name!r} has no parameter {key!r}; allowed: {allowed}")
    for key, required in declared.items():
        if required and key not in params:
            raise ValueError(f"mu schedule {name!r} lacks parameter {key!r}; it takes: {allowed}")
    return {key: _scaled(value, divisor) if key.endswith("_steps") else value for key, value in params.items()}


def _scaled(steps: float, divisor: float) -> float:
    return max(1.0, steps / divisor) if steps else steps


def _parameters(schedule: MuSchedule) -> dict[str, bool]:
    """Names of a schedule's own (keyword-only) parameters, and whether each is required."""
    own = inspect.signature(schedule).parameters.values()
    return {p.name: p.default is p.empty for p in own if p.kind is p.KEYWORD_ONLY}


def _share(name: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"mu schedule: {name} is {value!r}; allowed: 0 <= {name} <= 1")
    return value
