"""Validation while a run trains, and the checkpoints that it chooses."""

import shutil
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from reference_impl.config import RunConfig
from reference_impl.files import replace_folder
from reference_impl.rewards import Reward
from reference_impl.rollout.sampling import PromptBatch, gather_outcomes
from reference_impl.rollout.synced import SyncedEngine
from reference_impl.run.checkpoint import Progress
from reference_impl.run.first_validation import FirstValidation, Measured
from reference_impl.step.batching import prompt_ids
from reference_impl.strategy import Strategy
from reference_impl.strategy.distributed import rank, share, sum_over_ranks


class Validator:
    """Measures the policy on held-out prompts with the same seeds every time, and keeps the checkpoints."""

    def __init__(
        self,
        config: RunConfig,
        rows: list[dict[str, Any]],
        strategy: Strategy,
        engine: SyncedEngine,
        tokenizer: PreTrainedTokenizerBase,
        folder: Path,
        reward: Reward,
        kept: FirstValidation | None = None,
    ) -> None:
        """``kept``: where runs that start from the same policy keep what they measure at step 0; None: nowhere."""
        self.config = config
        self.rows = rows
        self.strategy = strategy
        self.engine = engine
        self.tokenizer = tokenizer
        self.folder = folder
        self.reward = reward
        self.kept = kept
        self.prompts = [prompt_ids(tokenizer, row) for row in rows]

    def first(self) -> dict[str, Any]:
        """The record of step 0: as an earlier run of the same policy measured it, or measured and kept for later ones.

        Rank 0 reads and writes, and all ranks follow it.
        """
        found = self.kept.load() if self.kept is not None and rank() == 0 else None
        means = [1.0, found.accuracy, found.score, found.stderr, found.response_length] if found else [0.0] * 5
        scores = found.scores if found else [0.0] * len(self.rows)
        known, accuracy, score, stderr, length, *scores = sum_over_ranks([*means, *scores])
        if known:
            self.engine.generate([])  # a weight sync, as measuring has: later ones count from it
            return self.record(0, Measured(accuracy, score, stderr, length, scores))
        measured = self.measure()
        if self.kept is not None and rank() == 0:
            self.kept.store(measured)
        return self.record(0, measured)

    def measure(self) -> Measured:
        """Accuracy, length, each prompt's score, their mean with its standard error, of the policy as it is.

        Where rules grade, score and accuracy are the same; a judge's scores lie between 0 and 1. The rows are shared
        between the ranks, and every rank knows the result.
        """
        own = share(len(self.rows))
        prompts = PromptBatch(
            rows=[self.rows[i] for i in own],
            prompts=[self.prompts[i] for i in own],
            samples=self.config.validation_samples,
            seed_parts=("validation",),
            first_place=own.start,
        )
        completions = self.engine.generate(prompts.requests())
        rollouts = prompts.graded(completions, self.reward)
        outcomes = gather_outcomes(rollouts)
        k = self.config.validation_samples
        scores = [outcome.score for outcome in outcomes]
        by_prompt = [statistics.fmean(scores[i : i + k]) for i in range(0, len(scores), k)]
        spread = statistics.stdev(by_prompt) if len(by_prompt) > 1 else 0.0
        return Measured(
            accuracy=statistics.fmean(float(outcome.correct) for outcome in outcomes),
            score=statistics.fmean(scores),
            stderr=spread / len(by_prompt) ** 0.5,
            response_length=statistics.fmean(outcome.tokens for outcome in outcomes),
            scores=by_prompt,
        )

    def record(self, step: int, measured: Measured) -> dict[str, Any]:
        """The line of ``validation.jsonl``."""
        epochs = self.config.epochs
        return {
            "step": step,
            "epoch": None if epochs is None else step * epochs / self.config.steps,
            **asdict(measured),
            "checkpoint": None,
        }

    def validate(self, progress: Progress) -> dict[str, Any]:
        """Measure, write the checkpoint if it is to be kept, and remember the best (the first of equals)."""
        record = self.record(progress.step, self.measure())
        is_best = progress.best is None or record["score"] > progress.best["score"]
        if self.config.keep == "epoch":
            record["checkpoint"] = f"checkpoints/step-{progress.step:06d}"
            self.export(self.folder / record["checkpoint"])
        elif is_best:
            record["checkpoint"] = "best"
            self.export(self.folder / "best")
        if is_best:
            progress.best = record
        return record

    def export(self, folder: Path) -> None:
        """Write the policy to ``folder``, atomically."""
        part = folder.with_name(folder.name + ".part")
        if rank() == 0:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
        self.strategy.export(part, self.tokenizer)
        if rank() == 0:
            replace_folder(part, folder)
