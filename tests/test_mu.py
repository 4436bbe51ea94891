"""Schedules of mu: golden values, scaling to fewer steps, and room for controllers with state."""

import dataclasses
import json
import math

import pytest

from reference_impl import mu as mu_module
from reference_impl.mu import MU_SCHEDULES, MuState, Signals, scale_params

PAPER = {"start": 0.9, "end": 0.05, "decay_steps": 30}


def value(name: str, step: int, params: dict[str, float]) -> float:
    return MU_SCHEDULES[name](step, Signals(), {}, **params)[0]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.9),  # the first update has the starting value
        (1, 0.9 - 0.85 / 30),  # (0.9 - 0.05) / 30 = 0.0283333 a step: 0.8716667
        (15, 0.475),  # half way: (0.9 + 0.05) / 2
        (29, 0.05 + 0.85 / 30),  # the last of "the first 30 steps": 0.0783333
        (30, 0.05),
        (31, 0.05),
        (1500, 0.05),
    ],
)
def test_linear_decay_golden(step: int, expected: float) -> None:
    assert value("linear_decay", step, PAPER) == pytest.approx(expected, abs=1e-12)


def test_linear_decay_ends_exactly_at_its_end_value() -> None:
    # 0.9 + (0.05 - 0.9) * 1 is 0.05000000000000004 in floating point.
    assert [value("linear_decay", s, PAPER) for s in (0, 30, 31)] == [0.9, 0.05, 0.05]


@pytest.mark.parametrize("step", [0, 1, 30, 1500])
@pytest.mark.parametrize("mu", [0.0, 0.1, 1.0])
def test_constant(mu: float, step: int) -> None:
    assert value("constant", step, {"value": mu}) == mu


@pytest.mark.parametrize("divisor", [1, 2, 2.5, 3, 7, 10, 12.5, 30])
@pytest.mark.parametrize("decay_steps", [30, 50, 200])
def test_scaled_schedule_walks_through_the_papers_values(divisor: float, decay_steps: int) -> None:
    paper = {**PAPER, "decay_steps": decay_steps}
    scaled = scale_params("linear_decay", paper, divisor)
    assert (scaled["start"], scaled["end"]) == (0.9, 0.05)
    for step in range(math.ceil(decay_steps / divisor) + 3):
        fraction = min(1.0, step * divisor / decay_steps)  # of the paper's decay
        assert value("linear_decay", step, scaled) == pytest.approx(0.9 - 0.85 * fraction, abs=1e-12)


def test_scaling_keeps_at_least_one_step() -> None:
    scaled = scale_params("linear_decay", PAPER, 100)  # 30 / 100 = 0.3
    assert scaled["decay_steps"] == 1
    assert [value("linear_decay", s, scaled) for s in (0, 1, 2)] == [0.9, 0.05, 0.05]


def test_scaling_leaves_values_alone() -> None:
    assert scale_params("constant", {"value": 0.1}, 10) == {"value": 0.1}
    assert PAPER["decay_steps"] == 30  # and does not touch the declaration
    scale_params("linear_decay", PAPER, 10)
    assert PAPER["decay_steps"] == 30


def test_a_controller_with_state_and_defaults_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """B.1's max(0, tau - reward_mean), smoothed and after a warm-up: all that later controllers need."""

    def smoothed(
        step: int, signals: Signals, state: MuState, *, tau: float, warmup_steps: float = 0
    ) -> tuple[float, MuState]:
        assert signals.reward_mean is not None
        mean = 0.5 * state.get("mean", signals.reward_mean) + 0.5 * signals.reward_mean
        return (0.0 if step < warmup_steps else max(0.0, tau - mean)), {"mean": mean}

    monkeypatch.setitem(mu_module.MU_SCHEDULES, "smoothed", smoothed)
    assert scale_params("smoothed", {"tau": 0.5, "warmup_steps": 20}, 10) == {"tau": 0.5, "warmup_steps": 2}
    assert scale_params("smoothed", {"tau": 0.5, "warmup_steps": 0}, 10)["warmup_steps"] == 0
    params = scale_params("smoothed", {"tau": 0.5}, 10)
    state: MuState = {}
    seen = []
    for step, reward in enumerate([0.1, 0.3, 0.9]):
        mu, state = MU_SCHEDULES["smoothed"](step, Signals(reward_mean=reward), state, **params)
        state = json.loads(json.dumps(dict(state)))  # as through a checkpoint
        seen.append(mu)
    # Means 0.1; (0.1 + 0.3) / 2 = 0.2; (0.2 + 0.9) / 2 = 0.55: mu = 0.4, 0.3, 0.
    assert seen == pytest.approx([0.4, 0.3, 0.0])


@pytest.mark.parametrize(("name", "params"), [("constant", {"value": 0.1}), ("linear_decay", PAPER)])
def test_plain_schedules_ignore_signals_and_keep_the_state(name: str, params: dict[str, float]) -> None:
    state = {"kept": 1.0}
    first, same = MU_SCHEDULES[name](3, Signals(reward_mean=0.0), state, **params)
    second, _ = MU_SCHEDULES[name](3, Signals(reward_mean=1.0), {}, **params)
    assert first == second
    assert same == {"kept": 1.0} == state


def test_signals_cannot_be_changed_by_a_controller() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Signals().reward_mean = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "params", "divisor", "message"),
    [
        ("linear", PAPER, 1, "'linear'; allowed: .*linear_decay"),
        ("constant", {"value": 0.1, "decay_steps": 3}, 1, "'decay_steps'; allowed: value"),
        ("linear_decay", {"start": 0.9, "end": 0.05}, 1, "lacks parameter 'decay_steps'"),
        ("constant", {"value": 0.1}, 0, "divisor is 0"),
        ("constant", {"value": 0.1}, -2, "divisor is -2"),
        ("constant", {"value": 0.1}, float("nan"), "divisor is nan"),
    ],
)
def test_scale_params_refuses(name: str, params: dict[str, float], divisor: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scale_params(name, params, divisor)


@pytest.mark.parametrize(
    ("name", "step", "params", "message"),
    [
        ("constant", 0, {"value": 1.1}, "value is 1.1"),
        ("constant", 0, {"value": -0.1}, "value is -0.1"),
        ("constant", 0, {"value": float("nan")}, "value is nan"),
        ("linear_decay", 0, {**PAPER, "start": 9.0}, "start is 9.0"),
        ("linear_decay", 0, {**PAPER, "end": -0.05}, "end is -0.05"),
        (
            "linear_decay",
            0,
            {**PAPER, "start": 0.05, "end": 0.9},
            "end is 0.9; allowed: at most start = 0.05",
        ),
        ("linear_decay", 0, {**PAPER, "decay_steps": 0}, "decay_steps is 0"),
        ("linear_decay", -1, PAPER, "step is -1"),
    ],
)
def test_schedules_refuse(name: str, step: int, params: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        value(name, step, params)
