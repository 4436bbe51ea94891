"""Readings in the plan: what `sensitivity` is made of, and where a preset's results are."""

from pipelines.plan import load_plan
from tests.support.plans import with_scale


def test_sensitivity_is_made_of_every_readings_methods_and_of_their_own() -> None:
    plan = load_plan({"scale": "smoke", "mine": ""})
    sources = plan.files.sensitivity_sources()
    for name in ("chord_mu@mu_tool", "chord_mu"):
        assert f"results/smoke/scores/tool/{name}/seed0.parquet" in sources
        assert f"results/smoke/runs/tool/{name}/seed0/run.json" in sources
    assert "results/smoke/scores/math/chord_mu@mu_tool/seed0.parquet" not in sources
    assert len(sources) == len(set(sources))
    tool = {"tool": plan.choice.scale.domains["tool"]}
    assert ("chord_mu@mu_warmup", ("math",)) in plan.choice.readings
    assert "chord_mu@mu_warmup" not in dict(with_scale(plan, domains=tool).choice.readings)


def test_readings_are_in_no_list_of_the_papers_methods() -> None:
    plan = load_plan({"scale": "mini", "mine": ""})
    derived = set(plan.choice.declarations.derived)
    boards = {name for groups in plan.choice.boards.values() for names in groups for name in names}
    assert derived and not derived & ({*plan.files.targets(), *plan.files.regrade_targets()} | boards)
    assert derived <= set(plan.choice.training_runs)
    compared = load_plan({"scale": "mini", "mine": "", "methods": ("chord_mu@mu_cosine", "chord_mu")})
    assert "results/mini/scores/medicine/chord_mu@mu_cosine/seed0.parquet" in compared.files.comparison_sources()


def test_a_preset_has_results_of_its_own() -> None:
    usual, plan = (load_plan({"scale": "mini", "mine": "", "reading": reading}) for reading in ("", "released"))
    assert (plan.reading, plan.files.results) == ("released", "results/mini/readings/released")
    assert plan.files.targets().keys() == usual.files.targets().keys()
    assert plan.files.records("grpo")[0] == "results/mini/readings/released/runs/math/grpo/seed0/run.json"
    assert plan.files.sensitivity_sources() == []
    for run, same in (("grpo", False), ("chord_mu", False), ("sft-lr1e-06", False)):
        assert (usual.hashes.run("math", run, 0) == plan.hashes.run("math", run, 0)) is same
