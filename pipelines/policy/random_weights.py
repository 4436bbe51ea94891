"""Make a model of models.yaml that has no repository: a Qwen2 of its shape with random weights and a sandbox tokenizer.

    python -m pipelines.policy.random_weights --model smoke-qwen2 --out results/gpu-smoke/policies/smoke-qwen2

It knows nothing, and is there to be run: by vLLM, by DeepSpeed, from a checkpoint like any other (bf16, safetensors).
`manifest.json` is written last and lists every file with its SHA-256.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from pipelines.policy.from_hub import MANIFEST
from pipelines.policy.models import Model, load_models
from pipelines.sandbox.policies import SHIPPED, load_policy
from reference_impl.config import choose
from reference_impl.files import file_hash, replace_folder, write_json

SEED = 0


def make(model: Model, out: Path) -> None:
    """Write the model's files and their manifest to ``out``.

    Raises ValueError for a model of the hub, an unknown tokenizer, and a tokenizer or a number of parameters that the
    declared shape does not have.
    """
    if model.random is None:
        raise ValueError(f"{model.name} is a model of the hub ({model.repository}), not one that is made here")
    load_policy(model.random)
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED / model.random)
    if len(tokenizer) > model.vocabulary:
        raise ValueError(
            f"{model.name}: vocabulary {model.vocabulary}, but {model.random}'s tokenizer has {len(tokenizer)} tokens"
        )
    torch.manual_seed(SEED)
    network = Qwen2ForCausalLM(_config(model, tokenizer.eos_token_id, tokenizer.pad_token_id))
    found = sum(parameter.numel() for parameter in network.parameters())
    if found != model.parameters:
        raise ValueError(f"{model.name}: parameters {model.parameters}, but its shape has {found} (models.yaml)")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    network.bfloat16().save_pretrained(part)
    tokenizer.save_pretrained(part)
    hashes = {path.name: file_hash(path) for path in sorted(part.iterdir())}
    write_json(part / MANIFEST, {"policy": model.name, "random": model.random, "seed": SEED, "sha256": hashes})
    replace_folder(part, out)


def _config(model: Model, eos: int, pad: int) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=model.vocabulary,
        hidden_size=model.hidden_size,
        intermediate_size=model.intermediate_size,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        num_key_value_heads=model.kv_heads,
        max_position_embeddings=model.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=eos,
        pad_token_id=pad,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Make one model; a mistake of the user's ends with one line on standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="an entry of pipelines/config/models.yaml with `random`")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args(argv)
    try:
        models = load_models()
        make(models[choose("model", arguments.model, models, "models.yaml")], arguments.out)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
