"""Sample a checkpoint on every task of a domain and grade the samples.

Each sample has a seed of its own, named by task, question and sample number, so that a score depends neither
on batch size nor on order. Samples are stored as they come: an interrupted evaluation samples only what is
missing, and its files are those of an uninterrupted one.

    python -m evaluation.generate --checkpoint DIR --domain math --method chord_phi --scale mini --seed 0 \\
        --benchmarks results/mini/benchmarks --out results/mini/evaluations/math/chord_phi/seed0

The judge of a judged task is the one that the scale declares for the domain, or the one of `--judge`.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from evaluation.graders import Sample, Verdict, grade_all
from evaluation.judging import add_judge_argument, judge_for, judge_settings, report_trouble
from evaluation.reuse import EVALUATIONS, GRADERS, RECORD, SUMMARY, evaluation_identity, link_evaluation
from evaluation.summary import summarise
from evaluation.tasks import Item, Plan, add_data_argument, evenly, questions
from reference_impl.config import CONFIG_DIR, Task, choose, load_declarations, load_scale, load_task
from reference_impl.files import json_line, write_json, write_jsonl, write_text
from reference_impl.rollout import (
    Completion,
    ContinuousEngine,
    EngineDeadError,
    GenerationRequest,
    RolloutEngine,
    load_engine,
)
from reference_impl.run.code import grader_code
from reference_impl.run.provenance import made_by
from reference_impl.run.reuse import Once
from reference_impl.seeds import sample_seed
from reference_impl.step.batching import prompt_ids
from reference_impl.text.chat import prompt_text

Row = dict[str, Any]
Prompt = tuple[tuple[int, ...], str]
"""A question's prompt as tokens and as text."""

CHUNK = 512
"""Samples that are asked for together, and written together, where an engine samples in batches: what an interruption
loses."""
LUMP = 64
"""Samples that are graded and written together where responses come as they end."""


def sample_task(plan: Plan, engine: RolloutEngine, tokenizer: PreTrainedTokenizerBase, partial: Path) -> list[Row]:
    """Graded samples of one task, those in `partial` taken from there and the missing ones added to it.

    An engine that samples in batches gets whole chunks, cut at the same places every time, so that one whose numbers
    depend on the batch in the last digit still gives the same file. One that need not wait for a batch's longest
    response (vLLM) gets all that is missing at once.
    """
    wanted = plan.requests()
    header = {**plan.header(), "weights": engine.fingerprint(), GRADERS: plan.graders}
    rows = _resume(partial, header, plan, wanted, isinstance(engine, ContinuousEngine))
    missing = [place for place in range(len(wanted)) if place not in rows]
    prompts: dict[str, Prompt] = {}
    for item in {wanted[place][0].id: wanted[place][0] for place in missing}.values():
        prompts[item.id] = _prompt(item, tokenizer)
    requests = [
        GenerationRequest(prompts[item.id][0], sample_seed("evaluation", plan.task.name, item.id, sample))
        for item, sample in (wanted[place] for place in missing)
    ]
    with partial.open("a", encoding="utf-8") as file:
        for lump in _completed(engine, requests, plan):
            places = [missing[number] for number, _ in lump]
            new = _graded(plan, [wanted[place] for place in places], [found for _, found in lump], prompts)
            file.writelines(map(json_line, new))
            file.flush()
            rows.update(zip(places, new, strict=True))
            print(f"{plan.task.name}: {len(rows)} of {len(wanted)} samples", file=sys.stderr, flush=True)
    return [rows[place] for place in range(len(wanted))]


def _completed(
    engine: RolloutEngine, requests: Sequence[GenerationRequest], plan: Plan
) -> Iterator[list[tuple[int, Completion]]]:
    """(Place among the requests, completion) of all requests, as many at a time as are written together."""
    how: dict[str, Any] = {"max_tokens": plan.max_tokens, "temperature": plan.task.temperature}
    how["top_p"] = plan.task.top_p
    if isinstance(engine, ContinuousEngine):
        ended = engine.as_they_end(requests, **how)
        while lump := list(islice(ended, LUMP)):
            yield lump
        return
    for start in range(0, len(requests), CHUNK):
        completions = engine.generate(requests[start : start + CHUNK], **how)
        yield list(enumerate(completions, start))


def _resume(
    partial: Path, header: Row, plan: Plan, wanted: Sequence[tuple[Item, int]], in_any_order: bool
) -> dict[int, Row]:
    """Place → row of what is stored under the same header; the file is cut to it, or started over. Not in any order,
    whole chunks only.

    What other graders than now's have judged is judged again.
    """
    lines = partial.read_bytes().splitlines(keepends=True) if partial.is_file() else []
    before = _stored_header(lines[:1])
    stored = [line for line in lines[1:] if line.endswith(b"\n")] if {**before, GRADERS: plan.graders} == header else []
    if not in_any_order and len(stored) != len(wanted):
        stored = stored[: len(stored) // CHUNK * CHUNK]
    rows: list[Row] = [json.loads(line) for line in stored]
    known = {(item.id, sample): place for place, (item, sample) in enumerate(wanted)}
    places = [known[row["item_id"], row["sample"]] for row in rows]
    if before.get(GRADERS) != plan.graders:
        samples = [Sample(row["response"], row["truncated"]) for row in rows]
        references = [wanted[place][0].reference for place in places]
        verdicts = grade_all(samples, references, plan.judge)
        rows = [{**row, **_judged(plan.task, verdict)} for row, verdict in zip(rows, verdicts, strict=True)]
    write_text(partial, "".join(map(json_line, [header, *rows])))
    return dict(zip(places, rows, strict=True))


def _stored_header(lines: Sequence[bytes]) -> Row:
    """The first line of stored samples; empty where a crash has left none that can be read."""
    try:
        header = json.loads(lines[0]) if lines else {}
    except ValueError:
        header = {}
    return header if isinstance(header, dict) else {}


def _graded(
    plan: Plan,
    asked: Sequence[tuple[Item, int]],
    completions: Sequence[Completion],
    prompts: Mapping[str, Prompt],
) -> list[Row]:
    """Rows of (question, number) and their completions. `prompts` by item id."""
    samples = [Sample(completion.text, completion.truncated) for completion in completions]
    verdicts = grade_all(samples, [item.reference for item, _ in asked], plan.judge)
    return [
        _row(plan.task, item, sample, completion, verdict, prompts[item.id][1])
        for (item, sample), completion, verdict in zip(asked, completions, verdicts, strict=True)
    ]


def _prompt(item: Item, tokenizer: PreTrainedTokenizerBase) -> Prompt:
    return prompt_ids(tokenizer, dict(item.row)), prompt_text(tokenizer, item.row)


def _row(task: Task, item: Item, sample: int, completion: Completion, verdict: Verdict, prompt: str) -> Row:
    return {
        "task": task.name,
        "task_version": task.version,
        "item_id": item.id,
        "category": item.category,
        "sample": sample,
        "prompt": prompt,
        "response": completion.text,
        "tokens": len(completion.token_ids),
        "truncated": completion.truncated,
        "gold": item.gold,
        **_judged(task, verdict),
    }


def _judged(task: Task, verdict: Verdict) -> Row:
    """A row's columns that graders give."""
    columns = {"correct": verdict.correct, "reason": verdict.reason, "extracted": verdict.extracted}
    return {**columns, **({"score": verdict.score} if task.kind == "judge" else {})}


def plan_tasks(
    scale_name: str,
    domain: str,
    benchmarks: Path,
    data: Mapping[str, Path],
    own: Mapping[str, Path],
    declarations: Path = CONFIG_DIR,
    method: str = "",
) -> list[Plan]:
    """What a scale samples in a domain. `data` replaces the file of a task, `own` its questions; `declarations` is the
    folder of what is declared. A `method` that is declared with prompts of its own is asked with these.

    Raises ValueError for an unknown scale, domain or task, and for an unexpected benchmark file.
    """
    scale = load_scale(scale_name, declarations)
    sizes = scale.domains[choose("domain", domain, scale.domains, f"scale {scale_name}")]
    declared = load_declarations(declarations)
    max_tokens = sizes.max_response_tokens or declared.domains[domain].max_response_tokens
    prompts = declared.known[method].prompts if method in declared.known else {}
    for name in (*data, *own):
        choose("task", name, sizes.tasks, f"scale {scale_name}, domain {domain}")
    plans = []
    for task in map(load_task, sizes.tasks):
        task = task.model_copy(update={"prompt": prompts.get(task.prompt, task.prompt)})
        items = evenly(questions(task, benchmarks, data, own), scale.evaluation.max_items)
        samples = min(task.samples_per_problem, scale.evaluation.max_samples or task.samples_per_problem)
        plans.append(Plan(task, items, samples, max_tokens))
    return plans


def evaluate(
    plans: Sequence[Plan],
    engine: RolloutEngine,
    tokenizer: PreTrainedTokenizerBase,
    out: Path,
    identity: str | None = None,
) -> None:
    """Sample every plan and write `<task>.jsonl` and `summary.json` to `out`, complete or absent; with an `identity`
    (`evaluation.reuse`) also `identity.json`, by which another evaluation knows that it is the same.

    Unfinished work stays in `<out>.partial`, beside the folder, because a workflow removes the output of a
    failed job.
    """
    work = out.with_name(out.name + ".partial")
    work.mkdir(parents=True, exist_ok=True)
    summaries = {}
    for plan in plans:
        rows = sample_task(plan, engine, tokenizer, work / f"{plan.task.name}.partial")
        write_jsonl(work / f"{plan.task.name}.jsonl", rows)
        summaries[plan.task.name] = {"version": plan.task.version, GRADERS: plan.graders, **summarise(rows)}
        if plan.task.kind == "judge" and plan.judge is not None:
            summaries[plan.task.name]["judge"] = plan.judge.report()
            report_trouble(plan.judge, rows)
    write_json(work / SUMMARY, summaries)
    if identity is not None:
        write_json(work / RECORD, {"identity": identity})
    for partial in work.glob("*.partial"):
        partial.unlink()
    shutil.rmtree(out, ignore_errors=True)
    work.replace(out)


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.generate", description=__doc__.split("\n\n")[0])
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder that AutoModelForCausalLM can load")
    parser.add_argument("--domain", required=True, help="whose tasks: math, tool, medicine")
    parser.add_argument(
        "--method", required=True, help="method that made the checkpoint: its prompts, where it has any"
    )
    parser.add_argument("--scale", required=True, help="scale that lists the tasks and token limits")
    parser.add_argument("--seed", type=int, required=True, help="training seed of the checkpoint (for messages)")
    parser.add_argument("--benchmarks", type=Path, required=True, help="folder with the benchmark files")
    add_data_argument(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--results",
        type=Path,
        help="results folder of the scale: an evaluation there that is the same is linked, not made again",
    )
    add_judge_argument(parser)
    parser.add_argument("--declarations", type=Path, default=CONFIG_DIR, help="folder of the declaration files")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate one checkpoint in one domain."""
    arguments = parse_arguments(argv)
    try:
        root, data, own = arguments.declarations, dict(arguments.data), dict(arguments.own)
        plans = plan_tasks(arguments.scale, arguments.domain, arguments.benchmarks, data, own, root, arguments.method)
        scale = load_scale(arguments.scale, root)
        tasks = [plan.task for plan in plans]
        settings = judge_settings(tasks, arguments.judge, scale.domains[arguments.domain].judge)
        judge = judge_for(tasks, settings)
        plans = [replace(plan, judge=judge, graders=grader_code(plan.task.kind, settings)) for plan in plans]
        identity = None
        if arguments.results is not None:
            identity = evaluation_identity(plans, scale, arguments.checkpoint, made_by("reference_impl", "evaluation"))
    except ValueError as error:
        sys.exit(f"error: {error}")
    named = f"{arguments.domain}, {arguments.method}, seed {arguments.seed}"
    with Once(arguments.results, EVALUATIONS, identity or "", arguments.out) as once:
        if once.found:
            print(f"{named}: the same evaluation as {once.linked_from}: its files are linked", file=sys.stderr)
            link_evaluation(once, arguments.out)
            return
        print(f"{named}: {len(plans)} tasks", file=sys.stderr)
        try:
            engine, tokenizer = load_engine(
                scale.engine, arguments.checkpoint, scale.rollout_batch, options=scale.evaluation.engine_options
            )
            evaluate(plans, engine, tokenizer, arguments.out, identity)
        except (EngineDeadError, ValueError, OSError) as error:
            # What was sampled is stored: the next call resumes there. A prompt may exceed the engine's context, and
            # samples the disk.
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
