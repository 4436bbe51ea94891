"""Train a sandbox policy from nothing: tokenizer, base phase (many styles), instruct phase (the terse style).

    python -m pipelines.sandbox.pretrain --policy sandbox-math --out DIR

Writes a folder that ``AutoModelForCausalLM.from_pretrained`` loads, and ``manifest.json`` with the configuration's
hash. The policy is a miniature's starting point, not a subject of comparison: nothing here knows any method.
"""

import argparse
import math
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.nn import functional as F
from transformers import (
    PhimoeConfig,
    PhimoeForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from pipelines.sandbox.policies import Phase, Shape, config_hash, load_policy, load_world
from pipelines.sandbox.tokenizer import build_tokenizer
from reference_impl.files import file_hash, write_json
from reference_impl.strategy.models import logits_and_router_loss
from reference_impl.text.prompts import render

TOKENIZER_EXAMPLES = 4000
TOKENIZER_EXPERT_ROWS = 500
CHAT_ROLES = ("system", "user", "assistant")
POOL_BATCHES = 8
"""Batches drawn together and sorted by length, so that a batch holds little padding."""
CACHE_TOKENS = 2048
IGNORE = -100


def train_tokenizer(world: ModuleType, vocab_size: int) -> PreTrainedTokenizerFast:
    """A tokenizer of the world's pretraining text and the expert's."""
    rng = random.Random(f"tokenizer/{world.NAME}/{world.VERSION}")
    texts = []
    for _ in range(TOKENIZER_EXAMPLES):
        row, response = world.pretraining_example(rng, "base")
        texts += [message["content"] for message in render(row)] + [response]
    texts += [row["response"] for row in world.expert_rows(TOKENIZER_EXPERT_ROWS, 0)]
    return build_tokenizer([*texts, *CHAT_ROLES * TOKENIZER_EXAMPLES], vocab_size)


def encode(tokenizer: PreTrainedTokenizerFast, row: dict[str, Any], response: str) -> tuple[list[int], int]:
    """(token ids of prompt, response and end of turn; number of prompt tokens)."""
    prompt = tokenizer.apply_chat_template(render(row), add_generation_prompt=True, tokenize=False)
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    response_ids = tokenizer(response, add_special_tokens=False)["input_ids"]
    return prompt_ids + response_ids + [tokenizer.eos_token_id], len(prompt_ids)


def batches(world: ModuleType, tokenizer: PreTrainedTokenizerFast, phase: Phase, seed: str) -> Any:
    """Endless batches (ids_BT, labels_BT); labels cover the response only."""
    rng = random.Random(seed)
    size = phase.batch_size
    while True:
        pool = [encode(tokenizer, *world.pretraining_example(rng, phase.data)) for _ in range(size * POOL_BATCHES)]
        pool.sort(key=lambda item: len(item[0]))
        chunks = [pool[i : i + size] for i in range(0, len(pool), size)]
        rng.shuffle(chunks)
        for chunk in chunks:
            width = len(chunk[-1][0])
            ids_BT = torch.full((size, width), tokenizer.pad_token_id)
            labels_BT = torch.full((size, width), IGNORE)
            for i, (ids, prompt_tokens) in enumerate(chunk):
                ids_BT[i, : len(ids)] = torch.tensor(ids)
                labels_BT[i, prompt_tokens : len(ids)] = torch.tensor(ids[prompt_tokens:])
            yield ids_BT, labels_BT


def accumulate_gradients(model: PreTrainedModel, ids_BT: torch.Tensor, labels_BT: torch.Tensor) -> float:
    """Add the gradients of the batch's token-mean loss, a few sequences at a time; returns the loss.

    Pieces that fit a core's cache are faster than the full batch at once. A mixture of experts adds each piece's
    router loss in proportion to the piece's tokens; the loss returned is the one of the tokens alone.
    """
    denominator = (labels_BT[:, 1:] != IGNORE).sum()
    real_BT = ids_BT != model.config.pad_token_id
    rows = max(1, CACHE_TOKENS // ids_BT.shape[1])
    total = 0.0
    for ids_bT, labels_bT, real_bT in zip(*(x.split(rows) for x in (ids_BT, labels_BT, real_BT)), strict=True):
        logits_bTV, router_loss = logits_and_router_loss(model, ids_bT, real_bT)
        loss = F.cross_entropy(
            logits_bTV[:, :-1].flatten(0, 1), labels_bT[:, 1:].flatten(), ignore_index=IGNORE, reduction="sum"
        )
        mean = loss / denominator
        if router_loss is not None:
            mean = mean + router_loss * (real_bT.sum() / real_BT.sum())
        mean.backward()
        total += loss.item()
    return total / denominator.item()


def run_phase(model: PreTrainedModel, stream: Any, phase: Phase, warmup: int) -> float:
    """Train one phase with AdamW, linear warm-up and cosine decay to a tenth; returns the last 50 steps' mean loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=phase.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    steps = phase.steps
    losses: list[float] = []
    started = time.monotonic()
    for step in range(steps):
        scale = min(1.0, (step + 1) / warmup) * (0.55 + 0.45 * math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = phase.learning_rate * scale
        ids_BT, labels_BT = next(stream)
        optimizer.zero_grad(set_to_none=True)
        loss = accumulate_gradients(model, ids_BT, labels_BT)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss)
        if (step + 1) % 100 == 0:
            left = (time.monotonic() - started) / (step + 1) * (steps - step - 1)
            mean = sum(losses[-100:]) / 100
            print(f"{phase.name} {step + 1}/{steps}  loss {mean:.4f}  {left:.0f} s left", file=sys.stderr, flush=True)
    return sum(losses[-50:]) / len(losses[-50:])


def qwen2(shape: Shape, common: dict[str, Any]) -> PreTrainedModel:
    """The dense architecture of the paper's Qwen2.5 policies."""
    return Qwen2ForCausalLM(Qwen2Config(**common))


def phimoe(shape: Shape, common: dict[str, Any]) -> PreTrainedModel:
    """The mixture of experts of Phi-mini-MoE-instruct (Table 9), with its router loss switched on."""
    return PhimoeForCausalLM(
        PhimoeConfig(
            **common,
            num_local_experts=shape.experts,
            num_experts_per_tok=shape.experts_per_token,
            output_router_logits=True,
        )
    )


ARCHITECTURES: dict[str, Callable[[Shape, dict[str, Any]], PreTrainedModel]] = {
    "qwen2": qwen2,
    "phimoe": phimoe,
}


def build_model(architecture: str, shape: Shape, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A randomly initialised model of a declared architecture and size."""
    common = {
        "vocab_size": len(tokenizer),
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "initializer_range": shape.initializer_range,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return ARCHITECTURES[architecture](shape, common)


def pretrain(name: str, out: Path) -> None:
    """Train policy ``name`` and write it to ``out``."""
    policy = load_policy(name)
    torch.set_num_threads(1)
    torch.manual_seed(policy.seed)
    world = load_world(policy.world)
    tokenizer = train_tokenizer(world, policy.vocab_size)
    model = build_model(policy.architecture, policy.model, tokenizer)
    losses = {}
    for phase in policy.phases:
        stream = batches(world, tokenizer, phase, f"{policy.seed}/{phase.name}")
        losses[phase.name] = run_phase(model, stream, phase, warmup=min(100, phase.steps // 5 + 1))
    save(model.half(), tokenizer, out)
    manifest = {
        "policy": name,
        "config": policy.given(),
        "config_hash": config_hash(name),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "final_loss": losses,
        "weights_sha256": file_hash(out / "model.safetensors"),
        "dtype": "float16",
        "torch": torch.__version__,
    }
    write_json(out / "manifest.json", manifest)


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write model and tokenizer as a folder that ``from_pretrained`` loads."""
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", required=True, help="an entry of pipelines/sandbox/policies.yaml")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    pretrain(arguments.policy, arguments.out)


if __name__ == "__main__":
    main()
