"""The loss of a training step, Eq. 3: micro-batch by micro-batch, over denominators of the global step."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from reference_impl.losses import (
    approx_kl,
    chord_loss,
    clip_fraction,
    demonstration_loss,
    dual_clip_grpo_loss,
    grpo_loss,
    sft_loss,
)
from reference_impl.response_weights import signed_weights_BT
from reference_impl.step.batching import MicroBatch, Statistics, TrainingSequence, micro_batches, token_statistics
from reference_impl.step.mismatch import ratio_sums, tis_weights_BT
from reference_impl.step.objective import Objective
from reference_impl.strategy.distributed import gather, max_over_ranks, rank, sum_over_ranks


@dataclass(frozen=True)
class StepTokens:
    """Tokens of the global step, over all micro-batches and ranks: the denominators."""

    rollout: int
    """Response tokens of rollouts; the next two, of demonstrations in groups and of the expert batch."""
    demonstration: int
    expert: int
    total: int
    """All tokens, prompts included."""

    @property
    def group(self) -> int:
        """Response tokens of the groups: rollouts and the demonstrations among them."""
        return self.rollout + self.demonstration

    @classmethod
    def count(cls, sequences: Sequence[TrainingSequence]) -> "StepTokens":
        """The step's tokens, of which these sequences are one rank's share."""
        kinds = ("rollout", "demonstration", "expert")
        counts = [sum(len(s.response_ids) for s in sequences if s.kind == kind) for kind in kinds]
        return cls(*map(int, sum_over_ranks([*counts, sum(s.tokens for s in sequences)])))


@dataclass(frozen=True)
class LossTerms:
    """Shares of every logged quantity: those of micro-batches and ranks add up to the step's."""

    rl: float = 0.0
    """What (1 - mu) weighs in Eq. 3: Eq. 2, and what a method adds to it: the next two."""
    demonstration: float = 0.0
    auxiliary: float = 0.0
    sft: float = 0.0
    """Eq. 1 with weights phi, what mu weighs in Eq. 3."""
    router: float = 0.0
    """Load balance of a mixture of experts."""
    phi: float = 0.0
    """Mean weight of expert tokens."""
    entropy: float = 0.0
    """Mean over rollout tokens, in nats, as the next."""
    clipped: float = 0.0
    compared: float = 0.0
    """Rollout tokens of which both the sampler and the update say how probable they were; the next is over these."""
    engine_kl: float = 0.0
    """Sum over tokens, in nats."""
    ratio: float = 0.0
    """Sum of the ratios of policy to sampler; the next, of their squares: see `mismatch.ess`."""
    ratio_squared: float = 0.0

    @property
    def grpo(self) -> float:
        """Eq. 2 alone."""
        return self.rl - self.demonstration - self.auxiliary

    def __add__(self, other: "LossTerms") -> "LossTerms":
        return LossTerms(*(own + more for own, more in zip(astuple(self), astuple(other), strict=True)))

    def over_ranks(self) -> "LossTerms":
        """The sums over all ranks."""
        return LossTerms(*sum_over_ranks(astuple(self)))


def step_losses(
    model: PreTrainedModel,
    objective: Objective,
    sequences: Sequence[TrainingSequence],
    mu: float,
    tokens: StepTokens,
    *,
    temperature: float,
    micro_batch_tokens: int,
    pad_id: int,
    packed: bool = False,
) -> Iterator[tuple[Tensor, LossTerms]]:
    """The loss of each micro-batch of this rank's sequences, to call backward on, and its terms. Shares of Eq. 3: their
    sum over micro-batches and ranks is the step's loss. ``packed``: in rows that hold a group's prompt once, of a model
    that takes them (`shared_prefix.share_prompts`).

    Both denominators count the tokens of the global step, so the result does not depend on how the step is cut into
    ranks and micro-batches (a mixture of experts' router loss is a mean over each, and does a little).
    """
    precision = model.dtype if packed else None
    batches = list(micro_batches(sequences, micro_batch_tokens, pad_id, model.device, precision))
    # One at least: without gradients the optimizer would stand still, where zeros let its momentum go on.
    missing = max(1, max_over_ranks(len(batches))) - len(batches)
    batches += [empty_micro_batch(pad_id, model.device)] * missing
    phi: Sequence[Tensor | None] = [None] * len(batches)
    if objective.phi_needs_global_batch and mu > 0:
        with torch.no_grad():
            parts = [token_statistics(model, batch, temperature) for batch in batches]
        phi = global_weights(objective, batches, parts)
    for batch, phi_BT in zip(batches, phi, strict=True):
        stats = token_statistics(model, batch, temperature)
        yield micro_batch_loss(objective, batch, stats, mu, tokens, phi_BT)


def micro_batch_loss(
    objective: Objective,
    batch: MicroBatch,
    stats: Statistics,
    mu: float,
    tokens: StepTokens,
    phi_BT: Tensor | None = None,
) -> tuple[Tensor, LossTerms]:
    """A micro-batch's share of Eq. 3, and its terms.

    ``phi_BT`` (B, T): weights that need the global batch, None where they do not.
    """
    rl, sft, terms = None, None, LossTerms()
    if mu < 1:
        rl, terms = rl_loss(objective, batch, stats, tokens)
    if mu > 0:
        mask_BT = batch.expert_mask_BT
        if phi_BT is None:
            phi_BT = objective.weights(stats.logprobs_BT, stats.entropy_BT, mask_BT)
        sft = sft_loss(stats.logprobs_BT, mask_BT, weights_BT=phi_BT, denom=tokens.expert)
        terms = replace(terms, sft=sft.item(), phi=masked_sum(phi_BT, mask_BT) / tokens.expert)
    loss = chord_loss(rl, sft, mu)
    if stats.router_loss is not None:
        # A mean over the micro-batch: weighted by its share of the step's tokens.
        router = stats.router_loss * router_share(batch, tokens.total)
        loss, terms = loss + router, replace(terms, router=router.item())
    return loss, terms


def rl_loss(objective: Objective, batch: MicroBatch, stats: Statistics, tokens: StepTokens) -> tuple[Tensor, LossTerms]:
    """Eq. 2 on the rollouts, with what a method adds for demonstrations in the groups, and its terms.

    Strictly on-policy the old log-probs are the current ones: the ratio is 1, and its gradient that of the log-prob
    (Section 2). Otherwise they are the sampler's own, the distribution that the rollouts really come from. So only the
    former has use for truncated importance weights: the latter's ratio holds them.

    Weights of entire rollouts (SRFT) stand in the place of Eq. 2: their term, without advantages, is not on top of it.
    """
    logprobs_BT, mask_BT, eps = stats.logprobs_BT, batch.rollout_mask_BT, objective.clip_eps
    own_B = torch.zeros_like(batch.advantages_B) if "rollouts" in objective.auxiliary else batch.advantages_B
    engine_BT, weights_BT = batch.engine_logprobs_BT, None
    old_BT = logprobs_BT.detach() if objective.strictly_on_policy else engine_BT
    if objective.strictly_on_policy and objective.tis_cap is not None:
        weights_BT = tis_weights_BT(logprobs_BT, engine_BT, mask_BT, cap=objective.tis_cap)
    if objective.dual_clip is None:
        loss = grpo_loss(logprobs_BT, old_BT, own_B, mask_BT, clip_eps=eps, denom=tokens.group, weights_BT=weights_BT)
    else:
        loss = dual_clip_grpo_loss(
            logprobs_BT, old_BT, own_B, mask_BT, clip_eps=eps, dual_clip=objective.dual_clip, denom=tokens.group
        )
    clipped = clip_fraction(logprobs_BT, old_BT, own_B, mask_BT, clip_eps=eps, denom=tokens.rollout)
    ratio, ratio_squared = ratio_sums(logprobs_BT, engine_BT, mask_BT)
    terms = LossTerms(
        clipped=float(clipped),
        compared=float(mask_BT.sum()),
        engine_kl=float(approx_kl(logprobs_BT.detach(), engine_BT, mask_BT, denom=1)),
        ratio=ratio,
        ratio_squared=ratio_squared,
        entropy=masked_sum(stats.entropy_BT, mask_BT) / tokens.rollout,
    )
    if tokens.demonstration:
        shaped = demonstration_loss(
            logprobs_BT,
            batch.advantages_B,
            batch.demonstration_mask_BT,
            shaping=objective.shaping,
            denom=tokens.group,
        )
        loss, terms = loss + shaped, replace(terms, demonstration=shaped.item())
    if objective.auxiliary:
        extra = auxiliary_loss(objective, batch, stats, tokens)
        loss, terms = loss + extra, replace(terms, auxiliary=extra.item())
    return loss, replace(terms, rl=loss.item())


def auxiliary_loss(objective: Objective, batch: MicroBatch, stats: Statistics, tokens: StepTokens) -> Tensor:
    """SRFT's further terms (Fu et al. 2025, Eq. 5-13): imitate demonstrations and right rollouts, unlearn the wrong."""
    loss = stats.logprobs_BT.new_zeros(())
    if "demonstrations" in objective.auxiliary:
        mask_BT = batch.demonstration_mask_BT
        weights_BT = objective.auxiliary["demonstrations"](stats.entropy_BT, mask_BT)
        loss = loss + sft_loss(stats.logprobs_BT, mask_BT, weights_BT=weights_BT, denom=tokens.demonstration)
    if "rollouts" in objective.auxiliary:
        mask_BT = batch.rollout_mask_BT
        weights_BT = objective.auxiliary["rollouts"](stats.entropy_BT, mask_BT)
        signed_BT = signed_weights_BT(weights_BT, batch.correct_B)
        loss = loss + sft_loss(stats.logprobs_BT, mask_BT, weights_BT=signed_BT, denom=tokens.rollout)
    return loss


@torch.no_grad()
def global_weights(
    objective: Objective, batches: Sequence[MicroBatch], parts: Sequence[Statistics]
) -> list[Tensor | None]:
    """phi of every micro-batch, for weights that compare a token with all expert tokens of the step, on all ranks."""
    masks = [batch.expert_mask_BT for batch in batches]

    def flat(tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat([tensor[mask] for tensor, mask in zip(tensors, masks, strict=True)])

    ranks_logprobs = gather(flat([part.logprobs_BT for part in parts]))
    ranks_entropy = gather(flat([part.entropy_BT for part in parts]))
    logprobs_1T, entropy_1T = torch.cat(ranks_logprobs)[None], torch.cat(ranks_entropy)[None]
    weights_1T = objective.weights(logprobs_1T, entropy_1T, torch.ones_like(logprobs_1T, dtype=torch.bool))
    own_T = weights_1T[0].split([len(logprobs_T) for logprobs_T in ranks_logprobs])[rank()]
    pieces = own_T.split([int(mask.sum()) for mask in masks])
    return [
        torch.zeros_like(part.logprobs_BT).masked_scatter(mask, piece)
        for part, mask, piece in zip(parts, masks, pieces, strict=True)
    ]


def empty_micro_batch(pad_id: int, device: torch.device | str) -> MicroBatch:
    """A micro-batch without a response token, hence without weight in any loss: only its passes are needed.

    Several ranks must make equally many, and their shares of a step are not cut into equally many micro-batches.
    """
    return MicroBatch(
        ids_BT1=torch.full((1, 2), pad_id, device=device),
        mask_BT=torch.zeros(1, 1, dtype=torch.bool, device=device),
        real_BT1=torch.ones(1, 2, dtype=torch.bool, device=device),
        kinds_B=("expert",),
        correct_B=torch.zeros(1, dtype=torch.bool, device=device),
        advantages_B=torch.zeros(1, device=device),
        engine_logprobs_BT=torch.zeros(1, 1, device=device),
    )


def router_share(batch: MicroBatch, all_tokens: int) -> float:
    """A micro-batch's share of the step's tokens, prompts included: the weight of its mean router loss."""
    return int(batch.real_BT1.sum()) / all_tokens if batch.mask_BT.any() else 0.0


def masked_sum(values_BT: Tensor, mask_BT: Tensor) -> float:
    """Sum over the positions where the mask is 1."""
    return float(values_BT[mask_BT].sum())
