"""The validation at step 0, made once: every run that starts from a policy measures the same there.

It depends on the policy, the validation rows, how responses are sampled and graded, and on code and machine; not on the
method, and not on the run's seed, for its samples have seeds of their own.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reference_impl.config import RunConfig
from reference_impl.files import write_json
from reference_impl.run.identity import hash_of

FIRST_VALIDATIONS = "validations"
"""Folder of a scale's results with one file for every policy and way to validate it."""
TRAINING_ONLY = frozenset((
    "seed", "steps", "epochs", "steps_divisor", "mu", "phi", "mixed", "auxiliary", "normalise", "sync_every",
    "sample_ahead",
    "learning_rate", "prompt_rows", "expert_rows", "sft_batch", "rl_prompts", "group_size", "validate_every", "keep",
    "micro_batch_tokens", "share_prompts", "clip_eps", "betas", "max_grad_norm", "tis_cap", "old_logprobs",
    "dual_clip",
))  # fmt: skip
"""Settings of a run that nothing before its first update depends on."""


@dataclass(frozen=True)
class Measured:
    """What a validation finds, whenever it is made."""

    accuracy: float
    score: float
    stderr: float
    response_length: float
    scores: list[float]
    """Each prompt's mean over its samples, in the rows' order."""


@dataclass(frozen=True)
class FirstValidation:
    """Where the validation at step 0 is kept, and all that it is made of."""

    folder: Path
    made_of: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """Its file. Two runs that write it at once write the same."""
        return self.folder / f"{hash_of(self.made_of)}.json"

    def load(self) -> Measured | None:
        """What an earlier run measured; None where none has."""
        if not self.path.is_file():
            return None
        record = json.loads(self.path.read_text(encoding="utf-8"))
        return Measured(**record["measured"])

    def store(self, measured: Measured) -> None:
        """Keep it for later runs."""
        write_json(self.path, {"measured": asdict(measured), "made_of": self.made_of})


def made_of(config: RunConfig, checkpoint: str, rows: str, made_by: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides the validation at step 0 of a run.

    ``checkpoint`` and ``rows`` are hashes of the starting policy and of the validation file; ``made_by`` says which
    code runs where (`run.provenance.made_by`).
    """
    settings = {key: value for key, value in config.settings().items() if key not in TRAINING_ONLY}
    if config.judge is not None:
        settings["seed"] = config.seed  # the judge's
    return {"checkpoint": checkpoint, "rows": rows, "settings": settings, **made_by}


def remove_stale(folder: Path, code: str) -> list[str]:
    """Remove what other code than ``code`` (`identity.code_hash`) measured, which no run will read again.

    Returns the names of the files.
    """
    stale = [path for path in sorted(folder.glob("*.json")) if json.loads(path.read_bytes())["made_of"]["code"] != code]
    for path in stale:
        path.unlink(missing_ok=True)
    return [path.name for path in stale]
