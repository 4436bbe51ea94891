"""What the engine is compared with: the transformers model, its log-probs, and a training step on it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from pipelines.sandbox import math_world
from reference_impl.rollout import Completion, GenerationRequest
from reference_impl.seeds import sample_seed
from reference_impl.step.batching import prompt_ids


def load_reference(policy: Path) -> PreTrainedModel:
    """The policy as a transformers model in float32."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float32)
    return model.eval()


def requests_of(policy: Path, prompts: int = 4, samples: int = 4, repeats: int = 1) -> list[GenerationRequest]:
    """Samples of the sandbox's prompts. Prompts of ``repeats`` copies fill several blocks of the prefix cache."""
    tokenizer = AutoTokenizer.from_pretrained(policy)
    rows = math_world.rl_rows(prompts, 0)
    return [
        GenerationRequest(prompt_ids(tokenizer, row) * repeats, sample_seed("test", row["id"], sample))
        for row in rows
        for sample in range(samples)
    ]


def logprob_error(
    model: PreTrainedModel,
    requests: Sequence[GenerationRequest],
    completions: Sequence[Completion],
    temperature: float = 1.0,
) -> float:
    """The largest difference between the completions' log-probs and the model's, in nats."""
    errors = []
    for request, completion in zip(requests, completions, strict=True):
        ids = torch.tensor([request.prompt_ids + completion.token_ids])
        with torch.no_grad():
            logits = model(ids).logits[0, len(request.prompt_ids) - 1 : -1]
        logprobs = torch.log_softmax(logits / temperature, dim=-1)
        expected = logprobs.gather(-1, torch.tensor(completion.token_ids)[:, None])[:, 0]
        errors.append((expected - torch.tensor(completion.logprobs)).abs().max())
    # Not Python's max, which would pass over a NaN.
    return torch.stack(errors).max().item()


def train_a_step(model: PreTrainedModel, request: GenerationRequest, learning_rate: float = 1e-3) -> None:
    """One Adam step towards repeating the prompt: every weight changes."""
    ids = torch.tensor([request.prompt_ids])
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
