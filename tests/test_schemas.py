"""Every shipped configuration file passes its schema, and what a schema refuses it explains."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.plan import Plan, load_plan
from pipelines.validate import SCHEMAS, validate, validate_file
from reference_impl.config import CONFIG_DIR, Domain, Evaluation, Method, Scale, ScaleDomain
from reference_impl.token_weights import TOKEN_WEIGHTS

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
        ("methods", "$defs.method", Method),
        ("domains", "additionalProperties", Domain),
        ("scale", "", Scale),
        ("scale", "$defs.domain", ScaleDomain),
        ("scale", "properties.evaluation", Evaluation),
    ],
)
def test_schemas_and_dataclasses_know_the_same_keys(schema: str, path: str, declared: type) -> None:
    node = read(SCHEMAS / f"{schema}.schema.yaml")
    for key in filter(None, path.split(".")):
        node = node[key]
    fields = {field.name: field for field in dataclasses.fields(declared)}
    # Where a document names itself by its key (a method, a domain), `name` is not a key of its own.
    assert set(node["properties"]) | {"name"} == set(fields)
    required = {
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    assert set(node["required"]) | {"name"} == required


CHANGES: list[tuple[str, list[str], Any, list[str]]] = [
    (
        "methods",
        ["chord_phi", "lerning_rate"],
        1e-6,
        ["'lerning_rate'", "did you mean 'learning_rate'?", "chord_phi"],
    ),
    ("methods", ["sft", "role"], "gird", ["'gird'", "did you mean 'grid'?", "sft.role"]),
    ("methods", ["grpo", "learning_rate"], "fast", ["grpo.learning_rate", "'fast'", "number"]),
    ("methods", ["grpo", "learning_rate"], -1e-6, ["grpo.learning_rate", "-1e-06"]),
    ("methods", ["grpo", "budget"], {"steps": "rl", "epochs": 3}, ["grpo.budget", "too many"]),
    ("methods", ["grpo", "budget"], {"step": "rl"}, ["'step'", "did you mean 'steps'?"]),
    ("methods", ["grpo", "mu"], {"value": 0.0}, ["grpo.mu", "'schedule'", "required"]),
    ("methods", ["sft_best", "select"], {"form": "sft"}, ["'form'", "did you mean 'from'?"]),
    ("methods", ["CHORD"], {"label": "x", "paper": "x"}, ["'CHORD'", "does not match"]),
    ("domains", ["math", "group_size"], 1, ["math.group_size", "1 is less than the minimum of 2"]),
    ("domains", ["math", "rl_prompt"], 32, ["'rl_prompt'", "did you mean 'rl_prompts'?"]),
    ("experiments", ["table1", "methds"], [], ["'methds'", "did you mean 'methods'?"]),
    ("experiments", ["tabel1"], {}, ["'tabel1'", "does not match"]),
    ("scale", ["domains", "math", "step_divisor"], 10, ["'step_divisor'", "did you mean 'steps_divisor'?"]),
    ("scale", ["seeds"], [0, 0], ["seeds", "non-unique"]),
    ("scale", ["evaluation", "max_items"], 0, ["evaluation.max_items", "less than the minimum of 1"]),
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


def test_every_problem_is_listed_at_once() -> None:
    document = shipped("methods")
    document["grpo"] = {**document["grpo"], "lable": "x", "bugdet": {}}
    with pytest.raises(ValueError, match="unknown key") as refusal:
        validate(document, "methods", "methods.yaml")
    assert "'lable'" in str(refusal.value) and "'bugdet'" in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [("chord_phi: {label: x", "methods.yaml is not valid YAML"), ("- chord_phi", "methods.yaml: expected a mapping")],
)
def test_a_file_that_is_no_mapping_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "methods.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        validate_file(path, "methods")


def altered(plan: Plan, method: str, **changes: Any) -> Plan:
    """The plan with one method's entry changed."""
    entry = dataclasses.replace(plan.declarations.methods[method], **changes)
    methods = {**plan.declarations.methods, method: entry}
    return dataclasses.replace(plan, declarations=dataclasses.replace(plan.declarations, methods=methods))


def run_hashes(plan: Plan) -> dict[tuple[str, str], str]:
    return {
        (domain, run): plan.run_hash(domain, run, 0)
        for run in plan.training_runs
        for domain in plan.declarations.method_domains(plan.declarations.owner(run)[0].name)
    }


def test_a_run_depends_on_its_own_entry_and_on_nothing_that_only_reports_read() -> None:
    plan = load_plan({"scale": "mini"})
    before = run_hashes(plan)

    after = run_hashes(altered(plan, "chord_phi", mu={"schedule": "constant", "value": 0.2}))
    assert {run for (domain, run), value in after.items() if before[domain, run] != value} == {"chord_phi"}

    assert run_hashes(altered(plan, "chord_phi", label="another name", paper="another quotation")) == before


def test_data_depends_on_its_sizes_and_not_on_how_long_runs_are() -> None:
    plan = load_plan({"scale": "mini"})

    def with_math(**changes: Any) -> Plan:
        math = dataclasses.replace(plan.scale.domains["math"], **changes)
        return dataclasses.replace(
            plan, scale=dataclasses.replace(plan.scale, domains={**plan.scale.domains, "math": math})
        )

    assert with_math(prompt_rows=7).data_hash("math") != plan.data_hash("math")
    assert with_math(prompt_rows=7).data_hash("tool") == plan.data_hash("tool")
    assert with_math(steps_divisor=3, rl_prompts=4).data_hash("math") == plan.data_hash("math")


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
    assert local.data_options("math") == ["--data", f"sandbox-amc={path}"]
    assert local.data_options("tool") == plan.data_options("math") == []
    assert local.questions("sandbox-amc", "b") == str(path)
    assert local.questions("sandbox-aime24", "b") == "b/sandbox-aime24.jsonl"
    assert local.questions("sandbox-bfcl", "b") == "b/sandbox-bfcl"
    assert local.tasks_hash("math") != plan.tasks_hash("math")
    assert local.tasks_hash("tool") == plan.tasks_hash("tool")
    assert local.data_hash("math") == plan.data_hash("math")
    assert run_hashes(local) == run_hashes(plan)

    path.write_text("two", encoding="utf-8")
    changed = with_data("sandbox-amc", path)
    assert changed.tasks_hash("math") != local.tasks_hash("math")
    assert changed.task_hash("sandbox-amc") != local.task_hash("sandbox-amc")
    assert changed.task_hash("sandbox-aime24") == local.task_hash("sandbox-aime24") == plan.task_hash("sandbox-aime24")
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
    assert f"{plan.results}/regraded/tool/original/seed0/sandbox-bfcl.json" in targets["regrade_original"]


def test_phi_names_of_the_schema_are_those_of_the_code() -> None:
    """The schema repeats them, because the plan is made without importing torch."""
    schema = yaml.safe_load((SCHEMAS / "methods.schema.yaml").read_text(encoding="utf-8"))
    assert schema["$defs"]["phi_name"]["enum"] == list(TOKEN_WEIGHTS)


@pytest.mark.parametrize("phi", ["p_minus_p", {"name": "p_minus_p"}])
def test_unknown_phi_is_caught_before_planning(phi: object) -> None:
    entry: dict[str, object] = {
        "label": "x",
        "paper": "x",
        "budget": {"steps": "rl"},
        "learning_rate": 1e-6,
        "phi": phi,
    }
    entry["mu"] = {"schedule": "constant", "value": 0.1}
    with pytest.raises(ValueError, match="'p_minus_p'; did you mean 'p_one_minus_p'"):
        validate({"mine": entry}, "methods", "methods.yaml")
