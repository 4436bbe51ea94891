"""The loop of every method: sample → reward → advantage → expert batch → loss → update → log.

Several processes may share every step: each samples and learns from its own share of the step's prompts and
demonstrations, what is logged or decides is of all of them, and rank 0 writes it.

A method is a mu schedule, a token weight, and what is mixed into its groups (`methods.Objective`). Pure RL is mu = 0,
which takes no expert batch; SFT is mu = 1, which samples no rollouts; CHORD is what lies between.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reference_impl.advantages import zero_variance_share
from reference_impl.config import RunConfig
from reference_impl.mu import Signals
from reference_impl.rewards import build_reward
from reference_impl.rollout import EngineDeadError, RolloutEngine, fingerprint
from reference_impl.rollout.sampling import Outcome, Rollout, gather_outcomes, sample_rollouts
from reference_impl.run.boards import asked_boards
from reference_impl.run.checkpoint import Progress, load_state, save_state
from reference_impl.run.metrics import Record, StepLog
from reference_impl.run.validation import Validator
from reference_impl.seeds import sample_seed
from reference_impl.step.batching import (
    TrainingSequence,
    epoch_indices,
    expert_sequence,
    micro_batches,
    prompt_ids,
    token_statistics,
)
from reference_impl.step.groups import Demonstrations, group_sequences
from reference_impl.step.loss import (
    SUMS,
    StepTokens,
    count_tokens,
    empty_micro_batch,
    global_weights,
    micro_batch_loss,
    router_share,
)
from reference_impl.step.mismatch import ess
from reference_impl.step.objective import Objective, build_objective
from reference_impl.strategy import Strategy
from reference_impl.strategy.distributed import gather, max_over_ranks, rank, share, sum_over_ranks, world_size

T = TypeVar("T")


@dataclass(frozen=True)
class Data:
    """The rows of one domain: RL prompts, expert demonstrations, validation prompts."""

    prompts: list[dict[str, Any]]
    expert: list[dict[str, Any]]
    validation: list[dict[str, Any]]


@dataclass(frozen=True)
class Sample:
    """A step's rollouts (P × G, flattened): this rank's share, and how those of all ranks turned out."""

    rollouts: list[Rollout]
    outcomes: list[Outcome]


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
        self.reward = build_reward(config.reward, config.judge, seed=config.seed)
        self.prompts = [prompt_ids(tokenizer, row) for row in data.prompts]
        self.expert = [expert_sequence(tokenizer, row, config.max_response_tokens) for row in data.expert]
        self.expert_rows_cut = sum(not sequence.complete for sequence in self.expert)
        if self.expert_rows_cut and rank() == 0:
            print(
                f"{self.expert_rows_cut} of {len(self.expert)} demonstrations are cut at "
                f"{config.max_response_tokens} tokens and teach no end of turn",
                file=sys.stderr,
            )
        self.demonstrations: Demonstrations | None = None
        if self.objective.demonstrations:
            self.demonstrations = Demonstrations.align(
                data.prompts, self.prompts, data.expert, self.expert, self.reward, tokenizer
            )
        self.validator = Validator(config, data.validation, strategy, engine, tokenizer, folder, self.reward)
        context = strategy.model.config.max_position_embeddings
        longest = max(map(len, [*self.prompts, *self.validator.prompts]))
        if longest >= context:
            raise ValueError(f"a prompt of {longest} tokens leaves no place for a response: the context is {context}")
        self.identity = identity
        self.progress = load_state(folder / "state", strategy, identity) or Progress()
        self.stale = True  # the engine gets the weights before it samples next
        self.started = time.monotonic() - self.progress.seconds
        self.log: StepLog | None = None
        if rank() == 0:
            name = f"{config.domain}/{config.method}"
            boards = asked_boards(folder, name, identity, config.to_dict())
            self.log = StepLog(folder, name, config.steps, self.progress.step, boards)

    def train(self) -> Progress:
        """Run to the end; returns the final progress with the best validation record."""
        if self.progress.step == 0:
            self.log_validation(self.with_engine(lambda: self.validator.evaluate(step=0)))
        while self.progress.step < self.config.steps:
            self.train_step()
            step = self.progress.step
            if step % self.config.validate_every == 0 or step == self.config.steps:
                self.log_validation(self.with_engine(lambda: self.validator.validate(self.progress)))
                self.progress.seconds = time.monotonic() - self.started
                save_state(self.folder / "state", self.progress, self.strategy, self.identity)
        if self.log is not None:
            self.log.close()
        return self.progress

    def log_validation(self, record: dict[str, Any]) -> None:
        if self.log is not None:
            self.log.validation(record)

    def train_step(self) -> None:
        """One update: sample, reward, advantage, expert batch, loss, update, log."""
        started = time.perf_counter()
        progress = self.progress
        mu, mu_state, sample = self.choose_mu()
        sampled = time.perf_counter()

        sequences, rewards_PG = self.group(sample.rollouts) if sample is not None and mu < 1 else ([], None)
        sequences += self.expert_batch() if mu > 0 else []
        if mu_state.get("stage") != progress.mu_state.get("stage", mu_state.get("stage")):
            self.strategy.reset_optimizer()
        self.engine.sleep()
        update = self.update(sequences, mu)
        updated = time.perf_counter()

        progress.step += 1
        progress.mu_state = mu_state
        progress.grad_norm = update["grad_norm"]
        if progress.step % self.config.sync_every == 0 or progress.step == self.config.steps:
            self.stale = True
        metrics: Record = {
            "step": progress.step,
            "paper_step": progress.step * self.config.steps_divisor,
            **rollout_metrics([] if sample is None else sample.outcomes, rewards_PG),
            "mu": mu,
            "learning_rate": self.config.learning_rate,
            **update,
        }
        tokens = sum_over_ranks(sum(sequence.tokens for sequence in sequences))
        timings: Record = {
            "rollout_tokens_per_s": rate(metrics["rollout_tokens"], sampled - started),
            "update_tokens_per_s": rate(tokens, updated - sampled),
            "seconds": time.perf_counter() - started,
        }
        if self.log is not None:
            self.log.step(metrics, timings)

    def choose_mu(self) -> tuple[float, dict[str, float], Sample | None]:
        """(mu of this step, the controller's new state, the step's rollouts: None where mu = 1 needs none)."""
        progress, objective = self.progress, self.objective
        draw = (sample_seed("mu", self.config.seed, progress.step) >> 10) / 2**53
        signals = Signals(grad_norm=progress.grad_norm, uniform=draw)
        sample = self.with_engine(self.sample) if objective.mu_reads_rewards else None
        if sample is not None:
            rewards = [outcome.reward for outcome in sample.outcomes]
            signals = replace(signals, reward_mean=sum(rewards) / len(rewards))
        mu, state = objective.mu(progress.step, signals, progress.mu_state)
        if mu < 1 and sample is None:
            sample = self.with_engine(self.sample)
        return mu, dict(state), sample

    def sample(self) -> Sample:
        """K rollouts for each of the step's prompts; a prompt's group stays whole on one rank."""
        config, number = self.config, self.progress.rollout_batches
        own = share(config.rl_prompts)
        indices = epoch_indices(len(self.prompts), config.rl_prompts, number, config.seed)[own.start : own.stop]
        rollouts = sample_rollouts(
            self.engine,
            [self.data.prompts[i] for i in indices],
            [self.prompts[i] for i in indices],
            samples=config.group_size - self.objective.demonstrations,
            reward=self.reward,
            seed_parts=("rollout", config.seed, number),
            max_tokens=config.max_response_tokens,
            temperature=config.temperature,
            first_place=own.start,
        )
        self.progress.rollout_batches += 1
        return Sample(rollouts, gather_outcomes(rollouts))

    def group(self, rollouts: Sequence[Rollout]) -> tuple[list[TrainingSequence], Tensor]:
        """This rank's groups as sequences with their advantages, and the rewards (P, G) of all ranks' groups."""
        sequences, rewards_PG = group_sequences(
            rollouts, self.config.group_size, self.demonstrations, self.config.normalise
        )
        return sequences, torch.cat(gather(rewards_PG))

    def expert_batch(self) -> list[TrainingSequence]:
        """This rank's share of the next expert demonstrations of the shuffled stream."""
        number, batch = self.progress.expert_batches, self.config.sft_batch
        self.progress.expert_batches += 1
        indices = epoch_indices(len(self.expert), batch, number, self.config.seed)
        return [self.expert[indices[place]] for place in share(batch)]

    def update(self, sequences: Sequence[TrainingSequence], mu: float) -> Record:
        """One optimizer step on Eq. 3 over all ranks' sequences, of which these are one's share; returns its metrics.

        Both denominators count the tokens of the whole step, over all ranks, so the result does not depend on how
        the step is cut into shares and micro-batches (a mixture of experts' router loss is a mean over each, and
        does a little).
        """
        strategy, objective, config = self.strategy, self.objective, self.config
        device = strategy.model.device
        batches = list(micro_batches(sequences, config.micro_batch_tokens, self.pad_id, device))
        missing = max_over_ranks(len(batches)) - len(batches)
        batches += [empty_micro_batch(self.pad_id, device)] * missing
        rollout, demonstration, expert = (
            int(sum_over_ranks(count_tokens(sequences, kind))) for kind in ("rollout", "demonstration", "expert")
        )
        tokens = StepTokens(rollout, demonstration, expert)
        all_tokens = sum_over_ranks(sum(sequence.tokens for sequence in sequences))
        phi: list[Tensor | None] = [None] * len(batches)
        if objective.phi_needs_global_batch and mu > 0:
            with torch.no_grad():
                parts = [token_statistics(strategy.model, batch, config.temperature) for batch in batches]
            phi = global_weights(objective, batches, parts)
        sums = dict.fromkeys(SUMS, 0.0)
        for batch, phi_BT in zip(batches, phi, strict=True):
            stats = token_statistics(strategy.model, batch, config.temperature)
            loss = micro_batch_loss(objective, batch, stats, mu, tokens, phi_BT, sums)
            if stats.router_loss is not None:
                # A mean over the micro-batch: weighted by its share of the step's tokens.
                router = stats.router_loss * router_share(batch, all_tokens)
                sums["router"] += router.item()
                loss = loss + router
            strategy.backward(loss)
        summed = {key: sum_over_ranks(value) for key, value in sums.items()}
        rl, sft = mu < 1, mu > 0
        return {
            "entropy": summed["entropy"] if rl else None,
            "phi_mean": summed["phi"] if sft else None,
            "sft_loss": summed["sft"] if sft else None,
            "grpo_loss": summed["rl"] - summed["demonstration"] - summed["auxiliary"] if rl else None,
            "demonstration_loss": summed["demonstration"] if rl and demonstration else None,
            "auxiliary_loss": summed["auxiliary"] if rl and objective.auxiliary else None,
            "router_loss": summed["router"] or None,
            "loss": (1 - mu) * summed["rl"] + mu * summed["sft"] + summed["router"],
            "clip_fraction": summed["clipped"] if rl else None,
            "engine_kl": summed["engine_kl"] if rl else None,
            "engine_ess": ess(summed["ratio"], summed["ratio_squared"], rollout) if rl else None,
            "grad_norm": strategy.step(),
            "expert_tokens": expert,
            "demonstration_tokens": demonstration,
            "rollout_tokens": rollout,
        }

    def with_engine(self, call: Callable[[], T]) -> T:
        """The call's result, the engine holding the weights that it is to sample from.

        Where it dies there is a second attempt, with a new engine.

        A sampler that lags behind (`sync_every`) holds the newest weights then. Where ranks share a run all of them
        would have to try again: there the run ends, and goes on from its last state when it is started again.
        """
        try:
            if self.stale:
                self.sync_engine()
            return call()
        except EngineDeadError as error:
            if world_size() > 1:
                raise
            print(f"{error}; starting it again", file=sys.stderr, flush=True)
        # Not above: the error's traceback holds what the dead engine held of a GPU.
        self.engine.restart()
        self.sync_engine()
        return call()

    def sync_engine(self) -> None:
        """Hand the new weights to the engine and make sure that it has them: stale rollouts would train silently."""
        weights = self.strategy.weights()
        self.engine.update_weights(weights)
        expected, found = fingerprint(weights), self.engine.fingerprint()
        if found != expected:
            raise RuntimeError(f"the rollout engine holds weights {found}, not the policy's {expected}")
        self.stale = False


def rate(tokens: float | None, seconds: float) -> float | None:
    """Tokens per second; None where there are none."""
    return tokens / seconds if tokens else None


def rollout_metrics(outcomes: Sequence[Outcome], rewards_PG: Tensor | None) -> Record:
    """What the step's rollouts say of the policy; all None in a step without rollouts.

    ``rewards_PG`` are the groups' rewards, demonstrations among them included: what the advantages are made of.
    """
    names = (
        "reward_mean",
        "reward_std",
        "accuracy",
        "format_failure_rate",
        "truncation_rate",
        "zero_variance_share",
        "response_length",
    )
    if not outcomes:
        return dict.fromkeys(names)
    n = len(outcomes)
    rewards_B = torch.tensor([o.reward for o in outcomes])
    values = (
        rewards_B.mean().item(),
        rewards_B.std().item(),
        sum(o.correct for o in outcomes) / n,
        sum(not o.well_formatted and not o.truncated for o in outcomes) / n,
        sum(o.truncated for o in outcomes) / n,
        None if rewards_PG is None else zero_variance_share(rewards_PG),
        sum(o.tokens for o in outcomes) / n,
    )
    return dict(zip(names, values, strict=True))
