"""Schedules and controllers of mu, the share of the SFT loss in Eq. 3.

`MU_SCHEDULES[name](step, signals, state, **params) -> Mu` gives the mu of one update:

* `step` counts updates from 0, so the first update uses the schedule's starting value. (The authors' released
  code counts from 1: its value at an update is the value here one update later.)
* `signals` is what a controller may react to. Plain schedules ignore it. The names in `READS_REWARDS` need the
  rewards of the very step, so that its rollouts are sampled before mu is known, also where mu comes out as 1.
  Those in `READS_GRADIENTS` need the gradient of the step before; all others follow from `step` alone.
* `state` is what a controller remembers between steps: a mapping of names to numbers, so that it goes into a
  checkpoint as it is. Start with `{}` and pass back what the last call returned. Functions never change the
  mapping they were given.
* `params` are the declared parameters. Those whose name ends in `_steps` are step counts, declared in the
  paper's steps and shortened by `scale_params` on smaller scales; all others are left alone.

Every schedule is a pure function of its arguments: randomness comes in as `Signals.uniform`, memory as `state`.

**Stages.** Two-stage training (SFT, then RL) starts its second stage with a new optimizer: a schedule says so by
`Mu.new_stage`. The first update of a run never starts a stage.

Adding a schedule is one function and its name in `MU_SCHEDULES`.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

MuState = Mapping[str, float]


class Mu(NamedTuple):
    """The mu of one update."""

    value: float
    state: MuState
    """What the schedule wants back at the next update."""
    new_stage: bool = False
    """Whether the optimizer forgets its moments before this update, as a new training run would."""


MuSchedule = Callable[..., Mu]


@dataclass(frozen=True)
class Signals:
    """What is known when mu is chosen. None means: not measured at this step."""

    reward_mean: float | None = None  # mean reward of this step's rollouts; only for names in `READS_REWARDS`
    grad_norm: float | None = None  # gradient norm of the previous update, before clipping; None at step 0
    uniform: float | None = None  # drawn for this step from [0, 1), reproducibly


def constant(step: int, signals: Signals, state: MuState, *, value: float) -> Mu:
    """mu = value at every step: CHORD-phi's mu = 0.1; 0 is pure RL and 1 pure SFT.

    Raises:
        ValueError: value is outside [0, 1].
    """
    return Mu(_share("value", value), state)


def linear_decay(step: int, signals: Signals, state: MuState, *, start: float, end: float, decay_steps: float) -> Mu:
    """mu falls linearly from `start` at step 0 to `end` at step `decay_steps` and stays there.

    CHORD-mu's schedule (A.1, 4.3): the paper names the end points (0.9 and 0.05) and the number of steps but
    no shape; linear is this project's default reading. `decay_steps` need not be whole (see `scale_params`).

    Raises:
        ValueError: start or end is outside [0, 1], end > start, decay_steps <= 0, or step < 0.
    """
    return Mu(_decayed(step, "start", start, end, 0, decay_steps, lambda done: done), state)


def cosine_decay(
    step: int,
    signals: Signals,
    state: MuState,
    *,
    start: float,
    end: float,
    decay_steps: float,
    warmup_steps: float = 0,
) -> Mu:
    """mu rises linearly from 0 to `start` over `warmup_steps`, then falls to `end` over `decay_steps` more.

        mu(s) = start * s / W                                          for s < W = warmup_steps
        mu(s) = end + (start - end) * (1 + cos(pi f)) / 2,  f = min(1, (s - W) / decay_steps)

    The shape of the authors' released code, where the paper names only end points and length (A.1, 4.3).

    Raises:
        ValueError: as `linear_decay`, or warmup_steps is negative or not finite.
    """
    mu = _decayed(step, "start", start, end, warmup_steps, decay_steps, lambda done: (1 - math.cos(math.pi * done)) / 2)
    return Mu(mu, state)


def warmup_decay(
    step: int, signals: Signals, state: MuState, *, peak: float, end: float, warmup_steps: float, decay_steps: float
) -> Mu:
    """mu rises linearly from 0 to `peak` over `warmup_steps`, then falls linearly to `end` over `decay_steps` more.

    B.7: "warming up from 0 to 0.3 before decaying". The paper gives neither the lengths nor the end.

    Raises:
        ValueError: as `linear_decay` with `peak` for start, or warmup_steps is negative or not finite.
    """
    return Mu(_decayed(step, "peak", peak, end, warmup_steps, decay_steps, lambda done: done), state)


def binary(step: int, signals: Signals, state: MuState, *, switch_steps: float) -> Mu:
    """mu = 1 in the first `switch_steps` updates and 0 from then on: SFT-then-RL as a schedule (3.2).

    `switch_steps` is rounded to the nearest whole step (half to even, as all step counts of a scale are). The
    state's "stage" is 0 before and 1 from the switch on; the update at the switch starts the new stage.

    Raises:
        ValueError: switch_steps is negative or not finite, or step < 0.
    """
    stage = int(_check_step(step) >= _whole("switch_steps", switch_steps))
    return Mu(float(1 - stage), {"stage": stage}, new_stage=stage != state.get("stage", stage))


def periodic(step: int, signals: Signals, state: MuState, *, period_steps: float, sft_steps: float) -> Mu:
    """mu = 1 in the first `sft_steps` updates of every `period_steps`, else 0: interleaved SFT and RL.

    3.2 names it as the reading of Ma et al. 2025 and Gao et al. 2025 as a schedule of mu. Both counts are rounded
    to whole steps (half to even), and a period holds at least one step of each kind: it has 2 steps or more, and
    its SFT steps are between 1 and its length less 1. On a scale too short for the declared shares of the two
    kinds those shares therefore change; which kinds there are does not.

    Raises:
        ValueError: sft_steps <= 0, period_steps is not finite or below sft_steps, or step < 0.
    """
    if not 0 < sft_steps < math.inf:
        raise ValueError(f"sft_steps is {sft_steps!r}; allowed: finite and > 0")
    # Equal counts are allowed because scaling can make them so: 10 and 5 steps are both 1 at a divisor of 10.
    if not sft_steps <= period_steps < math.inf:
        raise ValueError(f"period_steps is {period_steps!r}; allowed: finite and at least sft_steps = {sft_steps!r}")
    period = max(2, round(period_steps))
    sft = min(max(1, round(sft_steps)), period - 1)
    return Mu(float(_check_step(step) % period < sft), state)


def adaptive(step: int, signals: Signals, state: MuState, *, threshold: float) -> Mu:
    """mu = min(1, max(0, threshold - reward_mean)) with this step's rewards (B.1, 4.3).

    The paper has no upper limit because the rewards of its tool-use task are never negative; those of math
    are (A.2), and mu is a share.

    Raises:
        ValueError: threshold or reward_mean is not finite, or reward_mean is None.
    """
    if not math.isfinite(threshold):
        raise ValueError(f"threshold is {threshold!r}; allowed: finite")
    reward_mean = signals.reward_mean
    if reward_mean is None or not math.isfinite(reward_mean):
        raise ValueError(f"reward_mean is {reward_mean!r}; adaptive mu needs the finite mean reward of this step")
    return Mu(min(1.0, max(0.0, threshold - reward_mean)), state)


def gradient_norm(step: int, signals: Signals, state: MuState, *, warmup_steps: float, gamma: float) -> Mu:
    """SASR: SFT for `warmup_steps` updates, then each update is SFT (mu = 1) with probability p, else GRPO (mu = 0).

        p = G_sft / (G_sft + gamma * G_w + 1e-8),   SFT if uniform < p

    G_w is the gradient norm of the last warm-up update and G_sft that of the latest SFT update, warm-up
    included; during a run of GRPO updates it stays what it was. A norm is known one call after its update
    (`Signals.grad_norm`), hence the state: "was_sft" (1 if the last update was SFT), "sft_norm" and
    "warmup_norm". `warmup_steps` is rounded to the nearest whole step (half to even); without warm-up both norms
    are 0, so p = 0 and every update is GRPO. With gamma = 0, p = 1 up to the 1e-8.

    Source: SASR (Chen et al. 2025, arXiv 2505.13026), a baseline of 4.1. It has no public code; what is chosen
    here is on the fidelity page.

    Raises:
        ValueError: warmup_steps or gamma is negative or not finite, step < 0, grad_norm is missing, negative or
            not finite after an SFT update, or uniform is missing or outside [0, 1) after the warm-up.
    """
    if not 0 <= gamma < math.inf:
        raise ValueError(f"gamma is {gamma!r}; allowed: finite and >= 0")
    warmup = _whole("warmup_steps", warmup_steps)
    memory = dict(state)
    if memory.get("was_sft"):
        norm = signals.grad_norm
        if norm is None or not 0 <= norm < math.inf:
            raise ValueError(f"grad_norm is {norm!r} after an SFT update; allowed: finite and >= 0")
        memory["sft_norm"] = norm
        if step <= warmup:
            memory["warmup_norm"] = norm
    sft = _check_step(step) < warmup or _drawn(signals) < _sft_probability(memory, gamma)
    memory["was_sft"] = float(sft)
    return Mu(float(sft), memory)


MU_SCHEDULES: dict[str, MuSchedule] = {
    "constant": constant,
    "linear_decay": linear_decay,
    "cosine_decay": cosine_decay,
    "warmup_decay": warmup_decay,
    "binary": binary,
    "periodic": periodic,
    "adaptive": adaptive,
    "gradient_norm": gradient_norm,
}

READS_REWARDS: frozenset[str] = frozenset({"adaptive"})
READS_GRADIENTS: frozenset[str] = frozenset({"gradient_norm"})


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


def _decayed(
    step: int,
    name: str,
    top: float,
    end: float,
    warmup_steps: float,
    decay_steps: float,
    shape: Callable[[float], float],
) -> float:
    """mu of a linear rise from 0 to top, then a fall to end along `shape`, which maps [0, 1] to [0, 1] with its ends.

    `name` is what the schedule calls `top`, for errors.
    """
    _share(name, top)
    _share("end", end)
    if end > top:
        raise ValueError(f"end is {end!r}; allowed: at most {name} = {top!r}, mu only decays")
    if not 0 <= warmup_steps < math.inf:
        raise ValueError(f"warmup_steps is {warmup_steps!r}; allowed: finite and >= 0")
    if not 0 < decay_steps < math.inf:
        raise ValueError(f"decay_steps is {decay_steps!r}; allowed: finite and > 0")
    if _check_step(step) < warmup_steps:
        return top * (step / warmup_steps)
    done = shape(min(1.0, (step - warmup_steps) / decay_steps))
    # Written as a mixture because top + (end - top) * 1 need not be exactly `end` in floating point.
    return (1.0 - done) * top + done * end


def _sft_probability(memory: MuState, gamma: float) -> float:
    norm = memory.get("sft_norm", 0.0)
    return norm / (norm + gamma * memory.get("warmup_norm", 0.0) + 1e-8)


def _drawn(signals: Signals) -> float:
    if signals.uniform is None or not 0 <= signals.uniform < 1:
        raise ValueError(f"uniform is {signals.uniform!r}; this schedule needs a number drawn from [0, 1)")
    return signals.uniform


def _check_step(step: int) -> int:
    if step < 0:
        raise ValueError(f"step is {step!r}; allowed: >= 0, steps count from 0")
    return step


def _whole(name: str, steps: float) -> int:
    if not 0 <= steps < math.inf:
        raise ValueError(f"{name} is {steps!r}; allowed: finite and >= 0")
    return round(steps)
