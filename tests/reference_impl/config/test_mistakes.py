"""Mistakes in the configuration files: each is named with its place and its remedy, all of a file at once."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.plan import load_plan
from reference_impl.config import CONFIG_DIR, load_declarations, load_scale

GONE = object()
"""In the place of a value: the key is left out."""
METHODS: list[tuple[str, Any, str]] = [
    (
        "grpo.lerning_rate",
        1e-6,
        "grpo: lerning_rate: unknown key; did you mean 'learning_rate'? (allowed: label,",
    ),
    ("grpo.name", "grpo", "grpo: name: unknown key: an entry is called by what it stands under"),
    ("CHORD", {}, "CHORD: String should match pattern '^[a-z][a-z0-9_]*$'"),
    ("grpo", "GRPO", "grpo: expected keys with values, found 'GRPO'"),
    ("grpo.label", GONE, "grpo: label: missing key"),
    ("sft.role", "gird", "sft: role: unknown value 'gird'; did you mean 'grid'? (allowed: method, grid, curve)"),
    ("grpo.learning_rate", "fast", "grpo: learning_rate: Input should be a valid number, found 'fast'"),
    (
        "grpo.learning_rate",
        "1e-6",
        "grpo: learning_rate: Input should be a valid number, found '1e-6': YAML reads",
    ),
    ("grpo.learning_rate", -1e-6, "grpo: learning_rate: Input should be greater than 0, found -1e-06"),
    ("grpo.learning_rate", float("nan"), "grpo: learning_rate: Input should be a finite number"),
    ("grpo.learning_rate", GONE, "grpo: needs a learning_rate; with role: grid, a grid of them instead"),
    ("sft.learning_rate", 1e-6, "sft: needs a learning_rate; with role: grid, a grid of them instead"),
    ("sft.grid.learning_rate", [1e-6, 1e-6], "sft: grid.learning_rate: 1e-06 stands twice"),
    ("sft.grid.learning_rate", [], "sft: grid.learning_rate: at least one must be given"),
    ("sft.grid.learning_rate", [1e-6, 0], "sft: grid.learning_rate.1: Input should be greater than 0, found 0"),
    ("sft.grid.gamma", [1], "sft: grid.gamma: unknown key (allowed: learning_rate)"),
    ("grpo.budget", {"steps": "rl", "epochs": 3}, "grpo: budget: allowed: {steps: rl}, {steps: n} or {epochs: n}"),
    ("grpo.budget", {}, "grpo: budget: allowed: {steps: rl}, {steps: n} or {epochs: n}"),
    ("grpo.budget", GONE, "grpo: a method that trains needs budget"),
    ("grpo.budget.step", "rl", "grpo: budget.step: unknown key; did you mean 'steps'?"),
    ("grpo.budget.steps", "r", "grpo: budget.steps: unknown value 'r'; did you mean 'rl'? (allowed: rl)"),
    ("grpo.budget.steps", -1, "grpo: budget.steps: Input should be greater than or equal to 0, found -1"),
    ("sft.budget.epochs", 0, "sft: budget.epochs: Input should be greater than or equal to 1, found 0"),
    ("grpo.sync_every", 0, "grpo: sync_every: Input should be greater than or equal to 1, found 0"),
    ("grpo.group_size", 1, "grpo: group_size: Input should be greater than or equal to 2, found 1"),
    ("grpo.normalise", "no", "grpo: normalise: Input should be a valid boolean, found 'no'"),
    ("grpo.domains", [], "grpo: domains: at least one must be given"),
    ("grpo.domains", ["maths"], "unknown domain 'maths'; did you mean 'math'?"),
    # mu and phi
    ("grpo.mu", {"value": 0.0}, "grpo: mu: missing key 'schedule'"),
    (
        "grpo.mu.schedule",
        "constantly",
        "grpo: mu: unknown value 'constantly'; did you mean 'constant'?",
    ),
    ("grpo.mu.valu", 1, "grpo: mu.valu: unknown key; did you mean 'value'?"),
    ("grpo.mu.value", 1.5, "grpo: mu.value: Input should be less than or equal to 1, found 1.5"),
    ("chord_mu.mu.start", {"math": "0.9"}, "chord_mu: mu.start.math: Input should be a valid number, found '0.9'"),
    ("chord_mu.mu.start", {"math": -0.1}, "chord_mu: mu.start.math: Input should be greater than or equal to 0"),
    ("chord_mu.mu.decay_steps", 0, "chord_mu: mu.decay_steps: Input should be greater than 0, found 0"),
    ("chord_mu.mu.decay_steps", GONE, "chord_mu: mu.decay_steps: missing key"),
    ("sasr.mu.gamma", -1, "sasr: mu.gamma: Input should be greater than or equal to 0, found -1"),
    ("grpo.phi", "p_minus_p", "grpo: phi: unknown value 'p_minus_p'; did you mean 'p_one_minus_p'?"),
    ("grpo.phi", {"name": "p_minus_p"}, "grpo: phi: unknown value 'p_minus_p'; did you mean 'p_one_minus_p'?"),
    ("phi_focal.phi.gama", 3, "phi_focal: phi.gama: unknown key; did you mean 'gamma'?"),
    ("phi_entropy_top.phi.share", 0, "phi_entropy_top: phi.share: Input should be greater than 0, found 0"),
    # Mixed groups and further losses
    ("luffy.mixed.demonstration", 1, "luffy: mixed.demonstration: unknown key; did you mean 'demonstrations'?"),
    ("luffy.mixed.demonstrations", 2, "luffy: mixed.demonstrations: unknown value 2 (allowed: 1)"),
    ("luffy.mixed.shaping", 0, "luffy: mixed.shaping: Input should be greater than 0, found 0"),
    ("luffy.expert", "main", "luffy: mixed groups need a demonstration of every prompt: expert: aligned"),
    ("srft.auxiliary.rollout", {}, "srft: auxiliary.rollout: unknown key; did you mean 'rollouts'?"),
    ("srft.auxiliary.rollouts", {"coefficient": 1}, "srft: auxiliary.rollouts.exponent: missing key"),
    ("srft.auxiliary", {}, "srft: auxiliary: give demonstrations, rollouts or both"),
    (
        "grpo.auxiliary",
        {"demonstrations": {"coefficient": 1, "exponent": 0}},
        "grpo: auxiliary demonstrations are those of mixed groups: give `mixed`",
    ),
    # References
    ("luffy.liek", "grpo", "luffy: liek: unknown key; did you mean 'like'?"),
    ("luffy.like", "grop", "unknown method 'grop'; did you mean 'grpo'?"),
    ("grpo.like", "grpo", "methods.yaml: grpo: like leads in a circle: grpo → grpo"),
    ("grpo.like", "luffy", "like leads in a circle: "),
    ("sft_best.select", {"form": "sft"}, "sft_best: select.form: unknown key; did you mean 'from'?"),
    ("grpo.init", "sft_lite", "unknown method 'sft_lite'; did you mean 'sft_light'?"),
    (
        "grpo_weak.policy",
        "week",
        "unknown policy 'week'; did you mean 'weak'?",
    ),
    ("chord_mu_second.expert", "seconds", "unknown expert 'seconds'; did you mean 'second'?"),
    ("chord_mu_second.domains", ["math"], "unknown expert 'second' ("),
    (
        "grpo_weak.init",
        "sft_best",
        "grpo_weak: policy 'weak', but it builds on sft_best of policy 'main': both must be the same",
    ),
]
DOMAINS: list[tuple[str, Any, str]] = [
    ("math.groupsize", 8, "math: groupsize: unknown key; did you mean 'group_size'?"),
    ("math.group_size", 1, "math: group_size: Input should be greater than or equal to 2, found 1"),
    ("math.reward", "maths", "math: reward: unknown value 'maths'; did you mean 'math'?"),
    ("math.policies", {"weak": "x"}, "math: policies: missing key main, the role of most methods (given: weak)"),
    ("math.experts.main", GONE, "math: experts: missing key main"),
    ("math.experts.main.row", 5, "math: experts.main.row: unknown key; did you mean 'rows'?"),
    ("math.experts.main.rows", GONE, "math: experts.main.rows: missing key"),
    ("math.experts.aligned.rows", "rll", "math: experts.aligned.rows: unknown value 'rll'; did you mean 'rl'?"),
]
SCALE: list[tuple[str, Any, str]] = [
    ("seeds", [0, 0], "seeds: 0 stands twice"),
    ("learning_rate_factor", 0, "learning_rate_factor: Input should be greater than 0, found 0"),
    ("engine", "vlm", "engine: unknown value 'vlm'; did you mean 'vllm'? (allowed: fused, transformers, vllm)"),
    ("engine_options.max_model_len", 1, "engine_options.max_model_len: Input should be greater than or equal to 2"),
    (
        "engine_options.gpu_memory",
        0.5,
        "engine_options.gpu_memory: unknown key; did you mean 'gpu_memory_",
    ),
    ("engine_options.gpu_memory_utilization", 0, "gpu_memory_utilization: Input should be greater than 0, found 0"),
    ("engine_options.placement", "beside", "unknown value 'beside' (allowed: colocated, dedicated)"),
    ("engine_options.tensor_parallel_size", 2, "engine_options: tensor_parallel_size 2 with placement colocated"),
    (
        "engine_options",
        {"placement": "dedicated", "tensor_parallel_size": 8},
        "placement dedicated: resources: {train: {gpu: 2}}, but a training process and its engine need 9",
    ),
    ("evaluation.engine_options", {"eager": True}, "evaluation.engine_options.eager: unknown key"),
    ("evaluation.max_items", 0, "evaluation.max_items: Input should be greater than or equal to 1, found 0"),
    ("tis_cap", "much", "tis_cap: Input should be a valid number, found 'much'"),
    ("tis_cap", 0, "tis_cap: Input should be greater than 0, found 0"),
    ("keep_checkpoints", "select", "keep_checkpoints: unknown value 'select'; did you mean 'selected'?"),
    ("strategy.kind", "deepsped", "strategy: unknown value 'deepsped'; did you mean 'deepspeed'?"),
    ("strategy.stage", 3, "strategy.stage: unknown key; did you mean 'zero_stage'?"),
    ("strategy.zero_stage", 4, "strategy.zero_stage: unknown value 4 (allowed: 0, 1, 2, 3)"),
    (
        "strategy.precision",
        "fp16",
        "strategy.precision: unknown value 'fp16'; did you mean 'bf16'?",
    ),
    ("strategy.processes", 0, "strategy.processes: Input should be greater than or equal to 1, found 0"),
    ("strategy", {"kind": "deepspeed", "offload": "optimizer"}, "strategy: offload optimizer needs zero_stage 1"),
    ("strategy.offload", "parameters", "strategy: offload parameters needs zero_stage 3 or more"),
    ("strategy", {"kind": "torch", "processes": 2}, "strategy.processes: unknown value 2 (allowed: 1)"),
    ("strategy", {"kind": "torch", "precision": "bf16"}, "strategy.precision: unknown value 'bf16' (allowed: fp32)"),
    ("launcher", {}, "a strategy of 2 processes needs a launcher: launcher: {train: torchrun "),
    ("launcher.train", "torchrun {procs} -m", "launcher.train: String should match pattern"),
    ("launcher.train", "torchrun; rm -m", "launcher.train: String should match pattern"),
    ("launcher.train", "torchrun", "launcher.train: String should match pattern"),
    ("resources.train.gpus", 8, "resources.train.gpus: unknown key; did you mean 'gpu'?"),
    ("domains", {}, "domains: Dictionary should have at least 1 item"),
    ("domains.math.step_divisor", 10, "domains.math.step_divisor: unknown key; did you mean 'steps_divisor'?"),
    ("domains.math.steps_divisor", 0.5, "domains.math.steps_divisor: Input should be greater than or equal to 1"),
    ("domains.math.policies", {}, "domains.math.policies: missing key main"),
    ("domains.math.data_options", {"--url": "x"}, "domains.math.data_options.--url: String should match pattern"),
    ("domains.math.data_options", {"url": None}, "domains.math.data_options.url: allowed are text, numbers, lists"),
    ("domains.medicine.judge.noice", 0.1, "domains.medicine.judge.noice: unknown key"),
    ("domains.medicine.judge.kind", "locl", "domains.medicine.judge: unknown value 'locl'; did you mean 'local'?"),
]
MISTAKES = [
    *((("methods.yaml"), *case) for case in METHODS),
    *((("domains.yaml"), *case) for case in DOMAINS),
    *((("scales/paper.yaml"), *case) for case in SCALE),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CONFIG_DIR, tmp_path / "config"))


def change(path: Path, place: str, value: Any) -> None:
    """Set a value of a YAML file, or leave its key out."""
    document = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)  # a hundred times
    node, (*keys, last) = document, place.split(".")
    for key in keys:
        node = node.setdefault(key, {})
    if value is GONE:
        del node[last]
    else:
        node[last] = value
    path.write_text(yaml.dump(document, Dumper=yaml.CSafeDumper), encoding="utf-8")


@pytest.mark.parametrize(("file", "place", "value", "message"), MISTAKES)
def test_a_mistake_is_named_with_its_place_and_its_remedy(
    root: Path, file: str, place: str, value: Any, message: str
) -> None:
    change(root / file, place, value)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        load_scale("paper", root) if file.startswith("scales") else load_declarations(root)
    assert Path(file).name in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("end: 0.05\n", "end: 0.95\n", "methods.yaml: chord_mu.mu, math: end is 0.95; allowed: at most start = 0.9"),
        (
            "sft_steps: 20}",
            "sft_steps: 200}",
            "mu_periodic.mu, math: period_steps is 10.0; allowed",
        ),
        (
            "{math: 78, tool: 5}",
            "{tool: 5}",
            "'math' (methods.yaml: sasr.mu, math: warmup_steps has: tool)",
        ),
    ],
)
def test_parameters_of_mu_that_do_not_go_together_are_found_before_anything_runs(
    root: Path, old: str, new: str, message: str
) -> None:
    path = root / "methods.yaml"
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(message)):
        load_plan({"scale": "mini"}, root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grpo: {label: x", "methods.yaml is not valid YAML"),
        ("- grpo", "methods.yaml: expected keys with values"),
        ("grpo: {}\nsft: {}\ngrpo: {}", "methods.yaml: line 3: key 'grpo' stands twice, first on line 1"),
        ("grpo:\n  phi: none\n  mu: {}\n  phi: focal", "methods.yaml: line 4: key 'phi' stands twice, first on line 2"),
        ("{{grpo}}", "methods.yaml is not valid YAML.*unhashable key"),
    ],
)
def test_a_file_that_is_no_mapping_of_unique_keys_is_refused(root: Path, text: str, message: str) -> None:
    (root / "methods.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"(?s){message}"):
        load_declarations(root)


def test_wrong_references_hide_no_other_mistake(root: Path) -> None:
    change(root / "methods.yaml", "luffy.like", "grop")
    change(root / "methods.yaml", "sasr.lable", "x")
    with pytest.raises(ValueError, match="unknown method 'grop'") as error:
        load_declarations(root)
    assert "sasr: lable: unknown key; did you mean 'label'?" in str(error.value)


def test_methods_that_start_from_each_other_are_refused(root: Path) -> None:
    change(root / "methods.yaml", "grpo.init", "sasr")
    change(root / "methods.yaml", "sasr.init", "grpo")
    with pytest.raises(ValueError, match="init and select lead in a circle") as error:
        load_declarations(root)
    assert all(f"methods.yaml: {name}: init and select" in str(error.value) for name in ("grpo", "sasr"))


def test_an_unknown_scale_names_the_known(root: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown scale 'mni'; did you mean 'mini'\?"):
        load_scale("mni", root)


def test_all_mistakes_of_a_file_are_reported_each_where_it_stands(root: Path) -> None:
    """Not at the entries that inherit it, and only once."""
    change(root / "methods.yaml", "grpo_relaxed.group_siz", 3)
    change(root / "methods.yaml", "chord_phi.lable", "x")
    change(root / "methods.yaml", "chord_phi.phi", "p")
    change(root / "methods.yaml", "phi_focal.keep", "all")
    with pytest.raises(ValueError, match="unknown key") as error:
        load_declarations(root)
    lines = [line.partition("methods.yaml: ")[2].partition(" (allowed")[0] for line in str(error.value).splitlines()]
    assert lines == [
        "chord_phi: phi: unknown value 'p'",
        "chord_phi: lable: unknown key; did you mean 'label'?",
        "grpo_relaxed: group_siz: unknown key; did you mean 'group_size'?",
        "phi_focal: keep: unknown value 'all'",
    ]
