"""Every φ on the tokens of one demonstration, with the original policy's probabilities; and every φ as a function of p.

    python -m evaluation.phi_tokens --policy results/mini/policies/sandbox-math --domain math --scale mini \\
        --data results/mini/data/math --out results/mini/phi/math.json

The demonstration is the first of the domain's main set. A φ that compares tokens with each other (`NEEDS_GLOBAL_BATCH`)
has this demonstration alone as its batch, and is no function of p.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from reference_impl.config import domain_size, expert_file, load_declarations, load_scale
from reference_impl.files import iterate_jsonl, write_json
from reference_impl.step.batching import TrainingSequence, expert_sequence
from reference_impl.step.token_logprobs import token_logprobs
from reference_impl.strategy.models import load_model
from reference_impl.token_weights import NEEDS_GLOBAL_BATCH, TOKEN_WEIGHTS

POINTS = 101
"""Of the curves, evenly from p = 0 to 1."""


def formula(name: str) -> str:
    """A φ in words: the first sentence of its docstring."""
    return (TOKEN_WEIGHTS[name].__doc__ or name).split("\n")[0].rstrip(".")


def curves() -> dict[str, Any]:
    """``p`` and, by name, every φ that is a function of it."""
    prob_1T = torch.linspace(0, 1, POINTS)[None]
    mask_1T = torch.ones_like(prob_1T, dtype=torch.bool)
    names = [name for name in TOKEN_WEIGHTS if name not in NEEDS_GLOBAL_BATCH]
    return {"p": _numbers(prob_1T)} | {name: _numbers(TOKEN_WEIGHTS[name](prob_1T, None, mask_1T)) for name in names}


def _numbers(values_1T: Tensor) -> list[float]:
    return [round(value, 6) for value in values_1T[0].tolist()]


@torch.no_grad()
def statistics(model: PreTrainedModel, sequence: TrainingSequence) -> tuple[Tensor, Tensor]:
    """Probabilities and entropies (1, T), in nats, of a response's tokens."""
    ids_1T1 = torch.tensor([sequence.prompt_ids + sequence.response_ids], device=model.device)
    mask_1T = torch.zeros(1, ids_1T1.shape[1] - 1, dtype=torch.bool, device=model.device)
    mask_1T[0, len(sequence.prompt_ids) - 1 :] = True
    logprobs_1T, entropy_1T, _ = token_logprobs(model, ids_1T1, torch.ones_like(ids_1T1), mask_1T, 1.0)
    return logprobs_1T[mask_1T][None].exp(), entropy_1T[mask_1T][None]


def on_demonstration(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, row: Mapping[str, Any], max_tokens: int
) -> dict[str, Any]:
    """A demonstration's tokens as text, with p, the entropy and every φ of each."""
    sequence = expert_sequence(tokenizer, dict(row), max_tokens)
    prob_1T, entropy_1T = statistics(model, sequence)
    mask_1T = torch.ones_like(prob_1T, dtype=torch.bool)
    return {
        "id": row["id"],
        "question": row["question"],
        "tokens": [tokenizer.decode([token]) for token in sequence.response_ids],
        "p": _numbers(prob_1T),
        "entropy": _numbers(entropy_1T),
        "phi": {name: _numbers(weigh(prob_1T, entropy_1T, mask_1T)) for name, weigh in TOKEN_WEIGHTS.items()},
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Write one domain's file."""
    parser = argparse.ArgumentParser(description="Every φ on the tokens of one demonstration.")
    parser.add_argument("--policy", type=Path, required=True, help="the checkpoint that training starts from")
    parser.add_argument("--domain", required=True)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--data", type=Path, required=True, help="the domain's folder of data")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args(argv)
    decl, scale = load_declarations(), load_scale(arguments.scale)
    limit = int(domain_size(decl, scale, arguments.domain, "max_response_tokens"))
    row = next(iterate_jsonl(arguments.data / expert_file("main")))
    tokenizer = AutoTokenizer.from_pretrained(arguments.policy)
    demonstration = on_demonstration(load_model(arguments.policy, "auto"), tokenizer, row, limit)
    write_json(
        arguments.out,
        {
            "policy": arguments.policy.name,
            "formulas": {name: formula(name) for name in TOKEN_WEIGHTS},
            "curves": curves(),
            "demonstration": demonstration,
        },
    )


if __name__ == "__main__":
    main()
