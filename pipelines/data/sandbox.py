"""Write the sandbox's data: RL prompts, expert demonstrations, validation prompts, and the benchmarks.

    python -m pipelines.data.sandbox --domain math --scale mini --out results/mini/data/math
    python -m pipelines.data.sandbox --benchmarks --out results/mini/benchmarks

A domain's folder holds `prompts.jsonl`, `validation.jsonl`, one file per set of demonstrations (`expert.jsonl`,
`expert-<role>.jsonl`) and `manifest.json`. Every split has a seeded generator of its own, so each file can be written
by itself (`--file`); the manifest is written last, after checking that no question is in two splits.
"""

import argparse
import json
import shutil
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from tokenizers import Tokenizer

from pipelines.data.splits import PROMPTS, VALIDATION, split_rows
from pipelines.sandbox.policies import SHIPPED, WORLDS, load_world
from reference_impl.config import choose, expert_file, load_declarations, load_scale
from reference_impl.files import file_hash, replace_folder, write_json, write_jsonl
from reference_impl.run.rows import check_files

DATA_SEED = 0
"""One data set for all seeds: a run's seed changes sampling and data order, never the data."""

Row = dict[str, Any]

MANIFEST = "manifest.json"
SPLITS: dict[str, Callable[[ModuleType, int], list[Row]]] = {
    PROMPTS: lambda world, n: world.rl_rows(n, DATA_SEED),
    VALIDATION: lambda world, n: world.validation_rows(n, DATA_SEED),
    expert_file("main"): lambda world, n: world.expert_rows(n, DATA_SEED),
    expert_file("few"): lambda world, n: world.expert_rows(n, DATA_SEED),
    expert_file("large"): lambda world, n: world.expert_rows(n, DATA_SEED),
    expert_file("second"): lambda world, n: world.expert_rows(n, DATA_SEED, style="second"),
    expert_file("aligned"): lambda world, n: world.aligned_rows(n, DATA_SEED),
}
"""File → its rows. A larger set of a world's expert begins with the rows of a smaller one."""


def question_key(row: Row) -> str:
    """What makes two rows the same question: its text and, for tool use, the functions offered."""
    return json.dumps([row.get("question") or row.get("problem"), row.get("functions") or row.get("function")])


def check_disjoint(splits: dict[str, Iterable[Row]]) -> None:
    """Raise ValueError naming the first question that stands in two splits, or twice in one."""
    seen: dict[str, str] = {}
    for split, rows in splits.items():
        for row in rows:
            key = question_key(row)
            if key in seen:
                raise ValueError(f"a question of split {split!r} is in {seen[key]!r} too: {key}")
            seen[key] = split


def check_splits(splits: Mapping[str, list[Row]], benchmarks: Iterable[Row]) -> None:
    """Check a domain's splits against each other and its benchmarks.

    Sets of demonstrations may share questions, since methods learn from one of them; `aligned` must have the prompts'
    own. Raises ValueError naming the split and the question.
    """
    aligned = splits.get(expert_file("aligned"), splits[PROMPTS])
    for number, (prompt, row) in enumerate(zip(splits[PROMPTS], aligned, strict=True), 1):
        if (prompt["id"], question_key(prompt)) != (row["id"], question_key(row)):
            raise ValueError(
                f"row {number} of {expert_file('aligned')} is {row['id']!r}, of the prompts {prompt['id']!r}"
            )
    others = {PROMPTS: splits[PROMPTS], VALIDATION: splits[VALIDATION], "benchmarks": list(benchmarks)}
    for name, rows in splits.items():
        if name not in (PROMPTS, VALIDATION, expert_file("aligned")):
            check_disjoint({**others, name: rows})


def benchmark_questions(files: dict[str, list[Row]]) -> Iterable[Row]:
    """The questions of all benchmark files, in the shape of training rows."""
    for name, rows in files.items():
        if "possible_answer" in name or "mmlu" in name:
            continue  # golds, and the retention set, which shares no question with any training data by construction
        for row in rows:
            question = row["problem"] if "problem" in row else row["question"]
            text = question if isinstance(question, str) else question[0][0]["content"]
            yield {"question": text, "functions": row.get("function")}


def write_file(domain: str, scale_name: str, out: Path, name: str) -> None:
    """One file of a domain's folder; the manifest describes the others, which must be there."""
    decl, scale = load_declarations(), load_scale(scale_name)
    sizes = split_rows(decl, scale, domain)
    choose("file", name, [*sizes, MANIFEST], f"the {domain} domain")
    if name == MANIFEST:
        write_json(out / MANIFEST, describe(domain, scale.domains[domain].policies["main"], out, sizes))
    else:
        draw = SPLITS[choose("file", name, SPLITS, "the sandbox")]
        write_jsonl(out / name, draw(load_world(domain), sizes[name]))


def write_domain(domain: str, scale_name: str, out: Path) -> None:
    """Every split of one domain, and the manifest."""
    for name in (*split_rows(load_declarations(), load_scale(scale_name), domain), MANIFEST):
        write_file(domain, scale_name, out, name)


def describe(domain: str, policy: str, folder: Path, sizes: Mapping[str, int]) -> Row:
    """The manifest: rows, hashes, and the demonstrations' mean lengths in tokens of the domain's main policy.

    Raises ValueError where splits overlap, and with all that is wrong with their rows (`reference_impl.run.rows`).
    """
    world = load_world(domain)
    reward = load_declarations().domains[domain].reward
    splits = {
        path.name: rows for path, rows in check_files({folder / name: sizes[name] for name in sizes}, reward).items()
    }
    check_splits(splits, benchmark_questions(world.benchmarks()))
    tokenizer = Tokenizer.from_file(str(SHIPPED / policy / "tokenizer.json"))
    return {
        "source": "sandbox",
        "world": domain,
        "world_version": world.VERSION,
        "seed": DATA_SEED,
        **{f"{_key(name)}_rows": len(rows) for name, rows in splits.items()},
        **{
            f"{_key(name)}_length_mean": length_mean(rows, tokenizer)
            for name, rows in splits.items()
            if name not in (PROMPTS, VALIDATION)
        },
        "sha256": {_key(name): file_hash(folder / name) for name in splits},
    }


def _key(name: str) -> str:
    """A file's name as part of a key: `expert-large.jsonl` → `expert_large`."""
    return name.removesuffix(".jsonl").replace("-", "_")


def length_mean(rows: list[Row], tokenizer: Tokenizer) -> float:
    """Mean length of the responses in tokens."""
    # One more for the end-of-turn token, which counts in a rollout's length too.
    return statistics.fmean(len(tokenizer.encode(row["response"], add_special_tokens=False).ids) + 1 for row in rows)


def write_benchmarks(out: Path) -> None:
    """Every sandbox benchmark in the official formats, and their manifest."""
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    manifest = {}
    for name, rows in ((name, rows) for world in WORLDS for name, rows in load_world(world).benchmarks().items()):
        write_jsonl(part / name, rows)
        manifest[name] = {"rows": len(rows), "sha256": file_hash(part / name)}
    write_json(part / MANIFEST, manifest)
    replace_folder(part, out)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--domain", choices=WORLDS, help="write the training data of this domain")
    what.add_argument("--benchmarks", action="store_true", help="write the benchmarks of all domains")
    parser.add_argument("--scale", default="mini", help="scale that sets the sizes (the benchmarks have one size)")
    parser.add_argument("--file", help="write this file of the domain's folder only")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args(argv)
    try:
        if arguments.benchmarks:
            write_benchmarks(arguments.out)
        elif arguments.file is None:
            write_domain(arguments.domain, arguments.scale, arguments.out)
        else:
            write_file(arguments.domain, arguments.scale, arguments.out, arguments.file)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
