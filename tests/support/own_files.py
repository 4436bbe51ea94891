"""A user's files: methods, and a φ beside them."""

from pathlib import Path

PHI = '''
from torch import Tensor


def squared(prob_BT, entropy_BT, mask_BT, *, power=2.0):
    return (4 * prob_BT * (1 - prob_BT)) ** power


def share(prob_BT: Tensor, entropy_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Of all entropy."""
    return entropy_BT / entropy_BT.sum().clamp(min=1e-9)
'''
METHODS = "mine: {like: chord_phi, domains: [math], phi: my_phi.py:squared}\n"


def own_files(folder: Path, methods: str = METHODS, phi: str = PHI) -> Path:
    """Write both into ``folder``; returns the one with the methods."""
    (folder / "my_phi.py").write_text(phi, encoding="utf-8")
    path = folder / "my_methods.yaml"
    path.write_text(methods, encoding="utf-8")
    return path
