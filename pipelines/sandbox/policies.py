"""The declared sandbox policies: their configuration, their world, and the hash that ties weights to both."""

import hashlib
import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from reference_impl.config import choose

POLICIES_FILE = Path(__file__).with_name("policies.yaml")
SHIPPED = Path(__file__).with_name("policies")
WORLDS = ("math", "tool", "medicine")


def load_policy_config(name: str) -> dict[str, Any]:
    """One entry of policies.yaml. Raises ValueError naming the known policies."""
    policies = yaml.safe_load(POLICIES_FILE.read_text(encoding="utf-8"))
    return dict(policies[choose("policy", name, policies, str(POLICIES_FILE))])


def load_world(name: str) -> ModuleType:
    """The module of a sandbox world. Raises ValueError naming the known worlds."""
    return importlib.import_module(f"pipelines.sandbox.{choose('world', name, WORLDS, 'the sandbox')}_world")


def config_hash(name: str) -> str:
    """Hash of all that decides the policy's weights: its entry and the version of its world."""
    config = load_policy_config(name)
    payload = json.dumps({"policy": config, "world_version": load_world(config["world"]).VERSION}, sort_keys=True)
    return hashlib.sha256(payload.encode()).hexdigest()
