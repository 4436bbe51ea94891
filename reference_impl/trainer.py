"""The loop of every method: sample → reward → advantage → expert batch → loss → backward → step → log.

Where a scale says `sample_ahead`, the next step's responses are sampled while the update runs.

Several processes may share every step: each samples for its own share of the step's prompts, and learns from a part of
all sequences that is as long as any other's; what is logged or decides is of all of them, and rank 0 writes it.

A method is a mu schedule, a token weight, and what is mixed into its groups (`step.objective.Objective`). Pure RL is
mu = 0, which takes no expert batch; SFT is mu = 1, which samples no rollouts; CHORD is what lies between.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reference_impl.config import RunConfig
from reference_impl.mu import Mu, Signals
from reference_impl.rewards import build_reward
from reference_impl.rollout import Completion, RolloutEngine
from reference_impl.rollout.sampling import Outcome, PromptBatch, Rollout, gather_outcomes
from reference_impl.rollout.synced import SyncedEngine
from reference_impl.run.boards import asked_boards
from reference_impl.run.checkpoint import Progress, load_state, save_state
from reference_impl.run.first_validation import FirstValidation
from reference_impl.run.metrics import Record, StepLog
from reference_impl.run.saving import END, GO_ON, InterruptedRunError, SaveClock
from reference_impl.run.step_metrics import rollout_metrics, update_metrics
from reference_impl.run.validation import Validator
from reference_impl.run.watch import Watch
from reference_impl.seeds import sample_seed
from reference_impl.step.balance import balanced
from reference_impl.step.batching import (
    TrainingSequence,
    changed_by_the_tokenizer,
    epoch_indices,
    expert_sequence,
    prompt_ids,
)
from reference_impl.step.groups import Demonstrations, group_sequences
from reference_impl.step.loss import LossTerms, StepTokens, step_losses
from reference_impl.step.objective import Objective, build_objective
from reference_impl.step.shared_prefix import share_prompts
from reference_impl.step.silent import set_silent_aside, silent_terms
from reference_impl.strategy import Strategy
from reference_impl.strategy.distributed import gather, rank, share


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
        first_validation: FirstValidation | None = None,
    ) -> None:
        """``identity`` names all that decides the run's numbers; a saved state of the same identity is resumed.

        ``first_validation``: where runs that start from the same policy keep what they measure there; None: nowhere.
        """
        self.config = config
        self.data = data
        self.strategy = strategy
        self.engine = SyncedEngine(engine, strategy.weights, config.max_response_tokens, config.temperature)
        self.folder = folder
        self.pad_id = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
        self.packed = config.share_prompts and share_prompts(strategy.model)
        self.objective: Objective = build_objective(config)
        self.reward = build_reward(config.reward, config.judge, seed=config.seed, reading=config.reward_reading)
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
        self.validator = Validator(
            config, data.validation, strategy, self.engine, tokenizer, folder, self.reward, first_validation
        )
        context = strategy.model.config.max_position_embeddings
        longest = max(map(len, [*self.prompts, *self.validator.prompts]))
        if longest >= context:
            raise ValueError(f"a prompt of {longest} tokens leaves no place for a response: the context is {context}")
        self.identity = identity
        self.progress = load_state(folder / "state", strategy, identity) or Progress()
        self.engine.hold(self.progress.ahead)
        self.started = time.monotonic() - self.progress.seconds
        self.log: StepLog | None = None
        if rank() == 0:
            name = f"{config.domain}/{config.method}"
            boards = asked_boards(folder, name, identity, config.to_dict())
            watch = Watch(config.steps, config.phi["name"], changed_by_the_tokenizer(tokenizer, data.expert))
            self.log = StepLog(folder, name, watch, self.progress.step, boards)

    def train(self, save_minutes: float | None = None) -> Progress:
        """Run to the end; returns the final progress with the best validation record.

        ``save_minutes``: how long an interruption may set the run back, where validations are further apart. Raises
        InterruptedRunError, the state saved, where the process is asked to end before.
        """
        with SaveClock(save_minutes) as clock:
            if self.progress.step == 0:
                self.log_validation(self.validator.first())
            while self.progress.step < self.config.steps:
                self.train_step()
                validated = self.validate_where_due()
                self.save_where_due(clock, validated)
        if self.log is not None:
            self.log.close()
        return self.progress

    def validate_where_due(self) -> bool:
        """Validate every `validate_every` steps and after the last; whether this was one of them."""
        step = self.progress.step
        due = step % self.config.validate_every == 0 or step == self.config.steps
        if due:
            self.log_validation(self.validator.validate(self.progress))
        return due

    def save_where_due(self, clock: SaveClock, validated: bool) -> None:
        """Save the state after a validation, and where the clock or a signal asks for it."""
        if not validated and self.progress.step % self.config.sync_every:
            return  # the sampler's weights are those of an earlier step, and no state has them
        decision = clock.decision()
        if validated or decision != GO_ON:
            self.progress.seconds = time.monotonic() - self.started
            self.progress.ahead = self.engine.begun()
            save_state(self.folder / "state", self.progress, self.strategy, self.identity)
            clock.restart()
        if decision == END and self.progress.step < self.config.steps:
            raise InterruptedRunError(f"asked to end after step {self.progress.step}: the state is saved")

    def train_step(self) -> None:
        """One update on Eq. 3."""
        times = [time.perf_counter()]
        rollouts: list[Rollout] = []
        mu = None if self.objective.mu_reads_rewards else self.choose_mu()
        if mu is None or mu.value < 1:
            prompts = self.next_prompts()
            rollouts = prompts.graded(self.responses(prompts), self.reward)
        outcomes = gather_outcomes(rollouts)
        mu = mu or self.choose_mu(outcomes)
        groups, rewards_PG = self.advantages(rollouts) if mu.value < 1 else ([], None)
        expert = self.expert_batch() if mu.value > 0 else []
        times.append(time.perf_counter())

        if self.samples_ahead():
            self.engine.begin(self.prompts_of(self.progress.rollout_batches).requests())
        else:
            self.engine.sleep(sync_follows=self.syncs_after(self.progress.step + 1))
        if mu.new_stage:
            self.strategy.reset_optimizer()
        sequences = [*groups, *expert]
        tokens = StepTokens.count(sequences)
        learning, silent = set_silent_aside(self.strategy.model, self.objective, sequences)
        terms = silent_terms(silent, tokens)
        learning = balanced(learning, by_prompt=self.packed)
        for loss, part in self.losses(learning, mu.value, tokens):
            self.strategy.backward(loss)
            terms += part
        grad_norm = self.strategy.step()
        times.append(time.perf_counter())

        self.advance(mu, grad_norm)
        found = rollout_metrics(outcomes, rewards_PG)
        update = update_metrics(self.objective, terms.over_ranks(), tokens, mu.value, grad_norm)
        self.log_step(mu.value, found, update, tokens, times)

    def choose_mu(self, outcomes: Sequence[Outcome] = ()) -> Mu:
        """The step's mu; ``outcomes`` are those of its rollouts, which only some schedules read."""
        progress = self.progress
        signals = Signals(
            reward_mean=sum(outcome.reward for outcome in outcomes) / len(outcomes) if outcomes else None,
            grad_norm=progress.grad_norm,
            uniform=(sample_seed("mu", self.config.seed, progress.step) >> 10) / 2**53,
        )
        return self.objective.mu(progress.step, signals, progress.mu_state)

    def next_prompts(self) -> PromptBatch:
        """This rank's share of the next RL prompts."""
        number = self.progress.rollout_batches
        self.progress.rollout_batches += 1
        return self.prompts_of(number)

    def responses(self, prompts: PromptBatch) -> list[Completion]:
        """Those that were sampled ahead, while the last update ran; else sampled now."""
        ahead = self.engine.finish()
        return self.engine.generate(prompts.requests()) if ahead is None else ahead

    def samples_ahead(self) -> bool:
        """Whether the next step's rollouts are sampled now, by the policy before this step's update."""
        following = self.progress.step + 1
        known = following < self.config.steps and self.objective.surely_samples(following)
        return self.config.sample_ahead and known

    def prompts_of(self, number: int) -> PromptBatch:
        """This rank's share of a batch of the shuffled stream of RL prompts; a prompt's group is never split."""
        config, own = self.config, share(self.config.rl_prompts)
        indices = epoch_indices(len(self.prompts), config.rl_prompts, number, config.seed)[own.start : own.stop]
        return PromptBatch(
            rows=[self.data.prompts[i] for i in indices],
            prompts=[self.prompts[i] for i in indices],
            samples=config.group_size - self.objective.demonstrations,
            seed_parts=("rollout", config.seed, number),
            first_place=own.start,
        )

    def advantages(self, rollouts: Sequence[Rollout]) -> tuple[list[TrainingSequence], Tensor]:
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

    def losses(
        self, sequences: Sequence[TrainingSequence], mu: float, tokens: StepTokens
    ) -> Iterator[tuple[Tensor, LossTerms]]:
        """The loss of each micro-batch, Eq. 3, and its terms (`step.loss`)."""
        return step_losses(
            self.strategy.model,
            self.objective,
            sequences,
            mu,
            tokens,
            temperature=self.config.temperature,
            micro_batch_tokens=self.config.micro_batch_tokens,
            pad_id=self.pad_id,
            packed=self.packed,
        )

    def advance(self, mu: Mu, grad_norm: float) -> None:
        """One update is done: what the next one starts from."""
        progress = self.progress
        progress.step += 1
        progress.mu_state = dict(mu.state)
        progress.grad_norm = grad_norm
        if self.syncs_after(progress.step):
            self.engine.stale = True

    def syncs_after(self, step: int) -> bool:
        """Whether the sampler gets the policy's weights after this many updates."""
        return step % self.config.sync_every == 0 or step == self.config.steps

    def log_step(self, mu: float, rollouts: Record, update: Record, tokens: StepTokens, times: Sequence[float]) -> None:
        """One line a step. ``times``: when it started, had sampled, had updated, in seconds."""
        started, sampled, updated = times
        metrics: Record = {
            "step": self.progress.step,
            "paper_step": self.progress.step * self.config.steps_divisor,
            **rollouts,
            "mu": mu,
            "learning_rate": self.config.learning_rate,
            **update,
        }
        timings: Record = {
            "rollout_tokens_per_s": rate(tokens.rollout, sampled - started),
            "update_tokens_per_s": rate(tokens.total, updated - sampled),
            "seconds": time.perf_counter() - started,
        }
        if self.log is not None:
            self.log.step(metrics, timings)

    def log_validation(self, record: dict[str, Any]) -> None:
        if self.log is not None:
            self.log.validation(record)


def rate(tokens: float, seconds: float) -> float | None:
    """Tokens per second; None where there are none."""
    return tokens / seconds if tokens else None
