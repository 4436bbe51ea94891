"""No import circle: neither between modules nor between rooms.

A room is a folder of a package (reference_impl.step) or a module beside these folders (reference_impl.losses). Every
import counts, wherever it stands: in a function, or in a block that only type checkers read.
"""

import ast
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePath

import pytest

from tests.support.checkout import REPO, project_files

PACKAGES = ("reference_impl", "pipelines", "evaluation", "reports")
Graph = dict[str, set[str]]


def module_name(path: PurePath) -> str:
    """reference_impl/step/loss.py → reference_impl.step.loss; a folder's __init__.py is the folder."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """The room that a module stands in."""
    return ".".join(module.split(".")[:2])


def imported(source: str, modules: Mapping[str, str]) -> set[str]:
    """Those of `modules` that a source text imports: as a module, or as a name of its package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "imports are written with their full path"
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import module` needs the module; the package alone is needed for its other names.
            found |= below if below <= modules.keys() else below | {node.module}
    return found & modules.keys()


def module_graph(modules: Mapping[str, str]) -> Graph:
    """Module → modules that it imports, from module → source text."""
    return {name: imported(source, modules) - {name} for name, source in modules.items()}


def room_graph(graph: Graph) -> Graph:
    """Room → other rooms that its modules import from."""
    rooms: Graph = {}
    for module, others in graph.items():
        rooms.setdefault(room(module), set()).update({room(other) for other in others} - {room(module)})
    return rooms


def circle(graph: Graph) -> list[str]:
    """One circle, its first name again at its end; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


@pytest.fixture(scope="module")
def graph() -> Graph:
    paths = [path for path in project_files() if path.suffix == ".py" and path.parts[0] in PACKAGES]
    return module_graph({module_name(path): (REPO / path).read_text(encoding="utf-8") for path in paths})


def test_no_circle_between_modules(graph: Graph) -> None:
    assert circle(graph) == []


def test_no_circle_between_rooms(graph: Graph) -> None:
    assert circle(room_graph(graph)) == []


def test_the_loop_imports_the_loss(graph: Graph) -> None:
    assert "reference_impl.losses" in graph["reference_impl.step.loss"]
    assert "reference_impl.step" in room_graph(graph)["reference_impl.trainer"]


HIDDEN = {
    "at the top": "import p.b.y",
    "as a name": "from p.b import y",
    "in a function": "def f():\n    from p.b.y import z",
    "for type checkers": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.b.y import z",
}


@pytest.mark.parametrize("source", HIDDEN.values(), ids=HIDDEN)
def test_a_circle_is_found_wherever_it_hides(source: str) -> None:
    modules = {"p.b": "", "p.b.y": "from p.a.x import w", "p.a.x": source}
    found = circle(module_graph(modules))
    assert found[0] == found[-1] and set(found) == {"p.a.x", "p.b.y"}
    assert circle(module_graph({**modules, "p.a.x": ""})) == []


def test_rooms_can_be_in_a_circle_where_modules_are_not() -> None:
    graph = module_graph({"p.a.x": "import p.b.x", "p.b.x": "", "p.b.y": "import p.a.y", "p.a.y": ""})
    assert circle(graph) == []
    assert set(circle(room_graph(graph))) == {"p.a", "p.b"}
