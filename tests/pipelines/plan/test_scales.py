"""The scales for GPUs: what is refused, resources, SLURM, models from the hub."""

import json
import re
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.errors
import pytest
import yaml

from pipelines.plan import load_plan
from pipelines.policy import from_hub
from pipelines.policy.models import Model, load_models
from tests.support.checkout import REPO, copy_project, snakemake
from tests.support.workflow_plans import edit, planned_jobs

pytestmark = pytest.mark.slow

HASH = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize(
    ("scale", "old", "new", "message"),
    [
        ("paper", "data: toolace", "data: tool_ace", "unknown data 'tool_ace'; did you mean 'toolace'"),
        ("paper", "data: toolace", "data: openr1_math", "data openr1_math is for the domain math"),
        ("paper", "weak: Qwen2.5-3B-Instruct", "weak: Qwen2.5-4B", "unknown policy 'Qwen2.5-4B'"),
        (
            "paper",
            "  train: torchrun --standalone --shutdown-timeout 600 --nproc-per-node {processes} -m --",
            "  train: python -m",
            "2 processes",
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
        "python -m pipelines.ops.gpu_lease --gpu 2 -- torchrun --standalone --shutdown-timeout 600 --nproc-per-node 2"
        " -m -- reference_impl.train"
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
    for entry in (plan.choice.declarations.experiments[name] for name in plan.choice.experiments()):
        for domain in set(entry.domains) & set(plan.choice.scale.domains):
            for method in entry.made_of:
                runs = plan.choice.needed(method) & set(plan.choice.training_runs)
                expected |= {f"Train: {run} on {domain}, seed 0" for run in runs}
                if entry.kind != "figure":
                    # The untrained policy is asked with both of A.3's prompts.
                    asked = {method, plan.choice.second_of(method, domain) or method}
                    expected |= {f"Evaluate: {name} on {domain}, seed 0, every task" for name in asked}
    for domain in plan.choice.scale.domains:
        expected |= {f"Data: {Path(name).stem} of the {domain} domain" for name in plan.choice.splits(domain)}
    jobs = planned_jobs(copy_project(tmp_path), "everything", "--config", f"scale={scale}")
    found = [job for job in jobs if job.startswith(("Train:", "Evaluate:")) or re.match(r"Data: \S+ of the ", job)]
    assert sorted(found) == sorted(expected)


# ---- Models from the hub or a folder

TINY = Model(
    name="tiny",
    repository="o/tiny",
    revision=HASH,
    parameters=10,
    hidden_size=4,
    intermediate_size=8,
    layers=2,
    heads=2,
    kv_heads=1,
    head_dim=2,
    vocabulary=7,
    context=32,
)
CONFIG = {
    "hidden_size": 4,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 7,
    "max_position_embeddings": 32,
}


def checkpoint(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}), encoding="utf-8")
    for name in ("model.safetensors", "tokenizer.json", "modeling_tiny.py", "pytorch_model.bin", "training_args.json"):
        (folder / name).write_bytes(b"x")
    return folder


def test_a_model_is_its_weights_configuration_and_tokenizer_without_code(tmp_path: Path) -> None:
    from_hub.bring(TINY.name, TINY, None, checkpoint(tmp_path / "source"), tmp_path / "out")
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
        from_hub.bring(TINY.name, TINY, None, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source")
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (source / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ValueError, match=r"model-2\.safetensors of its index are missing"):
        from_hub.bring(TINY.name, TINY, None, source, tmp_path / "out")


def test_a_model_of_the_hub_is_that_of_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint(tmp_path / "snapshot")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(folder))
    with pytest.raises(ValueError, match=r"pinned revision.*'main': .*policies='\{tiny: FOLDER or HASH\}'"):
        from_hub.bring(TINY.name, TINY, "main", None, tmp_path / "out")
    from_hub.bring(TINY.name, TINY, HASH, None, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["repository"], manifest["revision"]) == (TINY.repository, HASH)
    assert set(manifest["sha256"]) == {"config.json", "model.safetensors", "tokenizer.json"}


def test_a_hub_out_of_reach_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("not there")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(SystemExit, match=r"^error: meta-llama/.* the hub cannot be reached: check the net"):
        from_hub.main(["--model", "Llama-3.2-3B-Instruct", "--revision", HASH, "--out", str(tmp_path / "out")])
