"""Install a shipped sandbox policy in the results, after checking that it is the one the code describes.

The repository stores weights in float16, for size; installed, they are the same numbers in float32, so that everything
that starts from them computes in float32.

python -m pipelines.policy.shipped --policy sandbox-math --out results/mini/policies/sandbox-math
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import torch

from pipelines.sandbox.policies import SHIPPED, config_hash
from reference_impl.files import file_hash, replace_folder, write_json
from reference_impl.strategy.models import load_model


def check_policy(name: str, folder: Path) -> None:
    """Raise ValueError where the manifest and the declaration, or the weights and the manifest, do not agree."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise ValueError(f"no policy at {folder}: `snakemake --cores 2 retrain_policies` trains it")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if manifest["config_hash"] != config_hash(name):
        raise ValueError(
            f"{path} was made for configuration {manifest['config_hash'][:12]}, but policies.yaml and the world now "
            f"give {config_hash(name)[:12]}: retrain with `snakemake --cores 2 retrain_policies`"
        )
    found = file_hash(folder / "model.safetensors")
    if found != manifest["weights_sha256"]:
        raise ValueError(
            f"{folder / 'model.safetensors'} has SHA-256 {found}, the manifest {manifest['weights_sha256']}"
        )


def install(source: Path, out: Path) -> None:
    """Copy a checked policy to ``out`` with its weights in float32; the manifest there describes the copy."""
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(source, part)
    load_model(source, torch.float32).cpu().save_pretrained(part)
    manifest = json.loads((source / "manifest.json").read_text(encoding="utf-8"))
    changed = {"dtype": "float32", "weights_sha256": file_hash(part / "model.safetensors")}
    write_json(part / "manifest.json", manifest | changed | {"shipped_sha256": manifest["weights_sha256"]})
    replace_folder(part, out)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", required=True, help="an entry of pipelines/sandbox/policies.yaml")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args(argv)
    source = SHIPPED / arguments.policy
    try:
        check_policy(arguments.policy, source)
    except ValueError as error:
        sys.exit(f"error: {error}")
    install(source, arguments.out)


if __name__ == "__main__":
    main()
