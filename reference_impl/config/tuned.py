"""Learning rates tuned at a scale, every method over its grid with one seed that no table uses (A.1)."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from reference_impl.config.fields import Name, Positive
from reference_impl.config.model import Declared, parse

TUNING_SEED = 1000
"""The seed of all runs that a learning rate is chosen by; no table, figure or claim has a run of it."""
FOLDER = "tuned"
"""Folder of the files, one for each scale that was tuned."""


class Trial(Declared):
    """One learning rate tried: the best validation of its run."""

    learning_rate: Positive
    """In the paper's units, before the scale's factor."""
    run: str
    """Name of its run."""
    step: Annotated[int, Field(ge=0)]
    """Of the best validation; 0: training made nothing better."""
    score: Annotated[float, Field(ge=0, le=1)]
    """Mean over the validation prompts."""
    stderr: Annotated[float, Field(ge=0)]
    """Standard error of the mean, over prompts."""
    config_hash: str
    """Of the run, which tells whether its settings are still those of now."""
    policy_hash: str
    """Of the weights that it started from."""


class TunedMethod(Declared):
    """What was tried for a method in a domain, and the choice."""

    learning_rate: Positive
    """The one with the best score; among equals the lowest."""
    trials: Annotated[tuple[Trial, ...], Field(min_length=1)]
    """In the order of their rates."""


class Tuned(Declared):
    """A file of tuned/: written by `reference_impl.tune`, never by hand."""

    seed: int
    """That of every run in it."""
    domains: dict[Name, dict[Name, TunedMethod]]
    """Domain → method → what was found."""

    def rate(self, domain: str, method: str | None) -> float | None:
        """The learning rate of a method in a domain, in the paper's units; None where it was not tuned."""
        found = self.domains.get(domain, {}).get(method or "")
        return None if found is None else found.learning_rate


def best_trial(trials: Sequence[Trial]) -> Trial:
    """The best score; among equals the lowest learning rate."""
    return max(sorted(trials, key=lambda trial: trial.learning_rate), key=lambda trial: trial.score)


def load_tuned(root: Path, scale: str) -> Tuned | None:
    """What was tuned at a scale; None where nothing was. Raises ValueError with every mistake of the file."""
    path = root / FOLDER / f"{scale}.json"
    if not path.is_file():
        return None
    source = os.path.relpath(path)
    try:
        values: Any = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{source} is not valid JSON: {error}") from error
    return parse(Tuned, values, source)
