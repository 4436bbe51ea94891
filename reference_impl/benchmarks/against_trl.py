"""A training step against TRL's: GRPO, CHORD-φ against a GRPO and an SFT step, SFT.

Both sides train the same policy on the same prompts with the same group size, response limit and reward, in float32 on
one core, each in the loop that its users run. TRL runs whole; ours runs in TRL's callback between two of its steps.
The learning rate is 0, so that every repetition measures the same policy (the optimizer does its work nevertheless).
TRL is given its best micro-batch of those tried, and no activation checkpointing, which is its default.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from reference_impl.benchmarks.pairs import REPETITIONS, Line, medians, ratios
from reference_impl.benchmarks.setting import Setting, run_config
from reference_impl.rewards import math_reward
from reference_impl.strategy.models import load_model
from reference_impl.text.prompts import render

SFT = "sft-lr1e-06"
"""One run of the grid; the rate is replaced."""
TRIED = 3
"""Steps that choose TRL's micro-batch."""
WARM_UP = 2
"""First steps that are not counted."""


class Between(TrainerCallback):
    """CPU seconds of TRL's steps, and of other ways run after each of them."""

    def __init__(self, others: Mapping[str, Callable[[], object]]) -> None:
        self.others = others
        self.seconds: dict[str, list[float]] = {name: [] for name in ("TRL", *others)}
        self.started = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.started = time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds["TRL"].append(time.process_time() - self.started)
        for name, way in self.others.items():
            started = time.process_time()
            way()
            self.seconds[name].append(time.process_time() - started)


def options(micro_batch: int, step: int, folder: str, steps: int) -> dict[str, Any]:
    """What GRPO and SFT share: ``step`` sequences an update, ``micro_batch`` of them a pass."""
    return {
        "output_dir": folder,
        "max_steps": steps,
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": step // micro_batch,
        "learning_rate": 0.0,
        "lr_scheduler_type": "constant",
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
    }


def grpo_trainer(setting: Setting, model: PreTrainedModel, micro_batch: int, folder: str, steps: int) -> GRPOTrainer:
    config = run_config("grpo")
    rows = setting.rows().prompts

    def reward(completions: Sequence[Any], gold: Sequence[str], **_: Any) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        return [math_reward(text, answer, truncated=False) for text, answer in zip(texts, gold, strict=True)]

    arguments = GRPOConfig(
        **options(micro_batch, config.rl_prompts * config.group_size, folder, steps),
        num_generations=config.group_size,
        max_completion_length=config.max_response_tokens,
        beta=0.0,
        loss_type="dapo",
    )
    data = Dataset.from_list([{"prompt": render(row), "gold": row["gold"]} for row in rows])
    return GRPOTrainer(
        model=model, reward_funcs=reward, args=arguments, train_dataset=data, processing_class=setting.tokenizer()
    )


def sft_trainer(setting: Setting, model: PreTrainedModel, micro_batch: int, folder: str, steps: int) -> SFTTrainer:
    rows = setting.rows().expert
    arguments = SFTConfig(
        **options(micro_batch, run_config(SFT).sft_batch, folder, steps), completion_only_loss=True, max_length=None
    )
    data = Dataset.from_list(
        [{"prompt": render(row), "completion": [{"role": "assistant", "content": row["response"]}]} for row in rows]
    )
    return SFTTrainer(model=model, args=arguments, train_dataset=data, processing_class=setting.tokenizer())


Build = Callable[[Setting, PreTrainedModel, int, str, int], Any]


def measured(
    setting: Setting,
    policy: Path,
    build: Build,
    micro_batch: int,
    steps: int,
    others: Mapping[str, Callable[[], object]],
) -> dict[str, list[float]]:
    """CPU seconds of TRL's steps and of the other ways, repetition by repetition."""
    between = Between(others)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build(setting, load_model(policy, "float32"), micro_batch, folder, steps + WARM_UP)
        trainer.add_callback(between)
        trainer.train()
    return {name: values[WARM_UP:] for name, values in between.seconds.items()}


def best_micro_batch(setting: Setting, policy: Path, build: Build, tried: Sequence[int]) -> int:
    """The size at which TRL's step takes the least time."""
    found = {size: sum(measured(setting, policy, build, size, TRIED, {})["TRL"]) for size in tried}
    return min(found, key=lambda size: found[size])


def stepper(setting: Setting, method: str, policy: Path, folder: Path) -> Callable[[], None]:
    """One step of a method's run after the other, its weight sync included."""
    trainer = setting.trainer(method, policy, folder, learning_rate=0.0)
    return trainer.train_step


def lines(setting: Setting, repetitions: int = REPETITIONS) -> list[Line]:
    """Every line of this part."""
    found: list[Line] = []
    sft_size = best_micro_batch(setting, setting.start, sft_trainer, (16, 8, 4))
    for where, policy, target in (("start", setting.start, 3.5), ("trained", setting.trained, 3.0)):
        size = best_micro_batch(setting, policy, grpo_trainer, (64, 32, 16))
        with tempfile.TemporaryDirectory() as folder:
            ways = {
                "GRPO": stepper(setting, "grpo", policy, Path(folder) / "grpo"),
                "CHORD-φ": stepper(setting, "chord_phi", policy, Path(folder) / "chord_phi"),
            }
            grpo = measured(setting, policy, grpo_trainer, size, repetitions, ways)
            sft = measured(
                setting,
                policy,
                sft_trainer,
                sft_size,
                repetitions,
                {"SFT": stepper(setting, SFT, policy, Path(folder) / "sft")},
            )
        found.append(
            Line(
                f"GRPO step, policy {where}",
                f"TRL's (micro-batches of {size}) / ours",
                ratios(grpo["TRL"], grpo["GRPO"]),
                target,
                "above",
                medians({"TRL": grpo["TRL"], "ours": grpo["GRPO"]}),
            )
        )
        both = [one + other for one, other in zip(grpo["TRL"], sft["TRL"], strict=True)]
        found.append(
            Line(
                f"CHORD-φ step, policy {where}",
                "TRL's GRPO step and SFT step / ours",
                ratios(both, grpo["CHORD-φ"]),
                2.5,
                "above",
                medians({"TRL": both, "ours": grpo["CHORD-φ"]}),
            )
        )
        if where == "start":
            found.append(
                Line(
                    "SFT step",
                    f"TRL's (micro-batches of {sft_size}) / ours",
                    ratios(sft["TRL"], sft["SFT"]),
                    1.3,
                    "above",
                    medians({"TRL": sft["TRL"], "ours": sft["SFT"]}),
                )
            )
    return found
