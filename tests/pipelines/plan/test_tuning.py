"""What tuned learning rates change in a plan: fewer runs of a grid, other hashes, and a warning when they are stale."""

import dataclasses

import pytest

from pipelines.plan import Plan, load_plan
from pipelines.plan.checks import tuning_warnings
from reference_impl.config import TUNING_SEED, Trial, Tuned, TunedMethod, resolve_run


def tuned_plan(**rates: float) -> Plan:
    """Mini with these rates on math, tuned with the settings of now."""
    plan = load_plan({"scale": "mini"})
    decl, scale = plan.choice.declarations, plan.choice.scale.model_copy(update={"tuned": None})
    methods = {}
    for name, rate in rates.items():
        method = decl.method(name)
        of = decl.runs(method.select.grid) if method.select else decl.trials(name)
        run = next(run for run, value in of.items() if value == rate)
        now = resolve_run(decl, scale, run, "math", TUNING_SEED).hash()
        trial = Trial(learning_rate=rate, run=run, step=1, score=0.5, stderr=0.0, config_hash=now, policy_hash="p")
        methods[name] = TunedMethod(learning_rate=rate, trials=(trial,))
    tuned = Tuned(seed=TUNING_SEED, domains={"math": methods})
    return Plan(dataclasses.replace(plan.choice, scale=scale.model_copy(update={"tuned": tuned})))


def test_a_selection_has_the_run_of_its_tuned_rate_and_all_while_tuning() -> None:
    files = tuned_plan(sft_light=5e-6, sft_best=1e-5).files
    runs = "results/mini/runs/{domain}/sft-lr{rate}/seed{seed}/run.json"
    assert files.selection_candidates("math", "sft_light", 0) == [runs.format(domain="math", rate="5e-06", seed=0)]
    assert files.selection_candidates("math", "sft_best", 0) == [runs.format(domain="math", rate="1e-05", seed=0)]
    assert len(files.selection_candidates("math", "sft_best", TUNING_SEED)) == 3
    assert len(files.selection_candidates("tool", "sft_best", 0)) == 3  # not tuned there
    # What may be pruned is what was trained.
    assert [folder.split("/")[4] for folder in files.grid_folders("math", "sft", 0)] == ["sft-lr5e-06", "sft-lr1e-05"]


def test_tuning_trains_every_method_at_every_rate_with_its_seed() -> None:
    plan = load_plan({"scale": "mini"})
    records = plan.files.tuning_records()
    assert all(record.endswith(f"/seed{TUNING_SEED}/run.json") for record in records)
    math = {record.split("/")[4] for record in records if "/math/" in record}
    assert {"chord_phi-lr1e-06", "chord_phi-lr5e-06", "chord_phi-lr1e-05", "sft_light", "sft_best"} <= math
    assert "srft-lr1e-06" not in math
    start = plan.files.initial_checkpoint("math", "sft_best_rl-lr1e-05", TUNING_SEED)
    assert start == f"results/mini/runs/math/sft_best/seed{TUNING_SEED}/best"


def test_no_table_may_have_the_tuning_seed() -> None:
    with pytest.raises(ValueError, match=f"seeds: {TUNING_SEED} is the seed that learning rates are tuned with"):
        load_plan({"scale": "mini", "seeds": [0, TUNING_SEED]})


def test_rates_tuned_with_other_settings_are_named() -> None:
    plan = tuned_plan(grpo=5e-6, chord_phi=1e-6)
    scale = plan.choice.scale
    assert tuning_warnings(plan.choice.declarations, scale) == []
    math = scale.domains["math"].model_copy(update={"rl_prompts": 4})
    changed = scale.model_copy(update={"domains": {**scale.domains, "math": math}})
    (warning,) = tuning_warnings(plan.choice.declarations, changed)
    assert warning.startswith("pipelines/config/tuned/mini.json: math: grpo, chord_phi: tuned with other settings")


def test_the_figure_of_the_choice_needs_no_run() -> None:
    plan = tuned_plan(grpo=5e-6)
    assert plan.files.report_sources("tuning") == []
    assert plan.hashes.experiment("tuning") != tuned_plan(grpo=1e-5).hashes.experiment("tuning")
