"""Numbers of processes a run, compared: hours and memory by hand, what does not fit, what is cheapest."""

from dataclasses import dataclass

from pipelines.ops.alternatives import Alternative, alternatives, lines
from pipelines.ops.cost import load_assumptions
from pipelines.ops.estimate import estimate_run, needed_runs
from pipelines.plan import Plan, load_plan
from tests.support.plans import with_scale


@dataclass(frozen=True)
class Made:
    model: str
    gpu_hours: float
    memory_gb: float


def estimate(plan: Plan, domain: str, run: str) -> Made:
    """Half of the time goes down with processes, half does not; memory is shared."""
    number = plan.choice.scale.strategy.processes
    assert plan.options.train_resources(domain, run)["gpu"] == number
    return Made("big" if run == "grpo" else "small", 10 + 10 * number, (120 if run == "grpo" else 60) / number)


def test_every_power_of_two_up_to_the_scale_s() -> None:
    plan = load_plan({"scale": "paper", "seeds": [0, 1]})
    found = alternatives(plan, [("math", "grpo"), ("math", "chord_phi"), ("tool", "chord_phi")], estimate)
    assert found["big"] == [Alternative(1, 40, 120), Alternative(2, 60, 60), Alternative(4, 100, 30)]
    assert found["small"] == [Alternative(1, 80, 60), Alternative(2, 120, 30), Alternative(4, 200, 15)]
    declared = plan.choice.scale.strategy.model_copy(update={"processes_of": {"small": 1}})
    said = lines(with_scale(plan, strategy=declared), found, memory_gb=80)
    assert said[1:] == [
        "  big: 2: 60 (60 GB), 4: 100 (30 GB); cheapest 2, declared 4",
        "  small: 1: 80 (60 GB), 2: 120 (30 GB), 4: 200 (15 GB); cheapest 1, declared 1",
    ]
    assert lines(plan, found, memory_gb=10)[1:] == ["  big: none fits", "  small: none fits"]


def test_only_deepspeed_has_a_choice() -> None:
    assert alternatives(load_plan({"scale": "mini"}), [("math", "grpo")], estimate) == {}


def test_the_paper_s_scale_declares_the_cheapest() -> None:
    plan, assumptions = load_plan({"scale": "paper"}), load_assumptions()
    runs = [pair for pair in needed_runs(plan, "everything")[0] if pair[1] in plan.choice.training_runs]
    found = alternatives(plan, runs, lambda other, domain, run: estimate_run(other, domain, run, assumptions))
    for policy, options in found.items():
        fit = [option for option in options if option.memory_gb <= assumptions.memory_gb]
        cheapest = min(fit, key=lambda option: option.gpu_hours)
        assert plan.choice.scale.strategy_of(policy).processes == cheapest.processes, policy
