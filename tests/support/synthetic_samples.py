"""Stored samples, demonstrations and φ of tokens to go with synthetic results: everything that the page reads."""

from pathlib import Path
from typing import Any

import pandas as pd

from reports import figures, phi_figure, tables
from reports.inputs import Results
from reports.site import declared
from tests.support.synthetic_results import synthetic_results, write_json, write_lines

HOSTILE = "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
"""What every answer holds."""
PER_CATEGORY = 2
"""Questions that are stored of each category of a task."""


def _row(score: Any) -> dict[str, Any]:
    """A stored sample of a scored one."""
    correct = bool(score.correct)
    return {
        "task": score.task,
        "task_version": 1,
        "item_id": score.item_id,
        "category": None if pd.isna(score.category) else score.category,
        "sample": int(score.sample),
        "prompt": f"Question {score.item_id} of {score.task}?",
        "response": f"{score.method} says {HOSTILE}",
        "tokens": int(score.tokens),
        "truncated": False,
        "gold": {"answer": ["17"]},
        "correct": correct,
        "reason": score.reason,
        "extracted": "17" if correct else None,
    }


def write_samples(results: Results) -> None:
    """Stored samples of the first questions of every category, and a demonstration in every domain."""
    for path in results.root.glob("scores/*/*/seed*.parquet"):
        domain, method, seed = path.parts[-3], path.parts[-2], path.stem
        scores = pd.read_parquet(path).assign(method=method)
        for task, frame in scores.groupby("task", sort=False):
            order = frame.groupby(frame["category"].fillna(""))["item_id"].transform(lambda ids: pd.factorize(ids)[0])
            rows = [_row(score) for score in frame[order < PER_CATEGORY].itertuples()]
            write_lines(results.root / "evaluations" / domain / method / seed / f"{task}.jsonl", rows)
    for domain in results.scale.domains:
        rows = [{"id": f"{domain}-0", "question": "Question 0000 of it?", "response": f"Hm. {HOSTILE}"}]
        write_lines(results.root / "data" / domain / "expert.jsonl", rows)


def write_phi(root: Path, domain: str) -> None:
    """What evaluation/phi_tokens.py would write, of three tokens."""
    names, p = ("none", "p_one_minus_p"), [0.5, 0.9, 1.0]
    phi = {"none": [1.0, 1.0, 1.0], "p_one_minus_p": [0.25, 0.09, 0.0]}
    tokens = ["Hm", " </script>", "\n"]
    shown = {"id": f"{domain}-0", "question": "?", "tokens": tokens, "p": p, "entropy": [0.7, 0.3, 0.0], "phi": phi}
    curves = {"p": [0.0, 0.5, 1.0], "none": [1.0, 1.0, 1.0], "p_one_minus_p": [0.0, 0.25, 0.0]}
    formulas = {name: f"phi of {name}" for name in names}
    write_json(
        root / "phi" / f"{domain}.json",
        {"policy": "a-policy", "formulas": formulas, "curves": curves, "demonstration": shown},
    )


def page_results(root: Path) -> Results:
    """Results from which both pages can be made."""
    made = synthetic_results(root)
    for name in declared(made.decl, "table"):
        tables.write(made, name, made.root / "report" / "tables")
    for name in declared(made.decl, "figure"):
        figures.write(made, name, made.root / "report" / "figures")
    write_samples(made)
    for domain in made.scale.domains:
        write_phi(made.root, domain)
        phi_figure.write(made, domain, made.root / "report" / "figures")
    return made
