"""A small results folder of two methods on tool use: scores, logs and evaluations, invented."""

import json
from pathlib import Path
from typing import Any

from reference_impl.config import load_declarations, load_scale
from reports.inputs import Results
from tests.support.synthetic_results import metrics_row, write_json, write_lines, write_scores

QUESTIONS = 40


def own_results(root: Path, mine: str | None = None, scale: str = "smoke", /, **right: int) -> Results:
    """Method → how many of 40 questions it gets right, on tool use; its reward is a hundredth of it."""
    for method, count in right.items():
        write_method(root, method, count, scale)
    return Results(root, load_scale(scale), load_declarations(mine=mine))


def write_method(root: Path, method: str, right: int, scale: str = "smoke", **changes: Any) -> None:
    """A method's files; ``changes`` are keys of its evaluation's summary."""
    rows = [
        {"task": "sandbox-bfcl", "item_id": str(i), "category": "live_simple", "correct": i < right, "tokens": 9}
        for i in range(QUESTIONS)
    ]
    place = f"tool/{method}/seed0"
    write_scores(root / "scores" / f"{place}.parquet", rows)
    summary = {"sandbox-bfcl": {"version": 1, "graders": "a" * 64, **changes}}
    write_json(root / "evaluations" / place / "summary.json", summary)
    asked = [{"item_id": row["item_id"], "prompt": f"question {row['item_id']}", "gold": "f()"} for row in rows]
    write_lines(root / "evaluations" / place / "sandbox-bfcl.jsonl", asked)
    steps = range(1, 9)
    write_lines(root / "runs" / place / "metrics.jsonl", [metrics_row(s, 33, reward_mean=right / 100) for s in steps])
    write_lines(root / "runs" / place / "validation.jsonl", [_validation(step, right) for step in range(0, 9, 4)])
    write_json(root / "runs" / place / "run.json", {"scale": scale, "method": method, "seed": 0})


def _validation(step: int, right: int) -> dict[str, Any]:
    scores = [float(i < right) for i in range(QUESTIONS)]
    return {"step": step, "epoch": None, "accuracy": sum(scores) / QUESTIONS, "stderr": 0.1, "scores": scores}


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
