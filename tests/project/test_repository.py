"""The repository's own promises: pins, layers, file sizes, no traces of one machine, a truthful README."""

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.plan import load_plan
from tests.support.checkout import REPO, project_files

PACKAGES = ("reference_impl", "pipelines", "evaluation", "reports")
PIN = re.compile(r"^([a-z0-9][a-z0-9-]*)==([0-9][0-9a-z.]*)$")
DISTRIBUTIONS = {"yaml": "pyyaml", "math_verify": "math-verify", "pydantic_core": "pydantic"}
# Not imported by name: chat templates need jinja2, SummaryWriter tensorboard, and parquet files pyarrow.
INDIRECT = {"jinja2", "tensorboard", "pyarrow"}
LAYERS = {
    "reference_impl": {"reference_impl"},
    "pipelines": {"reference_impl", "pipelines"},
    "evaluation": {"reference_impl", "evaluation"},
    "reports": {"reference_impl", "evaluation", "reports"},
}


def text_files() -> list[Path]:
    """Tracked files that hold text, relative to the repository."""
    binary = {".safetensors", ".png", ".parquet", ".gz"}
    return [path for path in project_files() if path.suffix not in binary]


def sources(*folders: str) -> list[Path]:
    """Python files below the folders, relative to the repository."""
    return [path for path in project_files() if path.suffix == ".py" and path.parts[0] in folders]


def imported(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse((REPO / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
    return modules


def pins(name: str) -> dict[str, str]:
    """Distribution → version of a requirements file. Fails for a line that is not an exact pin."""
    found = {}
    for line in (REPO / "requirements" / name).read_text(encoding="utf-8").splitlines():
        requirement = line.split("#")[0].strip()
        if requirement:
            match = PIN.match(requirement)
            assert match, f"requirements/{name}: {line!r} is not an exact pin"
            found[match[1]] = match[2]
    return found


def test_every_requirement_is_pinned_as_in_the_constraints() -> None:
    constraints = pins("constraints.txt")
    for name in ("torch.txt", "base.txt", "dev.txt"):
        for distribution, version in pins(name).items():
            assert constraints.get(distribution) == version, f"requirements/{name}: {distribution}"


def test_conda_environment_has_the_same_pins_as_the_requirements() -> None:
    environment = yaml.safe_load((REPO / "environment.yml").read_text(encoding="utf-8"))
    listed = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert dict(pin.split("==") for pin in listed) == pins("gpu.txt")


def test_gpu_environment_is_resolved_from_its_pins() -> None:
    resolved = pins("gpu-constraints.txt")
    assert {name: resolved.get(name) for name in pins("gpu.txt")} == pins("gpu.txt")


def test_requirements_are_what_the_code_imports() -> None:
    roots = {module.split(".")[0] for path in sources(*PACKAGES) for module in imported(path)}
    external = roots - set(sys.stdlib_module_names) - set(PACKAGES)
    needed = {DISTRIBUTIONS.get(module, module) for module in external} | {"snakemake"} | INDIRECT
    # The engines of GPUs, and other people's tools: what a laptop runs imports none of them.
    engines, tools = {"deepspeed", "vllm"}, {"datasets", "trl", "wandb"}
    assert needed - engines - tools == set(pins("torch.txt") | pins("base.txt"))
    assert needed - tools <= set(pins("gpu.txt")) | INDIRECT
    assert tools - {"datasets"} <= set(pins("dev.txt")), "datasets comes with trl"


@pytest.mark.parametrize("package", PACKAGES)
def test_layers_import_downwards_only(package: str) -> None:
    for path in sources(package):
        roots = {module.split(".")[0] for module in imported(path)}
        assert roots & set(PACKAGES) <= LAYERS[package], path


def test_reports_never_import_torch_nor_what_imports_it() -> None:
    modules = {".".join(path.with_suffix("").parts): path for path in sources(*PACKAGES)}
    todo = [path for path in modules.values() if path.parts[0] == "reports"]
    seen = set(todo)
    while todo:
        path = todo.pop()
        for module in imported(path):
            assert module.split(".")[0] not in {"torch", "transformers"}, f"{path}, reached from reports/"
            below = modules.get(module)
            if below is not None and below not in seen:
                seen.add(below)
                todo.append(below)


def test_no_source_file_is_too_long_to_read() -> None:
    long = {
        str(path): lines
        for path in project_files()
        if path.suffix in {".py", ".smk"} or path.name == "Snakefile"
        if (lines := len((REPO / path).read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long


def test_no_file_names_a_machine_or_a_package_index() -> None:
    own_name = Path(__file__).name
    traces = re.compile(
        r"""(?:^|[\s"'=(])/(?:root|home|tmp|work|opt)/[a-z]|index-url[ =]+https?://|/simple/""", re.MULTILINE
    )
    for path in text_files():
        if path.name != own_name:
            found = traces.search((REPO / path).read_text(encoding="utf-8"))
            assert found is None, f"{path}: {found[0]!r}"


def test_citation_file_has_the_required_keys() -> None:
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "license", "version"} <= set(citation)
    assert citation["license"] == "Apache-2.0"
    assert "Apache License" in (REPO / "LICENSE").read_text(encoding="utf-8")
    assert "2508.11408" in citation["preferred-citation"]["url"]


def documents() -> list[Path]:
    return [path for path in project_files() if path.suffix == ".md"]


def test_links_between_documents_lead_somewhere() -> None:
    for path in documents():
        prose = re.sub(r"```.*?```", "", (REPO / path).read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", prose):
            if "://" not in target:
                assert (REPO / path.parent / target).exists(), f"{path} links to {target}"


def readme() -> str:
    return (REPO / "README.md").read_text(encoding="utf-8")


def test_readme_annotates_every_source_file() -> None:
    block = readme().split("## Layout")[1].split("```")[1]
    described: set[str] = set()
    folder: list[str] = []
    for line in filter(str.strip, block.splitlines()):
        depth = (len(line) - len(line.lstrip())) // 2
        folder = folder[:depth]
        # Several names may share a line: "tables.py, figures.py   what they are".
        for name in re.split(r",\s+", re.split(r"\s{2,}", line.strip())[0]):
            described.add("/".join([*folder, name]).replace("//", "/"))
        if line.strip().split()[0].endswith("/"):
            folder.append(line.strip().split()[0].rstrip("/"))
    for name in described:
        assert list(REPO.glob(name)), f"README's layout names {name}, which does not exist"
    for path in sources(*PACKAGES):
        if path.name != "__init__.py":
            parents = {str(parent) + "/" for parent in path.parents if len(parent.parts) > 1}
            listed = parents & described or any(path.match(name) for name in described)
            assert listed, f"README's layout lacks {path}"


def test_commands_in_the_documents_exist() -> None:
    makefile = (REPO / "Makefile").read_text(encoding="utf-8")
    targets = {"headline", "retrain_policies", "my_method", *load_plan({"scale": "mini"}).targets()}
    for path in documents():
        text = (REPO / path).read_text(encoding="utf-8")
        for target in re.findall(r"^make ([a-z]+)", text, flags=re.MULTILINE):
            assert f"\n{target}:" in makefile, f"{path}: make {target}"
        for target in re.findall(r"snakemake --cores [0-9a-z]+ ([a-z][a-z0-9_]*)", text):
            assert target in targets, f"{path}: snakemake {target}"


def test_no_figure_in_the_documents_waits_to_be_measured() -> None:
    for path in documents():
        assert "@@" not in (REPO / path).read_text(encoding="utf-8"), path
