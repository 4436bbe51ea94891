"""The estimate's formulas, against numbers worked out by hand."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from pipelines.ops import estimate
from pipelines.ops.cost import (
    Assumptions,
    MeanTokens,
    Responses,
    activation_bytes,
    gradient_bytes,
    kv_bytes,
    load_assumptions,
    sampling_seconds,
    state_bytes,
    training_flops,
)
from pipelines.ops.estimate import (
    disk_needed,
    estimate_evaluation,
    estimate_run,
    estimate_scale,
    graded_responses,
    render,
    training_disk,
    training_gpu_hours,
)
from pipelines.plan import Plan, load_plan
from pipelines.policy.models import Model, load_models
from reference_impl.config import (
    CONFIG_DIR,
    DeepSpeedChoice,
    EngineOptions,
    RunConfig,
    StrategyChoice,
    TorchChoice,
    resolve_run,
)
from reference_impl.step.token_logprobs import LOGITS_BUDGET
from tests.support.plans import with_scale

# Round numbers: 1 billion parameters, 10 layers of 1,000 units, 2 key-value heads of 50.
MODEL = Model(
    name="round",
    repository="o/round",
    parameters=10**9,
    hidden_size=1000,
    intermediate_size=4000,
    layers=10,
    heads=20,
    kv_heads=2,
    head_dim=50,
    vocabulary=10_000,
    context=4096,
)
ASSUMED = Assumptions(
    gpu="round",
    memory_gb=80,
    peak_tflops=1000,
    update_utilisation=0.5,
    bandwidth_tb_s=4,
    bandwidth_utilisation=0.5,
    pass_min_s=0.0005,
    longest_to_mean=5,
    step_overhead_s=10,
    offload_s=3,
    start_s=100,
    reserved_gb=5,
    logits_at_once=10**7,
    text_bytes=4,
    tokens={name: MeanTokens(prompt=100, rollout=400, expert=900) for name in ("math", "tool", "medicine")},
)


def choice(**values: Any) -> DeepSpeedChoice:
    return DeepSpeedChoice(**{"kind": "deepspeed", "precision": "bf16", **values})


@pytest.fixture(scope="module")
def paper() -> Plan:
    """On four GPUs and without offloading, which the formulas below are worked out for."""
    plan = load_plan({"scale": "paper"})
    scale = plan.choice.scale
    strategy = scale.strategy.model_copy(update={"processes": 4, "processes_of": {}, "offload": "none"})
    train = scale.resources["train"].model_copy(update={"gpu": 4})
    return with_scale(plan, strategy=strategy, resources={**scale.resources, "train": train})


def run(plan: Plan, name: str, **changes: Any) -> RunConfig:
    return dataclasses.replace(resolve_run(plan.choice.declarations, plan.choice.scale, name, "math", 0), **changes)


@pytest.mark.parametrize(("name", "model"), [item for item in load_models().items() if item[1].repository])
def test_parameters_follow_from_the_shapes(name: str, model: Model) -> None:
    """Attention, gated MLP (of every expert) and embeddings; biases, norms and the router are below 0.02 %."""
    attention = 2 * model.hidden_size * (model.heads + model.kv_heads) * model.head_dim
    mlp = 3 * model.hidden_size * model.intermediate_size
    embedding = model.vocabulary * model.hidden_size
    tied = name not in ("Qwen2.5-7B", "Qwen2.5-7B-Instruct", "Phi-mini-MoE-instruct")
    rest = model.layers * attention + embedding * (1 if tied else 2)
    assert model.parameters == pytest.approx(rest + model.layers * mlp * model.experts, rel=4e-4)
    used = 1 if model.experts == 1 else 2  # top 2
    assert model.active_parameters == pytest.approx(rest + model.layers * mlp * used, rel=2e-3)


def test_operations_of_a_training_step() -> None:
    # Forward, a token: 2 · 10^9 + 2 · 10 layers · 20 heads · 50 · length 500 = 2.0e9 + 1e7; × 3, or × 4 with
    # checkpointing; × 1,000 tokens.
    assert training_flops(MODEL, 1000, 500, False) == 3 * 2.01e9 * 1000
    assert training_flops(MODEL, 1000, 500, True) == 4 * 2.01e9 * 1000
    # A mixture of experts computes with its active parameters only.
    moe = MODEL.model_copy(update={"active": 10**8})
    assert training_flops(moe, 1000, 500, False) == 3 * (2e8 + 1e7) * 1000


@pytest.mark.parametrize(
    ("strategy", "bytes_per_parameter"),
    [
        (TorchChoice(), 16),  # float32: 4 + 4 + 8
        (choice(), 16),  # bf16: 2 + 2 + 12; with ZeRO gradients are summed in float32
        (choice(zero_stage=1, processes=4), 2 + 4 + 12 / 4),
        (choice(zero_stage=2, processes=4), 2 + (4 + 12) / 4),
        (choice(zero_stage=3, processes=4), 18 / 4),
        (choice(zero_stage=2, processes=4, offload="optimizer"), 2 + 4 / 4),
        (choice(zero_stage=3, processes=4, offload="parameters"), 4 / 4),
    ],
)
def test_zero_stages_split_optimizer_gradients_and_weights(
    strategy: StrategyChoice, bytes_per_parameter: float
) -> None:
    assert state_bytes(MODEL, strategy) + gradient_bytes(MODEL, strategy) == bytes_per_parameter * 10**9


def test_activations_and_caches() -> None:
    # 34 bytes · 2,000 tokens · 1,000 units = 68 MB a layer; with checkpointing one layer and 10 inputs of 2 bytes each.
    assert activation_bytes(MODEL, 2000, choice()) == 10 * 68e6
    assert activation_bytes(MODEL, 2000, choice(activation_checkpointing=True)) == 68e6 + 10 * 2 * 2e6
    # Keys and values: 2 · 10 layers · 2 heads · 50 · 2 bytes.
    assert kv_bytes(MODEL, "bf16") == 4000


@pytest.mark.parametrize(
    ("number", "responses", "at_once", "passes"),
    [
        (10, Responses(100, 400, 4096), 256, 2000),  # the longest has 5 · 400 tokens, and the others end before it
        (10, Responses(100, 400, 500), 256, 500),  # cut to the limit
        (512, Responses(100, 400, 500), 256, 900),  # 256 that wait: 256 · 400 / 256 passes more
    ],
)
def test_sampling_reads_all_weights_for_every_token_of_the_longest_response(
    number: int, responses: Responses, at_once: int, passes: int
) -> None:
    # 2 · 10^9 bytes at 0.5 · 4e12 a second: 1 ms a pass. Caches: 400 tokens of 4,000 bytes · (100 + 200) before each.
    # Computed: 500 tokens of 2 · 10^9 operations, at 5e14 a second.
    expected = passes * 1e-3 + number * (400 * 4000 * 300 / 2e12 + 500 * 2e9 / 5e14)
    assert sampling_seconds(MODEL, ASSUMED, responses, number, "bf16", at_once) == pytest.approx(expected, rel=1e-12)


def test_a_small_model_samples_no_faster_than_its_shortest_pass() -> None:
    tiny = MODEL.model_copy(update={"parameters": 10**6, "kv_heads": 0, "active": 0})
    seconds = sampling_seconds(tiny, ASSUMED, Responses(100, 400, 500), 1, "bf16", 256)
    assert seconds == pytest.approx(500 * 0.0005, rel=1e-4)


def test_hours_of_a_pure_rl_run(paper: Plan) -> None:
    changes: dict[str, Any] = {"steps": 20, "validate_every": 10, "rl_prompts": 4, "group_size": 6}
    changes["validation_rows"] = 40
    # Update: 24 sequences of 500 tokens: 12,000 · 4 · (2e9 + 1e7) = 9.648e13, on 8 GPUs at 5e14 a second each.
    # Sampling, 3 responses a GPU: 400 passes of 1 ms, 3 · (2.4e-4 + 2e-3) s for tokens. Overhead: 10 s.
    eight = DeepSpeedChoice(kind="deepspeed", precision="bf16", activation_checkpointing=True, processes=8)
    changes["strategy"] = eight
    config = run(paper, "grpo", validation_samples=2, max_response_tokens=400, **changes)
    step = 9.648e13 / 8 / 5e14 + 0.4 + 3 * 2.24e-3 + 10
    # Three validations: 80 responses, 10 a GPU. Start: 100 s. All of it on 8 GPUs.
    expected = 8 * (20 * step + 3 * (0.4 + 10 * 2.24e-3 + 10) + 100) / 3600
    assert training_gpu_hours(config, MODEL, 8, ASSUMED) == pytest.approx(expected, rel=1e-12)
    # CHORD adds 3 demonstrations, cut to the limit: 3 · 500 tokens more in the update.
    mixed = run(paper, "chord_phi", validation_samples=2, max_response_tokens=400, sft_batch=3, **changes)
    more = 20 * 1500 * 4 * 2.01e9 / 5e14 / 3600
    assert training_gpu_hours(mixed, MODEL, 8, ASSUMED) == pytest.approx(expected + more, rel=1e-12)
    # GPUs that only sample are taken as long as the others.
    assert training_gpu_hours(config, MODEL, 16, ASSUMED) == pytest.approx(2 * expected, rel=1e-12)


def test_offloading_takes_its_time_and_sampling_ahead_hides_the_shorter_part(paper: Plan) -> None:
    """10^9 parameters on 2 processes: 3 s / 2 more a step; of update and sampling the longer counts."""
    changes = {"steps": 10, "validate_every": 10, "validation_rows": 8, "rl_prompts": 2, "max_response_tokens": 400}
    split = DeepSpeedChoice(kind="deepspeed", zero_stage=2, precision="bf16", processes=2)

    def step_seconds(**more: Any) -> float:
        """Of a step; two validations of 8 responses and the start taken off."""
        hours = [
            training_gpu_hours(run(paper, "grpo", **{**changes, **more, "steps": n}), MODEL, 1, ASSUMED)
            for n in (11, 12)
        ]
        return (hours[1] - hours[0]) * 3600

    plain = step_seconds(strategy=split)
    offloaded = step_seconds(strategy=split.model_copy(update={"offload": "optimizer"}))
    assert offloaded - plain == pytest.approx(1.5)
    # 2 · 8 responses: 500 tokens each, forward 2e9 + 2 · 10 · 20 · 50 · 500 = 2.01e9, on two processes.
    updating = 16 * 500 * 3 * 2.01e9 / 5e14 / 2
    assert step_seconds(strategy=split, sample_ahead=True) == pytest.approx(plain - updating)


def test_sft_samples_nothing_but_to_validate_and_luffy_samples_one_less(paper: Plan) -> None:
    one = DeepSpeedChoice(kind="deepspeed", precision="bf16", activation_checkpointing=True)
    config = run(paper, "sft-lr1e-06", strategy=one, steps=10, validate_every=10, validation_rows=1, sft_batch=2)
    # 2 · (100 + 900) tokens in sequences of 1,000: forward 2e9 + 2 · 10 · 20 · 50 · 1,000 = 2.02e9. No weight sync.
    step = 2000 * 4 * 2.02e9 / 5e14
    validations = 2 * (5 * 400 * 1e-3 + 2.24e-3 + 10)
    expected = (10 * step + validations + 100) / 3600
    assert training_gpu_hours(config, MODEL, 1, ASSUMED) == pytest.approx(expected, rel=1e-12)

    def sampled(name: str) -> float:
        """Responses of a step; a pass takes no time here, and a response 2.4e-4 s."""
        cheap = ASSUMED.model_copy(
            update={"longest_to_mean": 0, "update_utilisation": 1e12, "step_overhead_s": 0, "start_s": 0}
        )
        chosen = run(paper, name, strategy=one, steps=1, validate_every=10, validation_rows=1, rl_prompts=2)
        return training_gpu_hours(chosen, MODEL, 1, cheap) * 3600 / 2.4e-4 - 1  # one validation taken off

    assert sampled("grpo") == pytest.approx(16, rel=1e-6)
    assert sampled("luffy") == pytest.approx(14, rel=1e-6)


def test_what_a_judge_grades_is_counted(paper: Plan) -> None:
    config = resolve_run(paper.choice.declarations, paper.choice.scale, "grpo", "medicine", 0)
    # 200 steps of 96 · 8 responses, and 11 validations of 500 rows.
    assert graded_responses(config) == 200 * 96 * 8 + 11 * 500 * config.validation_samples
    assert graded_responses(run(paper, "grpo")) == 0
    rows = {row.job: row for row in estimate_scale(paper, "everything", load_assumptions())}
    assert rows["evaluate medicine/grpo"].graded == 2242 and rows["evaluate math/grpo"].graded == 0


def test_disk_of_a_run(paper: Plan) -> None:
    # bf16: weights 2 GB, state 14 GB, of which two exist for a moment.
    assert training_disk(run(paper, "grpo"), MODEL) == (2, 2 + 28)
    epochs = run(paper, "sft-lr1e-06", steps=30, validate_every=10)
    assert training_disk(epochs, MODEL) == (6, 6 + 28)
    single = run(paper, "grpo", strategy=TorchChoice())  # float32: weights 4, state 12
    assert training_disk(single, MODEL) == (4, 4 + 24)


def test_memory_is_the_higher_of_update_and_sampling(paper: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "load_models", lambda: {"Qwen2.5-7B-Instruct": MODEL})
    row = estimate_run(paper, "math", "grpo", ASSUMED)
    # ZeRO-2 over 4: 2 + 12 / 4 = 5 GB; sampling takes 0.4 of 80 GB; 5 reserved.
    assert row.memory_gb == pytest.approx(5 + 32 + 5)
    row = estimate_run(paper, "math", "grpo", ASSUMED.model_copy(update={"memory_gb": 1}))
    # Update: 20,480 tokens: 34 · 20,480 · 1,000 + 10 · 2 · 20,480 · 1,000 = 1.10592 GB; logits 4 · 4 · 10^7 = 0.16 GB,
    # the output embedding's gradient (4 + 2) · 1,000 · 10,000 = 0.06 GB; gradients 4 / 4 = 1 GB.
    assert row.memory_gb == pytest.approx(5 + 1 + 1.10592 + 0.22 + 5)


def test_memory_depends_on_who_samples_and_where(paper: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "load_models", lambda: {"Qwen2.5-7B-Instruct": MODEL})

    def memory(assumed: Assumptions = ASSUMED, **changes: Any) -> float:
        return estimate_run(with_scale(paper, **changes), "math", "grpo", assumed).memory_gb

    # Without a share vLLM takes 0.4 of 80 GB; weights and optimizer are 5 GB, gradients 1, 5 are reserved.
    assert memory(engine_options=EngineOptions()) == pytest.approx(5 + 32 + 5)
    # A dedicated engine has other GPUs than the update: 72 of theirs; with 1 GB ones, 6 + 1.10592 + 0.22 on the others.
    dedicated = EngineOptions(placement="dedicated", gpu_memory_utilization=0.9)
    assert memory(engine_options=dedicated) == pytest.approx(72 + 5)
    small = ASSUMED.model_copy(update={"memory_gb": 1})
    assert memory(small, engine_options=dedicated) == pytest.approx(6 + 1.32592 + 5)
    # transformers: a second copy of the weights, 2 GB, and one response's cache: 4,000 bytes · (100 + 16,384).
    assert memory(engine="transformers", engine_options=EngineOptions(), rollout_batch=1) == pytest.approx(
        6 + 2 + 1.32592 + 5
    )
    # 256 responses at once: 256 · 4,000 · 16,484 = 16.879616 GB, more than the update.
    assert memory(engine="transformers", engine_options=EngineOptions()) == pytest.approx(5 + 2 + 16.879616 + 5)


def test_processes_on_several_machines_are_all_counted(paper: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """`resources.train.gpu` is what one machine gives."""
    monkeypatch.setattr(estimate, "load_models", lambda: {"Qwen2.5-7B-Instruct": MODEL})
    two = with_scale(paper, strategy=paper.choice.scale.strategy.model_copy(update={"processes": 16}))
    row = estimate_run(two, "math", "grpo", ASSUMED)
    assert two.options.resources("train")["gpu"] == 4 and row.gpus == 16
    config = resolve_run(two.choice.declarations, two.choice.scale, "grpo", "math", 0)
    assert row.gpu_hours == training_gpu_hours(config, MODEL, 16, ASSUMED)


def test_evaluation_counts_samples_and_caps(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = load_plan({"scale": "gpu1"})
    monkeypatch.setattr(estimate, "load_models", lambda: {"Qwen2.5-1.5B-Instruct": MODEL})
    row = estimate_evaluation(plan, "math", "grpo", ASSUMED)
    # amc 83 · 4 (of 8), AIME 30 · 4 (of 32) twice, MMLU-Pro 500 (of 12,032) · 1.
    samples = 332 + 120 + 120 + 500
    # Task by task, 256 at once: the longest of each has 2,000 tokens, 76 of AMC's and 244 of MMLU-Pro's wait; 2.24e-3 s
    # for the tokens of each.
    seconds = (4 * 2000 + (76 + 244) * 400 / 256) * 1e-3 + samples * 2.24e-3
    assert row.gpu_hours == pytest.approx((seconds + 100) / 3600)
    assert row.kept_gb == pytest.approx(samples * 500 * 4 / 1e9)
    # The evaluation's own share of the GPU, 0.9 of 80 GB, and 5 reserved.
    assert row.memory_gb == pytest.approx(72 + 5)
    plain = with_scale(
        plan, evaluation=plan.choice.scale.evaluation.model_copy(update={"engine_options": EngineOptions()})
    )
    assert estimate_evaluation(plain, "math", "grpo", ASSUMED).memory_gb == pytest.approx(32 + 5)
    # transformers: 2 GB of weights, and 256 caches of 4,000 bytes · (100 + 2,048) tokens.
    other = with_scale(plain, engine="transformers")
    assert estimate_evaluation(other, "math", "grpo", ASSUMED).memory_gb == pytest.approx(2 + 2.199552 + 5)


@pytest.mark.parametrize("target", estimate.TARGETS)
def test_every_job_of_the_paper_is_in_the_table_once(paper: Plan, target: str) -> None:
    rows = estimate_scale(paper, target, load_assumptions())
    jobs = [row.job for row in rows]
    assert len(set(jobs)) == len(jobs)
    assert {"policy Qwen2.5-7B-Instruct", "train math/chord_phi", "select math/sft_best"} < set(jobs)
    assert ("train medicine/chord_phi" in jobs) == (target == "everything")
    grid = next(row for row in rows if row.job == "train math/sft-lr1e-06")
    assert grid.kept_gb == 0 < grid.waiting_gb
    kept, beside = disk_needed(rows)
    assert kept == pytest.approx(sum(row.kept_gb for row in rows)) and beside > grid.waiting_gb


def test_one_gpu_takes_a_day_at_most_and_every_job_fits() -> None:
    assumptions = load_assumptions()
    rows = estimate_scale(load_plan({"scale": "gpu1"}), "everything", assumptions)
    assert sum(row.hours for row in rows) <= 24
    for plan in (load_plan({"scale": "paper"}), load_plan({"scale": "gpu1"})):
        text = render(plan, estimate_scale(plan, "everything", assumptions), assumptions)
        assert "DOES NOT FIT" not in text and "TOO LONG" not in text
        assert "none of them measured" in text and "update_utilisation: 0.35" in text
        assert assumptions.logits_at_once == LOGITS_BUDGET
        assert "not counted: " in text and "servers that write demonstrations" in text


def test_what_does_not_fit_or_takes_too_long_is_said(paper: Plan) -> None:
    small = load_assumptions().model_copy(update={"memory_gb": 24, "update_utilisation": 0.01})
    text = render(paper, estimate_scale(paper, "headline", small), small)
    assert "DOES NOT FIT: train math/grpo needs" in text
    assert "TOO LONG for resources.train.runtime (168 hours): train math/grpo" in text


def test_seeds_multiply_time_and_disk_but_not_memory() -> None:
    one, two = (
        {row.job.split(" ×")[0]: row for row in estimate_scale(plan, "headline", load_assumptions())}
        for plan in (load_plan({"scale": "gpu1"}), load_plan({"scale": "gpu1", "seeds": [0, 1]}))
    )
    first, second = one["train math/grpo"], two["train math/grpo"]
    assert second.gpu_hours == 2 * first.gpu_hours and second.kept_gb == 2 * first.kept_gb
    assert second.memory_gb == first.memory_gb
    assert two["policy Qwen2.5-1.5B-Instruct"] == one["policy Qwen2.5-1.5B-Instruct"]


def test_a_scale_without_gpus_has_no_estimate(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="scale mini uses no GPU"):
        estimate.main(["--scale", "mini"])
    with pytest.raises(SystemExit, match="did you mean 'paper'"):
        estimate.main(["--scale", "papr"])
    estimate.main(["--scale", "gpu1", "--target", "headline"])
    assert "in all:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("memory_gb: 80", "memory: 80", r"memory: unknown key; did you mean 'memory_gb'"),
        (
            "update_utilisation: 0.35",
            "update_utilisation: 35",
            r"update_utilisation: .*less than or equal to 1, found 35",
        ),
        ("expert: 6132", "experts: 6132", r"tokens\.math\.experts: unknown key; did you mean 'expert'"),
    ],
)
def test_assumptions_that_cannot_be_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "estimate.yaml"
    path.write_text((CONFIG_DIR / "estimate.yaml").read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_assumptions(path)


def test_a_domain_without_lengths_is_named(tmp_path: Path) -> None:
    path = tmp_path / "estimate.yaml"
    text = (CONFIG_DIR / "estimate.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("medicine:", "medical:"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"domain 'medicine'; did you mean 'medical'\? \(estimate\.yaml: tokens"):
        estimate_scale(load_plan({"scale": "paper"}), "everything", load_assumptions(path))
