"""What the stages for real data share: rows of public data sets → candidates → the files of a domain's folder.

A stage reads its sources once and writes `candidates.jsonl` (sound rows in the project's form), `quarantine.jsonl`
(malformed rows) and `sources.json` (files, hashes, counts). Every split is then drawn from the candidates by itself:
a candidate's id begins with a hash of the seed and its question, and splits are cut from the ids in their order. So a
split does not depend on the order of the source's rows, and no random number generator needs to be agreed on.
"""

import argparse
import hashlib
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from pipelines.data.overlap import QuestionIndex, benchmark_questions, normalise
from pipelines.data.quarantine import FilteredError, MalformedError, Tally, what_is_left
from pipelines.data.sources import Source, describe_file, find_files, read_json, read_records
from pipelines.data.splits import PROMPTS, VALIDATION, split_rows
from reference_impl.config import benchmark_tasks, choose, domain_size, expert_file, load_declarations, load_scale
from reference_impl.files import file_hash, json_line, whole_file, write_json, write_jsonl
from reference_impl.run.rows import report, row_faults

CANDIDATES, QUARANTINE, SOURCES, MANIFEST = "candidates.jsonl", "quarantine.jsonl", "sources.json", "manifest.json"
DATA_SEED = 0
"""One data set for all seeds: a run's seed changes sampling and data order, never the data."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """How long a response may be in the policy's tokens; without a tokenizer any length passes."""

    max_tokens: int
    tokenizer: Tokenizer | None = None

    def tokens(self, response: str) -> int | None:
        """Its tokens, the end-of-turn token included; None without a tokenizer."""
        if self.tokenizer is None:
            return None
        return len(self.tokenizer.encode(response, add_special_tokens=False).ids) + 1

    def allow(self, tokens: int | None) -> bool:
        """Whether so many are within the limit. Counting them takes most of a stage's time: once for a response."""
        return tokens is None or tokens <= self.max_tokens


@dataclass(frozen=True)
class Pool:
    """A source, and how one of its rows becomes a candidate: `prompt`, `question`, `meta`, and what else it has.

    convert raises MalformedError or FilteredError for a row that is not used.
    """

    source: Source
    convert: Callable[[Mapping[str, Any], Limits], Row]


Assign = Callable[[Mapping[str, Sequence[str]], Mapping[str, int]], dict[str, Sequence[str]]]
Demonstrate = Callable[[str, Sequence[Row], int, Limits, argparse.Namespace], list[Row]]


@dataclass(frozen=True)
class Stage:
    """Real data of a domain, or of any of several.

    pools: by name, in the order in which they are read. assign: (pool → sorted ids, file → rows wanted) → the ids that
    each file may use, best first. held_out: a pool whose questions no other pool may have. demonstrate: (file, rows,
    how many, limits, options) → rows with a response, where the source has none. prompts_apart: no demonstration but
    an aligned one has an RL prompt's question. shown: the sets of demonstrations that the sources have themselves, None
    for all; those of the others are an expert's stored answers.
    """

    name: str
    version: int
    domains: tuple[str, ...]
    pools: Mapping[str, Pool]
    assign: Assign
    held_out: str | None = None
    demonstrate: Demonstrate | None = None
    prompts_apart: bool = True
    shown: tuple[str, ...] | None = None


def split_one_pool(ids: Mapping[str, Sequence[str]], sizes: Mapping[str, int]) -> dict[str, Sequence[str]]:
    """Validation, then RL prompts, then demonstrations of what is left; `aligned` has the prompts' own.

    Larger sets of demonstrations begin with the smaller ones.
    """
    (pool,) = ids.values()
    first, last = sizes[VALIDATION], sizes[VALIDATION] + sizes[PROMPTS]
    prompts = pool[first:last]
    experts = {name: pool[last:] for name in sizes if name not in (VALIDATION, PROMPTS)}
    aligned = {name: prompts for name in sizes if name == expert_file("aligned")}
    return {VALIDATION: pool[:first], PROMPTS: prompts, **experts, **aligned}


def write_candidates(stage: Stage, out: Path, benchmarks: QuestionIndex, limits: Limits, files: "Files") -> None:
    """The candidates of all pools, the quarantine, and the account of both."""
    tally = Tally()
    described: list[Row] = []
    with whole_file(out / CANDIDATES) as temporary:
        with temporary.open("w", encoding="utf-8") as lines:
            for row in _candidates(stage, benchmarks, limits, files, tally, described):
                lines.write(json_line(row))
        write_jsonl(out / QUARANTINE, tally.quarantine)  # before the error, whose reasons it explains
        if not tally.kept:
            raise ValueError(f"{stage.name}: {what_is_left(tally.report())}")
    write_json(
        out / SOURCES,
        {
            "files": described,
            **tally.report(),
            "max_response_tokens": limits.max_tokens if limits.tokenizer is not None else None,
        },
    )


def _candidates(
    stage: Stage, benchmarks: QuestionIndex, limits: Limits, files: "Files", tally: Tally, described: list[Row]
) -> Iterator[Row]:
    seen: dict[str, set[str]] = {name: set() for name in stage.pools}
    for name, pool in stage.pools.items():
        for path in files.of(name, pool.source):
            described.append(describe_file(path, name, pool.source, name in files.local, files.revisions.get(name)))
            for record in read_records(path, pool.source.columns):
                tally.rows += 1
                try:
                    if record.row is None:
                        raise MalformedError("unreadable row", record.problem)
                    row = pool.convert(record.row, limits)
                    _check_question(stage, name, row["question"], benchmarks, seen)
                    line = {"id": f"{name}-{question_hash(row['question'])}", "pool": name, **row}
                    json_line(line)  # raises for what JSON does not have, such as infinities
                except MalformedError as error:
                    tally.malformed(path.name, record.number, error)
                except FilteredError as error:
                    tally.filtered[str(error)] += 1
                except ValueError as error:
                    tally.malformed(path.name, record.number, MalformedError("cannot be stored", str(error)))
                else:
                    tally.kept += 1
                    yield line


def _check_question(
    stage: Stage, pool: str, question: str, benchmarks: QuestionIndex, seen: Mapping[str, set[str]]
) -> None:
    """Raise FilteredError for a question that was met before or is in an evaluation set; remember it otherwise."""
    key = normalise(question)
    if key in seen[pool]:
        raise FilteredError("question met before")
    if stage.held_out is not None and key in seen[stage.held_out]:
        raise FilteredError(f"question of {stage.held_out}")
    benchmark = benchmarks.find(question)
    if benchmark is not None:
        raise FilteredError(f"question of {benchmark}")
    seen[pool].add(key)


def question_hash(question: str) -> str:
    """What a candidate's id ends with: the same for all copies of a question, whichever file they are in."""
    content = f"{DATA_SEED}:{normalise(question)}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _stored(path: Path, *left_out: str) -> Iterator[Row]:
    """The rows of a file that a stage wrote, one at a time, without some columns: responses are most of the memory."""
    if not path.is_file():
        raise ValueError(f"no {path}: write it first (--file {path.name})")
    for record in read_records(path, ()):
        assert record.row is not None, record.problem
        yield {key: value for key, value in record.row.items() if key not in left_out}


def write_split(stage: Stage, out: Path, name: str, job: "Job") -> None:
    """One split, drawn from the candidates. Raises ValueError with every filter's count where they are too few."""
    ids: dict[str, list[str]] = {pool: [] for pool in stage.pools}
    for row in _stored(out / CANDIDATES, "response"):
        ids[row["pool"]].append(row["id"])
    order = stage.assign({pool: sorted(found) for pool, found in ids.items()}, job.sizes)[name]
    wanted = job.sizes[name]
    report = read_json(out / SOURCES)
    if len(order) < wanted:
        raise ValueError(
            f"{name} needs {wanted} rows of {stage.name}, {len(order)} remain for it. {what_is_left(report)}"
        )
    if name in (PROMPTS, VALIDATION):
        rows = _pick(out, order[:wanted], "pool", "response")
    elif stage.demonstrate is None:
        rows = _pick(out, order[:wanted], "pool")
    else:
        rows = stage.demonstrate(name, _pick(out, order, "pool"), wanted, job.limits, job.options)
    write_jsonl(out / name, rows)


def _pick(out: Path, order: Sequence[str], *left_out: str) -> list[Row]:
    """The candidates with these ids, in this order, without some columns."""
    wanted = set(order)
    found = {row["id"]: row for row in _stored(out / CANDIDATES, *left_out) if row["id"] in wanted}
    return [found[identity] for identity in order]


def write_manifest(stage: Stage, domain: str, out: Path, sizes: Mapping[str, int]) -> None:
    """Rows, hashes, mean lengths and the account of the sources, once rows are found to be sound, splits disjoint."""
    reward = load_declarations().domains[domain].reward
    faults = [fault for name in sizes for fault in row_faults(out / name, _stored(out / name), reward)]
    if faults:
        raise ValueError(report(faults))
    splits = {name: list(_stored(out / name, "response", "functions", "gold")) for name in sizes}
    for name, rows in splits.items():
        if len(rows) != sizes[name]:
            raise ValueError(f"{out / name}: {len(rows)} rows, but the scale has {sizes[name]}")
    check_splits(splits, prompts_apart=stage.prompts_apart)
    experts = {name: rows for name, rows in splits.items() if name not in (PROMPTS, VALIDATION)}
    write_json(
        out / MANIFEST,
        {
            "source": stage.name,
            "world": domain,
            "world_version": stage.version,
            "seed": DATA_SEED,
            **{f"{_key(name)}_rows": len(rows) for name, rows in splits.items()},
            **{f"{_key(name)}_length_mean": _length_mean(rows) for name, rows in experts.items()},
            "sha256": {_key(name): file_hash(out / name) for name in splits},
            "sources": read_json(out / SOURCES),
        },
    )


def _key(name: str) -> str:
    """A file's name as part of a key: `expert-large.jsonl` → `expert_large`."""
    return name.removesuffix(".jsonl").replace("-", "_")


def _length_mean(rows: Iterable[Row]) -> float | None:
    """Mean response length in the policy's tokens; None where no tokenizer was given."""
    lengths = [row["meta"]["response_tokens"] for row in rows]
    return None if None in lengths else statistics.fmean(lengths)


def check_splits(splits: Mapping[str, Sequence[Row]], *, prompts_apart: bool) -> None:
    """Raise ValueError naming a question that stands in two splits which must not share any, or twice in one.

    Validation shares nothing with any other file. prompts_apart: nor do RL prompts with demonstrations, other than
    `aligned`, whose rows must be the prompts in their order. Sets of demonstrations may share questions, since a
    method learns from one of them.
    """
    keys = {name: [normalise(row["question"]) for row in rows] for name, rows in splits.items()}
    for name, found in keys.items():
        if len(set(found)) != len(found):
            raise ValueError(f"{name} has a question twice")
    aligned = expert_file("aligned")
    if aligned in splits and [row["id"] for row in splits[aligned]] != [row["id"] for row in splits[PROMPTS]]:
        raise ValueError(f"{aligned} has not the questions of {PROMPTS} in their order")
    pairs = [(VALIDATION, name) for name in splits if name != VALIDATION]
    if prompts_apart:
        pairs += [(PROMPTS, name) for name in splits if name not in (PROMPTS, VALIDATION, aligned)]
    for one, other in pairs:
        shared = set(keys[one]) & set(keys[other])
        if shared:
            raise ValueError(f"{one} and {other} share {len(shared)} questions, such as {min(shared)[:200]!r}")


@dataclass(frozen=True)
class Job:
    """What a command line and the declarations ask of a stage."""

    options: argparse.Namespace
    sizes: Mapping[str, int]
    """File → rows."""
    tasks: tuple[str, ...]
    """Evaluation sets that the data must not overlap with."""
    limits: Limits


@dataclass(frozen=True)
class Files:
    """Where the user says that sources are: local paths and hub revisions, by the pool's name."""

    local: Mapping[str, Path]
    revisions: Mapping[str, str]

    def of(self, name: str, source: Source) -> list[Path]:
        """The files of one pool."""
        return find_files(name, source, self.local.get(name), self.revisions.get(name))


def _named(options: Sequence[str], what: str, pools: Iterable[str]) -> dict[str, str]:
    """NAME=VALUE options as a mapping."""
    found = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not value:
            raise ValueError(f"{what} {option!r}: expected NAME=VALUE")
        found[choose("source", name, pools, what)] = value
    return found


def load_tokenizer(path: Path | None) -> Tokenizer | None:
    """The tokenizer of a policy's folder. Raises ValueError where it has none."""
    if path is None:
        return None
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"tokenizer {path}: no tokenizer.json there")
    return Tokenizer.from_file(str(file))


def prepare(options: argparse.Namespace) -> Job:
    """Sizes and limits of the scale. Raises ValueError for an unknown scale, and a folder without a tokenizer."""
    decl, scale = load_declarations(), load_scale(options.scale)
    domain = choose("domain", options.domain, scale.domains, f"scale {scale.name}")
    limit = domain_size(decl, scale, domain, "max_response_tokens")
    tasks = benchmark_tasks(scale.domains[domain].tasks)
    return Job(options, split_rows(decl, scale, domain), tasks, Limits(limit, load_tokenizer(options.tokenizer)))


def write_file(stage: Stage, name: str, job: Job) -> None:
    """One file of the domain's folder, from those before it."""
    choose("file", name, [CANDIDATES, *job.sizes, MANIFEST], f"the {job.options.domain} domain")
    options = job.options
    if name == CANDIDATES:
        if options.benchmarks is None:
            raise ValueError("--benchmarks FOLDER is missing: training questions are checked against evaluation sets")
        index = QuestionIndex(benchmark_questions(options.benchmarks, job.tasks))
        local = {pool: Path(path) for pool, path in _named(options.local, "--local", stage.pools).items()}
        files = Files(local, _named(options.revision, "--revision", stage.pools))
        write_candidates(stage, options.out, index, job.limits, files)
    elif name == MANIFEST:
        write_manifest(stage, options.domain, options.out, job.sizes)
    else:
        write_split(stage, options.out, name, job)


def arguments(stage: Stage, description: str | None) -> argparse.ArgumentParser:
    """The command line that every stage has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    pools = ", ".join(stage.pools)
    parser.add_argument("--domain", choices=stage.domains, required=True, help="the domain to write the data of")
    parser.add_argument("--scale", required=True, help="scale that sets the sizes")
    parser.add_argument("--file", help=f"write this file only; {CANDIDATES} comes first, {MANIFEST} last")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--local", action="append", default=[], metavar="NAME=PATH", help=f"a file or folder of a source: {pools}"
    )
    parser.add_argument(
        "--revision", action="append", default=[], metavar="NAME=HASH", help="another commit of a source on the hub"
    )
    parser.add_argument("--benchmarks", type=Path, help="folder of the evaluation sets, to check overlap")
    parser.add_argument("--tokenizer", type=Path, help="folder of the policy: drops responses beyond the token limit")
    return parser


def run(stage: Stage, options: argparse.Namespace) -> None:
    """Write one file, or all of them; a mistake of the user's ends with one line on standard error."""
    try:
        job = prepare(options)
        for name in [options.file] if options.file is not None else [CANDIDATES, *job.sizes, MANIFEST]:
            write_file(stage, name, job)
    except ValueError as error:
        sys.exit(f"error: {error}")
