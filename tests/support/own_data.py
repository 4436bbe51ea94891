"""A user's own scale, with files of their own questions, as docs/own_model.md has them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from reference_impl.config import CONFIG_DIR

Row = dict[str, Any]


def own_row(n: int, shown: bool = True) -> Row:
    """A sum, with a demonstration of it or without."""
    row: Row = {"question": f"What is {n} + {n}, and nothing else?", "answer": 2 * n}
    return {**row, "response": f"<think>Twice {n}.</think>\\boxed{{{2 * n}}}"} if shown else row


def write_rows(path: Path, rows: Iterable[Row | str]) -> Path:
    """JSON lines; text is written as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def own_scale(folder: Path, files: Mapping[str, Any] | None, domain: str = "math", **changes: Any) -> Path:
    """A scale of one domain at the sizes of `smoke`, whose data is the user's own."""
    scale = yaml.safe_load((CONFIG_DIR / "scales" / "smoke.yaml").read_text(encoding="utf-8"))
    sizes = scale["domains"][domain] | {"data": "jsonl", "experts": ["main"], **changes}
    if files is not None:
        sizes["files"] = dict(files)
    path = folder / "my_scale.yaml"
    path.write_text(yaml.safe_dump({**scale, "domains": {domain: sizes}}), encoding="utf-8")
    return path
