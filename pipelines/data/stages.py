"""The stages of real data, by name. A plan names them all and imports those of its scale alone."""

import importlib
from typing import TYPE_CHECKING

from reference_impl.config import choose

if TYPE_CHECKING:  # the readers of parquet and tokenizers take most of a second to import
    from pipelines.data.stage import Stage

OWN = "jsonl"
"""The stage of a user's own files, which a scale names beside it."""
STAGES = ("openr1_math", "toolace", "trinity_toolace", "rar_medicine", OWN)
"""Modules of this folder whose rows are read first (candidates) and then cut into splits; the sandbox draws its own."""


def load_stage(name: str) -> "Stage":
    """What a module declares of its domains, version and sources. Raises ValueError naming the known stages."""
    stage: Stage = importlib.import_module(f"pipelines.data.{choose('data', name, STAGES, 'pipelines/data')}").STAGE
    return stage
