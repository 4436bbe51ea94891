"""What makes a file again, and what does not."""

import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.plan import Plan, load_plan
from pipelines.sandbox import tool_world
from reference_impl.config import CONFIG_DIR, LocalJudgeSettings
from reference_impl.config.schedules import Constant
from reference_impl.files import write_jsonl
from tests.support.plans import SCALES, configuration, with_domain, with_method


def run_hashes(plan: Plan) -> dict[tuple[str, str], str]:
    return {
        (domain, run): plan.hashes.run(domain, run, 0)
        for run in plan.choice.training_runs
        for domain in plan.choice.declarations.method_domains(plan.choice.declarations.owner(run)[0].name)
    }


@pytest.mark.parametrize("scale", SCALES)
def test_every_training_run_of_every_scale_resolves_to_its_own_configuration(scale: str) -> None:
    plan = load_plan({"scale": scale})
    hashes = {
        (domain, run): plan.hashes.run(domain, run, plan.choice.seeds[0])
        for method in plan.choice.declarations.methods
        for run in plan.choice.declarations.runs(method)
        for domain in plan.choice.declarations.method_domains(method)
        if domain in plan.choice.scale.domains
    }
    assert hashes
    assert len(set(hashes.values())) == len(hashes)


def test_a_run_depends_on_its_own_entry_and_on_nothing_that_only_reports_read() -> None:
    plan = load_plan({"scale": "mini"})
    before = run_hashes(plan)

    after = run_hashes(with_method(plan, "chord_phi", mu=Constant(schedule="constant", value=0.2)))
    assert {run for (domain, run), value in after.items() if before[domain, run] != value} == {"chord_phi"}

    assert run_hashes(with_method(plan, "chord_phi", label="another name", paper="another quotation")) == before


def test_a_change_reaches_the_entries_that_inherit_it_and_no_other(tmp_path: Path) -> None:
    text = (CONFIG_DIR / "methods.yaml").read_text(encoding="utf-8")
    entry = re.search(r"^chord_phi:\n(?: .*\n)+", text, flags=re.MULTILINE)
    assert entry is not None
    root = configuration(tmp_path, "methods.yaml", entry[0], entry[0].replace("value: 0.1}", "value: 0.2}"))
    before, after = run_hashes(load_plan({"scale": "mini"})), run_hashes(load_plan({"scale": "mini"}, root))
    # Those `like: chord_phi`; chord_phi_relaxed has a mu of its own. Readings of them change with them.
    changed = {run for (domain, run), value in after.items() if before[domain, run] != value}
    assert {run for run in changed if "@" not in run} == {
        *("chord_phi", "chord_phi_second", "chord_phi_moe", "chord_phi_large"),
        *("phi_entropy_top", "phi_entropy_norm", "phi_is_clip", "phi_is_clip_cap", "phi_focal"),
        *("phi_none", "phi_importance"),
    }
    assert {run.partition("@")[0] for run in changed if "@" in run} == {"chord_phi", "phi_is_clip", "phi_focal"}


def test_data_depends_on_its_sizes_and_not_on_how_long_runs_are() -> None:
    plan = load_plan({"scale": "mini"})

    def hashes(of: Plan, domain: str) -> dict[str, str]:
        return {name: of.hashes.split(domain, name) for name in of.choice.splits(domain)}

    before, after = hashes(plan, "math"), hashes(with_domain(plan, "math", prompt_rows=7), "math")
    # One demonstration to every prompt: the aligned set changes with the prompts, and nothing else does.
    assert {name for name in before if before[name] != after[name]} == {"prompts.jsonl", "expert-aligned.jsonl"}
    assert hashes(with_domain(plan, "math", prompt_rows=7), "tool") == hashes(plan, "tool")
    assert hashes(with_domain(plan, "math", steps_divisor=3, rl_prompts=4), "math") == before
    assert len(set(before.values())) == len(before)


def test_options_of_a_stage_decide_its_rows_unless_they_only_say_how_to_ask() -> None:
    paper = load_plan({"scale": "paper"})

    def given(**options: Any) -> Plan:
        return load_plan({"scale": "paper", "data_options": {"tool": options}})

    def hashes(plan: Plan, domain: str) -> list[str]:
        return [plan.hashes.candidates(domain), plan.hashes.split(domain, "expert.jsonl")]

    asked = given(ask="DeepSeek-R1", url="http://localhost/v1", model="r1", prices=[0.5, 2], budget=10)
    assert hashes(asked, "tool") == hashes(paper, "tool")
    words = " ".join(asked.options.data("tool"))
    assert words.endswith("--ask DeepSeek-R1 --url http://localhost/v1 --model r1 --prices 0.5 2 --budget 10")
    local = given(local={"toolace": "here.json"})
    assert local.options.data("tool")[-2:] == ["--local", "toolace=here.json"]
    assert not set(hashes(local, "tool")) & set(hashes(paper, "tool"))
    assert hashes(local, "math") == hashes(paper, "math")
    assert local.hashes.run("tool", "grpo", 0) == paper.hashes.run("tool", "grpo", 0)


def with_data(task: str, path: Path) -> Plan:
    return load_plan({"scale": "mini", "data": {task: str(path)}})


def test_a_local_file_changes_the_evaluation_of_its_tasks_domain_and_nothing_else(tmp_path: Path) -> None:
    plan, path = load_plan({"scale": "mini"}), tmp_path / "mine.jsonl"
    path.write_text('{"question": "1 + 1", "answer": "2"}\n', encoding="utf-8")
    local = with_data("sandbox-amc", path)
    assert local.options.questions("math") == ["--own", f"sandbox-amc={path}"]
    assert local.options.questions("tool") == plan.options.questions("math") == []
    assert local.files.questions("sandbox-amc") == str(path)
    assert local.files.questions("sandbox-aime24") == "results/mini/benchmarks/sandbox-aime24.jsonl"
    assert local.files.questions("sandbox-bfcl") == "results/mini/benchmarks/sandbox-bfcl"
    assert local.hashes.tasks("math") != plan.hashes.tasks("math")
    assert local.hashes.tasks("tool") == plan.hashes.tasks("tool")
    assert run_hashes(local) == run_hashes(plan)

    path.write_text('{"question": "1 + 2", "answer": "3"}\n', encoding="utf-8")
    changed = with_data("sandbox-amc", path)
    assert changed.hashes.tasks("math") != local.hashes.tasks("math")
    assert changed.hashes.task("math", "sandbox-amc") != local.hashes.task("math", "sandbox-amc")
    assert len({which.hashes.task("math", "sandbox-aime24") for which in (plan, local, changed)}) == 1
    copy = tmp_path / "elsewhere.jsonl"
    copy.write_bytes(path.read_bytes())
    assert with_data("sandbox-amc", copy).hashes.tasks("math") == changed.hashes.tasks("math")


def test_a_local_folder_is_known_by_its_questions_and_answers(tmp_path: Path) -> None:
    for name, rows in tool_world.benchmarks().items():
        write_jsonl(tmp_path / Path(name).relative_to("sandbox-bfcl"), rows)
    plan = with_data("sandbox-bfcl", tmp_path)
    assert not plan.choice.own_questions  # the benchmark's own
    hashes = [plan.hashes.tasks("tool")]
    for name in ("BFCL_v4_multiple.json", "possible_answer/BFCL_v4_multiple.json"):
        *kept, _ = (tmp_path / name).read_text(encoding="utf-8").splitlines(keepends=True)
        (tmp_path / name).write_text("".join(kept), encoding="utf-8")
        own = with_data("sandbox-bfcl", tmp_path)
        assert own.choice.own_questions["sandbox-bfcl"].own > 0
        hashes.append(own.hashes.tasks("tool"))
    assert len(set(hashes)) == 3


def test_a_judge_changes_the_verdicts_of_its_domain_alone() -> None:
    plan = load_plan({"scale": "mini"})
    other = with_domain(plan, "medicine", judge=LocalJudgeSettings(kind="local", noise=0.1))
    assert other.hashes.tasks("medicine") != plan.hashes.tasks("medicine")
    assert other.hashes.task("medicine", "sandbox-medicine") != plan.hashes.task("medicine", "sandbox-medicine")
    assert other.hashes.tasks("tool") == plan.hashes.tasks("tool")
