"""Evaluation with grading against what scripts do: `generate` problem by problem, graded by math-verify."""

import tempfile
from pathlib import Path

import torch
from math_verify import parse, verify

from evaluation.generate import evaluate
from evaluation.tasks import Plan, benchmark_path, load_items
from reference_impl.benchmarks.pairs import REPETITIONS, Line, in_turns, medians, ratios
from reference_impl.benchmarks.rollouts import generate
from reference_impl.benchmarks.setting import Setting, run_config
from reference_impl.config import load_task
from reference_impl.rollout import load_engine
from reference_impl.step.batching import prompt_ids
from reference_impl.strategy.models import load_model

TASK = "sandbox-amc"
PROBLEMS, SAMPLES = 16, 32


def lines(setting: Setting, repetitions: int = REPETITIONS) -> list[Line]:
    """Every line of this part."""
    config = run_config("grpo")
    engine, tokenizer = load_engine(config.engine, setting.start, config.rollout_batch, torch.float32)
    model = load_model(setting.start, torch.float32).eval()
    task = load_task(TASK)
    with tempfile.TemporaryDirectory() as folder:
        items = load_items(task, benchmark_path(task, setting.benchmarks))[:PROBLEMS]
        plan = Plan(task, items, SAMPLES, config.max_response_tokens)
        made = iter(range(repetitions + 1))

        def ours() -> None:
            evaluate([plan], engine, tokenizer, Path(folder) / f"out{next(made)}")

        def scripted() -> list[bool]:
            right = []
            for item in items:
                prompt = prompt_ids(tokenizer, dict(item.row))
                found = generate(model, tokenizer, [prompt] * SAMPLES)
                texts = tokenizer.batch_decode(found[:, len(prompt) :], skip_special_tokens=True)
                gold = parse(f"\\boxed{{{item.gold}}}")
                right += [verify(gold, parse(text)) for text in texts]
            return right

        seconds = in_turns({"scripted": scripted, "ours": ours}, repetitions)
    return [
        Line(
            f"evaluation of {PROBLEMS} problems × {SAMPLES}, graded and stored",
            "`generate` a problem and math-verify / ours",
            ratios(seconds["scripted"], seconds["ours"]),
            4.5,
            "above",
            medians(seconds),
        )
    ]
