"""A user's own data, for math or for a judged domain: the files that a scale names beside `data: jsonl` (docs/data.md).

    python -m pipelines.data.jsonl --domain math --scale my_scale.yaml --benchmarks results/my_scale/benchmarks \\
        --tokenizer results/my_scale/policies/my-model --out results/my_scale/data/math

Every row is an RL prompt, and one with a response a demonstration too; validation questions are neither. Unlike a
public data set's, a file with a mistake is refused as a whole (`own_rows`).
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.data.own_rows import Asked, faults, gold, questions
from pipelines.data.sources import Source
from pipelines.data.splits import PROMPTS, VALIDATION
from pipelines.data.stage import CANDIDATES, Limits, Pool, Row, Stage, arguments, load_tokenizer, question_hash, run
from reference_impl.config import Declarations, Scale, domain_size, expert_file, load_declarations, load_scale
from reference_impl.run.rows import report

FILE = Source("a file of your own", None, "", ("question", "answer", "response"))


def assign(ids: Mapping[str, Sequence[str]], sizes: Mapping[str, int]) -> dict[str, Sequence[str]]:
    """Validation, then prompts. Demonstrations are the file of their own, or all questions that are not validation's,
    of which `demonstrations` takes those with a response.
    """
    asked = ids["questions"]
    first, last = sizes[VALIDATION], sizes[VALIDATION] + sizes[PROMPTS]
    held = {_hash(identity) for identity in asked[:first]}
    shown = [identity for identity in ids.get("demonstrations", asked) if _hash(identity) not in held]
    experts = {name: shown for name in sizes if name not in (VALIDATION, PROMPTS)}
    aligned = {name: asked[first:last] for name in sizes if name == expert_file("aligned")}
    return {VALIDATION: asked[:first], PROMPTS: asked[first:last], **experts, **aligned}


def _hash(identity: str) -> str:
    return identity.rpartition("-")[2]


def demonstrations(
    name: str, rows: Sequence[Row], wanted: int, limits: Limits, options: argparse.Namespace
) -> list[Row]:
    """The first `wanted` rows with a response. Raises ValueError where there are fewer."""
    found = [row for row in rows if "response" in row][:wanted]
    if len(found) < wanted:
        raise ValueError(f"{name} needs {wanted} rows with a response, {len(found)} of {len(rows)} have one")
    return found


STAGE = Stage("jsonl", 1, ("math", "medicine"), {}, assign, demonstrate=demonstrations, prompts_apart=False)
"""Without the files, which a scale names."""


def candidate(asked: Asked, row: Mapping[str, Any], limits: Limits) -> Row:
    """A sound row in the project's form."""
    question = row["question"].strip()
    found: Row = {"prompt": asked.prompt, "question": question, "gold": gold(asked.reward, question, row["answer"])}
    if row.get("response") is None:
        return {**found, "meta": {"response_tokens": None}}
    return {**found, "response": row["response"], "meta": {"response_tokens": limits.tokens(row["response"])}}


def what_is_asked(
    decl: Declarations, scale: Scale, domain: str, limits: Limits, held_out: Mapping[str, str] | None = None
) -> Asked:
    """What a scale says of a domain's own files. Raises ValueError where it names none."""
    sizes = scale.domains[domain]
    if sizes.files is None:
        raise ValueError(f"scale {scale.name}: {domain}: data jsonl needs files: {{questions: FILE}}")
    return Asked(sizes.files, decl.domains[domain].reward, sizes.judge, limits, held_out or {})


def too_few(asked: Asked, sizes: Mapping[str, int]) -> list[str]:
    """What sound files lack of the rows that a scale wants, one sentence a file."""
    found = {name: questions(path) for name, path in asked.paths.items()}
    ids = {name: sorted(f"{name}-{question_hash(text)}" for text, _ in rows) for name, rows in found.items()}
    shown = {f"{name}-{question_hash(text)}" for name, rows in found.items() for text, response in rows if response}
    needed = sizes[VALIDATION] + sizes[PROMPTS]
    if needed > len(ids["questions"]):
        return [
            f"{asked.paths['questions']} has {len(ids['questions'])} questions, the scale wants {needed} (prompt_rows "
            f"{sizes[PROMPTS]}, validation_rows {sizes[VALIDATION]})"
        ]
    order = assign(ids, sizes)
    experts = [name for name in sizes if name not in (VALIDATION, PROMPTS)]
    there = {name: sum(identity in shown for identity in order[name]) for name in experts}
    return [
        f"{name}: the scale wants {sizes[name]} demonstrations, {there[name]} questions beside validation's have a "
        "response: lower expert_rows, or name in `experts` the sets that there are: [main]"
        for name in experts
        if there[name] < sizes[name]
    ]


def own_stage(options: argparse.Namespace) -> Stage:
    """The stage with the scale's files. Raises ValueError with everything that is wrong in them."""
    decl, scale = load_declarations(), load_scale(options.scale)
    limit = domain_size(decl, scale, options.domain, "max_response_tokens")
    asked = what_is_asked(decl, scale, options.domain, Limits(limit, load_tokenizer(options.tokenizer)))
    if options.file in (None, CANDIDATES) and (found := faults(asked)):
        raise ValueError(report(found))
    options.local = [f"{name}={path}" for name, path in asked.paths.items()]
    pools = {name: Pool(FILE, lambda row, limits: candidate(asked, row, limits)) for name in asked.paths}
    return dataclasses.replace(STAGE, pools=pools)


def main(argv: list[str] | None = None) -> None:
    """Write the data of a domain; a mistake of the user's ends with one line on standard error."""
    options = arguments(STAGE, __doc__).parse_args(argv)
    try:
        stage = own_stage(options)
    except ValueError as error:
        sys.exit(f"error: {error}")
    run(stage, options)


if __name__ == "__main__":
    main()
