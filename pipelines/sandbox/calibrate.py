"""Measure a policy of the math world against the bands that the world was calibrated to (docs/sandbox.md).

    python -m pipelines.sandbox.calibrate --policy results/mini/policies/sandbox-math

Everything is measured on validation prompts at temperature 1, and of the policy alone: no method is known here. Of a
policy that a baseline trained, the same table tells what it learned: how often it spells out, and how far it is from
the accuracy that spelling everything out would give it.
"""

import argparse
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipelines.sandbox import math_styles
from pipelines.sandbox import math_world as world
from pipelines.sandbox.procedure import KINDS, STEP, kind_of, labelled_steps
from reference_impl.rewards import grade_math
from reference_impl.rollout.engine import GenerationRequest
from reference_impl.rollout.fused_decoder import fused_or_plain
from reference_impl.rollout.transformers_engine import TransformersEngine
from reference_impl.seeds import sample_seed
from reference_impl.step.batching import TrainingSequence, expert_sequence, prompt_ids
from reference_impl.step.token_logprobs import token_logprobs

Row = dict[str, Any]

MAX_TOKENS = 192
BATCH = 128
DATA_SEED = 0
BANDS: dict[str, tuple[float, float]] = {
    "accuracy, %": (35, 50),
    "the same with the expert's opening, points of difference": (-8, 100),
    "groups with variance, %": (50, 100),
    "expert's tokens: mean p (1 - p)": (0.05, 0.25),
    "expert's tokens: nats": (0.4, 0.9),
    "expert's length over the policy's": (2.3, 9.3),
    "spelled out: the least frequent kind, %": (0.1, 40),
    "spelled out: the most frequent kind, %": (0.1, 40),
}
"""Figure → its band, set before any method was compared."""


@dataclass(frozen=True)
class Response:
    """One graded sample."""

    text: str
    tokens: int
    correct: bool


def sample(
    engine: TransformersEngine, rows: Sequence[Row], samples: int, openings: Sequence[str]
) -> list[list[Response]]:
    """A group of ``samples`` responses to each row, which begin with the row's opening."""
    begun = [tuple(engine.tokenizer(opening, add_special_tokens=False)["input_ids"]) for opening in openings]
    requests = [
        GenerationRequest((*prompt_ids(engine.tokenizer, row), *start), sample_seed("calibrate", row["id"], i))
        for row, start in zip(rows, begun, strict=True)
        for i in range(samples)
    ]
    completions = iter(engine.generate(requests, max_tokens=MAX_TOKENS))
    groups = []
    for row, start, opening in zip(rows, begun, openings, strict=True):
        group = []
        for _ in range(samples):
            completion = next(completions)
            text = opening + completion.text
            correct = grade_math(text, row["gold"], completion.truncated).correct
            group.append(Response(text, len(start) + len(completion.token_ids), correct))
        groups.append(group)
    return groups


@torch.no_grad()
def response_logprobs(model: PreTrainedModel, sequence: TrainingSequence) -> Tensor:
    """Log-probabilities (T,) of the response's tokens, in nats."""
    ids_1T = torch.tensor([sequence.prompt_ids + sequence.response_ids])
    start = len(sequence.prompt_ids) - 1
    mask_1T = torch.arange(ids_1T.shape[1] - 1)[None] >= start
    logprobs_1T, _, _ = token_logprobs(model, ids_1T, torch.ones_like(ids_1T), mask_1T, temperature=1.0)
    return logprobs_1T[0, start:]


def spelled_out_accuracy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, row: Row) -> float:
    """The probability of a right answer were every compound operation spelled out.

    It is that of the right terse solution, given its style (the token after ``<think>``) and the choice to spell out
    (the first ``=`` of a compound operation).
    """
    response = math_styles.terse(*world.solve(world.parse_question(row["question"])))
    given = {len("<think>")}
    given |= {part.end() - 1 for part in re.finditer(rf" [a-z]+ {STEP}=", response)}
    encoded = tokenizer(response, add_special_tokens=False, return_offsets_mapping=True)
    places = [start for start, _ in encoded["offset_mapping"]] + [len(response)]  # the end of turn comes last
    logprobs_T = response_logprobs(model, expert_sequence(tokenizer, {**row, "response": response}, MAX_TOKENS))
    chosen_T = torch.tensor([place not in given for place in places])
    return float(logprobs_T[chosen_T].sum().exp())


def spelled_out(row: Row, response: str) -> list[tuple[str, bool]]:
    """(kind, is it spelled out) for each compound operation of the row that the response writes down."""
    found = []
    for operation in world.parse_question(row["question"]).operations:
        kind = kind_of(operation)
        written = re.search(re.escape(labelled_steps(operation)[0]) + "([=,])", response)
        if kind is not None and written is not None:
            found.append((kind, written[1] == "="))
    return found


def mean_percent(values: Sequence[bool | float]) -> float:
    return 100 * statistics.fmean(values) if values else float("nan")


def measure(policy: Path, rows: int, samples: int) -> dict[str, float]:
    """Every figure of the table by its name, of ``samples`` responses to ``rows`` validation prompts."""
    engine, tokenizer = TransformersEngine.from_checkpoint(policy, BATCH, torch.float32, fused_or_plain)
    validation, expert = world.validation_rows(rows, DATA_SEED), world.expert_rows(rows, DATA_SEED)
    free = sample(engine, validation, samples, [""] * rows)
    forced = sample(engine, validation, 2, [row["response"].partition(".")[0] + "." for row in expert])
    ceiling = [spelled_out_accuracy(engine.model, tokenizer, row) for row in validation]
    expert_T = torch.cat(
        [response_logprobs(engine.model, expert_sequence(tokenizer, row, MAX_TOKENS)) for row in expert]
    )
    accuracy = mean_percent([response.correct for group in free for response in group])
    length = statistics.fmean(response.tokens for group in free for response in group)
    by_kind: dict[str, list[bool]] = defaultdict(list)
    by_procedure: dict[str, list[bool]] = defaultdict(list)
    for row, group in zip(validation, free, strict=True):
        for response in group:
            choices = spelled_out(row, response.text)
            way = "spelled out" if all(yes for _, yes in choices) else "not all spelled out"
            by_procedure[f"accuracy with {row['meta']['compounds']} compounds, {way}, %"].append(response.correct)
            for kind, yes in choices:
                by_kind[kind].append(yes)
    rates = {kind: mean_percent(by_kind[kind]) for kind in KINDS if by_kind[kind]}
    return {
        "accuracy, %": accuracy,
        "the same with the expert's opening, points of difference": (
            mean_percent([response.correct for group in forced for response in group]) - accuracy
        ),
        "the same if all were spelled out, points of difference": mean_percent(ceiling) - accuracy,
        "groups with variance, %": mean_percent([len({r.correct for r in group}) > 1 for group in free]),
        "expert's tokens: mean p (1 - p)": float((expert_T.exp() * (1 - expert_T.exp())).mean()),
        "expert's tokens: nats": float(-expert_T.mean()),
        "length, tokens": length,
        "length with the expert's opening, tokens": statistics.fmean(r.tokens for group in forced for r in group),
        "expert's length over the policy's": len(expert_T) / rows / length,
        "terse, %": mean_percent([re.match(r"<think>\d", r.text) is not None for group in free for r in group]),
        "spelled out: the least frequent kind, %": min(rates.values(), default=float("nan")),
        "spelled out: the most frequent kind, %": max(rates.values(), default=float("nan")),
        **{f"spelled out: {kind}, %": rate for kind, rate in rates.items()},
        **{name: mean_percent(values) for name, values in sorted(by_procedure.items())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--rows", type=int, default=400, help="validation prompts, and demonstrations")
    parser.add_argument("--samples", type=int, default=8, help="responses to each prompt")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        figures = measure(arguments.policy, arguments.rows, arguments.samples)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    for name, value in figures.items():
        print(f"{name:60s} {value:8.3f}  {_band(name, value)}".rstrip())


def _band(name: str, value: float) -> str:
    """The figure's band, and whether the value is outside; empty where it has none."""
    if name not in BANDS:
        return ""
    low, high = BANDS[name]
    return f"{low:g} to {high:g}" + ("" if low <= value <= high else ": outside")


if __name__ == "__main__":
    main()
