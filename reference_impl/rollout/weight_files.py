"""Weights on their way to an engine in other processes: files in a folder, two at most at a time.

The writer names files 000000.pt, 000001.pt, … and removes one once every reader has noted beside it that it has its
tensors; then it writes the one after the next. A file `end` says that no more follow.
"""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

END = "end"


def buckets(tensors: Iterable[tuple[str, Tensor]], limit: int) -> Iterator[dict[str, Tensor]]:
    """Named tensors in groups of at most ``limit`` bytes (a larger one stands alone), on the CPU."""
    bucket: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors:
        if bucket and size + tensor.nbytes > limit:
            yield bucket
            bucket, size = {}, 0
        # A copy: a view would be saved with all the storage behind it.
        bucket[name] = tensor.to("cpu", copy=True)
        size += tensor.nbytes
    if bucket:
        yield bucket


def write_bucket(folder: Path, number: int, bucket: dict[str, Tensor]) -> None:
    """Write a bucket, complete before it can be seen under its name."""
    part = folder / "part"
    torch.save(bucket, part)
    part.rename(_file(folder, number))


def was_read(folder: Path, number: int, readers: int) -> bool:
    """Whether all readers have a bucket's tensors; its file is removed then."""
    if len(list(folder.glob(f"{number:06d}.read-*"))) < readers:
        return False
    _file(folder, number).unlink(missing_ok=True)
    return True


def end_buckets(folder: Path) -> None:
    """Say that no more follow."""
    (folder / END).touch()


def read_buckets(folder: Path, reader: int) -> Iterator[tuple[str, Tensor]]:
    """The tensors of all buckets, as they come; ``reader`` is this one's number among the readers.

    Ends without them where the folder is gone: the writer has failed, and says so itself.
    """
    number = 0
    while folder.is_dir():
        ended = (folder / END).exists()  # asked first: a bucket may come between the two questions
        if _file(folder, number).exists():
            bucket = torch.load(_file(folder, number), weights_only=True)
            (folder / f"{number:06d}.read-{reader}").touch()
            yield from bucket.items()
            number += 1
        elif ended:
            return
        else:
            time.sleep(0.005)


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.pt"
