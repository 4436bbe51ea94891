"""Weights on their way to engines in other processes: all arrive, in order, and few lie in the folder at a time."""

import threading
from pathlib import Path

import torch
from torch import Tensor

from reference_impl.rollout.weight_files import buckets, end_buckets, read_buckets, was_read, write_bucket


def test_buckets_hold_up_to_the_limit() -> None:
    tensors = {name: torch.full((size,), 1.0) for name, size in (("a", 2), ("b", 1), ("c", 9), ("d", 1))}
    # 4 bytes a number, 12 a bucket: c is larger and travels alone.
    found = [list(bucket) for bucket in buckets(tensors.items(), 12)]
    assert found == [["a", "b"], ["c"], ["d"]]
    assert list(buckets([], 12)) == []


def test_bucket_holds_a_view_without_what_is_behind_it() -> None:
    (bucket,) = buckets([("part", torch.zeros(1000)[:2])], 100)
    assert bucket["part"].untyped_storage().nbytes() == 8


def test_every_reader_gets_every_tensor_and_two_files_at_most_lie_there(tmp_path: Path) -> None:
    sent = {f"w{i}": torch.full((3,), float(i)) for i in range(9)}
    received: list[dict[str, Tensor]] = [{}, {}]

    def read(number: int) -> None:
        received[number].update(read_buckets(tmp_path, number))

    readers = [threading.Thread(target=read, args=(number,)) for number in range(2)]
    for reader in readers:
        reader.start()
    most = 0
    for number, bucket in enumerate(buckets(sent.items(), 12)):
        write_bucket(tmp_path, number, bucket)
        while number > 0 and not was_read(tmp_path, number - 1, readers=2):
            most = max(most, len(list(tmp_path.glob("*.pt"))))
    end_buckets(tmp_path)
    for reader in readers:
        reader.join(timeout=30)
    assert most <= 2 and [list(found) for found in received] == [list(sent)] * 2
    for found in received:
        assert all(torch.equal(found[name], tensor) for name, tensor in sent.items())


def test_a_bucket_stays_until_all_have_read_it(tmp_path: Path) -> None:
    write_bucket(tmp_path, 0, {"a": torch.ones(1)})
    assert not was_read(tmp_path, 0, readers=2)
    end_buckets(tmp_path)
    assert dict(read_buckets(tmp_path, 0)) == {"a": torch.ones(1)}
    assert not was_read(tmp_path, 0, readers=2) and (tmp_path / "000000.pt").exists()
    assert dict(read_buckets(tmp_path, 1)) == {"a": torch.ones(1)}
    assert was_read(tmp_path, 0, readers=2) and not (tmp_path / "000000.pt").exists()


def test_reader_ends_where_the_writer_has_gone(tmp_path: Path) -> None:
    assert list(read_buckets(tmp_path / "gone", 0)) == []
