"""The declared sandbox policies: their configuration, their world, and the hash that ties weights to both."""

import hashlib
import importlib
import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Self, get_args

from pydantic import Field, model_validator

from reference_impl.config import choose
from reference_impl.config.fields import Count, Positive
from reference_impl.config.model import Declared, parse, read_yaml

POLICIES_FILE = Path(__file__).with_name("policies.yaml")
SHIPPED = Path(__file__).with_name("policies")
World = Literal["math", "tool", "medicine"]
WORLDS: tuple[World, ...] = get_args(World)


class Phase(Declared):
    """A stretch of pretraining: AdamW with warm-up and cosine decay, next-token loss on responses only."""

    name: str
    """Part of the seed of its examples, so unique within a policy."""
    data: Literal["skill", "base", "instruct"]
    """Text of its world: skill (mostly terse), base (many styles), instruct (the established style)."""
    steps: Count
    """Optimizer steps."""
    batch_size: Count
    """Examples of a step."""
    learning_rate: Positive
    """At its highest."""


class Shape(Declared):
    """The size of a policy's network."""

    hidden_size: Count
    """Units of a layer."""
    layers: Count
    """Transformer blocks."""
    heads: Count
    """Attention heads, each with keys and values of its own."""
    intermediate_size: Count
    """Units of the gated MLP, or of one expert."""
    initializer_range: Positive = 0.02
    """Standard deviation of the initial weights."""
    experts: Count = 1
    """Experts of a layer; more than one in architecture phimoe only."""
    experts_per_token: Count = 1
    """Experts that a token passes through."""


class SandboxPolicy(Declared):
    """A policy trained from nothing on its world's own text.

    A change of a value changes the configuration hash of its manifest; the shipped weights then no longer match.
    """

    world: World
    """Whose text it learns."""
    architecture: Literal["qwen2", "phimoe"] = "qwen2"
    """As the paper's policies: Qwen2 is dense, PhiMoE a mixture of experts."""
    vocab_size: Count
    """Tokens of the tokenizer, trained on the same text."""
    model: Shape
    """The size of its network."""
    seed: int = Field(ge=0)
    """Of the initial weights and of the examples."""
    phases: tuple[Phase, ...]
    """In the order of training."""

    @model_validator(mode="after")
    def _experts_fit(self) -> Self:
        shape = self.model
        if (shape.experts > 1) != (self.architecture == "phimoe"):
            raise ValueError(f"model.experts {shape.experts}: architecture phimoe has several, qwen2 one")
        if shape.experts_per_token > shape.experts:
            raise ValueError(f"model.experts_per_token {shape.experts_per_token}: there are {shape.experts} experts")
        return self


@cache
def load_policies(path: Path = POLICIES_FILE) -> dict[str, SandboxPolicy]:
    """The policies that this repository ships, by name. Raises ValueError with everything that is wrong in the file."""
    return parse(dict[str, SandboxPolicy], read_yaml(path), os.path.relpath(path))


def load_policy(name: str) -> SandboxPolicy:
    """One entry of policies.yaml. Raises ValueError naming the known policies."""
    policies = load_policies(POLICIES_FILE)
    return policies[choose("policy", name, policies, str(POLICIES_FILE))]


def load_world(name: str) -> ModuleType:
    """The module of a sandbox world. Raises ValueError naming the known worlds."""
    return importlib.import_module(f"pipelines.sandbox.{choose('world', name, WORLDS, 'the sandbox')}_world")


def world_novelty(name: str) -> Callable[[Any], float | None] | None:
    """What tells how new to its policy a question of a world is (`pipelines.sandbox.procedure`); None: it does not."""
    found: Callable[[Any], float | None] | None = getattr(load_world(name), "novelty", None)
    return found


def config_hash(name: str) -> str:
    """Hash of all that decides the policy's weights: its entry and the version of its world."""
    policy = load_policy(name)
    payload = json.dumps({"policy": policy.given(), "world_version": load_world(policy.world).VERSION}, sort_keys=True)
    return hashlib.sha256(payload.encode()).hexdigest()
