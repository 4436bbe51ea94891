"""A domain's data in the ecosystem's formats: conversations as training sees them, for TRL, `datasets` and the hub.

    python -m pipelines.data.export --data results/mini/data/math --format prompt_completion --out export/math

The files of the folder keep their names, and each row its place. System prompt and user text are those of
`reference_impl.text.prompts`, so what another trainer reads is what this one trains on. Columns are text, or lists of
messages `{"role", "content"}`:

- demonstrations (`expert*.jsonl`): `prompt` and `completion`, or both together as `messages`;
- RL and validation prompts: `prompt` alone, in either format;
- `id`, and `gold` where the row has one: text as it is, calls and rubrics as JSON (as objects of different keys, a
  table would fill every row with the others' keys).
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.data.sources import read_records
from pipelines.data.splits import PROMPTS, VALIDATION
from reference_impl.config import choose
from reference_impl.files import json_line, whole_file
from reference_impl.text.prompts import Message, render

Row = dict[str, Any]

FORMATS: dict[str, Callable[[list[Message], Message], Row]] = {
    "messages": lambda prompt, answer: {"messages": [*prompt, answer]},
    "prompt_completion": lambda prompt, answer: {"prompt": prompt, "completion": [answer]},
}
"""Format → the columns of a demonstration."""


def export_row(row: Mapping[str, Any], form: str) -> Row:
    """One row in one of FORMATS. Raises ValueError for a row that names no prompt, or an unknown one."""
    if not {"id", "prompt", "question"} <= set(row):
        raise ValueError(f"expected id, prompt and question, got {', '.join(row)}")
    prompt = render(row)
    columns: Row = {"prompt": prompt}
    if "response" in row:
        columns = FORMATS[form](prompt, {"role": "assistant", "content": row["response"]})
    if "gold" in row:
        gold = row["gold"]
        columns["gold"] = gold if isinstance(gold, str) else json.dumps(gold, ensure_ascii=False)
    return {"id": row["id"], **columns}


def _rows(path: Path, form: str) -> Iterator[Row]:
    for record in read_records(path, ()):
        try:
            if record.row is None:
                raise ValueError(record.problem)
            yield export_row(record.row, form)
        except ValueError as error:
            raise ValueError(f"{path}, line {record.number}: {error}") from None


def export(data: Path, form: str, out: Path) -> dict[str, int]:
    """Write every file of a domain's folder to `out` and return their numbers of rows.

    Raises ValueError for an unknown format, a folder without data, and a row that cannot be rendered.
    """
    choose("format", form, FORMATS, "--format")
    files = [data / name for name in (PROMPTS, VALIDATION) if (data / name).is_file()]
    files += sorted(data.glob("expert*.jsonl"))
    if not files:
        raise ValueError(f"{data} has no {PROMPTS}, {VALIDATION} or expert*.jsonl: give a domain's data folder")
    if out.resolve() == data.resolve():
        raise ValueError(f"--out {out} is the data folder itself, whose files would be replaced")
    counts = dict.fromkeys((path.name for path in files), 0)
    for path in files:
        with whole_file(out / path.name) as temporary, temporary.open("w", encoding="utf-8") as lines:
            for row in _rows(path, form):
                lines.write(json_line(row))
                counts[path.name] += 1
    return counts


def main(argv: list[str] | None = None) -> None:
    """Export one folder; a mistake of the user's ends with one line on standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a domain's folder of prompts.jsonl, expert.jsonl, …")
    parser.add_argument("--format", required=True, help=f"of demonstrations: {' or '.join(FORMATS)}")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args(argv)
    try:
        for name, rows in export(arguments.data, arguments.format, arguments.out).items():
            print(f"{arguments.out / name}: {rows} rows")
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
