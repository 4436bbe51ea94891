"""Bring a model from the hub, or from a folder, into a results folder: safetensors, configuration and tokenizer only.

    python -m pipelines.policy.from_hub --model Qwen2.5-7B --revision HASH --out results/paper/policies/Qwen2.5-7B
    python -m pipelines.policy.from_hub --model Llama-3.2-3B-Instruct --local models/llama --out …

Code that a repository brings is neither downloaded nor run, and weights in pickle files are refused. `manifest.json` is
written last and lists every file with its SHA-256. For gated models the hub's own client finds the token (HF_TOKEN).
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.policy.models import Model, load_models
from reference_impl.config import choose
from reference_impl.files import file_hash, replace_folder, write_json
from reference_impl.hub import download

PATTERNS = (
    *("*.safetensors", "*.safetensors.index.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.json"),
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json"),
)
"""All that is taken of a repository."""
MANIFEST = "manifest.json"


def bring(name: str, model: Model | None, revision: str | None, local: Path | None, out: Path) -> None:
    """Write a model's files and their manifest to ``out``; ``model``: its entry of models.yaml, where it has one.

    Raises ValueError without a pinned revision or a folder, for a folder that is no such model, and where the hub
    cannot be reached or refuses.
    """
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    if local is not None:
        source = str(local.expanduser())
        files = sorted({path for pattern in PATTERNS for path in Path(source).glob(pattern)})
    elif model is None or model.repository is None:
        raise ValueError(f"{name} is on no hub: give a folder, or make it (pipelines.policy.random_weights)")
    else:
        source = f"{model.repository}@{revision}"
        instead = f"give a folder or another commit: snakemake --config policies='{{{name}: FOLDER or HASH}}'"
        files = download("model", model.repository, revision, PATTERNS, instead)
    for path in files:
        _link_or_copy(path.resolve(), part / path.name)
    _check(model, part, source)
    hashes = {path.name: file_hash(path) for path in sorted(part.iterdir())}
    hub = {"repository": model.repository, "revision": revision} if model is not None else {}
    write_json(part / MANIFEST, {"policy": name, **({"local": True} if local is not None else hub), "sha256": hashes})
    replace_folder(part, out)


def _link_or_copy(source: Path, target: Path) -> None:
    """A hard link where both are on one file system, so that weights are stored once."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _check(model: Model | None, folder: Path, source: str) -> None:
    """Raise ValueError where files are missing, or the configuration is not of the shape that models.yaml says."""
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise ValueError(f"{source} is not a model with a config.json and safetensors")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        missing = sorted(name for name in shards if not (folder / name).is_file())
        if missing:
            raise ValueError(f"{source}: {', '.join(missing)} of its index are missing")
    if model is None and not list(folder.glob("tokenizer*")):
        raise ValueError(f"{source} has no tokenizer")
    if model is None or model.repository is None:
        return  # any model may take the place of random weights
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for key, expected in (
        ("hidden_size", model.hidden_size),
        ("num_hidden_layers", model.layers),
        ("num_attention_heads", model.heads),
        ("num_key_value_heads", model.kv_heads),
        ("vocab_size", model.vocabulary),
        ("max_position_embeddings", model.context),
    ):
        if config.get(key) != expected:
            raise ValueError(f"{source}: {key} is {config.get(key)!r}, but {model.name} has {expected} (models.yaml)")


def main(argv: Sequence[str] | None = None) -> None:
    """Bring one model; a mistake of the user's ends with one line on standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", required=True, help="an entry of pipelines/config/models.yaml, or any name with --local"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--revision", help="full commit hash on the hub")
    where.add_argument("--local", type=Path, help="a folder with the model, instead of the hub")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args(argv)
    try:
        models = load_models()
        if arguments.local is None:
            choose("model", arguments.model, models, "models.yaml")
        bring(arguments.model, models.get(arguments.model), arguments.revision, arguments.local, arguments.out)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
