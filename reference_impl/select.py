"""Choose the checkpoint of a grid of runs by validation score (SFT-light, SFT-best).

    python -m reference_impl.select --method sft_best --domain math --scale mini --seed 0 \\
        --runs results/mini/runs/math/sft-lr1e-06/seed0 … --out results/mini/runs/math/sft_best/seed0
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reference_impl.config import load_declarations
from reference_impl.files import read_jsonl, replace_folder, write_json


def candidates(run: Path, epochs: Sequence[int] | None) -> list[dict[str, Any]]:
    """The kept checkpoints of one run with their validation records; with ``epochs``, only those after these epochs."""
    records = [record for record in read_jsonl(run / "validation.jsonl") if record["checkpoint"]]
    chosen = [r for r in records if epochs is None or r["epoch"] in epochs]
    if not chosen:
        found = ", ".join(str(record["epoch"]) for record in records) or "none"
        raise ValueError(f"{run}: no checkpoint after epochs {list(epochs or ())} (kept: {found})")
    return [{"run": run, **record} for record in chosen]


def grid_folders(grid: list[str], runs: list[Path], identity: dict[str, Any]) -> list[Path]:
    """The run folders in the grid's order (lowest rate first). Raises ValueError where one is no run of the grid."""
    folders = {}
    for run in runs:
        if not (run / "run.json").is_file():
            raise ValueError(f"{run} is not a finished run: it has no run.json")
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
        for key, value in identity.items():
            if record[key] != value:
                raise ValueError(f"{run} is of {key} {record[key]!r}, not {value!r}")
        folders[record["method"]] = run
    if others := [name for name in folders if name not in grid]:
        raise ValueError(f"the grid's runs are {', '.join(grid)}; given were {', '.join(others)} too")
    return [folders[name] for name in grid if name in folders]


def choose_best(options: list[dict[str, Any]]) -> dict[str, Any]:
    """The best score on validation; among equals the first, that is the lowest learning rate and earliest epoch."""
    return max(options, key=lambda option: float(option["score"]))


def select(method_name: str, runs: list[Path], out: Path, identity: dict[str, Any]) -> None:
    """Copy the chosen checkpoint to ``out/best`` and record the choice, with all candidates, in ``out/run.json``.

    ``runs`` are the grid's, or those of them at the tuned learning rate. Raises ValueError for others, and where the
    chosen checkpoint was pruned.
    """
    decl = load_declarations()
    method = decl.method(method_name)
    if method.select is None:
        raise ValueError(f"{method_name} selects nothing: its entry has no `select`")
    folders = grid_folders(list(decl.runs(method.select.grid)), runs, identity)
    options = [option for run in folders for option in candidates(run, method.select.epochs)]
    best = choose_best(options)
    chosen = best["run"] / best["checkpoint"]
    if not chosen.is_dir():
        raise ValueError(
            f"{chosen}, the best on validation, is gone: with keep_checkpoints: selected a grid's checkpoints are "
            "removed once all that was declared then had chosen. Train the grid again: snakemake --forcerun "
            f"{' '.join(str(run / 'run.json') for run in folders)} …"
        )
    out.mkdir(parents=True, exist_ok=True)
    part = out / "best.part"
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(chosen, part)
    replace_folder(part, out / "best")
    source = json.loads((best["run"] / "run.json").read_text(encoding="utf-8"))
    table = [{**option, "run": option["run"].parent.name} for option in options]
    write_json(
        out / "run.json",
        {
            "status": "complete",
            "method": method_name,
            **identity,
            "selected_from": table,
            "best": {**best, "run": best["run"].parent.name},
            **{
                key: source[key]
                for key in ("config", "config_hash", "policy_hash", "data_hash", "packages", "hardware")
            },
            "code_revision": source["code_revision"],
            "wall_seconds": 0.0,
        },
    )


def main(argv: list[str] | None = None) -> None:
    """Command line; a mistake of the user's ends with one line on standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", required=True, help="an entry of methods.yaml with a `select`")
    parser.add_argument("--domain", required=True)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="run folders of the grid")
    parser.add_argument("--out", type=Path, required=True, help="run folder to write")
    arguments = parser.parse_args(argv)
    identity = {"domain": arguments.domain, "scale": arguments.scale, "seed": arguments.seed}
    try:
        select(arguments.method, arguments.runs, arguments.out, identity)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
