"""Every shipped configuration file passes its schema, and what a schema refuses it explains."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.plan import load_plan
from pipelines.plan.validate import SCHEMAS, validate, validate_file
from reference_impl.config import CONFIG_DIR, Domain, Evaluation, Expert, Method, Scale, ScaleDomain
from reference_impl.token_weights import TOKEN_WEIGHTS
from tests.support.plans import configuration


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def shipped(schema: str) -> dict[str, Any]:
    """A shipped document that the schema accepts."""
    files = {"scale": "scales/mini.yaml"}
    return dict(read(CONFIG_DIR / files.get(schema, f"{schema}.yaml")))


@pytest.mark.parametrize(
    ("schema", "path", "declared"),
    [
        ("methods", "$defs.method", Method),
        ("domains", "additionalProperties", Domain),
        ("domains", "additionalProperties.properties.experts.additionalProperties", Expert),
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
    # Where a document names itself by its key (a method, a domain), `name` is not a key of its own; `like` is resolved.
    assert set(node["properties"]) - {"like"} | {"name"} == set(fields)
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
    ("methods", ["grpo", "budget"], {"steps": "r"}, ["'r'", "did you mean 'rl'?", "grpo.budget.steps"]),
    ("methods", ["grpo", "budget"], {"steps": -1}, ["grpo.budget.steps", "-1 is less than the minimum of 0"]),
    ("methods", ["luffy", "liek"], "grpo", ["'liek'", "did you mean 'like'?"]),
    ("methods", ["luffy", "exprt"], "aligned", ["'exprt'", "did you mean 'expert'?"]),
    ("methods", ["luffy", "mixed", "demonstration"], 1, ["'demonstration'", "did you mean 'demonstrations'?"]),
    ("methods", ["luffy", "mixed", "demonstrations"], 0, ["luffy.mixed.demonstrations", "minimum of 1"]),
    ("methods", ["luffy", "mixed", "shaping"], 0, ["luffy.mixed.shaping", "minimum of 0"]),
    ("methods", ["srft", "auxiliary", "rollout"], {}, ["'rollout'", "did you mean 'rollouts'?"]),
    ("methods", ["srft", "auxiliary", "rollouts"], {"coefficient": 1}, ["srft.auxiliary.rollouts", "'exponent'"]),
    ("methods", ["grpo", "sync_every"], 0, ["grpo.sync_every", "0 is less than the minimum of 1"]),
    ("methods", ["grpo", "group_size"], 1, ["grpo.group_size", "1 is less than the minimum of 2"]),
    ("methods", ["grpo", "normalise"], "no", ["grpo.normalise", "'no'", "boolean"]),
    ("methods", ["chord_mu", "mu", "start"], {"math": "0.9"}, ["chord_mu.mu.start.math", "'0.9'", "number"]),
    ("methods", ["grpo", "mu"], {"value": 0.0}, ["grpo.mu", "'schedule'", "required"]),
    ("methods", ["sft_best", "select"], {"form": "sft"}, ["'form'", "did you mean 'from'?"]),
    ("methods", ["CHORD"], {"label": "x", "paper": "x"}, ["'CHORD'", "does not match"]),
    ("domains", ["math", "group_size"], 1, ["math.group_size", "1 is less than the minimum of 2"]),
    ("domains", ["math", "rl_prompt"], 32, ["'rl_prompt'", "did you mean 'rl_prompts'?"]),
    ("domains", ["math", "experts", "main", "row"], 5, ["'row'", "did you mean 'rows'?"]),
    ("domains", ["math", "experts", "aligned", "rows"], "rll", ["'rll'", "did you mean 'rl'?"]),
    ("domains", ["math", "policies"], {"weak": "x"}, ["math.policies", "'main'", "required"]),
    ("scale", ["domains", "math", "step_divisor"], 10, ["'step_divisor'", "did you mean 'steps_divisor'?"]),
    ("scale", ["domains", "math", "policy"], "x", ["'policy'", "did you mean 'policies'?"]),
    ("scale", ["domains", "medicine", "judge", "noice"], 0.1, ["'noice'", "did you mean 'noise'?"]),
    ("scale", ["domains", "medicine", "judge", "kind"], "locl", ["'locl'", "did you mean 'local'?"]),
    ("scale", ["seeds"], [0, 0], ["seeds", "non-unique"]),
    ("scale", ["evaluation", "max_items"], 0, ["evaluation.max_items", "less than the minimum of 1"]),
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
