"""The user's own methods: `my_methods.yaml`, outside the package's files, and the φ in Python files beside it.

`CHORD_MINE` names another file, and is what the workflow tells its jobs; empty, there are none. Free of torch: a φ is
read here, and not imported.
"""

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reference_impl.config.methods import OwnPhi
from reference_impl.config.model import hint

MINE = "CHORD_MINE"
"""Environment variable: the file with the user's methods, in the place of `my_methods.yaml`; empty: none."""
USUAL = "my_methods.yaml"
"""In the working directory; read where it is there."""
POSITIONAL = 3
"""What every φ gets: prob_BT, entropy_BT, mask_BT."""


@dataclass(frozen=True)
class Mine:
    """The user's file, and the methods that it adds."""

    path: Path
    methods: frozenset[str] = frozenset()

    @property
    def source(self) -> str:
        """Its name for messages."""
        return os.path.relpath(self.path)

    def phi_file(self, phi: OwnPhi) -> Path:
        """The Python file of a φ."""
        return (self.path.parent / phi.file).resolve()


def find_mine(given: str | None = None) -> Mine | None:
    """The user's file: the given one, else that of `CHORD_MINE`, else `my_methods.yaml` where it is there.

    An empty name stands for none. Raises ValueError for a file that is not there.
    """
    named = os.environ.get(MINE) if given is None else given
    if named is None:
        return Mine(Path(USUAL)) if Path(USUAL).is_file() else None
    if not named:
        return None
    path = Path(named).expanduser()
    if not path.is_file():
        raise ValueError(f"mine: no such file: {named}")
    return Mine(path)


def phi_problems(mine: Mine, phi: OwnPhi) -> Iterator[str]:
    """What is wrong with a φ of the user's, as far as reading its file tells."""
    path = mine.phi_file(phi)
    if not path.is_file():
        beside = sorted(other.name for other in mine.path.parent.glob("*.py"))
        there = f"there: {', '.join(beside)}" if beside else "no Python file is there"
        yield f"phi: no file {phi.file} beside {mine.path.name}{hint(phi.file, beside)} ({there})"
        return
    try:
        body = ast.parse(path.read_bytes(), path.name).body
    except SyntaxError as error:
        yield f"phi: {phi.file}, line {error.lineno}: {error.msg}"
        return
    functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
    if phi.function in functions:
        yield from _signature_problems(phi, functions[phi.function].args)
    elif phi.function not in set(_other_names(body)):
        has = f"it has: {', '.join(functions)}" if functions else "it has none"
        yield f"phi: {phi.file} has no function {phi.function!r}{hint(phi.function, functions)} ({has})"


def _signature_problems(phi: OwnPhi, arguments: ast.arguments) -> Iterator[str]:
    """Three tensors, then keyword parameters of its own."""
    positional = [*arguments.posonlyargs, *arguments.args]
    if len(positional) != POSITIONAL or arguments.vararg:
        takes = ", ".join(argument.arg for argument in positional) or "nothing"
        yield f"phi: {phi.name} takes ({takes}); allowed: (prob_BT, entropy_BT, mask_BT, *, parameters of its own)"
    own = [argument.arg for argument in arguments.kwonlyargs]
    for key in phi.params:
        if key not in own and arguments.kwarg is None:
            has = f"it has: {', '.join(own)}" if own else "it has none after a `*`"
            yield f"phi.{key}: {phi.name} has no keyword parameter {key!r}{hint(key, own)} ({has})"
    for key, default in zip(own, arguments.kw_defaults, strict=True):
        if default is None and key not in phi.params:
            yield f"phi.{key}: missing key: {phi.name} gives it no default"


def _other_names(body: list[ast.stmt]) -> Iterator[str]:
    """What a file defines or imports besides its functions: may be callable."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.ClassDef):
            yield from (part.id for part in ast.walk(node) if isinstance(part, ast.Name))
            yield node.name if isinstance(node, ast.ClassDef) else ""
