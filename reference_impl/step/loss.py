"""The loss of one micro-batch: which losses apply to which of its tokens, over denominators of the whole step."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impl.losses import approx_kl, chord_loss, clip_fraction, demonstration_loss, grpo_loss, sft_loss
from reference_impl.response_weights import signed_weights_BT
from reference_impl.step.batching import MicroBatch, Statistics, TrainingSequence
from reference_impl.step.mismatch import ratio_sums, tis_weights_BT
from reference_impl.step.objective import Objective
from reference_impl.strategy.distributed import gather, rank

SUMS = (
    "rl",
    "sft",
    "demonstration",
    "auxiliary",
    "router",
    "phi",
    "entropy",
    "clipped",
    "engine_kl",
    "ratio",
    "ratio_squared",
)


@dataclass(frozen=True)
class StepTokens:
    """Response tokens of the whole step by kind, over all micro-batches and ranks: the denominators."""

    rollout: float
    demonstration: float
    expert: float

    @property
    def group(self) -> float:
        """Tokens of the groups: rollouts and the demonstrations among them."""
        return self.rollout + self.demonstration


def count_tokens(sequences: Sequence[TrainingSequence], kind: str) -> int:
    """Response tokens of one kind of sequence."""
    return sum(len(sequence.response_ids) for sequence in sequences if sequence.kind == kind)


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


def router_share(batch: MicroBatch, all_tokens: float) -> float:
    """A micro-batch's share of the step's tokens, prompts included: the weight of its mean router loss."""
    return int(batch.real_BT1.sum()) / all_tokens if batch.mask_BT.any() else 0.0


def rl_loss(
    objective: Objective, batch: MicroBatch, stats: Statistics, tokens: StepTokens, sums: dict[str, float]
) -> Tensor:
    """Eq. 2 on the rollouts, with what a method adds for demonstrations in the groups; logs into ``sums``.

    Strictly on-policy the old log-probs are the current ones: the ratio is 1, and its gradient that of the log-prob
    (Section 2). Otherwise they are the sampler's own, the distribution that the rollouts really come from. So only the
    former has use for truncated importance weights: the latter's ratio holds them.
    """
    logprobs_BT, mask_BT, eps = stats.logprobs_BT, batch.rollout_mask_BT, objective.clip_eps
    engine_BT, weights_BT = batch.engine_logprobs_BT, None
    old_BT = logprobs_BT.detach() if objective.strictly_on_policy else engine_BT
    if objective.strictly_on_policy and objective.tis_cap is not None:
        weights_BT = tis_weights_BT(logprobs_BT, engine_BT, mask_BT, cap=objective.tis_cap)
    loss = grpo_loss(
        logprobs_BT, old_BT, batch.advantages_B, mask_BT, clip_eps=eps, denom=tokens.group, weights_BT=weights_BT
    )
    clipped = clip_fraction(logprobs_BT, old_BT, batch.advantages_B, mask_BT, clip_eps=eps, denom=tokens.rollout)
    sums["clipped"] += float(clipped)
    sums["engine_kl"] += float(approx_kl(logprobs_BT.detach(), engine_BT, mask_BT, denom=tokens.rollout))
    ratio, ratio_squared = ratio_sums(logprobs_BT, engine_BT, mask_BT)
    sums["ratio"] += ratio
    sums["ratio_squared"] += ratio_squared
    sums["entropy"] += masked_sum(stats.entropy_BT, mask_BT) / tokens.rollout
    if tokens.demonstration:
        shaped = demonstration_loss(
            logprobs_BT,
            batch.advantages_B,
            batch.demonstration_mask_BT,
            shaping=objective.shaping,
            denom=tokens.group,
        )
        sums["demonstration"] += shaped.item()
        loss = loss + shaped
    if objective.auxiliary:
        extra = auxiliary_loss(objective, batch, stats, tokens)
        sums["auxiliary"] += extra.item()
        loss = loss + extra
    sums["rl"] += loss.item()
    return loss


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


def micro_batch_loss(
    objective: Objective,
    batch: MicroBatch,
    stats: Statistics,
    mu: float,
    tokens: StepTokens,
    phi_BT: Tensor | None,
    sums: dict[str, float],
) -> Tensor:
    """A micro-batch's share of Eq. 3. ``phi_BT`` (B, T): weights that need the whole batch, None where they do not.

    ``sums`` collects the shares of every logged quantity (`SUMS`).
    """
    rl = rl_loss(objective, batch, stats, tokens, sums) if mu < 1 else None
    sft = None
    if mu > 0:
        mask_BT = batch.expert_mask_BT
        if phi_BT is None:
            phi_BT = objective.weights(stats.logprobs_BT, stats.entropy_BT, mask_BT)
        sft = sft_loss(stats.logprobs_BT, mask_BT, weights_BT=phi_BT, denom=tokens.expert)
        sums["sft"] += sft.item()
        sums["phi"] += masked_sum(phi_BT, mask_BT) / tokens.expert
    return chord_loss(rl, sft, mu)


def masked_sum(values_BT: Tensor, mask_BT: Tensor) -> float:
    """Sum over the positions where the mask is 1."""
    return float(values_BT[mask_BT].sum())


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
