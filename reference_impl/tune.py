"""Choose every method's learning rate by validation, from runs with the tuning seed (A.1).

    python -m reference_impl.tune --scale mini --runs results/mini/runs/math/grpo-lr1e-06/seed1000 … \\
        --out results/mini/tuned.json

A file in this form under pipelines/config/tuned decides the rates of the scale's runs; this one does once it is copied
there.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reference_impl.config import (
    CONFIG_DIR,
    TUNING_SEED,
    Declarations,
    Trial,
    Tuned,
    TunedMethod,
    best_trial,
    load_declarations,
)
from reference_impl.config.tuned import FOLDER
from reference_impl.files import write_json


def trial(decl: Declarations, folder: Path) -> tuple[str, str, Trial]:
    """Domain, method and best validation of one finished run. Raises ValueError for a run of another seed."""
    record = _record(folder)
    method, rate = decl.owner(record["method"])
    assert rate is not None
    return record["domain"], method.name, _trial(rate, record["best"], record)


def selection_trials(decl: Declarations, folder: Path) -> tuple[str, str, list[Trial]]:
    """Domain, method and the best validation at each rate of a finished selection among a grid's runs."""
    record = _record(folder)
    best: dict[str, dict[str, Any]] = {}
    for option in record["selected_from"]:
        if option["run"] not in best or option["score"] > best[option["run"]]["score"]:
            best[option["run"]] = option
    found = []
    for run, option in best.items():
        rate = decl.owner(run)[1]
        assert rate is not None
        found.append(_trial(rate, option, _record(folder.parents[1] / run / folder.name)))
    return record["domain"], record["method"], found


def tuned(decl: Declarations, folders: Sequence[Path]) -> Tuned:
    """What runs and selections say. Raises ValueError for one that has not ended, or of another seed."""
    domains: dict[str, dict[str, list[Trial]]] = {}
    for folder in folders:
        if decl.methods.get(folder.parent.name) and decl.method(folder.parent.name).select:
            domain, method, found = selection_trials(decl, folder)
        else:
            domain, method, one = trial(decl, folder)
            found = [one]
        domains.setdefault(domain, {}).setdefault(method, []).extend(found)
    return Tuned(
        seed=TUNING_SEED,
        domains={
            domain: {
                name: TunedMethod(
                    learning_rate=best_trial(methods[name]).learning_rate,
                    trials=tuple(sorted(methods[name], key=lambda one: one.learning_rate)),
                )
                for name in decl.tuned
                if name in methods
            }
            for domain, methods in domains.items()
        },
    )


def summary(decl: Declarations, found: Tuned) -> str:
    """A line for each domain and method: the score at each rate, the chosen one in brackets."""
    lines = []
    for domain, methods in found.domains.items():
        for name, method in methods.items():
            scores = [
                f"[{one.learning_rate:g} {one.score:.3f}]"
                if one.learning_rate == method.learning_rate
                else f"{one.learning_rate:g} {one.score:.3f}"
                for one in method.trials
            ]
            lines.append(f"{domain:8} {decl.method(name).label:16} {'  '.join(scores)}")
    return "\n".join(lines)


def _record(folder: Path) -> dict[str, Any]:
    if not (folder / "run.json").is_file():
        raise ValueError(f"{folder} is not finished: it has no run.json")
    record: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    if record["seed"] != TUNING_SEED:
        raise ValueError(f"{folder} is of seed {record['seed']}: rates are chosen with seed {TUNING_SEED} alone")
    return record


def _trial(rate: float, validation: dict[str, Any], record: dict[str, Any]) -> Trial:
    return Trial(
        learning_rate=rate,
        run=record["method"],
        step=validation["step"],
        score=round(validation["score"], 6),
        stderr=round(validation["stderr"], 6),
        config_hash=record["config_hash"],
        policy_hash=record["policy_hash"],
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; a mistake of the user's ends with one line on standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="folders of trial runs and selections")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    arguments = parser.parse_args(argv)
    decl = load_declarations()
    try:
        found = tuned(decl, arguments.runs)
    except ValueError as error:
        sys.exit(f"error: {error}")
    write_json(arguments.out, found.model_dump())
    used = os.path.relpath(CONFIG_DIR / FOLDER / f"{arguments.scale}.json")
    print(f"{summary(decl, found)}\nTo train with these rates: cp {arguments.out} {used}")


if __name__ == "__main__":
    main()
