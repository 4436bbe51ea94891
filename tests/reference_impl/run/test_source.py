"""What is part of a function's source, and what is not: a small project, edited."""

from pathlib import Path

import pytest

from reference_impl.run import source
from reference_impl.run.source import source_hash

FILES = {
    "maths/__init__.py": "",
    "maths/parts.py": """
LIMIT = 3

def half(x):
    return x / 2

def unused(x):
    return LIMIT
""",
    "maths/tables.py": """
from collections.abc import Callable

import torch
from maths import parts
from maths.parts import half as halved

SCALE: float = 2.0

def quarter(x: float) -> float:
    \"\"\"A quarter.\"\"\"
    return halved(halved(x)) * SCALE / SCALE

def capped(x):
    return min(x, parts.LIMIT)

def recursive(x):
    return x and recursive(x - 1)

class Grader:
    limit = 1

    def grade(self, x):
        return quarter(x) > self.limit

TABLE: dict[str, Callable] = {"quarter": quarter, "capped": capped, "torch": torch.exp}

def mine(x):
    return x

TABLE["mine"] = mine
""",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(source, "ROOT", tmp_path)
    return tmp_path


def hashes(*roots: str) -> list[str]:
    """As a process of its own would have them."""
    source.source_hash.cache_clear()
    source._module.cache_clear()
    return [source_hash(root) for root in roots]


QUARTER, CAPPED, GRADER = "maths.tables:TABLE[quarter]", "maths.tables:capped", "maths.tables:Grader"


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("tables.py", "SCALE / SCALE", "SCALE", [QUARTER, GRADER]),  # its own body
        ("parts.py", "x / 2", "x / 3", [QUARTER, GRADER]),  # imported under another name
        ("tables.py", "SCALE: float = 2.0", "SCALE: float = 4.0", [QUARTER, GRADER]),  # a constant
        ("parts.py", "LIMIT = 3", "LIMIT = 4", [CAPPED]),  # read through its module
        ("tables.py", "limit = 1", "limit = 2", [GRADER]),
        ("parts.py", "return LIMIT", "return 2 * LIMIT", []),  # used by none of them
        ("tables.py", '"""A quarter."""', '"""Another word."""', []),
        ("tables.py", "    return min(", "    # why\n    return  min(", []),
        ("tables.py", "(x: float) -> float", "(x: int)->int", []),
        ("tables.py", '"quarter": quarter, "capped": capped', '"capped": capped, "quarter": quarter', []),
    ],
)
def test_what_decides_and_nothing_else(project: Path, file: str, old: str, new: str, changed: list[str]) -> None:
    roots = (QUARTER, CAPPED, GRADER)
    before = hashes(*roots)
    path = project / "maths" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    after = hashes(*roots)
    assert [root for root, was, now in zip(roots, before, after, strict=True) if was != now] == changed


def test_a_definition_may_move(project: Path) -> None:
    before = hashes(QUARTER)
    parts, tables = project / "maths" / "parts.py", project / "maths" / "tables.py"
    parts.write_text(parts.read_text().replace("def half(x):\n    return x / 2\n", ""))
    (project / "maths" / "halves.py").write_text("def half(x):\n    return x / 2\n")
    tables.write_text(tables.read_text().replace("maths.parts import half", "maths.halves import half"))
    assert hashes(QUARTER) == before


def test_an_entry_that_is_added_to_a_table(project: Path) -> None:
    before = hashes("maths.tables:TABLE[mine]", QUARTER)
    path = project / "maths" / "tables.py"
    path.write_text(path.read_text().replace("    return x\n", "    return 2 * x\n"))
    after = hashes("maths.tables:TABLE[mine]", QUARTER)
    assert before[0] != after[0] and before[1] == after[1]


def test_a_whole_module_and_what_calls_itself(project: Path) -> None:
    before = hashes("maths.parts", "maths.tables:recursive")
    path = project / "maths" / "parts.py"
    path.write_text(path.read_text().replace("return LIMIT", "return 2 * LIMIT"))
    after = hashes("maths.parts", "maths.tables:recursive")
    assert before[0] != after[0] and before[1] == after[1]


@pytest.mark.parametrize(
    ("root", "said"),
    [
        ("maths.nothing:x", "no such module"),
        ("maths.parts:thrid", "maths.parts defines LIMIT, half, unused"),
        ("maths.tables:TABLE[thrid]", "TABLE has quarter, capped, torch, mine"),
        ("maths.tables:SCALE[x]", "SCALE has no entries"),
    ],
)
def test_unknown_roots(project: Path, root: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        hashes(root)


def test_a_file_of_the_users_with_what_lies_beside_it(project: Path, tmp_path: Path) -> None:
    own = tmp_path / "elsewhere"
    own.mkdir()
    files = {
        "my_phi.py": "import helpers\nfrom helpers import third\nfrom maths.parts import half\n\n"
        "def one(x):\n    return third(x)\n\ndef two(x):\n    return half(x)\n\n"
        "def three(x):\n    return helpers.third(x)\n",
        "helpers.py": "def third(x):\n    return x / 3\n",
    }
    for name, text in files.items():
        (own / name).write_text(text)
    roots = tuple(f"{own}/my_phi.py:{name}" for name in ("one", "two", "three"))

    def changed(path: Path, old: str, new: str) -> list[bool]:
        before = hashes(*roots)
        path.write_text(path.read_text().replace(old, new))
        return [was != now for was, now in zip(before, hashes(*roots), strict=True)]

    assert changed(own / "my_phi.py", "return third(x)", "return 2 * third(x)") == [True, False, False]
    assert changed(own / "helpers.py", "x / 3", "x / 4") == [True, False, True]
    assert changed(project / "maths" / "parts.py", "x / 2", "x / 5") == [False, True, False]
    assert changed(own / "my_phi.py", "def two(x)", "def two(x: float)") == [False, False, False]
