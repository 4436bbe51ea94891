"""Clearly made-up results in the project's file formats, for tests of the reports. Never committed as
results.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reference_impl.config import Declarations, Scale, load_declarations, load_scale, resolve_run
from reports.inputs import Results, published_table, task_benchmark
from reports.tables import BFCL_PARTS, MMLU_SUBJECTS

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
MATH_SIZES = {"AMC": (83, 8), "AIME24": (30, 32), "AIME25": (30, 32)}


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
    full = [defaults | {"reason": "correct" if row["correct"] else "wrong"} | row for row in rows]
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


def task_rows(task: str, level: float, length: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Samples of one task at about the given accuracy."""
    benchmark = task_benchmark(task)
    if benchmark == "BFCL":
        questions = [(c, 1) for _, _, c in BFCL_PARTS for _ in range(BFCL_SIZES[c])]
    elif benchmark == "MMLU-Pro":
        questions = [(c, 1) for c in MMLU_SUBJECTS.values() for _ in range(16)]
    else:
        size, samples = MATH_SIZES[benchmark]
        questions = [("", samples)] * size
    rows = []
    for item, (category, samples) in enumerate(questions):
        chance = rng.beta(2 * level + 0.05, 2 * (1 - level) + 0.05)
        for sample in range(samples):
            correct = bool(rng.random() < chance)
            reason = "correct" if correct else ("bad_format" if rng.random() < 0.1 else "wrong")
            row = {
                "task": task,
                "item_id": f"{item:04d}",
                "category": category or None,
                "sample": sample,
                "correct": correct,
            }
            rows.append(row | {"reason": reason, "tokens": int(rng.gamma(8, length / 8)) + 1})
    return rows


def _curve(method: str, t: float) -> dict[str, float]:
    """Reward, entropy and length at the share t of a run, made up to look like the paper's figures."""
    imitation = math.exp(-t / 0.12) if method == "chord_mu" else 0.0
    top = 0.75 if method != "grpo" else 0.6
    dip = -0.55 * imitation * (1 - math.exp(-t / 0.02))
    return {
        "reward_mean": 0.35 + (top - 0.35) * (1 - math.exp(-t / 0.4)) + dip,
        "entropy": 0.35 * math.exp(-t / 0.2) + 0.08 + 0.5 * imitation,
        "response_length": 34 + (14 if method == "chord_phi" else 4) * t + 45 * imitation,
        "mu": 0.9 - (0.85 * min(t / 0.133, 1)) if method == "chord_mu" else (0.1 if method == "chord_phi" else 0.0),
    }


def _write_run(
    root: Path, decl: Declarations, scale: Scale, domain: str, run: str, seed: int, rng: np.random.Generator
) -> None:
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
    epochs = config.epochs or 10
    phases = [
        0.45 - 0.25 * math.exp(-((e - 1.5) ** 2) / 3) + 0.14 * (1 - math.exp(-e / 8)) - 0.004 * max(e - 12, 0)
        for e in range(epochs + 1)
    ]
    looks = [
        {"step": e * 8, "epoch": e, "accuracy": a, "stderr": 0.03, "response_length": 60.0}
        for e, a in enumerate(phases)
    ]
    write_lines(folder / "validation.jsonl", looks)
    best = max(looks, key=lambda look: look["accuracy"])
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


def synthetic_results(root: Path, *, scale: str = "mini", seeds: tuple[int, ...] = (0,)) -> Results:
    """A whole results folder; scores follow the paper's Table 1 roughly, everything else is invented."""
    decl, sizes = load_declarations(), load_scale(scale)
    printed = {row["method"]: row for row in published_table("table1")}
    lengths = {row["method"]: row for row in published_table("table2")}
    for domain, part in sizes.domains.items():
        write_json(root / "data" / domain / "manifest.json", {"expert_length_mean": 88.5, "expert_rows": 128})
        for method in decl.experiments["table1"]["methods"]:
            for seed in seeds:
                rng = np.random.default_rng([seed, len(method), sum(map(ord, method + domain))])
                length = float(lengths[method]["Math" if domain == "math" else "Tool-use"].replace(",", "")) / (
                    100 if domain == "math" else 5
                )
                rows = []
                for task in part.tasks:
                    column = {"BFCL": "BFCL Overall"}.get(task_benchmark(task), task_benchmark(task))
                    rows += task_rows(task, float(printed[method][column]) / 100, 20 + length, rng)
                write_scores(root / "scores" / domain / method / f"seed{seed}.parquet", rows)
    for name in decl.methods:
        for domain in decl.method_domains(name):
            for run in decl.runs(name):
                for seed in seeds:
                    rng = np.random.default_rng([seed, sum(map(ord, run + domain))])
                    _write_run(root, decl, sizes, domain, run, seed, rng)
            if decl.method(name).select:
                chosen = resolve_run(decl, sizes, "sft-lr5e-06", domain, 0)
                for seed in seeds:
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
                            "best": {"step": 8, "accuracy": 0.4, "epoch": 1},
                            "status": "complete",
                        },
                    )
    return Results(root, sizes, decl)
