"""Sequences of a step from which nothing is learned: they cost no pass through the model.

A group whose responses all have the same reward has no advantage, and late in a run most groups are of that kind. Their
share of Eq. 2 and of its gradient is exactly zero, but they are rollouts of the policy like any other: its entropy is
logged over all of them. Strictly on-policy the sampler holds the very weights that are trained, so what it said of its
own tokens stands in for what the update would compute again.
"""

from collections.abc import Sequence

from transformers import PreTrainedModel

from reference_impl.step.batching import TrainingSequence
from reference_impl.step.loss import LossTerms, StepTokens
from reference_impl.step.objective import Objective


def set_silent_aside(
    model: PreTrainedModel, objective: Objective, sequences: Sequence[TrainingSequence]
) -> tuple[list[TrainingSequence], list[TrainingSequence]]:
    """(Those to learn from, the silent ones), in the order given.

    None are silent where something is learned from, or told only by, a pass over every sequence: off-policy ratios,
    corrections of the sampler, weights of entire responses (SRFT), a router's balance (a mixture of experts), and
    rollouts of an engine that does not tell its entropies.
    """
    if (
        not objective.strictly_on_policy
        or objective.tis_cap is not None
        or objective.auxiliary
        or getattr(model.config, "output_router_logits", False)
    ):
        return list(sequences), []
    learning: list[TrainingSequence] = []
    silent: list[TrainingSequence] = []
    for sequence in sequences:
        (silent if _says_nothing(sequence) else learning).append(sequence)
    return learning, silent


def _says_nothing(sequence: TrainingSequence) -> bool:
    told = sequence.kind == "demonstration" or bool(sequence.engine_entropies)
    return sequence.kind != "expert" and sequence.advantage == 0 and told


def silent_terms(silent: Sequence[TrainingSequence], tokens: StepTokens) -> LossTerms:
    """The silent sequences' shares of what a step logs: their entropy, by the sampler."""
    entropy = sum(sum(sequence.engine_entropies) for sequence in silent)
    return LossTerms(entropy=entropy / tokens.rollout if entropy else 0.0)
