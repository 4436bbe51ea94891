"""What a plan is made of: runs, hashes, targets, warnings; and what the schemas refuse they explain."""

import copy
import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.plan import Plan, load_plan
from pipelines.plan.origins import Model
from pipelines.plan.validate import SCHEMAS, validate, validate_file
from reference_impl.config import CONFIG_DIR, ScaleDomain
from reference_impl.config.judges import parse_judge
from reference_impl.config.schedules import Constant

SCALES = sorted(path.stem for path in (CONFIG_DIR / "scales").glob("*.yaml"))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def shipped(schema: str) -> dict[str, Any]:
    """A shipped document that the schema accepts."""
    files = {"scale": "scales/mini.yaml", "workflow": "workflow.yaml"}
    return dict(read(CONFIG_DIR / files.get(schema, f"{schema}.yaml")))


@pytest.fixture(scope="module", params=SCALES)
def plan(request: pytest.FixtureRequest) -> Plan:
    return load_plan({"scale": request.param})


def test_every_training_run_of_every_scale_resolves_to_its_own_configuration(plan: Plan) -> None:
    hashes = {
        (domain, run): plan.run_hash(domain, run, plan.seeds[0])
        for method in plan.declarations.methods
        for run in plan.declarations.runs(method)
        for domain in plan.declarations.method_domains(method)
        if domain in plan.scale.domains
    }
    assert hashes
    assert len(set(hashes.values())) == len(hashes)


def test_every_target_is_made_of_files_of_its_own_scale(plan: Plan) -> None:
    for name, files in plan.targets().items():
        if name != "original":
            assert files, name
        assert all(file.startswith(f"results/{plan.scale.name}/") for file in files)


@pytest.mark.parametrize(
    ("schema", "path", "declared"),
    [
        ("models", "additionalProperties", Model),
    ],
)
def test_schemas_and_dataclasses_know_the_same_keys(schema: str, path: str, declared: type) -> None:
    node = read(SCHEMAS / f"{schema}.schema.yaml")
    for key in filter(None, path.split(".")):
        node = node[key]
    fields = {field.name: field for field in dataclasses.fields(declared)}
    # Where a document names itself by its key (a method, a domain), `name` is not a key of its own; `like` is resolved.
    assert set(node["properties"]) - {"like"} | {"name"} == set(fields)
    required = {
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    assert set(node["required"]) | {"name"} == required


CHANGES: list[tuple[str, list[str], Any, list[str]]] = [
    ("experiments", ["table1", "methds"], [], ["'methds'", "did you mean 'methods'?"]),
    ("experiments", ["Table1"], {}, ["'Table1'", "does not match"]),
    ("experiments", ["table1", "kind"], "tabel", ["'tabel'", "did you mean 'table'?"]),
    ("experiments", ["table1", "papr"], "Table 1", ["'papr'", "did you mean 'paper'?"]),
    ("workflow", ["seeds"], ["one"], ["seeds.0", "'one'", "does not match"]),
    ("workflow", ["data"], "my.jsonl", ["data", "'my.jsonl'", "object"]),
    ("workflow", ["data"], {"aime24": ""}, ["data.aime24", "''"]),
    ("workflow", ["dat"], {"aime24": "my.jsonl"}, ["'dat'", "did you mean 'data'?"]),
]


@pytest.mark.parametrize(("schema", "keys", "value", "messages"), CHANGES)
def test_a_refusal_names_the_place_the_value_and_the_nearest_key(
    schema: str, keys: list[str], value: Any, messages: list[str]
) -> None:
    document = shipped(schema)
    validate(document, schema, "before.yaml")
    broken = copy.deepcopy(document)
    node = broken
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    with pytest.raises(ValueError, match=r"^after\.yaml: ") as refusal:
        validate(broken, schema, "after.yaml")
    for message in messages:
        assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [("table1: {title: x", "some.yaml is not valid YAML"), ("- table1", "some.yaml: expected a mapping")],
)
def test_a_file_that_is_no_mapping_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        validate_file(path, "experiments")


def altered(plan: Plan, method: str, **changes: Any) -> Plan:
    """The plan with one method's entry changed."""
    entry = plan.declarations.methods[method].model_copy(update=changes)
    methods = {**plan.declarations.methods, method: entry}
    return dataclasses.replace(plan, declarations=dataclasses.replace(plan.declarations, methods=methods))


def with_domains(plan: Plan, domains: dict[str, ScaleDomain]) -> Plan:
    """The plan with other domains in its scale."""
    return dataclasses.replace(plan, scale=plan.scale.model_copy(update={"domains": domains}))


def run_hashes(plan: Plan) -> dict[tuple[str, str], str]:
    return {
        (domain, run): plan.run_hash(domain, run, 0)
        for run in plan.training_runs
        for domain in plan.declarations.method_domains(plan.declarations.owner(run)[0].name)
    }


def test_a_run_depends_on_its_own_entry_and_on_nothing_that_only_reports_read() -> None:
    plan = load_plan({"scale": "mini"})
    before = run_hashes(plan)

    after = run_hashes(altered(plan, "chord_phi", mu=Constant(schedule="constant", value=0.2)))
    assert {run for (domain, run), value in after.items() if before[domain, run] != value} == {"chord_phi"}

    assert run_hashes(altered(plan, "chord_phi", label="another name", paper="another quotation")) == before


def test_a_change_reaches_the_entries_that_inherit_it_and_no_other(tmp_path: Path) -> None:
    text = (CONFIG_DIR / "methods.yaml").read_text(encoding="utf-8")
    entry = re.search(r"^chord_phi:\n(?: .*\n)+", text, flags=re.MULTILINE)
    assert entry is not None
    root = configuration(tmp_path, "methods.yaml", entry[0], entry[0].replace("value: 0.1}", "value: 0.2}"))
    before, after = run_hashes(load_plan({"scale": "mini"})), run_hashes(load_plan({"scale": "mini"}, root))
    # Those `like: chord_phi`; chord_phi_relaxed has a mu of its own.
    assert {run for (domain, run), value in after.items() if before[domain, run] != value} == {
        *("chord_phi", "chord_phi_second", "chord_phi_moe", "chord_phi_large"),
        *("phi_entropy_top", "phi_entropy_norm", "phi_is_clip", "phi_is_clip_cap", "phi_focal"),
    }


def test_a_run_reads_its_own_demonstrations_and_starts_from_its_own_policy() -> None:
    plan = load_plan({"scale": "mini"})
    folder = "results/mini/data/tool/"
    assert plan.run_data("tool", "chord_phi") == [
        folder + name for name in ("prompts.jsonl", "validation.jsonl", "expert.jsonl")
    ]
    assert plan.run_data("tool", "luffy")[-1] == folder + "expert-aligned.jsonl"
    assert plan.run_data("tool", "sft_second-lr5e-06")[-1] == folder + "expert-second.jsonl"
    assert plan.start("tool", "chord_phi_moe", 0) == "results/mini/policies/sandbox-tool-moe"
    assert plan.start("math", "sft_weak-lr5e-06", 0) == "results/mini/policies/sandbox-math-small"
    assert plan.start("math", "sft_best_rl_weak", 0) == "results/mini/runs/math/sft_best_weak/seed0/best"
    assert plan.checkpoint("math", "original_weak", 0) == "results/mini/policies/sandbox-math-small"


def test_data_depends_on_its_sizes_and_not_on_how_long_runs_are() -> None:
    plan = load_plan({"scale": "mini"})

    def hashes(of: Plan, domain: str) -> dict[str, str]:
        return {name: of.split_hash(domain, name) for name in of.splits(domain)}

    def with_math(**changes: Any) -> Plan:
        math = plan.scale.domains["math"].model_copy(update=changes)
        return with_domains(plan, {**plan.scale.domains, "math": math})

    before, after = hashes(plan, "math"), hashes(with_math(prompt_rows=7), "math")
    # One demonstration to every prompt: the aligned set changes with the prompts, and nothing else does.
    assert {name for name in before if before[name] != after[name]} == {"prompts.jsonl", "expert-aligned.jsonl"}
    assert hashes(with_math(prompt_rows=7), "tool") == hashes(plan, "tool")
    assert hashes(with_math(steps_divisor=3, rl_prompts=4), "math") == before
    assert len(set(before.values())) == len(before)


def test_seeds_of_the_command_line_replace_those_of_the_scale() -> None:
    # Snakemake parses --config seeds='[0,2]' to a list of texts.
    assert load_plan({"scale": "mini", "seeds": ["0", "2"]}).seeds == (0, 2)
    assert load_plan({"scale": "mini"}).seeds == load_plan({"scale": "mini"}).scale.seeds


def with_data(task: str, path: Path) -> Plan:
    return load_plan({"scale": "mini", "data": {task: str(path)}})


def test_a_local_file_changes_the_evaluation_of_its_tasks_domain_and_nothing_else(tmp_path: Path) -> None:
    plan, path = load_plan({"scale": "mini"}), tmp_path / "mine.jsonl"
    path.write_text("one", encoding="utf-8")
    local = with_data("sandbox-amc", path)
    assert local.question_options("math") == ["--data", f"sandbox-amc={path}"]
    assert local.question_options("tool") == plan.question_options("math") == []
    assert local.questions("sandbox-amc") == str(path)
    assert local.questions("sandbox-aime24") == "results/mini/benchmarks/sandbox-aime24.jsonl"
    assert local.questions("sandbox-bfcl") == "results/mini/benchmarks/sandbox-bfcl"
    assert local.tasks_hash("math") != plan.tasks_hash("math")
    assert local.tasks_hash("tool") == plan.tasks_hash("tool")
    assert run_hashes(local) == run_hashes(plan)

    path.write_text("two", encoding="utf-8")
    changed = with_data("sandbox-amc", path)
    assert changed.tasks_hash("math") != local.tasks_hash("math")
    assert changed.task_hash("math", "sandbox-amc") != local.task_hash("math", "sandbox-amc")
    assert len({which.task_hash("math", "sandbox-aime24") for which in (plan, local, changed)}) == 1
    copy = tmp_path / "elsewhere.jsonl"
    copy.write_text("two", encoding="utf-8")
    assert with_data("sandbox-amc", copy).tasks_hash("math") == changed.tasks_hash("math")


def test_a_local_folder_is_known_by_its_questions_and_answers(tmp_path: Path) -> None:
    (tmp_path / "possible_answer").mkdir()
    for name in ("BFCL_v4_multiple.json", "possible_answer/BFCL_v4_multiple.json"):
        before = with_data("sandbox-bfcl", tmp_path).tasks_hash("tool")
        (tmp_path / name).write_text("one", encoding="utf-8")
        first = with_data("sandbox-bfcl", tmp_path).tasks_hash("tool")
        (tmp_path / name).write_text("two", encoding="utf-8")
        assert len({before, first, with_data("sandbox-bfcl", tmp_path).tasks_hash("tool")}) == 3


@pytest.mark.parametrize(
    ("task", "path", "message"),
    [
        ("sandbox-amcs", "present", r"unknown task 'sandbox-amcs'; did you mean 'sandbox-amc'\?"),
        ("aime24", "present", r"^data\.aime24: scale mini does not evaluate it; it evaluates sandbox-amc, "),
        ("sandbox-amc", "absent", r"^data\.sandbox-amc: no such file: .*absent$"),
        ("sandbox-amc", ".", r"^data\.sandbox-amc: no such file: "),
        ("sandbox-bfcl", "present", r"^data\.sandbox-bfcl: no such folder: .*present \(BFCL's layout is a folder\)$"),
    ],
)
def test_a_local_file_that_cannot_serve_is_refused(tmp_path: Path, task: str, path: str, message: str) -> None:
    (tmp_path / "present").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        with_data(task, tmp_path / path)


def test_every_evaluated_method_can_be_graded_again_and_no_other(plan: Plan) -> None:
    targets = plan.targets()
    methods = {name for name, method in plan.declarations.methods.items() if method.role == "method"}
    assert {name.removeprefix("regrade_") for name in targets if name.startswith("regrade_")} == methods
    assert sorted(targets["regrade"]) == sorted(path for name in methods for path in targets[f"regrade_{name}"])
    task = plan.scale.domains["tool"].tasks[0]
    assert f"{plan.results}/regraded/tool/original/seed0/{task}.json" in targets["regrade_original"]


def test_a_judged_task_is_graded_by_the_judge_of_its_scale() -> None:
    plan = load_plan({"scale": "mini"})
    assert plan.judge_options("medicine", "sandbox-medicine") == ["--judge", '{"kind": "local", "noise": 0.05}']
    assert plan.judge_options("math", "sandbox-amc") == []
    judge = parse_judge("{kind: http, url: 'http://localhost:8000/v1', timeout_s: 60, prices: [0.1, 0.2]}", "test")
    medicine = plan.scale.domains["medicine"].model_copy(update={"judge": judge})
    other = with_domains(plan, {**plan.scale.domains, "medicine": medicine})
    option, text = other.judge_options("medicine", "sandbox-medicine")
    assert option == "--judge" and parse_judge(text, option) == judge
    assert other.tasks_hash("medicine") != plan.tasks_hash("medicine")
    assert other.task_hash("medicine", "sandbox-medicine") != plan.task_hash("medicine", "sandbox-medicine")
    assert other.tasks_hash("tool") == plan.tasks_hash("tool")


def configuration(folder: Path, name: str, old: str, new: str) -> Path:
    """A copy of the configuration with the one occurrence of `old` in a file replaced."""
    root = Path(shutil.copytree(CONFIG_DIR, folder / "config"))
    text = (root / name).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {name}"
    (root / name).write_text(text.replace(old, new), encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("methods.yaml", "like: luffy\n  domains: [tool]", "like: lufy\n  domains: [tool]", "did you mean 'luffy'"),
        ("methods.yaml", "policy: weak\n  init: sft_best_weak", "init: sft_best_weak", "both must be the same"),
        ("experiments.yaml", "methods: [sft_curve]", "methods: [sft_best]", "sft_best trains nothing"),
        ("experiments.yaml", "[original_weak, sft_best_weak,", "[original_weak, sft_weak,", "sft_weak has role grid"),
        ("experiments.yaml", "[original, grpo, chord_mu, chord_phi]", "[original, luffy]", "unknown domain 'medicine'"),
        ("experiments.yaml", "scaling:", "sasr:", "sasr is a method's name too"),
        ("scales/mini.yaml", "moe: sandbox-tool-moe", "mo: sandbox-tool-moe", "did you mean 'moe'"),
        ("scales/mini.yaml", ", moe: sandbox-tool-moe", "", "unknown policy 'moe'"),
        ("scales/mini.yaml", "    judge: {kind: local, noise: 0.05}\n", "", "medicine: .* needs a judge"),
        ("methods.yaml", "threshold: 0.7}", "treshold: 0.7}", "treshold"),
    ],
)
def test_references_between_files_are_checked(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_plan({"scale": "mini"}, configuration(tmp_path, name, old, new))


def test_a_scale_without_a_domain_leaves_its_tables_and_figures_out() -> None:
    plan = load_plan({"scale": "mini"})
    domains = {name: plan.scale.domains[name] for name in ("math", "medicine")}
    fewer = with_domains(plan, domains)
    lost = set(plan.experiments()) - set(fewer.experiments())
    assert lost == {"table3", "table4", "table6", "table9", "table10", "table12", "figure12"}
    assert "table10" not in fewer.headline and "table1" in fewer.headline
    everything = fewer.targets()["everything"]
    assert not [path for path in everything if "table10" in path] and "results/mini/report/index.html" in everything
    assert not [path for path in fewer.ingredients("table1") if "/tool/" in path]


def test_the_headline_is_more_urgent_than_the_rest() -> None:
    plan = load_plan({"scale": "mini"})
    assert (
        plan.urgency("math", "sft-lr5e-06") > plan.urgency("math", "srft") == plan.urgency("math", "sft_weak-lr5e-06")
    )
    assert plan.urgency("math", "sft_light") == plan.urgency("math", "grpo") == plan.urgency("math", "sft_curve") > 0
    assert plan.urgency("medicine", "grpo") == 0, "the headline has no medicine"


def test_a_schedule_longer_than_its_run_is_a_warning(tmp_path: Path) -> None:
    assert [load_plan({"scale": scale}).warnings() for scale in SCALES] == [[]] * len(SCALES)
    root = configuration(tmp_path, "methods.yaml", "tool: 30, medicine: 50}", "tool: 120, medicine: 50}")
    # 100 steps of tool use; chord_mu_second is like chord_mu.
    assert load_plan({"scale": "mini"}, root).warnings() == [
        f"methods.yaml: {method} in tool at scale mini: mu's linear_decay is longer than the run: decay_steps 120, "
        "the run has 100 steps"
        for method in ("chord_mu", "chord_mu_second")
    ]


def test_phases_of_a_schedule_are_added_up(tmp_path: Path) -> None:
    root = configuration(tmp_path, "methods.yaml", "warmup_steps: 200, decay", "warmup_steps: 600, decay")
    (warning,) = load_plan({"scale": "mini"}, root).warnings()
    assert "chord_tune_both in math" in warning and "warmup_steps 60 + decay_steps 20, the run has 75 steps" in warning
