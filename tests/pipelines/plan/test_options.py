"""What jobs get: command lines, resources, priorities."""

from pipelines.plan import load_plan
from reference_impl.config.judges import parse_judge
from tests.support.plans import with_domain, with_method, with_scale


def test_resources_and_launchers_are_the_scales() -> None:
    paper = load_plan({"scale": "paper"})
    assert paper.options.resources("train")["gpu"] == paper.choice.scale.strategy.processes == 2
    assert paper.options.launcher("train") == "torchrun --standalone --shutdown-timeout 600 --nproc-per-node 2 -m --"
    assert paper.options.launcher("generate") == "python -m"
    mini = load_plan({"scale": "mini"})
    assert (mini.options.resources("train")["gpu"], mini.options.resources("train")["threads"]) == (0, 1)
    assert mini.options.launcher("train") == "python -m"


def test_jobs_are_forks_where_no_gpu_launcher_or_engine_needs_a_process_of_its_own() -> None:
    mini = load_plan({"scale": "mini"})
    options = mini.options
    started = {options.start(), options.start_training("math", "grpo"), options.start_sampling()}
    assert started == {"python -m pipelines.ops.warm"}
    paper = load_plan({"scale": "paper"})
    assert paper.options.start() == "python -m"
    lease = "python -m pipelines.ops.gpu_lease --gpu"
    every = with_scale(paper, strategy=paper.choice.scale.strategy.model_copy(update={"processes_of": {}}))
    torchrun = "torchrun --standalone --shutdown-timeout 600 --nproc-per-node"
    assert every.options.start_training("math", "grpo") == f"{lease} 2 -- {torchrun} 2 -m --"
    assert paper.options.start_sampling() == f"{lease} 1 -- python -m"
    scale = paper.choice.scale
    for changes in (
        {"resources": {"generate": scale.resources["generate"]}},
        {"launcher": {"generate": "nice python -m"}},
        {"strategy": scale.strategy.model_copy(update={"processes": 1})},
        {"engine": "vllm"},
    ):
        assert not with_scale(mini, **changes).options.warm, changes


def test_a_policy_with_fewer_processes_asks_for_less() -> None:
    plan = load_plan({"scale": "paper"})
    few = plan.choice.scale.strategy.model_copy(update={"processes_of": {"Qwen2.5-3B-Instruct": 1}})
    plan = with_scale(plan, strategy=few)
    whole, part = plan.options.train_resources("math", "grpo"), plan.options.train_resources("math", "grpo_weak")
    assert whole == plan.options.resources("train")
    assert part == {**whole, "gpu": 1, "threads": 8, "mem_mb": 160000}
    assert "--gpu 1 -- " in plan.options.start_training("math", "grpo_weak")
    assert "--nproc-per-node 1 " in plan.options.start_training("math", "grpo_weak")


def test_a_judged_task_is_graded_by_the_judge_of_its_scale() -> None:
    plan = load_plan({"scale": "mini"})
    assert plan.options.judge("medicine", "sandbox-medicine") == ["--judge", '{"kind": "local", "noise": 0.05}']
    assert plan.options.judge("math", "sandbox-amc") == []
    judge = parse_judge("{kind: http, url: 'http://localhost:8000/v1', timeout_s: 60, prices: [0.1, 0.2]}", "test")
    option, text = with_domain(plan, "medicine", judge=judge).options.judge("medicine", "sandbox-medicine")
    assert option == "--judge" and parse_judge(text, option) == judge


def test_the_headline_is_more_urgent_than_the_rest() -> None:
    plan = load_plan({"scale": "mini"})
    assert (
        plan.options.priority("math", "sft-lr5e-06")
        > plan.options.priority("math", "srft")
        == plan.options.priority("math", "sft_weak-lr5e-06")
    )
    assert (
        plan.options.priority("math", "sft_light")
        == plan.options.priority("math", "grpo")
        == plan.options.priority("math", "sft_curve")
        > 0
    )
    assert plan.options.priority("medicine", "grpo") == 0, "the headline has no medicine"


def test_a_run_that_may_be_another_comes_after_the_others() -> None:
    """Beside that one it would wait: SFT-best + RL for SFT-light + RL, one grid for another of the same policy."""
    plan = load_plan({"scale": "mini"})
    grid = {("math", run) for run in plan.choice.declarations.runs("sft_small")}
    repeated = {(domain, run) for domain, run in plan.choice.repeated_runs if "@" not in run}
    assert repeated == {("math", "sft_best_rl"), ("tool", "sft_best_rl"), *grid}
    assert ("tool", "phi_is_clip@clip_cap") in plan.choice.repeated_runs  # phi_is_clip_cap
    train, evaluate = plan.options.train_priority, plan.options.priority
    assert train("math", "sft_light_rl") == train("math", "grpo") > train("math", "sft_best_rl")
    assert train("math", "sft_best_rl") == evaluate("math", "sft_best_rl") > train("math", "srft")
    policies = plan.choice.scale.domains["math"].policies
    other = with_domain(plan, "math", policies={**policies, "small": policies["base"]})
    assert not other.choice.repeated_runs & grid
    assert ("math", "sft_best_rl") not in with_method(plan, "sft_best_rl", normalise=False).choice.repeated_runs
