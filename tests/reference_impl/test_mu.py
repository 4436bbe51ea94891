"""Schedules of mu: golden values, limits, scaling to fewer steps, and controllers that react and remember."""

import dataclasses
import json
import math
import random

import pytest

from reference_impl import mu as mu_module
from reference_impl.mu import MU_SCHEDULES, READS_REWARDS, Mu, MuState, Signals, scale_params

PAPER = {"start": 0.9, "end": 0.05, "decay_steps": 30}
COSINE = {"start": 0.9, "end": 0.1, "warmup_steps": 4, "decay_steps": 8}
WARMUP = {"peak": 0.3, "end": 0.1, "warmup_steps": 6, "decay_steps": 4}
SASR = {"warmup_steps": 2, "gamma": 1.0}

# One declaration of every schedule.
DECLARED: dict[str, dict[str, float]] = {
    "constant": {"value": 0.1},
    "linear_decay": PAPER,
    "cosine_decay": COSINE,
    "warmup_decay": WARMUP,
    "binary": {"switch_steps": 3},
    "periodic": {"period_steps": 5, "sft_steps": 2},
    "adaptive": {"threshold": 0.5},
    "gradient_norm": SASR,
}


def value(name: str, step: int, params: dict[str, float]) -> float:
    return MU_SCHEDULES[name](step, Signals(), {}, **params)[0]


def values(name: str, steps: int, params: dict[str, float]) -> list[float]:
    return [value(name, step, params) for step in range(steps)]


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


def test_cosine_decay_golden() -> None:
    # Warm-up 0.9 s / 4; then 0.1 + 0.4 (1 + cos(pi (s - 4) / 8)): cos(pi / 4) = 0.7071068 two steps in, so
    # 0.5 + 0.4 * 0.7071068 = 0.7828427; half way 0.5; then the mirror image 0.2171573; from step 12 on, 0.1.
    golden = {0: 0.0, 1: 0.225, 3: 0.675, 4: 0.9, 6: 0.7828427, 8: 0.5, 10: 0.2171573, 12: 0.1, 13: 0.1, 1500: 0.1}
    assert {s: value("cosine_decay", s, COSINE) for s in golden} == pytest.approx(golden, abs=1e-7)
    without = {key: number for key, number in COSINE.items() if key != "warmup_steps"}
    assert values("cosine_decay", 9, without) == [value("cosine_decay", s + 4, COSINE) for s in range(9)]


def test_warmup_decay_golden() -> None:
    # 0.3 / 6 = 0.05 a step up, then (0.3 - 0.1) / 4 = 0.05 a step down.
    expected = [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.25, 0.2, 0.15, 0.1, 0.1, 0.1]
    assert values("warmup_decay", 13, WARMUP) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("name", "params", "top"), [("cosine_decay", COSINE, 4), ("warmup_decay", WARMUP, 6)])
def test_warm_up_and_decay_meet_their_values_exactly(name: str, params: dict[str, float], top: int) -> None:
    last = int(top + params["decay_steps"])
    peak = params.get("peak", params.get("start"))
    assert [value(name, s, params) for s in (0, top, last, last + 1)] == [0.0, peak, params["end"], params["end"]]


def test_without_warm_up_warmup_decay_is_linear_decay() -> None:
    params = {"peak": 0.9, "end": 0.05, "decay_steps": 30, "warmup_steps": 0}
    assert values("warmup_decay", 35, params) == values("linear_decay", 35, PAPER)


def test_binary_is_sft_then_rl_and_marks_its_stages() -> None:
    steps: list[Mu] = []
    state: MuState = {}
    for step in range(6):
        steps.append(MU_SCHEDULES["binary"](step, Signals(), state, switch_steps=3))
        state = dict(steps[-1].state)
    assert [mu.value for mu in steps] == [1, 1, 1, 0, 0, 0]
    assert [mu.new_stage for mu in steps] == [False, False, False, True, False, False]
    # The first update of a run starts no stage, whichever it is in.
    assert not MU_SCHEDULES["binary"](0, Signals(), {}, switch_steps=0).new_stage


@pytest.mark.parametrize(("switch_steps", "sft"), [(0, 0), (1, 1), (2.4, 2), (2.6, 3), (2.5, 2), (7.8, 8)])
def test_binary_switches_at_the_nearest_whole_step(switch_steps: float, sft: int) -> None:
    assert values("binary", 10, {"switch_steps": switch_steps}) == [1.0] * sft + [0.0] * (10 - sft)


def test_binary_at_its_ends_is_pure_rl_and_pure_sft() -> None:
    assert values("binary", 20, {"switch_steps": 0}) == values("constant", 20, {"value": 0})
    assert values("binary", 20, {"switch_steps": 20}) == values("constant", 20, {"value": 1})


def test_periodic_golden() -> None:
    assert values("periodic", 12, {"period_steps": 5, "sft_steps": 2}) == [1, 1, 0, 0, 0] * 2 + [1, 1]


@pytest.mark.parametrize(
    ("divisor", "period"),
    [
        (1, [1] * 20 + [0] * 80),
        (10, [1] * 2 + [0] * 8),
        (30, [1] + [0] * 2),  # 100 / 30 = 3.33 and 20 / 30, kept at 1
        (100, [1, 0]),  # 1 and 1: two steps are the shortest period that has both kinds
        (500, [1, 0]),
    ],
)
def test_a_scaled_period_has_steps_of_both_kinds(divisor: float, period: list[float]) -> None:
    scaled = scale_params("periodic", {"period_steps": 100, "sft_steps": 20}, divisor)
    assert values("periodic", 2 * len(period), scaled) == period * 2


def test_a_scaled_period_keeps_its_rl_step() -> None:
    # 90 of 100 steps SFT at a divisor of 30: 3.33 and 3, i.e. 3 steps of 3, of which one stays RL.
    scaled = scale_params("periodic", {"period_steps": 100, "sft_steps": 90}, 30)
    assert values("periodic", 6, scaled) == [1, 1, 0, 1, 1, 0]


def test_adaptive_golden() -> None:
    # tau = 0.5 (Table 3): 0.5 - 0.1 = 0.4. At and above the threshold exactly 0; capped at 1 by 0.5 + 1 = 1.5.
    golden = {0.1: 0.4, 0.5: 0.0, 0.5000001: 0.0, 1.0: 0.0, 0.0: 0.5, -0.5: 1.0, -1.0: 1.0}
    for reward, mu in golden.items():
        found, state, _ = MU_SCHEDULES["adaptive"](3, Signals(reward_mean=reward), {}, threshold=0.5)
        assert found == (pytest.approx(mu) if 0 < mu < 1 else mu) and state == {}


def test_only_adaptive_needs_the_rewards_of_the_step() -> None:
    assert set(MU_SCHEDULES) >= READS_REWARDS
    for name, params in DECLARED.items():
        without = Signals(grad_norm=None, uniform=0.5)
        if name in READS_REWARDS:
            with pytest.raises(ValueError, match="reward_mean is None"):
                MU_SCHEDULES[name](0, without, {}, **params)
        else:
            MU_SCHEDULES[name](0, without, {}, **params)


def sasr(norms: list[float], uniforms: list[float], **params: float) -> tuple[list[float], list[MuState]]:
    """mu and state of every step; norms[s] is the gradient norm of update s, reported with step s + 1."""
    state: MuState = {}
    seen, states = [], []
    for step, uniform in enumerate(uniforms):
        signals = Signals(grad_norm=norms[step - 1] if step else None, uniform=uniform)
        mu, state, _ = MU_SCHEDULES["gradient_norm"](step, signals, state, **params)
        seen.append(mu)
        states.append(state)
    return seen, states


def test_gradient_norm_golden() -> None:
    # Two warm-up updates with norms 9 and 2, so G_w = 2 (the last) and first p = 2 / (2 + 2) = 0.5.
    # Step 2: 0.49 < 0.5, SFT, norm 6, so p = 6 / 8 = 0.75 from now on. Step 3: 0.76, GRPO, its norm 50 counts
    # for nothing. Step 4: 0.74, SFT (by the stale 6), norm 0.5, so p = 0.5 / 2.5 = 0.2. Steps 5 and 6: 0.21 and 0.19.
    mus, states = sasr([9, 2, 6, 50, 0.5, 50, 1], [0.9, 0.9, 0.49, 0.76, 0.74, 0.21, 0.19], **SASR)
    assert mus == [1, 1, 1, 0, 1, 0, 1]
    assert [state.get("sft_norm") for state in states] == [None, 9, 2, 6, 6, 0.5, 0.5]
    assert states[-1] == {"was_sft": 1.0, "sft_norm": 0.5, "warmup_norm": 2}


def test_gradient_norm_gamma_weighs_the_warm_up() -> None:
    # G_w = G_sft = 2: p = 2 / (2 + 3 * 2) = 0.25.
    assert sasr([2, 2], [0, 0, 0.24], warmup_steps=2, gamma=3.0)[0][-1] == 1
    assert sasr([2, 2], [0, 0, 0.26], warmup_steps=2, gamma=3.0)[0][-1] == 0


def test_gradient_norm_forced_to_either_side() -> None:
    draw = random.Random(0)
    norms = [0.1 + draw.random() for _ in range(200)]
    uniforms = [draw.random() for _ in range(200)]
    assert sasr(norms, uniforms, warmup_steps=1, gamma=0.0)[0] == [1.0] * 200
    assert sasr(norms, [0.0, *uniforms[1:]], warmup_steps=0, gamma=1.0)[0] == [0.0] * 200
    both, _ = sasr(norms, uniforms, **SASR)
    assert 0 < sum(both[2:]) < 198


def test_gradient_norm_without_any_gradient_does_not_divide_by_zero() -> None:
    assert sasr([0, 0], [0.0, 0.0, 0.0], **SASR)[0] == [1, 1, 0]


@pytest.mark.parametrize("divisor", [1, 2, 2.5, 3, 7, 10, 12.5, 30])
@pytest.mark.parametrize("decay_steps", [30, 50, 200])
def test_scaled_schedule_walks_through_the_papers_values(divisor: float, decay_steps: int) -> None:
    paper = {**PAPER, "decay_steps": decay_steps}
    scaled = scale_params("linear_decay", paper, divisor)
    assert (scaled["start"], scaled["end"]) == (0.9, 0.05)
    for step in range(math.ceil(decay_steps / divisor) + 3):
        fraction = min(1.0, step * divisor / decay_steps)  # of the paper's decay
        assert value("linear_decay", step, scaled) == pytest.approx(0.9 - 0.85 * fraction, abs=1e-12)


@pytest.mark.parametrize(("name", "params"), [("cosine_decay", COSINE), ("warmup_decay", WARMUP)])
@pytest.mark.parametrize("divisor", [1, 2, 2.5, 4])
def test_scaled_warm_up_and_decay_walk_through_the_papers_values(
    name: str, params: dict[str, float], divisor: float
) -> None:
    scaled = scale_params(name, params, divisor)
    tenth = scale_params(name, params, 0.1)  # ten steps for one: the values between the paper's steps
    for step in range(16):
        expected = value(name, round(step * divisor * 10), tenth)
        assert value(name, step, scaled) == pytest.approx(expected, abs=1e-12)


def test_scaling_keeps_at_least_one_step() -> None:
    scaled = scale_params("linear_decay", PAPER, 100)  # 30 / 100 = 0.3
    assert scaled["decay_steps"] == 1
    assert [value("linear_decay", s, scaled) for s in (0, 1, 2)] == [0.9, 0.05, 0.05]


def test_scaling_leaves_values_alone() -> None:
    assert scale_params("constant", {"value": 0.1}, 10) == {"value": 0.1}
    assert PAPER["decay_steps"] == 30  # and does not touch the declaration
    scale_params("linear_decay", PAPER, 10)
    assert PAPER["decay_steps"] == 30


@pytest.mark.parametrize("name", MU_SCHEDULES)
def test_a_state_from_a_checkpoint_continues_the_same(name: str) -> None:
    """At any step: JSON keeps the state whole, and the call neither changes it nor depends on anything else."""
    draw = random.Random(1)
    state: MuState = {}
    for step in range(40):
        norm = None if step == 0 else draw.uniform(0.1, 5)
        signals = Signals(reward_mean=draw.uniform(-1, 1), grad_norm=norm, uniform=draw.random())
        before = json.dumps(dict(state))
        first = MU_SCHEDULES[name](step, signals, state, **DECLARED[name])
        assert json.dumps(dict(state)) == before
        again = MU_SCHEDULES[name](step, signals, json.loads(before), **DECLARED[name])
        assert first == again and 0 <= first[0] <= 1
        state = first[1]


def test_every_schedule_is_declared_here() -> None:
    assert set(DECLARED) == set(MU_SCHEDULES)


def test_a_new_controller_with_state_and_defaults_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """B.1's max(0, tau - reward_mean), smoothed and after a warm-up: one function and its name."""

    def smoothed(step: int, signals: Signals, state: MuState, *, tau: float, warmup_steps: float = 0) -> Mu:
        assert signals.reward_mean is not None
        mean = 0.5 * state.get("mean", signals.reward_mean) + 0.5 * signals.reward_mean
        return Mu(0.0 if step < warmup_steps else max(0.0, tau - mean), {"mean": mean})

    monkeypatch.setitem(mu_module.MU_SCHEDULES, "smoothed", smoothed)
    assert scale_params("smoothed", {"tau": 0.5, "warmup_steps": 20}, 10) == {"tau": 0.5, "warmup_steps": 2}
    assert scale_params("smoothed", {"tau": 0.5, "warmup_steps": 0}, 10)["warmup_steps"] == 0
    params = scale_params("smoothed", {"tau": 0.5}, 10)
    state: MuState = {}
    seen = []
    for step, reward in enumerate([0.1, 0.3, 0.9]):
        mu, state, _ = MU_SCHEDULES["smoothed"](step, Signals(reward_mean=reward), state, **params)
        state = json.loads(json.dumps(dict(state)))  # as through a checkpoint
        seen.append(mu)
    # Means 0.1; (0.1 + 0.3) / 2 = 0.2; (0.2 + 0.9) / 2 = 0.55: mu = 0.4, 0.3, 0.
    assert seen == pytest.approx([0.4, 0.3, 0.0])


@pytest.mark.parametrize("name", ["constant", "linear_decay", "cosine_decay", "warmup_decay", "periodic"])
def test_plain_schedules_ignore_signals_and_keep_the_state(name: str) -> None:
    params = DECLARED[name]
    state = {"kept": 1.0}
    first, same, _ = MU_SCHEDULES[name](3, Signals(reward_mean=0.0), state, **params)
    second, *_ = MU_SCHEDULES[name](3, Signals(reward_mean=1.0), {}, **params)
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
        ("cosine_decay", 0, {**COSINE, "warmup_steps": -1}, "warmup_steps is -1"),
        ("cosine_decay", 0, {**COSINE, "end": 0.95}, "end is 0.95; allowed: at most start = 0.9"),
        ("warmup_decay", 0, {**WARMUP, "peak": 1.3}, "peak is 1.3"),
        ("warmup_decay", 0, {**WARMUP, "end": 0.4}, "end is 0.4; allowed: at most peak = 0.3"),
        ("warmup_decay", 0, {**WARMUP, "decay_steps": math.inf}, "decay_steps is inf"),
        ("warmup_decay", -1, WARMUP, "step is -1"),
        ("binary", 0, {"switch_steps": -1}, "switch_steps is -1"),
        ("binary", 0, {"switch_steps": math.nan}, "switch_steps is nan"),
        ("binary", -1, {"switch_steps": 3}, "step is -1"),
        ("periodic", 0, {"period_steps": 5, "sft_steps": 0}, "sft_steps is 0"),
        ("periodic", 0, {"period_steps": 5, "sft_steps": 6}, "period_steps is 5; .* sft_steps = 6"),
        ("periodic", 0, {"period_steps": math.inf, "sft_steps": 6}, "period_steps is inf"),
        ("periodic", 0, {"period_steps": math.inf, "sft_steps": math.inf}, "sft_steps is inf"),
        ("warmup_decay", 0, {**WARMUP, "warmup_steps": math.inf}, "warmup_steps is inf"),
        ("gradient_norm", 0, {"warmup_steps": 1, "gamma": math.inf}, "gamma is inf"),
        ("periodic", -1, {"period_steps": 5, "sft_steps": 2}, "step is -1"),
        ("adaptive", 0, {"threshold": math.nan}, "threshold is nan"),
        ("gradient_norm", 0, {**SASR, "warmup_steps": -1}, "warmup_steps is -1"),
        ("gradient_norm", 0, {**SASR, "gamma": -0.5}, "gamma is -0.5"),
        ("gradient_norm", -1, SASR, "step is -1"),
    ],
)
def test_schedules_refuse(name: str, step: int, params: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        value(name, step, params)


@pytest.mark.parametrize(
    ("name", "signals", "message"),
    [
        ("adaptive", Signals(reward_mean=math.nan), "reward_mean is nan"),
        ("gradient_norm", Signals(uniform=0.5), "grad_norm is None after an SFT update"),
        ("gradient_norm", Signals(grad_norm=math.inf, uniform=0.5), "grad_norm is inf"),
        ("gradient_norm", Signals(grad_norm=1.0), "uniform is None"),
        ("gradient_norm", Signals(grad_norm=1.0, uniform=1.0), "uniform is 1.0"),
    ],
)
def test_controllers_refuse_missing_or_impossible_signals(name: str, signals: Signals, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MU_SCHEDULES[name](5, signals, {"was_sft": 1.0}, **DECLARED[name])
