"""The data stage and the shipped policies: what is written, what is checked, what is refused."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from pipelines.data.sandbox import check_disjoint, write_benchmarks, write_domain
from pipelines.sandbox import install_policy, math_world
from pipelines.sandbox.policies import SHIPPED, config_hash, load_policy_config, load_world
from pipelines.sandbox.pretrain import train_tokenizer
from reference_impl.files import read_jsonl

POLICIES = ("sandbox-math", "sandbox-tool")


@pytest.mark.parametrize("domain", ["math", "tool"])
def test_domain_is_written_with_its_manifest(tmp_path: Path, domain: str) -> None:
    write_domain(domain, "smoke", tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    for split in ("prompts", "expert", "validation"):
        assert len(read_jsonl(tmp_path / f"{split}.jsonl")) == manifest[f"{split}_rows"] > 0
    assert manifest["expert_length_mean"] > 50
    again = tmp_path / "again"
    write_domain(domain, "smoke", again)
    assert (again / "manifest.json").read_text() == (tmp_path / "manifest.json").read_text()


def test_benchmarks_are_written(tmp_path: Path) -> None:
    write_benchmarks(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["sandbox-amc.jsonl"]["rows"] == 83 and manifest["sandbox-mmlu-pro.jsonl"]["rows"] == 14 * 10
    assert sum(name.startswith("sandbox-bfcl/BFCL_v4_") for name in manifest) == 8


def test_overlap_is_refused() -> None:
    rows = [{"question": "Start with 3."}]
    with pytest.raises(ValueError, match=r"split 'b' is in 'a' too: .*Start with 3"):
        check_disjoint({"a": rows, "b": [{"question": "other"}, *rows]})
    check_disjoint({"a": [{"question": "q", "functions": [1]}], "b": [{"question": "q", "functions": [2]}]})


def test_tokenizer_round_trips_any_text_and_splits_digits() -> None:
    tokenizer = train_tokenizer(math_world, 400)
    text = "Start with 37.\n1: +4, naïve ☃ <think>\\boxed{123}</think>\x00\u202e"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert {tokenizer.decode([i]) for i in tokenizer("123")["input_ids"]} == {"1", "2", "3"}
    assert len(tokenizer("<think>")["input_ids"]) == 1


@pytest.mark.parametrize("policy", POLICIES)
def test_shipped_policy_is_the_one_the_code_describes(policy: str) -> None:
    """A change of the world, the model or the phases must come with retrained weights."""
    install_policy.check_policy(policy, SHIPPED / policy)
    world = load_world(load_policy_config(policy)["world"])
    shipped = AutoTokenizer.from_pretrained(SHIPPED / policy)
    assert shipped.get_vocab() == train_tokenizer(world, load_policy_config(policy)["vocab_size"]).get_vocab()


def test_shipped_weights_are_small() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*.safetensors")) < 4_000_000


def test_damaged_or_outdated_policies_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "sandbox-math"
    shutil.copytree(SHIPPED / "sandbox-math", folder)
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="has SHA-256"):
        install_policy.check_policy("sandbox-math", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"config_hash": "0" * 64}))
    with pytest.raises(ValueError, match=f"now give {config_hash('sandbox-math')[:12]}: retrain"):
        install_policy.check_policy("sandbox-math", folder)
    with pytest.raises(ValueError, match="unknown policy 'sandbox-maths'"):
        load_policy_config("sandbox-maths")
