"""The processes that share a step: who this one is, which part is its own, and what all of them know together.

A step is cut into consecutive shares, one a rank, so that what the ranks gather stands in the order of the global
step. Every function here but `rank`, `world_size` and `share` waits for all ranks: call it on every rank, or on none.
Without a process group (one process) each costs nothing.
"""

import hashlib
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    """This process's number, 0 without a process group. Rank 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes that share a step."""
    return dist.get_world_size() if dist.is_initialized() else 1


def share(count: int) -> range:
    """This rank's places among ``count``: consecutive, none twice, none left out; sizes differ by at most one."""
    return range(rank() * count // world_size(), (rank() + 1) * count // world_size())


def barrier() -> None:
    """Wait until all ranks are here."""
    if world_size() > 1:
        sum_over_ranks([0.0])


def sum_over_ranks(values: Sequence[float]) -> list[float]:
    """The sum of each number over all ranks, in float64."""
    return _reduced(values, dist.ReduceOp.SUM)


def max_over_ranks(value: int) -> int:
    """The largest of an integer over all ranks."""
    return int(_reduced([value], dist.ReduceOp.MAX)[0])


def require_same(what: str, value: str) -> None:
    """Raise ValueError, on every rank, where ``value`` is not the same on all of them; ``what`` begins the message."""
    digest = hashlib.sha256(value.encode()).digest()
    first, *others = gather(torch.tensor([list(digest)]))
    differing = [str(rank) for rank, other in enumerate(others, 1) if not torch.equal(first, other)]
    if differing:
        raise ValueError(
            f"{what}: not the same in all {world_size()} processes; rank 0 and {', '.join(differing)} differ"
        )


def gather(values_N: Tensor) -> list[Tensor]:
    """Every rank's tensor, by rank. They may differ in their first dimension only, which may be 0."""
    if world_size() == 1:
        return [values_N]
    sent = values_N.to(_device())
    lengths = [torch.zeros(1, dtype=torch.long, device=_device()) for _ in range(world_size())]
    dist.all_gather(lengths, torch.tensor([len(sent)], device=_device()))
    sizes = [int(length) for length in lengths]
    padded = sent.new_zeros(max(sizes), *sent.shape[1:])
    padded[: len(sent)] = sent
    received = [torch.zeros_like(padded) for _ in sizes]
    dist.all_gather(received, padded)
    return [part[:size].to(values_N.device) for part, size in zip(received, sizes, strict=True)]


def _device() -> torch.device:
    """Where the backend wants its tensors: NCCL talks between GPUs only."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


def _reduced(values: Sequence[float], operation: dist.ReduceOp.RedOpType) -> list[float]:
    if world_size() == 1:
        return list(values)
    totals = torch.tensor(values, dtype=torch.float64, device=_device())
    dist.all_reduce(totals, op=operation)
    return totals.tolist()
