"""Clearly made-up results in the project's file formats, for tests of the reports. Never committed as
results.
"""

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reference_impl.config import Declarations, RunConfig, Scale, load_declarations, load_scale, resolve_run
from reference_impl.config.experiments import Column, TableEntry
from reports.inputs import Results, printed, task_benchmarks

BFCL_SIZES = {
    "simple_python": 100,
    "multiple": 50,
    "parallel": 50,
    "parallel_multiple": 50,
    "live_simple": 64,
    "live_multiple": 160,
    "live_parallel": 16,
    "live_parallel_multiple": 24,
}
SIZES = {"AMC": (83, 8), "AIME24": (30, 32), "AIME25": (30, 32), "RaR-Medicine": (60, 2)}
"""Questions and samples of each."""


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_scores(path: Path, rows: list[dict[str, Any]]) -> None:
    """rows need task, item_id, correct; the other columns have defaults."""
    defaults = {
        "domain": "",
        "method": "",
        "seed": 0,
        "category": None,
        "sample": 0,
        "tokens": 10,
        "truncated": False,
    }
    full = [
        defaults | {"reason": "correct" if row["correct"] else "wrong", "score": float(row["correct"])} | row
        for row in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(full).to_parquet(path)


def metrics_row(step: int, divisor: float, **values: float) -> dict[str, Any]:
    row = dict.fromkeys(
        (
            "reward_mean",
            "reward_std",
            "accuracy",
            "format_failure_rate",
            "entropy",
            "response_length",
            "mu",
            "phi_mean",
            "sft_loss",
            "loss",
        )
    )
    return {"step": step, "paper_step": step * divisor, **row, **values}


def tables(decl: Declarations) -> dict[str, TableEntry]:
    """The declared tables."""
    return {name: entry for name, entry in decl.experiments.items() if isinstance(entry, TableEntry)}


@cache
def _categories(table: str) -> list[str]:
    """The categories that columns of a table ask one by one."""
    columns = tables(load_declarations())[table].columns
    return [column.categories[0] for column in columns if len(column.categories) == 1]


def task_rows(task: str, level: float, length: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Samples of one task at about the given accuracy, or a judge's score."""
    benchmark = task_benchmarks(task)[0]
    if benchmark == "BFCL":
        questions = [(c, 1) for c in _categories("table10") for _ in range(BFCL_SIZES[c])]
    elif benchmark == "MMLU-Pro":
        questions = [(c, 1) for c in _categories("table11") for _ in range(16)]
    else:
        size, samples = SIZES[benchmark]
        questions = [("", samples)] * size
    rows = []
    for item, (category, samples) in enumerate(questions):
        chance = rng.beta(2 * level + 0.05, 2 * (1 - level) + 0.05)
        for sample in range(samples):
            correct = bool(rng.random() < chance)
            reason = "correct" if correct else ("bad_format" if rng.random() < 0.1 else "wrong")
            row: dict[str, Any] = {
                "task": task,
                "item_id": f"{item:04d}",
                "category": category or None,
                "sample": sample,
                "correct": correct,
            }
            if benchmark == "RaR-Medicine":
                row |= {"score": round(chance, 2), "correct": round(chance, 2) == 1.0}
                reason = "judged"
            rows.append(row | {"reason": reason, "tokens": int(rng.gamma(8, length / 8)) + 1})
    return rows


def _printed(decl: Declarations, method: str, task: str, *, graded: bool) -> float | None:
    """What the paper prints first of a method on a task's entire benchmark, or None."""

    def asks(column: Column) -> bool:
        inside = set(column.benchmarks) & set(task_benchmarks(task))
        return bool(inside) and column.graded == graded and not column.categories

    cells = (
        printed(table, method, column.header)
        for table, entry in tables(decl).items()
        for column in entry.columns
        if asks(column)
    )
    return next((float(cell.replace(",", "")) for cell in cells if cell), None)


def _write_scores(root: Path, decl: Declarations, scale: Scale, domain: str, method: str, seed: int) -> None:
    rng = np.random.default_rng([seed, len(method), sum(map(ord, method + domain))])
    rows = []
    for task in scale.domains[domain].tasks:
        level, length = (_printed(decl, method, task, graded=graded) for graded in (True, False))
        tokens = 20 + (300 if length is None else length) / (100 if domain == "math" else 5)
        rows += task_rows(task, 0.3 if level is None else level / 100, tokens, rng)
    write_scores(root / "scores" / domain / method / f"seed{seed}.parquet", rows)


def _curve(method: str, t: float) -> dict[str, float]:
    """Reward, entropy and length at the share t of a run, made up to look like the paper's figures."""
    imitation = math.exp(-t / 0.12) if method == "chord_mu" else 0.0
    top = 0.75 if method != "grpo" else 0.6
    dip = -0.55 * imitation * (1 - math.exp(-t / 0.02))
    mu = 0.9 - (0.85 * min(t / 0.133, 1)) if method == "chord_mu" else (0.1 if method == "chord_phi" else 0.0)
    expert = {"phi_mean": 0.1 if method == "chord_phi" else 1.0, "sft_loss": 0.2} if mu else {}
    return expert | {
        "reward_mean": 0.35 + (top - 0.35) * (1 - math.exp(-t / 0.4)) + dip,
        "entropy": 0.35 * math.exp(-t / 0.2) + 0.08 + 0.5 * imitation,
        "response_length": 34 + (14 if method == "chord_phi" else 4) * t + 45 * imitation,
        "mu": mu,
    }


def _validations(config: RunConfig) -> list[dict[str, Any]]:
    """A validation curve that declines, readapts and overfits, in epochs or in validations."""
    rows: list[dict[str, Any]] = []
    for number, step in enumerate(range(0, config.steps + 1, config.validate_every)):
        phases = 0.14 * (1 - math.exp(-number / 8)) - 0.25 * math.exp(-((number - 1.5) ** 2) / 3)
        accuracy = 0.45 + phases - 0.004 * max(number - 12, 0)
        epoch = None if config.epochs is None else float(number)
        rows.append({"step": step, "epoch": epoch, "accuracy": accuracy, "score": accuracy, "stderr": 0.03})
        rows[-1]["response_length"] = 60.0
        rows[-1]["scores"] = [float(place < 100 * accuracy) for place in range(100)]
    return rows


def _write_run(root: Path, decl: Declarations, scale: Scale, domain: str, run: str, seed: int) -> None:
    rng = np.random.default_rng([seed, sum(map(ord, run + domain))])
    config = resolve_run(decl, scale, run, domain, seed)
    folder = root / "runs" / domain / run / f"seed{seed}"
    rows = []
    for step in range(1, config.steps + 1):
        values = _curve(run, step / config.steps)
        values["reward_mean"] += rng.normal(0, 0.05)
        values["entropy"] *= float(rng.normal(1, 0.06))
        values["response_length"] *= float(rng.normal(1, 0.04))
        rows.append(metrics_row(step, config.steps_divisor, reward_std=0.45, **values))
    write_lines(folder / "metrics.jsonl", rows)
    validations = _validations(config)
    write_lines(folder / "validation.jsonl", validations)
    best = max(validations, key=lambda row: row["score"])
    write_json(
        folder / "run.json",
        {
            "config": config.to_dict(),
            "config_hash": config.hash(),
            "seed": seed,
            "method": run,
            "domain": domain,
            "scale": scale.name,
            "code_revision": "0" * 40,
            "packages": {"torch": "0.0"},
            "policy_hash": "0" * 64,
            "data_hash": "0" * 64,
            "wall_seconds": 73.2,
            "hardware": {"cpu": "synthetic"},
            "best": best,
            "status": "complete",
        },
    )


def _write_selection(root: Path, decl: Declarations, scale: Scale, domain: str, name: str, seed: int) -> None:
    select = decl.method(name).select
    assert select is not None
    chosen = resolve_run(decl, scale, next(iter(decl.runs(select.grid))), domain, seed)
    write_json(
        root / "runs" / domain / name / f"seed{seed}" / "run.json",
        {
            "config": chosen.to_dict(),
            "config_hash": chosen.hash(),
            "seed": seed,
            "method": name,
            "domain": domain,
            "code_revision": "0" * 40,
            "wall_seconds": 0.4,
            "best": {"step": 8, "accuracy": 0.4, "score": 0.4, "epoch": 1},
            "status": "complete",
        },
    )


def synthetic_results(root: Path, *, scale: str = "mini", seeds: tuple[int, ...] = (0,)) -> Results:
    """A complete results folder; scores follow the paper's tables roughly, everything else is invented."""
    decl, sizes = load_declarations(), load_scale(scale)
    for domain in sizes.domains:
        write_json(root / "data" / domain / "manifest.json", {"expert_length_mean": 88.5, "expert_rows": 128})
    evaluated = {name for table in tables(decl).values() for name in table.methods}
    for name in decl.methods:
        for domain in decl.method_domains(name):
            if domain not in sizes.domains:
                continue
            for seed in seeds:
                for run in decl.runs(name):
                    _write_run(root, decl, sizes, domain, run, seed)
                if decl.method(name).select:
                    _write_selection(root, decl, sizes, domain, name, seed)
                if name in evaluated:
                    _write_scores(root, decl, sizes, domain, name, seed)
    return Results(root, sizes, decl)
