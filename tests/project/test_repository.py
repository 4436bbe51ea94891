"""The repository's own promises: pins, layers, file sizes, no traces of one machine, a truthful README."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.ops import environment
from pipelines.plan import load_plan
from tests.support.checkout import REPO, copy_project, project_files, snakemake

PACKAGES = ("reference_impl", "pipelines", "evaluation", "reports")
PIN = re.compile(r"^([a-z0-9][a-z0-9-]*)==([0-9][0-9a-z.]*)$")
DISTRIBUTIONS = {
    "yaml": "pyyaml",
    "pydantic_core": "pydantic",
    "math_verify": "math-verify",
    "sympy": "math-verify",  # which takes and gives its objects
    "huggingface_hub": "huggingface-hub",
}
# Not imported by name: chat templates need jinja2, SummaryWriter tensorboard, parquet files pyarrow, pages plotly.js.
INDIRECT = {"jinja2", "tensorboard", "pyarrow", "plotly"}
LAYERS = {
    "reference_impl": {"reference_impl"},
    "pipelines": {"reference_impl", "evaluation", "pipelines"},
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
    for name in ("torch.txt", "base.txt", "bench.txt", "dev.txt"):
        for distribution, version in pins(name).items():
            assert constraints.get(distribution) == version, f"requirements/{name}: {distribution}"


def test_conda_environment_pins_every_distribution_of_the_gpu_environment() -> None:
    text = (REPO / "environment.yml").read_text(encoding="utf-8")
    assert text == environment.document(
        text, (REPO / "requirements/gpu-constraints.txt").read_text(encoding="utf-8")
    ), "python -m pipelines.ops.environment"
    listed = next(entry["pip"] for entry in yaml.safe_load(text)["dependencies"] if isinstance(entry, dict))
    assert dict(pin.split("==") for pin in listed) == pins("gpu-constraints.txt")
    assert len(listed) > 200


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
    assert tools - {"datasets"} <= set(pins("bench.txt") | pins("dev.txt")), "datasets comes with trl"


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


SETTINGS = {"evaluation.engine_options"}
"""Keys of a scale that read like a module."""
ROOTS = "reference_impl|pipelines|evaluation|reports|tests|docs|profiles|requirements"


def names_something(dotted: str) -> bool:
    """Whether a dotted name is a module, a package, or a name in one of them."""
    *parents, last = dotted.split(".")
    above, itself = REPO.joinpath(*parents), REPO.joinpath(*parents, last)
    if itself.is_dir() or itself.with_suffix(".py").is_file():
        return True
    home = above / "__init__.py" if above.is_dir() else above.with_suffix(".py")
    return home.is_file() and last in home.read_text(encoding="utf-8")


def test_paths_and_modules_in_the_documents_exist() -> None:
    missing = []
    for path in documents():
        text = (REPO / path).read_text(encoding="utf-8")
        paths = re.findall(rf"(?<![\w/.<-])((?:{ROOTS})/[\w./-]*\w)", text)
        dotted = re.findall(rf"(?<![\w/.-])((?:{ROOTS})(?:\.[a-zA-Z]\w*)+)(?!/)", text)
        missing += [f"{path}: {name}" for name in paths if not list(REPO.glob(f"{name.replace('NAME', '*')}*"))]
        if path.name != "keys.md":  # there a key below a key is written like a module
            missing += [f"{path}: {name}" for name in {*dotted} - SETTINGS if not names_something(name)]
    assert not missing


def test_readme_can_be_read_at_one_sitting() -> None:
    assert len((REPO / "README.md").read_bytes()) <= 9000


def files_in_tree(block: str) -> set[str]:
    """Paths of a tree in which each line is a name, two blanks or more, and what it is; two blanks indent a folder."""
    found: set[str] = set()
    folders: list[str] = []
    for line in filter(str.strip, block.splitlines()):
        name = line.split()[0]
        folders = folders[: (len(line) - len(line.lstrip())) // 2]
        found.add("".join([*folders, name]))
        if name.endswith("/"):
            folders.append(name)
    return found


def test_architecture_annotates_every_source_file() -> None:
    text = (REPO / "docs" / "architecture.md").read_text(encoding="utf-8")
    described = files_in_tree(text.split("## Every file")[1].split("```")[1])
    gone = {name for name in described if not (REPO / name).exists()}
    assert not gone, f"docs/architecture.md describes files that do not exist: {sorted(gone)}"
    wanted = {path.as_posix() for path in sources(*PACKAGES) if path.name != "__init__.py"}
    wanted |= {path.as_posix() for path in project_files() if path.suffix == ".smk"}
    assert wanted <= described, f"docs/architecture.md lacks {sorted(wanted - described)}"


def test_a_tree_gives_paths() -> None:
    assert files_in_tree("a/\n  b/   x\n    c.py  y\n  d.py  z\ne  w") == {"a/", "a/b/", "a/b/c.py", "a/d.py", "e"}


def test_readme_says_where_phi_meets_the_loss() -> None:
    function, file = re.findall(
        r"`sft_loss\(…, weights_BT=phi_BT, …\)`, in `(\w+)` of\s+\[([\w/.]+)\]", (REPO / "README.md").read_text("utf-8")
    )[0]
    body = next(
        node
        for node in ast.parse((REPO / file).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name == function
    )
    assert re.search(r"\bsft_loss\(.*weights_BT=phi_BT", ast.unparse(body))


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a document in a language; "" for those that name none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [block for named, block in found if named == language]


def test_own_phi_of_the_readme_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = (REPO / "README.md").read_text(encoding="utf-8").split("## Your own φ")[1].split("\n## ")[0]
    folder = copy_project(tmp_path)
    for name, language in (("my_phi.py", "python"), ("my_methods.yaml", "yaml")):
        (block,) = blocks(section, language)
        (folder / name).write_text(block, encoding="utf-8")
    monkeypatch.delenv("CHORD_MINE")
    command = blocks(section, "")[0].replace("'", "").split("snakemake ")[1].strip()
    target, methods = re.fullmatch(r"--cores 2 (\w+) --config (methods=.*)", command).groups()  # type: ignore[union-attr]
    planned = snakemake(folder, "-n", target, "--config", "scale=smoke", methods)
    assert planned.returncode == 0 and "mine on math" in planned.stdout, planned.stdout
    check = (
        "import torch; from reference_impl.config import *; from reference_impl.step.objective import build_objective;"
        "objective = build_objective(resolve_run(load_declarations(), load_scale('smoke'), 'mine', 'math', 0));"
        "logprob = torch.tensor([[0.5, 0.5]]).log().requires_grad_(); mask = torch.tensor([[True, False]]);"
        "weights = objective.weights(logprob, torch.ones(1, 2), mask);"
        "assert weights[0, 0] > 0 and weights[0, 1] == 0 and not weights.requires_grad, weights"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_commands_in_the_documents_exist() -> None:
    makefile = (REPO / "Makefile").read_text(encoding="utf-8")
    files = load_plan({"scale": "mini"}).files
    targets = {"headline", "retrain_policies", "my_method", "compare", "phi_board", "sensitivity", "map", "tune"}
    targets |= {*files.targets(), *files.regrade_targets()}
    for path in documents():
        text = (REPO / path).read_text(encoding="utf-8")
        for target in re.findall(r"^make ([a-z-]+)", text, flags=re.MULTILINE):
            assert f"\n{target}:" in makefile, f"{path}: make {target}"
        for target in re.findall(r"snakemake --cores [0-9a-z]+ ([a-z][a-z0-9_]*)", text):
            assert target in targets, f"{path}: snakemake {target}"


def test_no_figure_in_the_documents_waits_to_be_measured() -> None:
    for path in documents():
        assert "@@" not in (REPO / path).read_text(encoding="utf-8"), path
