"""What an entry of the sandbox's policies.yaml may say."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.sandbox.policies import POLICIES_FILE, load_policies
from pipelines.sandbox.pretrain import ARCHITECTURES

CONTENT = yaml.safe_load(POLICIES_FILE.read_text(encoding="utf-8"))


def test_every_architecture_that_a_policy_may_have_can_be_built() -> None:
    assert {policy.architecture for policy in load_policies().values()} == set(ARCHITECTURES)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["world"], "maths", r"world: unknown value 'maths'; did you mean 'math'"),
        (["vocab"], 640, r"vocab: unknown key; did you mean 'vocab_size'"),
        (["model", "layers"], 0, r"model\.layers: .*greater than or equal to 1, found 0"),
        (["model", "layer"], 3, r"model\.layer: unknown key; did you mean 'layers'"),
        (["phases", 0, "data"], "skil", r"phases\.0\.data: unknown value 'skil'; did you mean 'skill'"),
        (["phases", 0, "learning_rate"], "3e-3", r"phases\.0\.learning_rate: .*number, found '3e-3'"),
        (["architecture"], "qwen2", r"model\.experts 4: architecture phimoe has several, qwen2 one"),
        (["model", "experts"], 1, r"model\.experts 1: architecture phimoe has several"),
        (["model", "experts_per_token"], 5, r"model\.experts_per_token 5: there are 4 experts"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(tmp_path: Path, keys: list[Any], value: Any, message: str) -> None:
    content = copy.deepcopy(CONTENT)
    entry = content["sandbox-tool-moe"]
    for key in keys[:-1]:
        entry = entry[key]
    entry[keys[-1]] = value
    path = tmp_path / "policies.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"policies\.yaml: sandbox-tool-moe.*{message}"):
        load_policies(path)
