"""Write the sandbox's data: RL prompts, expert demonstrations, validation prompts, and the benchmarks.

    python -m pipelines.data.sandbox --domain math --scale mini --out results/mini/data/math
    python -m pipelines.data.sandbox --benchmarks --out results/mini/benchmarks

Every split has a seeded generator of its own; this stage checks that no question is in two of them.
"""

import argparse
import json
import shutil
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from pipelines.sandbox.policies import SHIPPED, WORLDS, load_world
from reference_impl.config import domain_size, load_declarations, load_scale
from reference_impl.files import file_hash, replace_folder, write_json, write_jsonl

DATA_SEED = 0
"""One data set for all seeds: a run's seed changes sampling and data order, never the data."""

Row = dict[str, Any]


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


def benchmark_questions(files: dict[str, list[Row]]) -> Iterable[Row]:
    """The questions of all benchmark files, in the shape of training rows."""
    for name, rows in files.items():
        if "possible_answer" in name or "mmlu" in name:
            continue  # golds, and the retention set, which shares no question with any training data by construction
        for row in rows:
            turns = row.get("question")
            question = turns[0][0]["content"] if isinstance(turns, list) else row["problem"]
            yield {"question": question, "functions": row.get("function")}


def write_lines(path: Path, rows: list[Row]) -> str:
    """Write JSON lines; returns their SHA-256."""
    write_jsonl(path, rows)
    return file_hash(path)


def write_domain(domain: str, scale_name: str, out: Path) -> None:
    """The three splits of one domain and their manifest."""
    decl, scale = load_declarations(), load_scale(scale_name)
    world = load_world(domain)

    def size(name: str) -> int:
        return domain_size(decl, scale, domain, name)

    splits = {
        "prompts": world.rl_rows(size("prompt_rows"), DATA_SEED),
        "expert": world.expert_rows(size("expert_rows"), DATA_SEED),
        "validation": world.validation_rows(scale.domains[domain].validation_rows, DATA_SEED),
    }
    check_disjoint({**splits, "benchmarks": benchmark_questions(world.benchmarks())})
    tokenizer = Tokenizer.from_file(str(SHIPPED / scale.domains[domain].policy / "tokenizer.json"))
    # One more for the end-of-turn token, which counts in a rollout's length too.
    lengths = [len(tokenizer.encode(row["response"], add_special_tokens=False).ids) + 1 for row in splits["expert"]]
    hashes = {name: write_lines(out / f"{name}.jsonl", rows) for name, rows in splits.items()}
    manifest = {
        "source": "sandbox",
        "world": domain,
        "world_version": world.VERSION,
        "seed": DATA_SEED,
        **{f"{name}_rows": len(rows) for name, rows in splits.items()},
        "expert_length_mean": statistics.fmean(lengths),
        "sha256": hashes,
    }
    write_json(out / "manifest.json", manifest)


def write_benchmarks(out: Path) -> None:
    """Every sandbox benchmark in the official formats, and their manifest."""
    files = {name: rows for world in WORLDS for name, rows in load_world(world).benchmarks().items()}
    manifest = {name: {"rows": len(rows), "sha256": write_lines(out / name, rows)} for name, rows in files.items()}
    write_json(out / "manifest.json", manifest)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--domain", choices=WORLDS, help="write the training data of this domain")
    what.add_argument("--benchmarks", action="store_true", help="write the benchmarks of all domains")
    parser.add_argument("--scale", default="mini", help="scale that sets the sizes (the benchmarks have one size)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args(argv)
    part = arguments.out.with_name(arguments.out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        if arguments.benchmarks:
            write_benchmarks(part)
        else:
            write_domain(arguments.domain, arguments.scale, part)
    except ValueError as error:
        sys.exit(f"error: {error}")
    replace_folder(part, arguments.out)


if __name__ == "__main__":
    main()
