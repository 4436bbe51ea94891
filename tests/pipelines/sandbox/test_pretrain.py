"""Training a sandbox policy from nothing, in a few steps of a tiny model."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipelines.policy.shipped import install
from pipelines.sandbox import policies, pretrain
from pipelines.sandbox.policies import SandboxPolicy
from pipelines.sandbox.pretrain import accumulate_gradients, build_model, encode, train_tokenizer
from reference_impl.config.model import parse
from reference_impl.files import file_hash

pytestmark = pytest.mark.slow

TINY = {
    "world": "math",
    "vocab_size": 400,
    "model": {"hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 32},
    "seed": 1,
    "phases": [
        {"name": "skill", "data": "skill", "steps": 12, "batch_size": 8, "learning_rate": 1e-2},
        {"name": "instruct", "data": "instruct", "steps": 2, "batch_size": 8, "learning_rate": 1e-3},
    ],
}
TINY_MOE = TINY | {"architecture": "phimoe", "model": {**TINY["model"], "experts": 4, "experts_per_token": 2}}  # type: ignore[dict-item]


@pytest.fixture
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "policies.yaml"
    file.write_text(yaml.safe_dump({"tiny": TINY, "tiny-moe": TINY_MOE}))
    monkeypatch.setattr(policies, "POLICIES_FILE", file)


@pytest.mark.usefixtures("declared")
def test_policy_is_written_with_its_manifest_and_is_reproducible(tmp_path: Path) -> None:
    for name in ("first", "second"):
        pretrain.pretrain("tiny", tmp_path / name)
    manifest = json.loads((tmp_path / "first/manifest.json").read_text())
    assert manifest["config_hash"] == policies.config_hash("tiny")
    assert manifest["weights_sha256"] == file_hash(tmp_path / "first/model.safetensors")
    assert manifest["weights_sha256"] == file_hash(tmp_path / "second/model.safetensors")
    assert manifest["final_loss"]["instruct"] < 5.4, "fourteen steps must beat the uniform guess, ln 400 = 5.99"
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "first").dtype == torch.float16
    assert AutoTokenizer.from_pretrained(tmp_path / "first").chat_template


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize("name", ["tiny", "tiny-moe"])
def test_installed_policy_is_the_shipped_one_in_float32(name: str, tmp_path: Path) -> None:
    pretrain.pretrain(name, tmp_path / "shipped")
    install(tmp_path / "shipped", tmp_path / "installed")
    shipped, installed = (AutoModelForCausalLM.from_pretrained(tmp_path / x) for x in ("shipped", "installed"))
    assert (shipped.dtype, installed.dtype) == (torch.float16, torch.float32)
    assert installed.lm_head.weight is installed.model.embed_tokens.weight, "the tied embedding is stored once"
    for key, tensor in installed.state_dict().items():
        assert torch.equal(tensor, shipped.state_dict()[key].float()), key
    was, now = (json.loads((tmp_path / x / "manifest.json").read_text()) for x in ("shipped", "installed"))
    assert (was["dtype"], now["dtype"]) == ("float16", "float32")
    assert now["weights_sha256"] == file_hash(tmp_path / "installed/model.safetensors") != was["weights_sha256"]
    assert now["shipped_sha256"] == was["weights_sha256"] and now["config_hash"] == was["config_hash"]
    install(tmp_path / "shipped", tmp_path / "installed")  # a second time takes the first one's place
    assert file_hash(tmp_path / "installed/model.safetensors") == now["weights_sha256"]


@pytest.mark.parametrize(("given", "expected"), [({}, 0.02), ({"initializer_range": 0.1}, 0.1)])
def test_initial_weights_have_the_declared_spread(given: dict[str, float], expected: float) -> None:
    shape = parse(SandboxPolicy, TINY | {"model": {**TINY["model"], **given}}, "tiny").model  # type: ignore[dict-item]
    tokenizer = train_tokenizer(policies.load_world("math"), 400)
    for architecture in ("qwen2", "phimoe"):
        sizes = shape.model_copy(update={"experts": 4, "experts_per_token": 2})
        model = build_model(architecture, sizes, tokenizer)
        assert model.model.embed_tokens.weight.std().item() == pytest.approx(expected, rel=0.1)


def test_pieces_of_a_batch_add_up_to_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    world, policy = policies.load_world("math"), parse(SandboxPolicy, TINY, "tiny")
    tokenizer = train_tokenizer(world, 400)
    torch.manual_seed(0)
    model = build_model(policy.architecture, policy.model, tokenizer)
    ids_BT, labels_BT = next(pretrain.batches(world, tokenizer, policy.phases[0], "x"))
    results = []
    for tokens in (1_000_000, 1):
        monkeypatch.setattr(pretrain, "CACHE_TOKENS", tokens)
        model.zero_grad()
        loss = accumulate_gradients(model, ids_BT, labels_BT)
        results.append((loss, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-4, atol=1e-6)


def test_only_the_response_is_learned() -> None:
    world, policy = policies.load_world("math"), parse(SandboxPolicy, TINY, "tiny")
    tokenizer = train_tokenizer(world, 400)
    ids_BT, labels_BT = next(pretrain.batches(world, tokenizer, policy.phases[0], "x"))
    row = {"prompt": "sandbox-math", "question": "Start with 3;a plusFour. Join all results."}
    ids, prompt_tokens = encode(tokenizer, row, "<think>3a plusFour=7;</think>\\boxed{7}")
    assert str(tokenizer.decode(ids[prompt_tokens:])).startswith("<think>") and ids[-1] == tokenizer.eos_token_id
    for ids_T, labels_T in zip(ids_BT.tolist(), labels_BT.tolist(), strict=True):
        shown = [label for label in labels_T if label != pretrain.IGNORE]
        text = str(tokenizer.decode(shown))
        assert text.startswith("<think>") and text.endswith("<|im_end|>")
        assert str(tokenizer.decode(ids_T)).index(text) > 0
