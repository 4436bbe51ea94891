"""Where a policy comes from, and what makes its files others."""

import os
from pathlib import Path

import pytest

from pipelines.plan import Plan, load_plan
from pipelines.policy.models import load_models
from pipelines.sandbox.policies import load_policies

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize("name", ["paper", "gpu1"])
def test_every_policy_is_pinned_or_says_that_it_is_not(name: str) -> None:
    plan = load_plan({"scale": name})
    assert plan.choice.hub_policies == plan.choice.policies
    unpinned = [policy for policy in plan.choice.policies if not plan.options.policy(policy)]
    assert unpinned == (["Phi-mini-MoE-instruct"] if name == "paper" else [])
    assert not set(load_models()) & set(load_policies())


def test_a_policy_may_be_a_folder_or_another_commit(tmp_path: Path) -> None:
    paper = load_plan({"scale": "paper"})
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")

    def given(where: str) -> Plan:
        return load_plan({"scale": "paper", "policies": {"Qwen2.5-7B": where}})

    local, other = given(str(tmp_path)), given(COMMIT)
    assert local.options.policy("Qwen2.5-7B") == ["--local", str(tmp_path)]
    assert other.options.policy("Qwen2.5-7B") == ["--revision", COMMIT]
    hashes = {plan.hashes.policy("Qwen2.5-7B") for plan in (paper, local, other)}
    weights = tmp_path / "model.safetensors"
    for time in (1, 2):  # another fine-tuning of the same model: files of the same names and sizes
        weights.write_bytes(b"12")
        os.utime(weights, (time, time))
        hashes.add(given(str(tmp_path)).hashes.policy("Qwen2.5-7B"))
    assert len(hashes) == 5
    assert local.hashes.policy("Qwen2.5-7B-Instruct") == paper.hashes.policy("Qwen2.5-7B-Instruct")
