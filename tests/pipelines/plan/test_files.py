"""Which files a scale has, and what each is made from."""

from pathlib import Path

import pytest

from pipelines.plan import Plan, load_plan
from tests.support.plans import SCALES, with_scale


@pytest.fixture(scope="module", params=SCALES)
def plan(request: pytest.FixtureRequest) -> Plan:
    return load_plan({"scale": request.param})


def test_the_untrained_policy_is_asked_with_two_prompts_where_tasks_have_the_papers() -> None:
    for scale, asked in (("mini", False), ("paper", True), ("gpu1", True)):
        plan = load_plan({"scale": scale, "mine": ""})
        second = f"results/{scale}/scores/math/original_qwen/seed0.parquet"
        assert (second in plan.files.report_sources("table1")) is asked
        assert (plan.hashes.tasks("math", "original_qwen") != plan.hashes.tasks("math", "original")) is asked
        assert plan.hashes.tasks("math", "original") == plan.hashes.tasks("math")
    paper = load_plan({"scale": "paper", "mine": ""})
    assert paper.choice.second_of("original", "tool") is None and paper.choice.second_of("grpo", "math") is None
    assert paper.files.scores("original_weak", ("math",)) == [
        f"results/paper/scores/math/{name}/seed0.parquet" for name in ("original_weak", "original_weak_qwen")
    ]


def test_every_target_is_made_of_files_of_its_own_scale(plan: Plan) -> None:
    for name, files in plan.files.targets().items():
        if name != "original":
            assert files, name
        assert all(file.startswith(f"results/{plan.choice.scale.name}/") for file in files)


def test_a_run_reads_its_own_demonstrations_and_starts_from_its_own_policy() -> None:
    plan = load_plan({"scale": "mini"})
    folder = "results/mini/data/tool/"
    assert plan.files.run_data("tool", "chord_phi") == [
        folder + name for name in ("prompts.jsonl", "validation.jsonl", "expert.jsonl")
    ]
    assert plan.files.run_data("tool", "luffy")[-1] == folder + "expert-aligned.jsonl"
    assert plan.files.run_data("tool", "sft_second-lr5e-06")[-1] == folder + "expert-second.jsonl"
    assert plan.files.initial_checkpoint("tool", "chord_phi_moe", 0) == "results/mini/policies/sandbox-tool-moe"
    assert plan.files.initial_checkpoint("math", "sft_weak-lr5e-06", 0) == "results/mini/policies/sandbox-math-small"
    assert (
        plan.files.initial_checkpoint("math", "sft_best_rl_weak", 0)
        == "results/mini/runs/math/sft_best_weak/seed0/best"
    )
    assert plan.files.checkpoint("math", "original_weak", 0) == "results/mini/policies/sandbox-math-small"


def test_data_of_a_real_stage_follows_from_its_sources_benchmarks_and_tokenizer() -> None:
    paper, folder = load_plan({"scale": "paper"}), "results/paper"
    policy = f"{folder}/policies/Llama-3.2-3B-Instruct"
    assert paper.files.data_sources("tool") == [f"{folder}/data/tool/candidates.jsonl", f"{policy}/manifest.json"]
    known = ["--benchmarks", f"{folder}/benchmarks", "--tokenizer", policy]
    assert paper.options.data("tool") == [*known, "--answers", f"{folder}/answers"]
    tasks = paper.choice.scale.domains["tool"].tasks
    assert paper.files.benchmark_sources(tasks) == [f"{folder}/benchmarks/bfcl"]
    mini = load_plan({"scale": "mini"})
    assert mini.files.data_sources("tool") == mini.options.data("tool") == []
    assert mini.files.benchmark_sources(mini.choice.scale.domains["math"].tasks) == ["results/mini/benchmarks"]


def test_every_evaluated_method_can_be_graded_again_where_it_has_samples(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    targets = plan.files.regrade_targets()
    methods = {name for name, method in plan.choice.declarations.methods.items() if method.role == "method"}
    assert set(targets) == {"regrade", *(f"regrade_{name}" for name in methods)}
    assert not any(targets.values())
    task = plan.choice.scale.domains["tool"].tasks[0]
    samples = Path(plan.files.results, "evaluations", "tool", "original", "seed0", f"{task}.jsonl")
    samples.parent.mkdir(parents=True)
    samples.touch()
    targets = plan.files.regrade_targets()
    summary = f"{plan.files.results}/regraded/tool/original/seed0/{task}.json"
    assert {name: files for name, files in targets.items() if files} == {
        "regrade": [summary],
        "regrade_original": [summary],
    }


def test_a_scale_without_a_domain_leaves_its_tables_and_figures_out() -> None:
    plan = load_plan({"scale": "mini"})
    domains = {name: plan.choice.scale.domains[name] for name in ("math", "medicine")}
    fewer = with_scale(plan, domains=domains)
    lost = set(plan.choice.experiments()) - set(fewer.choice.experiments())
    assert lost == {"table3", "table4", "table6", "table9", "table10", "table12", "figure12"}
    assert "table10" not in fewer.choice.headline and "table1" in fewer.choice.headline
    everything = fewer.files.targets()["everything"]
    assert not [path for path in everything if "table10" in path] and "results/mini/report/index.html" in everything
    assert not [path for path in fewer.files.report_sources("table1") if "/tool/" in path]


def test_a_page_is_made_of_its_tables_figures_samples_and_of_what_phi_does() -> None:
    files = load_plan({"scale": "mini"}).files
    index, everything = (set(files.page_sources(page)) for page in ("index", "everything"))
    assert {"results/mini/report/tables/table1.json", "results/mini/report/figures/figure9.csv"} < index
    assert {"results/mini/evaluations/math/grpo/seed0", "results/mini/phi/tool.json"} < index
    assert index < everything and "results/mini/report/figures/phi-medicine.csv" in everything - index
    assert not [path for path in index if "medicine" in path or path.endswith(".html")]
    assert "results/mini/runs/math/chord_phi/seed0/run.json" in files.phi_sources("math")
    assert not [path for path in files.phi_sources("math") if "/tool/" in path]


def test_grids_are_pruned_once_all_that_choose_from_them_have_chosen() -> None:
    paper = load_plan({"scale": "paper"})
    marker = "results/paper/pruned/math/sft/seed0.json"
    assert paper.files.selections_from("math", "sft", 0) == [
        f"results/paper/runs/math/{name}/seed0/run.json" for name in ("sft_light", "sft_best")
    ]
    for target in ("sft_best", "sft_best_rl", "table1", "everything"):
        assert marker in paper.files.targets()[target], target
    assert not [path for path in paper.files.targets()["grpo"] if "/pruned/" in path]
    mini = load_plan({"scale": "mini"})
    assert not [path for files in mini.files.targets().values() for path in files if "/pruned/" in path]
