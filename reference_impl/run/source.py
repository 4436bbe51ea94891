"""The source that decides a number, as a hash: a function with all of this project's that it uses.

Comments, docstrings, annotations, formatting and the place of a definition are no part of it; what other packages do
is not either. Files are read and parsed, never imported, so that a plan stays free of torch.

A root names a definition, ``reference_impl.advantages:group_advantages``, or an entry of a table of functions,
``reference_impl.mu:MU_SCHEDULES[constant]``; a module alone, ``reference_impl.text.equivalence_worker``, is all of it.
A file of the user's is named by its path, ``/folder/my_phi.py:squared``; what it imports from there is followed too.
"""

import ast
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reference_impl.run.identity import ROOT

ROOT_FORM = re.compile(r"(?P<module>[\w.]+|/.+\.py)(:(?P<name>\w+)(\[(?P<key>[^\]]+)\])?)?")

Place = tuple[str, str]
"""A module's dotted name, or its path, and the name of a definition in it."""


@dataclass(frozen=True)
class Module:
    """A file, by what it defines and what it imports of this project."""

    definitions: dict[str, ast.stmt]
    """Name → the statement that gives it its value: a function, a class or an assignment."""
    imports: dict[str, Place]
    """Name → what it is elsewhere; the second part is empty for a module."""
    added: list[tuple[str, ast.expr, ast.expr]]
    """(table, key, value) of every `table[key] = value`."""


@cache
def source_hash(*roots: str) -> str:
    """SHA-256, as 64 hex digits, over the definitions that ``roots`` reach. Raises ValueError for an unknown root."""
    reached: dict[Place, str] = {}
    waiting = [place for root in roots for place in _places(root)]
    while waiting:
        place = waiting.pop()
        if place not in reached:
            module = _known(place[0])
            bare = _bare(module.definitions[place[1]])
            reached[place] = ast.unparse(bare)
            waiting += _names(bare, place[0], module)
    return hashlib.sha256("\n".join(sorted(reached.values())).encode()).hexdigest()


def _places(root: str) -> list[Place]:
    """The definitions that a root names."""
    found = ROOT_FORM.fullmatch(root)
    module = _module(found["module"]) if found else None
    if found is None or module is None:
        raise ValueError(f"{root!r}: no such module of this project")
    if found["name"] is None:
        return [(found["module"], name) for name in module.definitions]
    place = _resolved(found["module"], found["name"])
    if place is None:
        raise ValueError(f"{root!r}: {found['module']} defines {', '.join(module.definitions)}")
    if found["key"] is None:
        return [place]
    chosen = _entries(*place)
    if found["key"] not in chosen:
        raise ValueError(f"{root!r}: {found['name']} has {', '.join(map(str, chosen)) or 'no entries'}")
    return list(_names(chosen[found["key"]], place[0], _known(place[0])))


def _entries(name: str, table: str) -> dict[str, ast.expr]:
    """Key → value of a table: what its display holds, and what `table[key] = value` adds on the module's top level."""
    module = _known(name)
    display = getattr(module.definitions[table], "value", None)
    pairs = list(zip(display.keys, display.values, strict=True)) if isinstance(display, ast.Dict) else []
    pairs += [(key, value) for where, key, value in module.added if where == table]
    return {str(key.value): value for key, value in pairs if isinstance(key, ast.Constant)}


def _names(node: ast.AST, name: str, module: Module) -> Iterator[Place]:
    """What of this project a part of the module ``name`` refers to."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            found = _resolved(name, part.id)
        elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
            target, attribute = module.imports.get(part.value.id, ("", "-"))
            found = None if attribute else _resolved(target, part.attr)
        else:
            continue
        if found is not None:
            yield found


def _resolved(name: str, defined: str) -> Place | None:
    """Where what a module calls ``defined`` is defined in this project; None: not in it, or a module."""
    module = _module(name)
    if module is None:
        return None
    if defined in module.definitions:
        return name, defined
    target, attribute = module.imports.get(defined, ("", ""))
    return _resolved(target, attribute) if attribute else None


def _known(name: str) -> Module:
    module = _module(name)
    assert module is not None
    return module


@cache
def _module(name: str) -> Module | None:
    """A module of this project by its dotted name; None for any other."""
    path = _file(name)
    if path is None:
        return None
    definitions: dict[str, ast.stmt] = {}
    imports: dict[str, Place] = {}
    added: list[tuple[str, ast.expr, ast.expr]] = []
    for statement in ast.parse(path.read_bytes(), str(path)).body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                definitions[statement.name] = statement
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=table), slice=key)], value=value):
                added.append((table, key, value))
            case ast.Assign():
                parts = [part for target in statement.targets for part in ast.walk(target)]
                names = [part.id for part in parts if isinstance(part, ast.Name)]
                definitions |= dict.fromkeys(names, statement)
            case ast.AnnAssign(target=ast.Name(id=defined)):
                definitions[defined] = statement
            case ast.Import():
                # `import a.b` binds `a`; this project writes `from a import b`.
                bound = {alias.asname or alias.name: alias.name for alias in statement.names}
                imports |= {short: (_beside(path, whole), "") for short, whole in bound.items() if "." not in short}
            case ast.ImportFrom(module=str(source), level=0):
                for alias in statement.names:
                    whole, source = f"{statement.module}.{alias.name}", _beside(path, str(statement.module))
                    imports[alias.asname or alias.name] = (source, alias.name) if _file(whole) is None else (whole, "")
    return Module(definitions, imports, added)


def _beside(path: Path, name: str) -> str:
    """The name of a module that the file ``path`` imports: a path where it lies beside it and is not the project's."""
    beside = path.with_name(f"{name}.py")
    return str(beside) if _file(name) is None and beside.is_file() else name


def _file(name: str) -> Path | None:
    if name.endswith(".py"):
        return Path(name) if Path(name).is_file() else None
    path = ROOT.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


class _Bare(ast.NodeTransformer):
    """Takes docstrings, other lone strings and annotations away."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        node.annotation = ast.Constant(None)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.returns = None
        node.body = node.body or [ast.Pass()]
        return node


def _bare(statement: ast.stmt) -> ast.stmt:
    """A copy of a statement without what no number follows from."""
    bare = _Bare().visit(ast.parse(ast.unparse(statement)).body[0])
    assert isinstance(bare, ast.stmt)
    return bare
