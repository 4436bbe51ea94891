"""What a model costs: operations, bytes and seconds, from shapes and assumptions. docs/scales.md has the formulas."""

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from pipelines.policy.models import Model
from reference_impl.config import CONFIG_DIR, StrategyChoice, choose
from reference_impl.config.fields import Count, Fraction, NotNegative, Positive
from reference_impl.config.model import Declared, parse, read_yaml

GB = 1e9


class MeanTokens(Declared):
    """Mean lengths in one domain, in tokens; a scale's limit cuts them."""

    prompt: Positive
    """Of a prompt, its chat template included."""
    rollout: Positive
    """Of a sampled response."""
    expert: Positive
    """Of a demonstration."""


class Assumptions(Declared):
    """What an estimate assumes of GPUs, engines and lengths."""

    gpu: str
    """Its name, for the reader."""
    memory_gb: Positive
    """Per GPU, 10^9 bytes."""
    peak_tflops: Positive
    """In bf16, dense."""
    update_utilisation: Fraction
    """Share of the peak that forward and backward reach."""
    bandwidth_tb_s: Positive
    """Of the GPU's memory, 10^12 bytes a second."""
    bandwidth_utilisation: Fraction
    """Share of it that sampling reaches."""
    pass_min_s: NotNegative
    """Seconds in which every running sequence gets one token, of however small a model."""
    longest_to_mean: float = Field(ge=1)
    """Length of a batch's longest response, in means."""
    step_overhead_s: NotNegative
    """Seconds of a step for weight sync, waking the engine and putting it to sleep, and grading."""
    offload_s: NotNegative
    """Seconds of an update on the CPU (`offload`) per 10^9 parameters of a process, transfers included."""
    start_s: NotNegative
    """Seconds of a job for loading weights, starting engine and processes."""
    reserved_gb: NotNegative
    """Per GPU for the CUDA context, NCCL's buffers and fragmentation."""
    logits_at_once: Count
    """Positions × vocabulary whose logits exist at once."""
    text_bytes: Positive
    """Bytes per token of stored samples."""
    tokens: dict[str, MeanTokens]
    """Mean lengths by domain."""

    def lengths(self, domain: str) -> MeanTokens:
        """Mean lengths in a domain. Raises ValueError for one that has none."""
        return self.tokens[choose("domain", domain, self.tokens, "estimate.yaml: tokens")]

    def update_seconds(self, flops: float) -> float:
        """GPU-seconds of so many floating-point operations."""
        return flops / (self.update_utilisation * self.peak_tflops * 1e12)

    def read_seconds(self, size: float) -> float:
        """Seconds in which a GPU reads so many bytes of its memory."""
        return size / (self.bandwidth_utilisation * self.bandwidth_tb_s * 1e12)


def load_assumptions(path: Path = CONFIG_DIR / "estimate.yaml") -> Assumptions:
    """The assumptions in a file. Raises ValueError with everything that is wrong in it."""
    return parse(Assumptions, read_yaml(path), os.path.relpath(path))


def training_flops(model: Model, tokens: float, length: float, checkpointing: bool) -> float:
    """Operations of forward and backward over ``tokens`` tokens in sequences of ``length``.

    Forward: 2 a parameter, and 2 · layers · heads · head_dim · length for causal attention. Backward is twice that;
    activation checkpointing repeats the forward pass.
    """
    forward = 2 * model.active_parameters + 2 * model.layers * model.heads * model.head_dim * length
    return tokens * forward * (4 if checkpointing else 3)


def gradient_bytes(model: Model, strategy: StrategyChoice) -> float:
    """Gradients on one GPU: summed in float32 (reference_impl/strategy/deepspeed.py), in bf16 without ZeRO not: 2 bytes
    a parameter; divided by the number of processes from ZeRO-2 on.
    """
    size = 2 if strategy.precision == "bf16" and strategy.zero_stage == 0 else 4
    return model.parameters * size / (strategy.processes if strategy.zero_stage >= 2 else 1)


def state_bytes(model: Model, strategy: StrategyChoice) -> float:
    """Weights and optimizer on one GPU: 2 + 12 bytes a parameter in bf16, 4 + 8 in float32, each divided by the number
    of processes from its ZeRO stage on (Rajbhandari et al. 2020), or in the CPU's memory.
    """
    weights, optimizer = (2, 12) if strategy.precision == "bf16" else (4, 8)
    split = strategy.processes
    weights_left = 0.0 if strategy.offload == "parameters" else weights / (split if strategy.zero_stage >= 3 else 1)
    optimizer_left = 0.0 if strategy.offload != "none" else optimizer / (split if strategy.zero_stage >= 1 else 1)
    return model.parameters * (weights_left + optimizer_left)


def activation_bytes(model: Model, tokens: int, strategy: StrategyChoice) -> float:
    """Of a micro-batch: 34 bytes a token and hidden unit of a layer (Korthikanti et al. 2022, without the attention
    matrix, 16 bits). With checkpointing all layers keep their input only, and one has the rest.
    """
    width = 1 if strategy.precision == "bf16" else 2
    layer = 34 * tokens * model.hidden_size * width
    if not strategy.activation_checkpointing:
        return layer * model.layers
    return layer + 2 * tokens * model.hidden_size * width * model.layers


def weight_bytes(precision: str) -> int:
    """Of one number."""
    return 2 if precision == "bf16" else 4


def logit_bytes(model: Model, at_once: int, precision: str) -> float:
    """Logits, their softmax and gradients, in float32, of so many positions × words, and the gradient of the output
    embedding, summed in float32 (reference_impl/step/token_logprobs.py).
    """
    return 4 * 4 * at_once + (4 + weight_bytes(precision)) * model.hidden_size * model.vocabulary


def kv_bytes(model: Model, precision: str) -> int:
    """Keys and values of one token in all layers."""
    return 2 * model.layers * model.kv_heads * model.head_dim * weight_bytes(precision)


@dataclass(frozen=True)
class Responses:
    """Lengths in tokens."""

    prompt: float
    mean: float
    limit: int


def sampling_seconds(
    model: Model, assumptions: Assumptions, responses: Responses, number: float, precision: str, at_once: int
) -> float:
    """Seconds in which one engine samples ``number`` responses, ``at_once`` at a time.

    Every pass reads all weights and gives each running sequence one token; it takes at least `pass_min_s`. There are as
    many passes as the longest response has tokens, and more where not all sequences run at once. On top comes what
    grows with the tokens: reading keys and values, computing prompts and responses.
    """
    prompt, mean = responses.prompt, responses.mean
    longest = min(responses.limit, assumptions.longest_to_mean * mean)
    passes = longest + max(0.0, number - at_once) * mean / at_once
    one_pass = max(assumptions.pass_min_s, assumptions.read_seconds(model.parameters * weight_bytes(precision)))
    caches = assumptions.read_seconds(number * mean * (prompt + mean / 2) * kv_bytes(model, precision))
    computed = assumptions.update_seconds(number * (prompt + mean) * 2 * model.active_parameters)
    return passes * one_pass + caches + computed
