"""Two results folders, of two revisions, two scales or two people: paired differences of what both have.

    python -m reports.compare results/A results/B

Every method and column that both have, the first minus the second. Folders that did not ask the same are refused in a
line: other questions, other prompts or golds, other samples per question, verdicts of other graders.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from reference_impl.config import load_declarations, load_scale
from reference_impl.files import iterate_jsonl
from reports.inputs import Results, run_command
from reports.paired import Pair, main_columns, make_pair, said_of, to_markdown
from reports.scores import column_name, samples_of

OF_A_TASK = ("version", "graders")
"""Keys of an evaluation's summary.json in which two must agree."""
SHOWN = 12
"""Characters of a hash."""


def open_folder(root: Path) -> Results:
    """A results folder as its runs say that it was made. Raises ValueError where it has no scores."""
    records = sorted(root.glob("runs/*/*/seed*/run.json"))
    if not list(root.glob("scores/*/*/seed*.parquet")):
        raise ValueError(f"{root} is no results folder: it has no scores/<domain>/<method>/seed<k>.parquet")
    scale = json.loads(records[0].read_bytes())["scale"] if records else root.name
    return Results(root, load_scale(scale), load_declarations())


def common_methods(a: Results, b: Results) -> list[tuple[str, str]]:
    """(domain, method) of what both have scores of, in the order of the declarations; unknown methods last."""
    found = [{path.parts[-3:-1] for path in one.root.glob("scores/*/*/seed*.parquet")} for one in (a, b)]
    order = {name: place for place, name in enumerate(a.decl.methods)}
    both = [
        (domain, method)
        for domain, method in found[0] & found[1]
        if domain in a.scale.domains and domain in b.scale.domains
    ]
    domains = list(a.scale.domains)
    return sorted(both, key=lambda one: (domains.index(one[0]), order.get(one[1], len(order)), one[1]))


def unlike(a: Results, b: Results, domain: str, method: str) -> Iterator[str]:
    """Why samples of a method cannot be compared, a line a reason; nothing where they can."""
    first, second = (one.scores(domain, method) for one in (a, b))
    seeds = sorted(set(first["seed"]) & set(second["seed"]))
    if not seeds:
        yield f"seeds {sorted(set(first['seed']))} and {sorted(set(second['seed']))}, none in common"
        return
    for task in sorted(set(first["task"]) & set(second["task"])):
        counts = [
            frame[frame["task"] == task].groupby(["seed", "item_id"]).size().loc[seeds] for frame in (first, second)
        ]
        items = [set(count.index.get_level_values("item_id")) for count in counts]
        if items[0] != items[1]:
            yield f"{task}: other questions: {len(items[0])} and {len(items[1])}, {len(items[0] & items[1])} in common"
        elif not counts[0].equals(counts[1]):
            yield f"{task}: {counts[0].max()} and {counts[1].max()} samples per question"
        else:
            yield from _unlike_records(a, b, f"evaluations/{domain}/{method}/seed{seeds[0]}", task)


def _unlike_records(a: Results, b: Results, folder: str, task: str) -> Iterator[str]:
    """What the evaluations themselves say: graders, version, and what was asked."""
    places = [one.root / folder for one in (a, b)]
    summaries = [_summary(place).get(task, {}) for place in places]
    for key in OF_A_TASK:
        said = [str(summary.get(key, "not recorded"))[:SHOWN] for summary in summaries]
        if summaries[0].get(key) != summaries[1].get(key):
            yield f"{task}: other {key}: {said[0]} and {said[1]}"
            return
    asked = [_asked(place / f"{task}.jsonl") for place in places]
    if all(asked):
        other = [item for item in asked[0] if asked[0][item] != asked[1].get(item)]
        if other:
            yield f"{task}: another prompt or gold under the same id: {other[0]}" + (
                f", and {len(other) - 1} more" if len(other) > 1 else ""
            )


def _summary(folder: Path) -> dict[str, Any]:
    path = folder / "summary.json"
    found: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
    return found


def _asked(path: Path) -> dict[str, Any]:
    """Question → its prompt and gold; nothing where the samples are not there."""
    if not path.is_file():
        return {}
    return {str(row["item_id"]): [row.get("prompt"), row.get("gold")] for row in iterate_jsonl(path)}


def pairs(a: Results, b: Results) -> list[Pair]:
    """Every method and main column that both have. Raises ValueError with a line where they did not ask the same."""
    common = common_methods(a, b)
    if not common:
        raise ValueError(f"{a.root} and {b.root} have no method in common")
    for domain, method in common:
        for reason in unlike(a, b, domain, method):
            raise ValueError(f"{a.root} and {b.root} did not ask the same of {method} in {domain}: {reason}")
    names = [one.root.name if a.root.name != b.root.name else str(one.root) for one in (a, b)]
    found = []
    for domain, method in common:
        label = a.decl.methods[method].label if method in a.decl.methods else method
        for column in main_columns(a.decl, domain):
            sides = [
                (method, f"{label}, {name}", samples_of(one, method, column))
                for name, one in zip(names, (a, b), strict=True)
            ]
            if all(len(samples) for _, _, samples in sides):
                found.append(make_pair(column, column_name(a, column), sides[0], sides[1]))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Compare two results folders."""
    made = argparse.ArgumentParser(
        prog="python -m reports.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("folders", nargs=2, type=Path, help="results folders; the second is the baseline")
    arguments = made.parse_args(argv)
    a, b = map(open_folder, arguments.folders)
    found = pairs(a, b)
    print(f"# {a.root} against {b.root}\n\n{to_markdown(found)}")
    print("\n".join(said_of(found)))


if __name__ == "__main__":
    run_command(main)
