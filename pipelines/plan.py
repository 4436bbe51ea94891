"""What one call of the workflow is made of: the files of a scale, and what each is made from.

Paths and settings only; free of torch, so that the workflow starts at once. The rules in `pipelines/rules`
turn it into jobs. Settings that decide a file's content are handed out as short hashes, which the rules pass
as parameters: a job reruns when its own settings change, and for no other change of a configuration file.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipelines.validate import validate, validate_file
from reference_impl.config import (
    CONFIG_DIR,
    Declarations,
    Scale,
    choose,
    domain_size,
    load_declarations,
    load_scale,
    resolve_run,
)
from reference_impl.files import file_hash

TASKS_DIR = Path(__file__).resolve().parents[1] / "evaluation" / "tasks"
DATA_SIZES = ("prompt_rows", "expert_rows")


@dataclass(frozen=True)
class LocalData:
    """A file, or a folder in BFCL's layout, that is asked instead of a task's own questions."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Plan:
    """The declarations, one scale and the seeds; paths are relative to the repository's root."""

    declarations: Declarations
    scale: Scale
    seeds: tuple[int, ...]
    data: Mapping[str, LocalData] = field(default_factory=dict)
    """What the user brings, by task."""

    @property
    def results(self) -> str:
        """The folder that everything of this scale is written to."""
        return f"results/{self.scale.name}"

    @property
    def training_runs(self) -> list[str]:
        """Names of everything that is trained, grids unrolled."""
        return [run for name in self.declarations.methods for run in self.declarations.runs(name)]

    @property
    def selections(self) -> list[str]:
        """Methods whose checkpoint is chosen among a grid's."""
        return [name for name, method in self.declarations.methods.items() if method.select]

    @property
    def tables(self) -> list[str]:
        """Names of the declared tables."""
        return self._experiments("table")

    @property
    def figures(self) -> list[str]:
        """Names of the declared figures."""
        return self._experiments("figure")

    def _experiments(self, kind: str) -> list[str]:
        return [
            name
            for name, entry in self.declarations.experiments.items()
            if name != "headline" and entry["kind"] == kind
        ]

    def shipped(self, *domains: str) -> list[str]:
        """Manifests of the domains' shipped policies, which name the version of their worlds."""
        policies = sorted({self.scale.domains[domain].policy for domain in domains})
        return [f"pipelines/sandbox/policies/{policy}/manifest.json" for policy in policies]

    def policy(self, domain: str) -> str:
        """Folder of the policy that every method of a domain starts from."""
        return f"{self.results}/policies/{self.scale.domains[domain].policy}"

    def checkpoint(self, domain: str, method: str, seed: int | str) -> str:
        """Folder of a method's checkpoint: its best, or the policy where nothing is trained."""
        entry = self.declarations.method(method)
        if entry.trains or entry.select:
            return f"{self.results}/runs/{domain}/{method}/seed{seed}/best"
        return self.policy(domain)

    def start(self, domain: str, run: str, seed: int | str) -> str:
        """Folder of the checkpoint that a training run starts from."""
        init = self.declarations.owner(run)[0].init
        return self.policy(domain) if init == "policy" else self.checkpoint(domain, init, seed)

    @staticmethod
    def whole(checkpoint: str) -> str:
        """The file that exists once a checkpoint is final: its run's record, or its policy's manifest."""
        folder = Path(checkpoint)
        return str(folder.parent / "run.json" if folder.name == "best" else folder / "manifest.json")

    def candidates(self, domain: str, selection: str, seed: int | str) -> list[str]:
        """Records of the runs that a selection chooses among."""
        grid = self.declarations.method(selection).select["from"]
        return [f"{self.results}/runs/{domain}/{run}/seed{seed}/run.json" for run in self.declarations.runs(grid)]

    def records(self, method: str, domains: tuple[str, ...] | None = None) -> list[str]:
        """`run.json` of every run of a method: every domain, seed and member of its grid."""
        entry = self.declarations.method(method)
        names = [method] if entry.select else list(self.declarations.runs(method))
        return [
            f"{self.results}/runs/{domain}/{name}/seed{seed}/run.json"
            for domain in self._domains(method, domains)
            for name in names
            for seed in self.seeds
        ]

    def scores(self, method: str, domains: tuple[str, ...] | None = None) -> list[str]:
        """Scores of a method in every domain with every seed; grids and curves are not evaluated."""
        if self.declarations.method(method).role != "method":
            return []
        return [
            f"{self.results}/scores/{domain}/{method}/seed{seed}.parquet"
            for domain in self._domains(method, domains)
            for seed in self.seeds
        ]

    def regraded(self, method: str) -> list[str]:
        """Summaries of a method's samples graded again: every domain, seed and task."""
        if self.declarations.method(method).role != "method":
            return []
        return [
            f"{self.results}/regraded/{domain}/{method}/seed{seed}/{task}.json"
            for domain in self._domains(method, None)
            for seed in self.seeds
            for task in self.scale.domains[domain].tasks
        ]

    def _domains(self, method: str, only: tuple[str, ...] | None) -> list[str]:
        declared = self.declarations.method_domains(method)
        return [domain for domain in self.scale.domains if domain in declared and (only is None or domain in only)]

    def report(self, experiment: str) -> list[str]:
        """Files of one table or figure."""
        if self.declarations.experiments[experiment]["kind"] == "table":
            return [f"{self.results}/report/tables/{experiment}.{ext}" for ext in ("csv", "md", "tex")]
        return [f"{self.results}/report/figures/{experiment}.{ext}" for ext in ("png", "svg", "json")]

    def ingredients(self, experiment: str) -> list[str]:
        """What a table (scores) or a figure (training records) is made of, and the data's manifests."""
        entry = self.declarations.experiments[experiment]
        domains = tuple(domain for domain in entry["domains"] if domain in self.scale.domains)
        parts = self.scores if entry["kind"] == "table" else self.records
        manifests = [f"{self.results}/data/{domain}/manifest.json" for domain in domains]
        return [path for method in entry["methods"] for path in parts(method, domains)] + manifests

    def targets(self) -> dict[str, list[str]]:
        """Every name that can follow `snakemake --cores 2`: methods, tables and figures, with their files."""
        methods = {name: self.records(name) + self.scores(name) for name in self.declarations.methods}
        again = {f"regrade_{name}": files for name in methods if (files := self.regraded(name))}
        everything = [path for files in again.values() for path in files]
        reports = {name: self.report(name) for name in self.tables + self.figures}
        return methods | reports | {"regrade": everything} | again

    def questions(self, task: str, benchmarks: str) -> str:
        """The file or folder with a task's questions: the user's, or the one among the benchmarks."""
        if task in self.data:
            return self.data[task].path
        return f"{benchmarks}/{task}" if _is_folder(task) else f"{benchmarks}/{task}.jsonl"

    def data_options(self, domain: str) -> list[str]:
        """Options of evaluation.generate that name the user's files for a domain's tasks."""
        local = {task: self.data[task] for task in self.scale.domains[domain].tasks if task in self.data}
        return [part for task, data in local.items() for part in ("--data", f"{task}={data.path}")]

    def run_hash(self, domain: str, run: str, seed: int | str) -> str:
        """Hash of one training run's resolved configuration."""
        return resolve_run(self.declarations, self.scale, run, domain, int(seed)).hash()

    def selection_hash(self, selection: str) -> str:
        """Hash of what a selection chooses from."""
        return _digest(self.declarations.method(selection).select)

    def data_hash(self, domain: str) -> str:
        """Hash of the settings that decide a domain's training and validation data."""
        sizes = {name: domain_size(self.declarations, self.scale, domain, name) for name in DATA_SIZES}
        chosen = self.scale.domains[domain]
        return _digest({"data": chosen.data, "validation_rows": chosen.validation_rows, **sizes})

    def tasks_hash(self, domain: str) -> str:
        """Hash of a domain's evaluation tasks, the user's files for them, and how much of them this scale evaluates."""
        names = self.scale.domains[domain].tasks
        caps = self.scale.evaluation
        settings = {
            "tasks": {name: _task(name) for name in names},
            "caps": [caps.max_items, caps.max_samples],
            "max_tokens": domain_size(self.declarations, self.scale, domain, "max_response_tokens"),
        }
        local = {name: self.data[name].sha256 for name in names if name in self.data}
        return _digest({**settings, "data": local} if local else settings)

    def task_hash(self, task: str) -> str:
        """Hash of what decides a task's verdicts: its settings, and the user's file for it."""
        return _digest([_task(task), self.data[task].sha256 if task in self.data else None])

    def experiment_hash(self, experiment: str) -> str:
        """Hash of a table's or a figure's declaration, its methods' labels included."""
        entry = self.declarations.experiments[experiment]
        return _digest([entry, [self.declarations.method(name).label for name in entry["methods"]]])


def load_plan(config: Mapping[str, Any], root: Path = CONFIG_DIR) -> Plan:
    """Check every configuration file against its schema, and the references between them.

    `config` is the workflow's own configuration (`workflow.yaml` and `--config`). Raises ValueError naming
    the file, the offending value and the allowed or nearest ones.
    """
    validate(config, "workflow", "workflow.yaml or --config")
    for name in ("domains", "methods", "experiments"):
        validate_file(root / f"{name}.yaml", name)
    declarations = load_declarations(root)
    _check_experiments(declarations, str(root / "experiments.yaml"))
    scale = load_scale(config["scale"], root)
    validate_file(root / "scales" / f"{scale.name}.yaml", "scale")
    for domain in scale.domains.values():
        choose("domain", domain.name, declarations.domains, "domains.yaml")
        for task in domain.tasks:
            choose("task", task, _task_names(), "evaluation/tasks")
    seeds = tuple(int(seed) for seed in config.get("seeds", scale.seeds))
    data = {task: _local_data(scale, task, path) for task, path in config.get("data", {}).items()}
    return Plan(declarations, scale, seeds, data)


def _task_names() -> list[str]:
    return sorted(path.stem for path in TASKS_DIR.glob("*.yaml"))


def _task(name: str) -> dict[str, Any]:
    """A task's file as it is; evaluation.tasks checks it."""
    content: dict[str, Any] = yaml.safe_load((TASKS_DIR / f"{name}.yaml").read_text(encoding="utf-8"))
    return content


def _is_folder(task: str) -> bool:
    """Whether a task's questions are a folder, BFCL's layout; all others are one file."""
    return bool(_task(task)["kind"] == "bfcl")


def _local_data(scale: Scale, task: str, path: str) -> LocalData:
    """The user's questions for a task. Raises ValueError for a task that the scale does not evaluate, or no such file.

    Whether they are the task's questions is for evaluation.generate to check, which reads them.
    """
    choose("task", task, _task_names(), "data: evaluation/tasks")
    evaluated = [name for domain in scale.domains.values() for name in domain.tasks]
    if task not in evaluated:
        raise ValueError(f"data.{task}: scale {scale.name} does not evaluate it; it evaluates {', '.join(evaluated)}")
    source = Path(path).expanduser()
    if not _is_folder(task):
        if not source.is_file():
            raise ValueError(f"data.{task}: no such file: {path}")
        return LocalData(str(source), file_hash(source))
    if not source.is_dir():
        raise ValueError(f"data.{task}: no such folder: {path} (BFCL's layout is a folder)")
    files = sorted([*source.glob("*.json"), *source.glob("possible_answer/*.json")])
    return LocalData(str(source), _digest({str(file.relative_to(source)): file_hash(file) for file in files}))


def _check_experiments(declarations: Declarations, source: str) -> None:
    """Every name in experiments.yaml must exist."""
    entries = {name: entry for name, entry in declarations.experiments.items() if name != "headline"}
    for name in declarations.experiments["headline"]:
        choose("experiment", name, entries, f"{source}: headline")
    for name, entry in entries.items():
        for method in entry["methods"]:
            choose("method", method, declarations.methods, f"{source}: {name}: methods.yaml")
        for domain in entry["domains"]:
            choose("domain", domain, declarations.domains, f"{source}: {name}: domains.yaml")


def _digest(value: Any) -> str:
    """A short hash of JSON-ready settings."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=list).encode()).hexdigest()[:16]
