"""The scales for GPUs: where models, data and benchmarks come from, resources, pruning, SLURM."""

import dataclasses
import importlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.ops import prune
from pipelines.plan import Plan, load_plan
from pipelines.plan.checks import STAGES
from pipelines.plan.origins import Model, load_models, sandbox_policies
from pipelines.policy import from_hub
from tests.support.checkout import REPO, copy_project, snakemake
from tests.support.workflow_plans import edit, planned_jobs

HASH = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture(scope="module")
def paper() -> Plan:
    return load_plan({"scale": "paper"})


@pytest.mark.parametrize("name", ["paper", "gpu1"])
def test_every_policy_is_pinned_or_says_that_it_is_not(name: str) -> None:
    plan = load_plan({"scale": name})
    assert plan.hub_policies == plan.policies
    unpinned = [policy for policy in plan.policies if not plan.policy_options(policy)]
    assert unpinned == (["Phi-mini-MoE-instruct"] if name == "paper" else [])
    assert not set(load_models()) & set(sandbox_policies())


def test_stages_of_real_data_are_those_of_their_modules() -> None:
    """Repeated, because a plan is made without importing torch."""
    for module, known in STAGES.items():
        stage = importlib.import_module(f"pipelines.data.{module}").STAGE
        assert (stage.domain, stage.version) == known


def test_data_of_a_real_stage_follows_from_its_sources_benchmarks_and_tokenizer(paper: Plan) -> None:
    folder = "results/paper"
    policy = f"{folder}/policies/Llama-3.2-3B-Instruct"
    assert paper.data_sources("tool") == [f"{folder}/data/tool/candidates.jsonl", f"{policy}/manifest.json"]
    known = ["--benchmarks", f"{folder}/benchmarks", "--tokenizer", policy]
    assert paper.data_options("tool") == [*known, "--answers", f"{folder}/answers"]
    tasks = paper.scale.domains["tool"].tasks
    assert paper.benchmark_files(tasks) == [f"{folder}/benchmarks/bfcl"]
    mini = load_plan({"scale": "mini"})
    assert mini.data_sources("tool") == mini.data_options("tool") == []
    assert mini.benchmark_files(mini.scale.domains["math"].tasks) == ["results/mini/benchmarks"]


def test_options_of_a_stage_decide_its_rows_unless_they_only_say_how_to_ask(paper: Plan) -> None:
    def given(**options: Any) -> Plan:
        return load_plan({"scale": "paper", "data_options": {"tool": options}})

    def hashes(plan: Plan, domain: str) -> list[str]:
        return [plan.candidates_hash(domain), plan.split_hash(domain, "expert.jsonl")]

    asked = given(ask="DeepSeek-R1", url="http://localhost/v1", model="r1", prices=[0.5, 2], budget=10)
    assert hashes(asked, "tool") == hashes(paper, "tool")
    words = " ".join(asked.data_options("tool"))
    assert words.endswith("--ask DeepSeek-R1 --url http://localhost/v1 --model r1 --prices 0.5 2 --budget 10")
    local = given(local={"toolace": "here.json"})
    assert local.data_options("tool")[-2:] == ["--local", "toolace=here.json"]
    assert not set(hashes(local, "tool")) & set(hashes(paper, "tool"))
    assert hashes(local, "math") == hashes(paper, "math")
    assert local.run_hash("tool", "grpo", 0) == paper.run_hash("tool", "grpo", 0)


def test_a_policy_may_be_a_folder_or_another_commit(paper: Plan, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")

    def given(where: str) -> Plan:
        return load_plan({"scale": "paper", "policies": {"Qwen2.5-7B": where}})

    local, other = given(str(tmp_path)), given(HASH)
    assert local.policy_options("Qwen2.5-7B") == ["--local", str(tmp_path)]
    assert other.policy_options("Qwen2.5-7B") == ["--revision", HASH]
    hashes = {plan.policy_hash("Qwen2.5-7B") for plan in (paper, local, other)}
    weights = tmp_path / "model.safetensors"
    for time in (1, 2):  # another fine-tuning of the same model: files of the same names and sizes
        weights.write_bytes(b"12")
        os.utime(weights, (time, time))
        hashes.add(given(str(tmp_path)).policy_hash("Qwen2.5-7B"))
    assert len(hashes) == 5
    assert local.policy_hash("Qwen2.5-7B-Instruct") == paper.policy_hash("Qwen2.5-7B-Instruct")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"policies": {"Qwen2.5-7B": "nowhere"}}, "'nowhere' is neither a commit hash of 40 hex digits nor a folder"),
        ({"policies": {"Qwen2.5-7b": HASH}}, "unknown policy 'Qwen2.5-7b'; did you mean 'Qwen2.5-7B'"),
        ({"policies": {"sandbox-math": HASH}}, "unknown policy 'sandbox-math'"),
        ({"data_options": {"maths": {}}}, "unknown domain 'maths'; did you mean 'math'"),
        ({"data_options": {"math": {"--url": "x"}}}, "does not match"),
    ],
)
def test_what_a_user_brings_is_checked(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_plan({"scale": "paper", **config})


@pytest.mark.parametrize(
    ("scale", "old", "new", "message"),
    [
        ("paper", "data: toolace", "data: tool_ace", "unknown data 'tool_ace'; did you mean 'toolace'"),
        ("paper", "data: toolace", "data: openr1_math", "data openr1_math is for the domain math"),
        ("paper", "weak: Qwen2.5-3B-Instruct", "weak: Qwen2.5-4B", "unknown policy 'Qwen2.5-4B'"),
        (
            "paper",
            "  train: torchrun --standalone --nproc-per-node {processes} -m --",
            "  train: python -m",
            "8 processes",
        ),
        (
            "paper",
            "engine: vllm",
            "engine: transformers",
            "engine_options: placement, .*: engine transformers has no options",
        ),
        (
            "gpu1",
            "tensor_parallel_size: 1",
            "tensor_parallel_size: 2",
            "tensor_parallel_size 2 with placement colocated",
        ),
        ("paper", "tasks: [bfcl]", "tasks: [sandbox-bfcl]", r"tasks of the sandbox \(sandbox-bfcl\) and others"),
        (
            "mini",
            "    data: sandbox\n    policies: {main: sandbox-tool,",
            "    data: sandbox\n    data_options: {a: b}\n    policies: {main: sandbox-tool,",
            "data sandbox has no options",
        ),
    ],
)
def test_a_scale_that_cannot_work_is_refused(tmp_path: Path, scale: str, old: str, new: str, message: str) -> None:
    folder = copy_project(tmp_path)
    edit(folder, f"scales/{scale}.yaml", old, new)
    with pytest.raises(ValueError, match=message):
        load_plan({"scale": scale}, folder / "pipelines" / "config")


def test_a_model_needs_a_whole_commit_hash(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    entry = {**dataclasses.asdict(load_models()["Qwen2.5-7B"]), "revision": "main", "active": 1}
    path.write_text(
        yaml.safe_dump({"Qwen2.5-7B": {key: entry[key] for key in entry if key != "name"}}), encoding="utf-8"
    )
    with pytest.raises(ValueError, match=r"Qwen2\.5-7B\.revision: 'main' does not match"):
        load_models(path)


def test_resources_and_launchers_are_the_scales(paper: Plan) -> None:
    assert paper.resources("train")["gpu"] == paper.scale.strategy.processes == 8
    assert paper.launcher("train") == "torchrun --standalone --nproc-per-node 8 -m --"
    assert paper.launcher("generate") == "python -m"
    mini = load_plan({"scale": "mini"})
    assert (mini.resources("train")["gpu"], mini.resources("train")["threads"]) == (0, 1)
    assert mini.launcher("train") == "python -m"


def test_every_rule_says_what_it_needs() -> None:
    for path in (REPO / "pipelines" / "rules").glob("*.smk"):
        for rule in re.split(r"^rule ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            if "shell:" in rule:
                for key in ("gpu=", "mem_mb=", "runtime=", "threads:"):
                    assert f"        {key}" in rule or f"    {key}" in rule, f"{path.name}: {rule.split(':')[0]}: {key}"


def test_a_plan_of_the_paper_leases_gpus_and_the_slurm_profile_names_its_rules(tmp_path: Path) -> None:
    """The profile as it is, but for its executor, which is a plugin that only clusters install."""
    folder = copy_project(tmp_path)
    path = folder / "profiles" / "slurm" / "config.yaml"
    profile = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert profile.pop("executor") == "slurm"
    path.write_text(yaml.safe_dump(profile), encoding="utf-8")
    options = ("--config", "scale=paper", "--resources", "gpu=0", "--printshellcmds")
    result = snakemake(folder, "--dry-run", "table7", "--workflow-profile", "profiles/slurm", *options)
    assert result.returncode == 0, result.stdout
    rules = " ".join(file.read_text(encoding="utf-8") for file in (folder / "pipelines" / "rules").glob("*.smk"))
    assert all(f"rule {name}:" in rules for name in profile["set-resources"])
    # Snakemake clips what a job asks for to nothing and would run it: the lease asks for what the scale says.
    assert (
        "python -m pipelines.ops.gpu_lease --gpu 8 -- torchrun --standalone --nproc-per-node 8 -m --"
        " reference_impl.train"
        " --run chord_phi --domain medicine" in result.stdout
    )
    assert "python -m pipelines.ops.gpu_lease --gpu 1 -- python -m evaluation.generate" in result.stdout
    assert f"from_hub --model Qwen2.5-7B-Instruct --revision {load_models()['Qwen2.5-7B-Instruct'].revision}" in (
        result.stdout
    )
    assert (
        "python -m pipelines.data.rar_medicine --domain medicine --scale paper --file candidates.jsonl" in result.stdout
    )
    assert "python -m evaluation.fetch --task rar-medicine-rating" in result.stdout
    assert not (folder / "results").exists()


@pytest.mark.parametrize("scale", ["paper", "gpu1"])
def test_everything_plans_what_tables_and_figures_need_and_nothing_else(tmp_path: Path, scale: str) -> None:
    plan = load_plan({"scale": scale})
    expected: set[str] = set()
    for entry in (plan.declarations.experiments[name] for name in plan.experiments()):
        for domain in set(entry["domains"]) & set(plan.scale.domains):
            for method in entry["methods"]:
                runs = plan.needed(method) & set(plan.training_runs)
                expected |= {f"Train: {run} on {domain}, seed 0" for run in runs}
                if entry["kind"] != "figure":
                    expected.add(f"Evaluate: {method} on {domain}, seed 0, every task")
    for domain in plan.scale.domains:
        expected |= {f"Data: {Path(name).stem} of the {domain} domain" for name in plan.splits(domain)}
    jobs = planned_jobs(copy_project(tmp_path), "everything", "--config", f"scale={scale}")
    found = [job for job in jobs if job.startswith(("Train:", "Evaluate:")) or re.match(r"Data: \S+ of the ", job)]
    assert sorted(found) == sorted(expected)


# ---- Pruning


def test_grids_are_pruned_once_all_that_choose_from_them_have_chosen(paper: Plan) -> None:
    marker = "results/paper/pruned/math/sft/seed0.json"
    assert paper.choices("math", "sft", 0) == [
        f"results/paper/runs/math/{name}/seed0/run.json" for name in ("sft_light", "sft_best")
    ]
    for target in ("sft_best", "sft_best_rl", "table1", "everything"):
        assert marker in paper.targets()[target], target
    assert not [path for path in paper.targets()["grpo"] if "/pruned/" in path]
    mini = load_plan({"scale": "mini"})
    assert not [path for files in mini.targets().values() for path in files if "/pruned/" in path]


def trained(folder: Path, *checkpoints: str) -> Path:
    for name in checkpoints:
        (folder / name).mkdir(parents=True)
        (folder / name / "model.safetensors").write_bytes(b"12345")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text("{}", encoding="utf-8")
    return folder


def test_pruning_removes_a_grids_checkpoints_and_nothing_else(tmp_path: Path) -> None:
    run = trained(tmp_path / "sft-lr1", "checkpoints/step-1", "checkpoints/step-2", "best")
    (run / "metrics.jsonl").touch()
    chosen = trained(tmp_path / "sft_best", "best")
    out = tmp_path / "pruned.json"
    arguments = ["--runs", str(run), "--selections", str(chosen), "--out", str(out)]
    prune.main(arguments)
    record = json.loads(out.read_text(encoding="utf-8"))
    assert [Path(entry["checkpoint"]).name for entry in record["removed"]] == ["step-1", "step-2"]
    assert record["bytes"] == 10
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    weights = {"sft-lr1/best/model.safetensors", "sft_best/best/model.safetensors"}
    assert left == weights | {"sft-lr1/run.json", "sft-lr1/metrics.jsonl", "sft_best/run.json", "pruned.json"}
    prune.main(arguments)  # interrupted before its record: there is nothing left to remove
    assert json.loads(out.read_text(encoding="utf-8"))["removed"] == []


def test_pruning_waits_for_every_run_and_every_copy(tmp_path: Path) -> None:
    run = trained(tmp_path / "sft-lr1", "checkpoints/step-1")
    unfinished = tmp_path / "sft_light"
    unfinished.mkdir()
    for selection, message in ((unfinished, "not finished"), (trained(tmp_path / "sft_best"), "was not copied")):
        with pytest.raises(ValueError, match=message):
            prune.prune([run], [selection])
    assert (run / "checkpoints" / "step-1" / "model.safetensors").is_file()


# ---- Models from the hub or a folder

TINY = Model("tiny", "o/tiny", 10, 4, 8, 2, 2, 1, 2, 7, 32, revision=HASH)
CONFIG = {
    "hidden_size": 4,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 7,
}


def checkpoint(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}), encoding="utf-8")
    for name in ("model.safetensors", "tokenizer.json", "modeling_tiny.py", "pytorch_model.bin", "training_args.json"):
        (folder / name).write_bytes(b"x")
    return folder


def test_a_model_is_its_weights_configuration_and_tokenizer_without_code(tmp_path: Path) -> None:
    from_hub.bring(TINY, None, checkpoint(tmp_path / "source"), tmp_path / "out")
    taken = ["config.json", "manifest.json", "model.safetensors", "tokenizer.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == taken
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["policy"], manifest["local"]) == ("tiny", True)
    # SHA-256 of the one byte "x".
    expected = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    assert manifest["sha256"]["model.safetensors"] == expected


@pytest.mark.parametrize(
    ("changes", "removed", "message"),
    [
        ({"hidden_size": 8}, "", "hidden_size is 8, but tiny has 4"),
        ({}, "model.safetensors", "with a config.json and safetensors"),
        ({}, "config.json", "with a config.json and safetensors"),
    ],
)
def test_another_model_is_refused(tmp_path: Path, changes: dict[str, Any], removed: str, message: str) -> None:
    source = checkpoint(tmp_path / "source", **changes)
    if removed:
        (source / removed).unlink()
    with pytest.raises(ValueError, match=message):
        from_hub.bring(TINY, None, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source")
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (source / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ValueError, match=r"model-2\.safetensors of its index are missing"):
        from_hub.bring(TINY, None, source, tmp_path / "out")


@pytest.mark.parametrize("revision", [None, "main", "0123abc"])
def test_nothing_is_downloaded_without_a_pinned_revision(tmp_path: Path, revision: str | None) -> None:
    with pytest.raises(ValueError, match="needs a pinned revision"):
        from_hub.bring(TINY, revision, None, tmp_path / "out")


def test_a_hub_out_of_reach_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = pytest.importorskip("huggingface_hub")

    def unreachable(*_: Any, **__: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr(hub, "snapshot_download", unreachable)
    out = ["--revision", HASH, "--out", str(tmp_path / "out")]
    with pytest.raises(
        SystemExit, match=r"cannot be downloaded; accept its licence on the hub and set HF_TOKEN: no net"
    ):
        from_hub.main(["--model", "Llama-3.2-3B-Instruct", *out])
