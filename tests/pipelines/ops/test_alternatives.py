"""Ways to train a policy, compared: hours and memory by hand, what does not fit, what is cheapest."""

from dataclasses import dataclass

import pytest

from pipelines.ops.alternatives import Alternative, alternatives, changed, cheapest, lines
from pipelines.ops.cost import load_assumptions
from pipelines.ops.estimate import estimate_run, needed_runs
from pipelines.plan import Plan, load_plan
from tests.support.plans import with_scale


@dataclass(frozen=True)
class Made:
    model: str
    gpu_hours: float
    memory_gb: float
    hours: float


def estimate(plan: Plan, domain: str, run: str) -> Made:
    """Half of the time goes down with processes, half does not; memory is shared, and less of it offloaded."""
    scale = plan.choice.scale
    number, offloaded = scale.strategy.processes, scale.strategy.offload != "none"
    gpus = plan.options.train_resources(domain, run)["gpu"]
    assert gpus == number * (2 if scale.sample_ahead else 1)
    memory = (120 if run == "grpo" else 60) / number - 15 * offloaded
    gpu_hours = 10 + 10 * gpus + 4 * offloaded
    return Made("big" if run == "grpo" else "small", gpu_hours, memory, gpu_hours / gpus)


def test_every_power_of_two_up_to_the_scale_s_in_every_way() -> None:
    plan = load_plan({"scale": "paper", "seeds": [0, 1]})
    strategy = plan.choice.scale.strategy.model_copy(update={"processes": 2, "processes_of": {"small": 1}})
    plan = with_scale(plan, strategy=strategy)
    found = alternatives(plan, [("math", "grpo"), ("math", "chord_phi"), ("tool", "chord_phi")], estimate)
    assert found["big"] == [
        Alternative(1, "", 40, 20, 120),
        Alternative(2, "", 60, 15, 60),
        Alternative(1, " offloaded", 48, 24, 105),
        Alternative(2, " offloaded", 68, 17, 45),
        Alternative(1, " ahead", 60, 15, 120),
        Alternative(2, " ahead", 100, 12.5, 60),
    ]
    assert [option.gpu_hours for option in found["small"]] == [80, 120, 96, 136, 120, 200]
    said = lines(plan, found, memory_gb=80)
    declared = " offloaded" if strategy.offload == "optimizer" else ""
    assert said[1] == (
        "  big: 2: 60 (60 GB, 15 h), 2 offloaded: 68 (45 GB, 17 h), 2 ahead: 100 (60 GB, 12 h); "
        f"cheapest 2, declared 2{declared}"
    )
    assert said[2].endswith(f"cheapest 1, declared 1{declared}")
    assert lines(plan, found, memory_gb=10)[1:] == ["  big: none fits", "  small: none fits"]


def test_what_takes_longer_than_a_job_may_does_not_fit() -> None:
    slow, fast = Alternative(1, "", 300, 300, 60), Alternative(4, "", 400, 100, 60)
    assert cheapest([slow, fast], 80, 168) == fast
    assert cheapest([slow, fast], 80, 300) == slow
    assert cheapest([slow, fast], 50, 300) is None


def test_what_samples_ahead_has_engines_of_its_own() -> None:
    scale = changed(load_plan({"scale": "paper"}), 2, " ahead").choice.scale
    assert scale.sample_ahead and scale.engine_options.placement == "dedicated"
    assert scale.resources["train"].gpu == 4


def test_only_deepspeed_has_a_choice() -> None:
    assert alternatives(load_plan({"scale": "mini"}), [("math", "grpo")], estimate) == {}


def test_the_paper_s_scale_declares_the_cheapest() -> None:
    plan, assumptions = load_plan({"scale": "paper"}), load_assumptions()
    runs = [pair for pair in needed_runs(plan, "everything")[0] if pair[1] in plan.choice.training_runs]
    found = alternatives(plan, runs, lambda other, domain, run: estimate_run(other, domain, run, assumptions))
    for policy, options in found.items():
        strategy = plan.choice.scale.strategy_of(policy)
        (own,) = [o for o in options if o.processes == strategy.processes and o.way == " offloaded"]
        least = cheapest(options, assumptions.memory_gb, plan.options.resources("train")["runtime"] / 60)
        assert strategy.offload == "optimizer" and least is not None
        assert own.gpu_hours == pytest.approx(least.gpu_hours, rel=0.05), policy
