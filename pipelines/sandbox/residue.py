"""The share of a hash by which the worlds part their splits: disjoint at any size and seed."""

import hashlib


def residue(question: str) -> int:
    """Hash of a question modulo 16, the same in every process."""
    return hashlib.blake2b(question.encode(), digest_size=8).digest()[0] % 16
