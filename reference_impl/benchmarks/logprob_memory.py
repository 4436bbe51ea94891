"""Peak memory and time of log-probs and entropies with their gradients: all logits at once, and in chunks.

    python -m reference_impl.benchmarks.logprob_memory [--tokens 4096] [--vocabulary 151936] [--dtype float32]

Each way runs in a process of its own, forward and backward, on one long response of a one-layer Qwen2 with random
weights. A third process measures what both need anyway: the libraries, the model and its gradients. On a GPU, where
there is one, memory is what torch's tensors held there, and seconds are the clock's; else they are the process's
resident memory and its CPU seconds.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from reference_impl.step.token_logprobs import LOGITS_BUDGET, token_logprobs

WAYS = {"all at once": sys.maxsize, "in chunks": LOGITS_BUDGET}
"""Logits held at once."""
ALONE = "model alone"
HIDDEN = 32
"""Small, to save time: neither the logits nor their softmax grow with it."""
MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


def measure(tokens: int, vocabulary: int, dtype: str, logits_budget: int) -> dict[str, float]:
    """One forward and backward pass in this process: seconds, peak bytes, and what they computed."""
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=HIDDEN,
        intermediate_size=HIDDEN,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    model = Qwen2ForCausalLM(config).to(getattr(torch, dtype)).eval()
    model.to(device)
    ids_BT1 = torch.randint(vocabulary, (1, tokens + 1)).to(device)
    mask_BT = torch.ones(1, tokens, dtype=torch.bool, device=device)
    started = seconds_used(device)
    logprobs_BT, entropy_BT, _ = token_logprobs(model, ids_BT1, ids_BT1 >= 0, mask_BT, 1.0, logits_budget)
    logprobs_BT.mean().backward()
    seconds = seconds_used(device) - started
    gradient = model.get_input_embeddings().weight.grad
    assert isinstance(gradient, torch.Tensor)
    return {
        "seconds": seconds,
        "peak_bytes": peak_bytes(device),
        "logprob": logprobs_BT.mean().item(),
        "entropy": entropy_BT.mean().item(),
        "gradient_norm": gradient.float().norm().item(),
    }


def seconds_used(device: str) -> float:
    """CPU seconds of this process; on a GPU, seconds on the clock once its work is done."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def peak_bytes(device: str) -> int:
    """The most memory that this process has held: resident, or a GPU's that tensors used."""
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_BYTES
    return torch.cuda.max_memory_allocated()


def measure_apart(tokens: int, vocabulary: int, dtype: str, logits_budget: int) -> dict[str, float] | None:
    """:func:`measure` in a new process; None where the system ended it, as it does when memory runs out."""
    arguments = ["--tokens", tokens, "--vocabulary", vocabulary, "--dtype", dtype, "--budget", logits_budget]
    command = [sys.executable, "-m", "reference_impl.benchmarks.logprob_memory", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode < 0:
        return None
    done.check_returncode()
    found: dict[str, float] = json.loads(done.stdout)
    return found


def table(results: dict[str, dict[str, float] | None]) -> str:
    """Markdown: one row per way, memory above the model's own in MiB, time and memory against all logits at once."""
    alone = results[ALONE]
    assert alone is not None
    lines = [
        "| log-probs | peak MiB | above the model | seconds | mean log-prob | mean entropy | gradient norm |",
        "|---|---|---|---|---|---|---|",
    ]
    for way, found in results.items():
        if found is None:
            lines.append(f"| {way} | out of memory | | | | | |")
            continue
        peak, above = found["peak_bytes"] / 2**20, (found["peak_bytes"] - alone["peak_bytes"]) / 2**20
        values = "| | |" if way == ALONE else "{logprob:.6f} | {entropy:.6f} | {gradient_norm:.6g} |".format(**found)
        lines.append(f"| {way} | {peak:,.0f} | {above:,.0f} | {found['seconds']:.1f} | {values}")
    once, chunked = (results[way] for way in WAYS)
    if once and chunked:
        memory = (chunked["peak_bytes"] - alone["peak_bytes"]) / (once["peak_bytes"] - alone["peak_bytes"])
        lines += ["", f"In chunks: {memory:.3f} of the memory, {chunked['seconds'] / once['seconds']:.2f} of the time."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=4096, help="tokens of the response (default 4096)")
    parser.add_argument("--vocabulary", type=int, default=151_936, help="words (default Qwen2.5's, 151936)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of weights and logits")
    parser.add_argument("--budget", type=int, help="measure this budget of logits only, here, and print JSON")
    arguments = parser.parse_args()
    tokens, vocabulary, dtype = arguments.tokens, arguments.vocabulary, arguments.dtype
    if arguments.budget:
        print(json.dumps(measure(tokens, vocabulary, dtype, arguments.budget)))
        return
    print(f"{tokens} tokens, vocabulary {vocabulary}, {dtype}; chunks of {LOGITS_BUDGET // vocabulary} tokens\n")
    results = {ALONE: measure_apart(1, vocabulary, dtype, sys.maxsize)}
    results |= {way: measure_apart(tokens, vocabulary, dtype, budget) for way, budget in WAYS.items()}
    print(table(results))


if __name__ == "__main__":
    main()
