"""A model with random weights, made here: a checkpoint like any other."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from pipelines.plan import load_plan
from pipelines.policy import random_weights
from pipelines.policy.from_hub import bring
from pipelines.policy.models import load_models
from pipelines.policy.random_weights import make
from reference_impl.files import file_hash
from reference_impl.rollout import GenerationRequest, load_engine
from reference_impl.step.batching import prompt_ids

MODEL = load_models()["smoke-qwen2"]
SMALL = MODEL.model_copy(update={"layers": 1, "hidden_size": 64, "heads": 1, "kv_heads": 1, "intermediate_size": 96})
# Embedding 704 · 64, q k v o 4 · 64² + 3 · 64, MLP 3 · 64 · 96, three norms of 64.
SMALL = SMALL.model_copy(update={"parameters": 704 * 64 + 4 * 64 * 64 + 3 * 64 + 3 * 64 * 96 + 3 * 64})
HASH = "0123456789abcdef" * 2 + "01234567"


def test_it_is_a_checkpoint_of_the_declared_shape_and_the_same_every_time(tmp_path: Path) -> None:
    random_weights.main(["--model", "smoke-qwen2", "--out", str(tmp_path / "one")])
    make(MODEL, tmp_path / "two")
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert sum(tensor.numel() for tensor in one.values()) == MODEL.parameters
    assert {tensor.dtype for tensor in one.values()} == {torch.bfloat16}
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    manifest = json.loads((tmp_path / "one/manifest.json").read_text(encoding="utf-8"))
    assert manifest["sha256"]["model.safetensors"] == file_hash(tmp_path / "one/model.safetensors")
    config = json.loads((tmp_path / "one/config.json").read_text(encoding="utf-8"))
    assert (config["num_key_value_heads"], config["max_position_embeddings"]) == (2, 2048)


def test_it_samples(tmp_path: Path) -> None:
    make(SMALL, tmp_path / "model")
    engine, tokenizer = load_engine("transformers", tmp_path / "model", 4, torch.float32)
    ids = prompt_ids(tokenizer, {"prompt": "math", "question": "1 + 1"})
    (completion,) = engine.generate([GenerationRequest(ids, 0)], max_tokens=4)
    assert 1 <= len(completion.token_ids) <= 4
    assert tokenizer.eos_token == AutoTokenizer.from_pretrained(tmp_path / "model").eos_token


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": 1}, "parameters 1, but its shape has"),
        ({"vocabulary": 64}, "vocabulary 64, but sandbox-math's tokenizer has"),
        ({"random": "sandbox-maths"}, "did you mean 'sandbox-math'"),
        ({"random": None, "repository": "a/b"}, "a model of the hub"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(SMALL.model_copy(update=changes), tmp_path / "model")


def test_a_folder_may_take_its_place_and_a_commit_may_not(tmp_path: Path) -> None:
    make(SMALL, tmp_path / "mine")
    plan = load_plan({"scale": "gpu-smoke"})
    assert (plan.choice.random_policies, plan.choice.hub_policies) == (["smoke-qwen2"], [])
    mine = load_plan({"scale": "gpu-smoke", "policies": {"smoke-qwen2": str(tmp_path / "mine")}})
    assert (mine.choice.random_policies, mine.choice.hub_policies) == ([], ["smoke-qwen2"])
    assert mine.options.policy("smoke-qwen2") == ["--local", str(tmp_path / "mine")]
    assert mine.hashes.policy("smoke-qwen2") != plan.hashes.policy("smoke-qwen2")
    bring(MODEL.name, MODEL, None, tmp_path / "mine", tmp_path / "brought")  # another shape than the declared one
    assert (tmp_path / "brought/model.safetensors").is_file()
    with pytest.raises(ValueError, match="made here, there is no commit"):
        load_plan({"scale": "gpu-smoke", "policies": {"smoke-qwen2": HASH}})
    with pytest.raises(ValueError, match="on no hub"):
        bring(MODEL.name, MODEL, None, None, tmp_path / "nothing")
