"""A φ of the user's: loaded from its file, and tried on tokens before anything trains with it.

    python -m reference_impl.own_phi            tries every φ of my_methods.yaml

It is called as those of `token_weights` are, `function(prob_BT, entropy_BT, mask_BT, **params)`, and `own_weights` does
the masking, the detaching and the checks around it.
"""

import argparse
import importlib.util
import sys
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

import torch

from reference_impl.config import load_declarations
from reference_impl.config.methods import OwnPhi
from reference_impl.token_weights import TokenWeight, own_weights

SEQUENCES, LONGEST = 4, 6


class _Source(SourceFileLoader):
    """Reads the file as it is now: a stored compilation is known by its time in seconds."""

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def load_own_phi(path: Path, name: str, params: dict[str, Any]) -> TokenWeight:
    """The φ that ``name`` (FILE.py:FUNCTION) means, with its parameters bound and guarded by `own_weights`.

    Raises ValueError in a line where its file cannot be imported or has no such function.
    """
    module_name = f"own_phi_of_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path, loader=_Source(module_name, str(path)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # what lies beside it
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code: whatever it raises is said in a line
        raise ValueError(f"{path.name} cannot be imported: {_said(error)}") from error
    function = getattr(module, name.rpartition(":")[2], None)
    if not callable(function):
        raise ValueError(f"{name} is no function")
    return partial(own_weights, function, name, **params)


def needs_global_batch(phi: TokenWeight, name: str) -> bool:
    """Try a φ on invented tokens; whether it compares a token with the others, and so must see the global batch.

    Raises ValueError in a line for what `own_weights` refuses, an exception of the function's own, weights that differ
    from call to call, and weights that depend on where in a batch a token stands: batches are cut and packed as memory
    allows.
    """
    draw = torch.Generator().manual_seed(0)
    prob_BT = torch.rand(SEQUENCES, LONGEST, generator=draw)
    prob_BT[0, :2] = torch.tensor([0.0, 1.0])
    entropy_BT = 3 * torch.rand(SEQUENCES, LONGEST, generator=draw)
    mask_BT = torch.arange(LONGEST) < torch.tensor([[6], [4], [1], [0]])
    whole_BT = _weights(phi, name, prob_BT, entropy_BT, mask_BT)
    if not torch.equal(whole_BT, _weights(phi, name, prob_BT, entropy_BT, mask_BT)):
        raise ValueError(f"{name}: other weights when it is called again with the same tokens")
    prob_T, entropy_T = prob_BT[mask_BT], entropy_BT[mask_BT]
    ones_1T = torch.ones(1, len(prob_T), dtype=torch.bool)
    flat_T = _weights(phi, name, prob_T[None], entropy_T[None], ones_1T)[0]
    if not torch.allclose(flat_T, whole_BT[mask_BT], atol=1e-6):
        raise ValueError(f"{name}: a weight depends on where its token stands; allowed: on p, H and the other tokens'")
    _weights(phi, name, prob_T[None, :1], entropy_T[None, :1], torch.zeros(1, 1, dtype=torch.bool))  # no token
    alone_T = [
        _weights(phi, name, p[None, None], h[None, None], ones_1T[:, :1])
        for p, h in zip(prob_T, entropy_T, strict=True)
    ]
    return not torch.allclose(torch.cat(alone_T)[:, 0], flat_T, atol=1e-6)


def _weights(phi: TokenWeight, name: str, *tokens: torch.Tensor) -> torch.Tensor:
    try:
        return phi(*tokens)
    except Exception as error:  # the user's code: whatever it raises is said in a line
        said = _said(error)
        raise ValueError(said if said.startswith(name) else f"{name}: {said}") from error


def _said(error: Exception) -> str:
    """An exception in a line, with its kind where it is not one of ours."""
    text = str(error).strip().partition("\n")[0]
    return text if type(error) in (ValueError, FloatingPointError) else f"{type(error).__name__}: {text}"


def main(argv: list[str] | None = None) -> None:
    """Try every φ of the user's; says what each looks at, or ends with a line for each that is none."""
    argparse.ArgumentParser(
        prog="python -m reference_impl.own_phi",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(argv)
    torch.set_num_threads(1)
    problems: list[str] = []
    try:
        decl = load_declarations()
    except ValueError as error:
        sys.exit(f"error: {error}")
    for method in map(decl.method, decl.mine_names):
        path = decl.phi_file(method)
        if path is None:
            continue
        assert isinstance(method.phi, OwnPhi)
        try:
            compares = needs_global_batch(load_own_phi(path, method.phi.name, method.phi.params), method.phi.name)
        except ValueError as error:
            problems.append(f"{decl.source(method.name)}: {method.name}: phi: {error}")
        else:
            seen = "all tokens of a step" if compares else "each token by itself"
            print(f"{method.name}: {method.phi.name} looks at {seen}")
    if problems:
        sys.exit("error: " + "\n".join(problems))


if __name__ == "__main__":
    main()
