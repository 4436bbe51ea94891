"""Several processes that share a group, for what ranks tell each other."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def _join(rank: int, ranks: int, store: str, work: Callable[[int], Any], results: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
    results[rank] = work(rank)
    dist.destroy_process_group()


def on_ranks(ranks: int, folder: Path, work: Callable[[int], Any]) -> list[Any]:
    """What ``work(rank)`` returns on each of several processes that share a group."""
    context = multiprocessing.get_context("fork")  # the libraries are loaded already
    with context.Manager() as manager:
        results = manager.dict()
        processes = [
            context.Process(target=_join, args=(rank, ranks, str(folder / "store"), work, results))
            for rank in range(ranks)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(timeout=300)
            assert process.exitcode == 0
        return [results[rank] for rank in range(ranks)]
