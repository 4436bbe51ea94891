"""The names of weights for vLLM: every tensor of a checkpoint comes from one of transformers', and leads back to it."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from reference_impl.rollout import fingerprint
from reference_impl.rollout.engine import WEIGHT_SUM_MODULUS, fingerprint_of_sums, weight_sums
from reference_impl.rollout.vllm_names import CheckpointNames
from reference_impl.strategy.models import load_model
from tests.conftest import REPO

POLICIES = REPO / "pipelines/sandbox/policies"


@pytest.mark.parametrize("policy", ["sandbox-math", "sandbox-tool-moe"])
def test_weights_are_synced_as_the_checkpoint_has_them(policy: str) -> None:
    names, state = CheckpointNames(POLICIES / policy), load_model(POLICIES / policy, torch.float16).state_dict()
    parts = dict(names.parts(state))
    stored = load_file(POLICIES / policy / "model.safetensors")
    # The tied head has a name of its own in a state_dict, and none in the file.
    assert parts.keys() - stored.keys() == {"lm_head.weight"} and not stored.keys() - parts.keys()
    for name, tensor in stored.items():
        assert torch.equal(parts[name], tensor), name
    assert {names.whole(name) for name in parts} == state.keys()


def test_sums_of_experts_add_up_to_those_of_the_joined_tensors() -> None:
    names, state = (
        CheckpointNames(POLICIES / "sandbox-tool-moe"),
        load_model(POLICIES / "sandbox-tool-moe", torch.float32).state_dict(),
    )
    total: dict[str, tuple[int, int]] = {}
    for part, tensor in names.parts(state):
        first, second = total.get(names.whole(part), (0, 0))
        more = weight_sums(tensor)
        total[names.whole(part)] = ((first + more[0]) % WEIGHT_SUM_MODULUS, (second + more[1]) % WEIGHT_SUM_MODULUS)
    assert fingerprint_of_sums(total) == fingerprint(state)


def test_vllms_joined_experts_have_transformers_names() -> None:
    names = CheckpointNames(POLICIES / "sandbox-tool-moe")
    experts = "model.layers.2.block_sparse_moe.experts.routed_experts"
    assert names.whole(f"{experts}.w13_weight") == "model.layers.2.mlp.experts.gate_up_proj"
    assert names.whole(f"{experts}.w2_weight") == "model.layers.2.mlp.experts.down_proj"
    assert names.whole("model.layers.9.block_sparse_moe.experts.w2_weight").startswith("model.layers.9"), (
        "unknown: kept"
    )
    assert names.architectures == ["PhiMoEForCausalLM"]
    assert CheckpointNames(POLICIES / "sandbox-math").architectures == ["Qwen2ForCausalLM"]


def test_names_need_the_configuration_only(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((POLICIES / "sandbox-math/config.json").read_bytes())
    assert CheckpointNames(tmp_path).whole("model.norm.weight") == "model.norm.weight"
