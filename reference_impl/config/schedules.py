"""The parameters of mu's schedules (Eq. 3) and their limits; `reference_impl.mu` has the functions, by the same names.

Step counts are the paper's; `mu.scale_params` shortens them. What parameters must be to each other (an end below its
start) is for the functions to say: resolving a run calls its schedule once.
"""

from typing import Annotated, Literal

from pydantic import Field

from reference_impl.config.fields import NotNegative, Number, PerDomain, Positive, Share
from reference_impl.config.model import Declared


class Constant(Declared):
    """The same mu at every step: CHORD-φ's 0.1; 0 is pure RL and needs no expert batch, 1 is SFT without rollouts."""

    schedule: Literal["constant"]
    value: PerDomain[Share]
    """mu."""


class LinearDecay(Declared):
    """mu falls in a line from `start` to `end` and stays there: CHORD-μ."""

    schedule: Literal["linear_decay"]
    start: PerDomain[Share]
    """Its highest value."""
    end: PerDomain[Share]
    """At most `start`."""
    decay_steps: PerDomain[Positive]
    """Steps of the fall."""


class CosineDecay(Declared):
    """mu rises from 0 to `start` in a line, then falls to `end` along half a cosine."""

    schedule: Literal["cosine_decay"]
    start: PerDomain[Share]
    """Its highest value."""
    end: PerDomain[Share]
    """At most `start`."""
    decay_steps: PerDomain[Positive]
    """Steps of the fall."""
    warmup_steps: PerDomain[NotNegative] = 0
    """Steps of the rise."""


class WarmupDecay(Declared):
    """mu rises from 0 to `peak` and falls to `end`, both in a line (B.7)."""

    schedule: Literal["warmup_decay"]
    peak: PerDomain[Share]
    """Its highest value."""
    end: PerDomain[Share]
    """At most `peak`."""
    warmup_steps: PerDomain[NotNegative]
    """Steps of the rise."""
    decay_steps: PerDomain[Positive]
    """Steps of the fall."""


class Binary(Declared):
    """mu is 1, then 0 with a new optimizer: SFT, then RL (3.2)."""

    schedule: Literal["binary"]
    switch_steps: PerDomain[NotNegative]
    """Steps of SFT."""


class Periodic(Declared):
    """mu is 1 for the first `sft_steps` of every `period_steps`, else 0 (3.2)."""

    schedule: Literal["periodic"]
    period_steps: PerDomain[Positive]
    """At least `sft_steps`."""
    sft_steps: PerDomain[Positive]
    """Steps of SFT in each period."""


class Adaptive(Declared):
    """mu is the threshold less the mean reward of the step, within [0, 1] (B.1)."""

    schedule: Literal["adaptive"]
    threshold: PerDomain[Number]
    """τ."""


class GradientNorm(Declared):
    """SASR: SFT or RL by chance, SFT the likelier the larger the gradient of its last step (4.1)."""

    schedule: Literal["gradient_norm"]
    warmup_steps: PerDomain[NotNegative]
    """Steps of SFT at the start."""
    gamma: PerDomain[NotNegative]
    """Weight of the warm-up's gradient norm: 0 is SFT alone."""


Schedule = Annotated[
    Constant | LinearDecay | CosineDecay | WarmupDecay | Binary | Periodic | Adaptive | GradientNorm,
    Field(discriminator="schedule"),
]
