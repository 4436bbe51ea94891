"""CHORD in TRL's loop: TRL samples, rewards and steps, and the loss is `losses.chord_loss`.

    python -m reference_impl.examples.trl_chord --policy pipelines/sandbox/policies/sandbox-math \\
        --data results/mini/data/math --out trl-run --steps 20

The data are rows with a question, its gold answer and, for demonstrations, a response (prompts.jsonl, expert.jsonl).
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import pad

from reference_impl.files import read_jsonl
from reference_impl.losses import chord_loss, grpo_loss, sft_loss
from reference_impl.rewards import math_reward
from reference_impl.strategy.models import load_model
from reference_impl.text.chat import chat_text, end_of_turn
from reference_impl.text.prompts import render
from reference_impl.token_weights import p_one_minus_p


class ChordTrainer(GRPOTrainer):
    """TRL's GRPO trainer with CHORD-φ's loss (Eq. 3 and 6): (1 - mu) * GRPO + mu * p(1 - p)-weighted SFT.

    Each update takes ``expert_batch`` demonstrations beside its rollouts. Both denominators count the tokens of the
    global update, over all processes and accumulated micro-batches.
    """

    def __init__(
        self, *, demonstrations: Sequence[dict[str, Any]], expert_batch: int, mu: float, **kwargs: Any
    ) -> None:
        """``demonstrations`` have a ``prompt`` (chat messages) and a ``completion`` (text).

        Raises ValueError where the micro-batches of an update cannot have equally many demonstrations, or are not those
        of one generation: TRL counts tokens per generation.
        """
        super().__init__(**kwargs)
        self.mu = mu
        self.expert_batch = expert_batch
        self.parts = self.args.gradient_accumulation_steps * self.accelerator.num_processes
        if expert_batch % self.parts or expert_batch > len(demonstrations):
            raise ValueError(
                f"expert_batch is {expert_batch}; allowed: multiples of {self.parts} (accumulated micro-batches times "
                f"processes), at most {len(demonstrations)} demonstrations"
            )
        if self.args.steps_per_generation != self.args.gradient_accumulation_steps:
            raise ValueError(
                f"steps_per_generation is {self.args.steps_per_generation}; "
                f"allowed: gradient_accumulation_steps, {self.args.gradient_accumulation_steps}"
            )
        self.demonstrations = [self.tokens_of(row) for row in demonstrations]

    def tokens_of(self, row: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Ids of the prompt, up to where the assistant's turn begins, and of the response with its end of turn."""
        tokenizer = self.processing_class
        prompt_ids, response_ids = (
            tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (chat_text(tokenizer, row["prompt"]), row["completion"])
        )
        return torch.tensor(prompt_ids), torch.tensor([*response_ids, end_of_turn(tokenizer)])

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """A micro-batch's share of Eq. 3. In evaluation, which has no demonstrations, TRL's own loss."""
        if not self.model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        self._metrics["train"]["mu"].append(self.mu)
        grpo = self.rollout_loss(model, inputs) if self.mu < 1 else None
        sft = self.expert_loss(model) if self.mu > 0 else None
        # Gradients are averaged over processes, and the shares of a global sum have to be added.
        return chord_loss(grpo, sft, self.mu) * self.accelerator.num_processes

    def rollout_loss(self, model: PreTrainedModel, inputs: dict[str, Tensor]) -> Tensor:
        """Eq. 2 of TRL's rollouts. Without old log-probs TRL is strictly on-policy: the current ones are the old."""
        mask_BT = inputs["completion_mask"]
        logprobs_BT = self.response_logprobs(
            model, inputs["prompt_ids"], inputs["prompt_mask"], inputs["completion_ids"], mask_BT
        )
        return grpo_loss(
            logprobs_BT,
            inputs.get("old_per_token_logps", logprobs_BT.detach()),
            inputs["advantages"],
            mask_BT,
            clip_eps=self.args.epsilon,
            denom=inputs["num_items_in_batch"],
        )

    def expert_loss(self, model: PreTrainedModel) -> Tensor:
        """Eq. 6 of this micro-batch's demonstrations."""
        step = random.Random(f"{self.args.seed}-{self.state.global_step}").sample(
            self.demonstrations, self.expert_batch
        )
        turn = self._step % self.args.gradient_accumulation_steps
        own = step[turn * self.accelerator.num_processes + self.accelerator.process_index :: self.parts]
        (prompt_ids, prompt_mask), (response_ids, mask_BT) = (
            self.padded([row[part] for row in own], side) for part, side in ((0, "left"), (1, "right"))
        )
        logprobs_BT = self.response_logprobs(model, prompt_ids, prompt_mask, response_ids, mask_BT)
        phi_BT = p_one_minus_p(logprobs_BT.exp(), None, mask_BT)
        return sft_loss(logprobs_BT, mask_BT, weights_BT=phi_BT, denom=sum(len(response) for _, response in step))

    def padded(self, rows: list[Tensor], side: str) -> tuple[Tensor, Tensor]:
        """Rows of ids as one tensor, and its mask."""
        ids = pad(rows, padding_value=self.processing_class.pad_token_id, padding_side=side)
        mask = pad([torch.ones_like(row) for row in rows], padding_value=0, padding_side=side)
        return ids.to(self.accelerator.device), mask.to(self.accelerator.device)

    def response_logprobs(
        self, model: PreTrainedModel, prompt_ids: Tensor, prompt_mask: Tensor, response_ids: Tensor, mask_BT: Tensor
    ) -> Tensor:
        """Log-probs (B, T) of responses under the tempered policy, by TRL's own forward pass."""
        logprobs_BT, _, _ = self._get_per_token_logps_and_entropies(
            model,
            torch.cat([prompt_ids, response_ids], dim=1),
            torch.cat([prompt_mask, mask_BT], dim=1),
            response_ids.size(1),
        )
        return logprobs_BT


def reward(completions: list[list[dict[str, str]]], gold: list[str], **_: Any) -> list[float]:
    """A.2's reward in TRL's form: of every completion, a chat of one message."""
    return [math_reward(chat[0]["content"], answer) for chat, answer in zip(completions, gold, strict=True)]


def build_trainer(policy: Path, data: Path, options: GRPOConfig, *, expert_batch: int, mu: float) -> ChordTrainer:
    """A trainer of the policy in a checkpoint folder on the rows in a data folder."""
    prompts, expert = (read_jsonl(data / name) for name in ("prompts.jsonl", "expert.jsonl"))
    return ChordTrainer(
        model=load_model(policy, torch.float32),
        processing_class=AutoTokenizer.from_pretrained(policy),
        args=options,
        reward_funcs=reward,
        train_dataset=Dataset.from_list([{"prompt": render(row), "gold": row["gold"]} for row in prompts]),
        demonstrations=[{"prompt": render(row), "completion": row["response"]} for row in expert],
        expert_batch=expert_batch,
        mu=mu,
    )


def main(argv: list[str] | None = None) -> None:
    """Train, and write the policy to ``--out``."""
    parser = argparse.ArgumentParser(prog="python -m reference_impl.examples.trl_chord", description=__doc__)
    parser.add_argument("--policy", type=Path, required=True, help="checkpoint folder to start from")
    parser.add_argument("--data", type=Path, required=True, help="folder with prompts.jsonl and expert.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="folder for the trained policy")
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args(argv)
    options = GRPOConfig(
        output_dir=str(arguments.out),
        max_steps=arguments.steps,
        per_device_train_batch_size=16,
        num_generations=8,
        max_completion_length=128,
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        bf16=False,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
    )
    trainer = build_trainer(arguments.policy, arguments.data, options, expert_batch=8, mu=0.1)
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main()
