"""The loop of every method: sample → reward → advantage → expert batch → loss → update → log.

A method is a mu schedule and a token weight (`methods.Objective`). Pure RL is mu = 0, which takes no expert batch;
SFT is mu = 1, which samples no rollouts; CHORD is what lies between.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reference_impl.advantages import group_advantages, zero_variance_share
from reference_impl.batching import (
    MicroBatch,
    TrainingSequence,
    epoch_indices,
    expert_sequence,
    micro_batches,
    prompt_ids,
    token_statistics,
)
from reference_impl.checkpoint import Progress, load_state, save_state
from reference_impl.config import RunConfig
from reference_impl.losses import approx_kl, chord_loss, clip_fraction, grpo_loss, sft_loss
from reference_impl.methods import Objective, build_objective
from reference_impl.metrics import Record, StepLog
from reference_impl.mu import Signals
from reference_impl.rollout import RolloutEngine, fingerprint
from reference_impl.sampling import Rollout, sample_rollouts
from reference_impl.strategy import Strategy
from reference_impl.validation import Validator


@dataclass(frozen=True)
class Data:
    """The rows of one domain: RL prompts, expert demonstrations, validation prompts."""

    prompts: list[dict[str, Any]]
    expert: list[dict[str, Any]]
    validation: list[dict[str, Any]]


class Trainer:
    """One run, from its first step or from its last saved state to its end."""

    def __init__(
        self,
        config: RunConfig,
        data: Data,
        strategy: Strategy,
        engine: RolloutEngine,
        tokenizer: PreTrainedTokenizerBase,
        folder: Path,
        identity: str,
    ) -> None:
        """``identity`` names all that decides the run's numbers; a saved state of the same identity is resumed."""
        self.config = config
        self.data = data
        self.strategy = strategy
        self.engine = engine
        self.folder = folder
        self.pad_id = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
        self.objective: Objective = build_objective(config)
        self.prompts = [prompt_ids(tokenizer, row) for row in data.prompts]
        self.expert = [expert_sequence(tokenizer, row, config.max_response_tokens) for row in data.expert]
        self.expert_rows_cut = sum(not sequence.complete for sequence in self.expert)
        if self.expert_rows_cut:
            print(
                f"{self.expert_rows_cut} of {len(self.expert)} demonstrations are cut at "
                f"{config.max_response_tokens} tokens and teach no end of turn",
                file=sys.stderr,
            )
        self.validator = Validator(config, data.validation, strategy, engine, tokenizer, folder)
        self.identity = identity
        self.progress = load_state(folder / "state", strategy, identity) or Progress()
        self.started = time.monotonic() - self.progress.seconds
        self.log = StepLog(folder, f"{config.domain}/{config.method}", config.steps, self.progress.step)

    def train(self) -> Progress:
        """Run to the end; returns the final progress with the best validation record."""
        self.sync_engine()
        if self.progress.step == 0:
            self.log.validation(self.validator.evaluate(step=0))
        while self.progress.step < self.config.steps:
            self.train_step()
            step = self.progress.step
            if step % self.config.validate_every == 0 or step == self.config.steps:
                self.log.validation(self.validator.validate(self.progress))
                self.progress.seconds = time.monotonic() - self.started
                save_state(self.folder / "state", self.progress, self.strategy, self.identity)
        self.log.close()
        return self.progress

    def train_step(self) -> None:
        """One update: sample, reward, advantage, expert batch, loss, update, log."""
        started = time.perf_counter()
        progress = self.progress
        mu, mu_state = self.objective.mu(progress.step, Signals(), progress.mu_state)
        rollouts = self.sample() if mu < 1 else []
        sampled = time.perf_counter()

        rewards_PG = torch.tensor([r.graded.reward for r in rollouts]).view(-1, self.config.group_size)
        advantages = group_advantages(rewards_PG).flatten().tolist() if rollouts else []
        sequences = [
            TrainingSequence(r.prompt_ids, r.completion.token_ids, False, advantage, r.completion.logprobs)
            for r, advantage in zip(rollouts, advantages, strict=True)
        ]
        sequences += self.expert_batch() if mu > 0 else []
        update = self.update(sequences, mu)
        updated = time.perf_counter()

        progress.step += 1
        progress.mu_state = dict(mu_state)
        self.sync_engine()
        metrics: Record = {
            "step": progress.step,
            "paper_step": progress.step * self.config.steps_divisor,
            **rollout_metrics(rollouts, rewards_PG),
            "mu": mu,
            "learning_rate": self.config.learning_rate,
            **update,
        }
        tokens = sum(sequence.tokens for sequence in sequences)
        timings: Record = {
            "rollout_tokens_per_s": rate(metrics["rollout_tokens"], sampled - started),
            "update_tokens_per_s": rate(tokens, updated - sampled),
            "seconds": time.perf_counter() - started,
        }
        self.log.step(metrics, timings)

    def sample(self) -> list[Rollout]:
        """K rollouts for each of the step's prompts (P × G, flattened)."""
        config, number = self.config, self.progress.rollout_batches
        indices = epoch_indices(len(self.prompts), config.rl_prompts, number, config.seed)
        self.progress.rollout_batches += 1
        return sample_rollouts(
            self.engine,
            [self.data.prompts[i] for i in indices],
            [self.prompts[i] for i in indices],
            samples=config.group_size,
            reward=config.reward,
            seed_parts=("rollout", config.seed, number),
            max_tokens=config.max_response_tokens,
            temperature=config.temperature,
        )

    def expert_batch(self) -> list[TrainingSequence]:
        """The next expert demonstrations of the shuffled stream."""
        number = self.progress.expert_batches
        self.progress.expert_batches += 1
        return [
            self.expert[i] for i in epoch_indices(len(self.expert), self.config.sft_batch, number, self.config.seed)
        ]

    def update(self, sequences: Sequence[TrainingSequence], mu: float) -> Record:
        """One optimizer step on Eq. 3 over all sequences; returns its metrics.

        Both denominators count the tokens of the whole step, over all ranks, so the result does not depend on how
        the step is cut into micro-batches.
        """
        model, objective, config = self.strategy.model, self.objective, self.config
        batches = list(micro_batches(sequences, config.micro_batch_tokens, self.pad_id, model.device))
        expert_tokens = self.strategy.sum_over_ranks(sum(len(s.response_ids) for s in sequences if s.is_expert))
        rollout_tokens = self.strategy.sum_over_ranks(sum(len(s.response_ids) for s in sequences if not s.is_expert))
        weights = self.global_weights(batches) if objective.phi_needs_global_batch and mu > 0 else None
        sums = dict.fromkeys(("sft", "grpo", "phi", "entropy", "clipped", "engine_kl"), 0.0)
        for number, batch in enumerate(batches):
            logprobs_BT, entropy_BT = token_statistics(model, batch, config.temperature)
            grpo = sft = None
            if mu < 1:
                # Strictly on-policy: the ratio is 1, and its gradient that of the log-prob (Section 2).
                mask_BT, old_BT = batch.rollout_mask_BT, logprobs_BT.detach()
                grpo = grpo_loss(
                    logprobs_BT, old_BT, batch.advantages_B, mask_BT, clip_eps=objective.clip_eps, denom=rollout_tokens
                )
                clipped = clip_fraction(
                    logprobs_BT, old_BT, batch.advantages_B, mask_BT, clip_eps=objective.clip_eps, denom=rollout_tokens
                )
                engine_kl = approx_kl(old_BT, batch.engine_logprobs_BT, mask_BT, denom=rollout_tokens)
                sums["grpo"] += grpo.item()
                sums["clipped"] += float(clipped)
                sums["engine_kl"] += float(engine_kl)
                sums["entropy"] += masked_sum(entropy_BT, mask_BT) / rollout_tokens
            if mu > 0:
                mask_BT = batch.expert_mask_BT
                phi_BT = weights[number] if weights else objective.weights(logprobs_BT, entropy_BT, mask_BT)
                sft = sft_loss(logprobs_BT, mask_BT, weights_BT=phi_BT, denom=expert_tokens)
                sums["sft"] += sft.item()
                sums["phi"] += masked_sum(phi_BT, mask_BT) / expert_tokens
            self.strategy.backward(chord_loss(grpo, sft, mu))
        summed = {key: self.strategy.sum_over_ranks(value) for key, value in sums.items()}
        return {
            "entropy": summed["entropy"] if mu < 1 else None,
            "phi_mean": summed["phi"] if mu > 0 else None,
            "sft_loss": summed["sft"] if mu > 0 else None,
            "grpo_loss": summed["grpo"] if mu < 1 else None,
            "loss": (1 - mu) * summed["grpo"] + mu * summed["sft"],
            "clip_fraction": summed["clipped"] if mu < 1 else None,
            "engine_kl": summed["engine_kl"] if mu < 1 else None,
            "grad_norm": self.strategy.step(),
            "expert_tokens": expert_tokens,
            "rollout_tokens": rollout_tokens,
        }

    @torch.no_grad()
    def global_weights(self, batches: Sequence[MicroBatch]) -> list[Tensor]:
        """phi of every micro-batch, for weights that compare a token with all expert tokens of the step."""
        config = self.config
        parts = [token_statistics(self.strategy.model, batch, config.temperature) for batch in batches]
        masks = [batch.expert_mask_BT for batch in batches]
        flat = [
            torch.cat([tensor[mask] for tensor, mask in zip(tensors, masks, strict=True)])[None]
            for tensors in zip(*parts, strict=True)
        ]
        weights_1T = self.objective.weights(flat[0], flat[1], torch.ones_like(flat[0], dtype=torch.bool))
        pieces = weights_1T[0].split([int(mask.sum()) for mask in masks])
        return [
            torch.zeros_like(part[0]).masked_scatter(mask, piece)
            for part, mask, piece in zip(parts, masks, pieces, strict=True)
        ]

    def sync_engine(self) -> None:
        """Hand the new weights to the engine and make sure that it has them: stale rollouts would train silently."""
        weights = self.strategy.weights()
        self.engine.update_weights(weights)
        expected, found = fingerprint(weights), self.engine.fingerprint()
        if found != expected:
            raise RuntimeError(f"the rollout engine holds weights {found}, not the policy's {expected}")


def masked_sum(values_BT: Tensor, mask_BT: Tensor) -> float:
    """Sum over the positions where the mask is 1."""
    return float(values_BT[mask_BT].sum())


def rate(tokens: float | None, seconds: float) -> float | None:
    """Tokens per second; None where there are none."""
    return tokens / seconds if tokens else None


def rollout_metrics(rollouts: Sequence[Rollout], rewards_PG: Tensor) -> Record:
    """What the step's rollouts say of the policy; all None in a step without rollouts."""
    names = (
        "reward_mean",
        "reward_std",
        "accuracy",
        "format_failure_rate",
        "truncation_rate",
        "zero_variance_share",
        "response_length",
    )
    if not rollouts:
        return dict.fromkeys(names)
    n = len(rollouts)
    values = (
        rewards_PG.mean().item(),
        rewards_PG.std().item(),
        sum(r.graded.correct for r in rollouts) / n,
        sum(not r.graded.well_formatted and not r.completion.truncated for r in rollouts) / n,
        sum(r.completion.truncated for r in rollouts) / n,
        zero_variance_share(rewards_PG),
        sum(len(r.completion.token_ids) for r in rollouts) / n,
    )
    return dict(zip(names, values, strict=True))
