"""What one call of the workflow is made of: the files of a scale, and what each is made from.

Paths and settings only; free of torch, so that the workflow starts at once. The rules in `pipelines/rules`
turn it into jobs. Settings that decide a file's content are handed out as short hashes, which the rules pass
as parameters: a job reruns when its own settings change, and for no other change of a configuration file.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.checks import check_experiments, check_scale, experiment_entries, task_names, task_settings
from pipelines.data.splits import PROMPTS, VALIDATION, split_rows
from pipelines.sandbox.policies import WORLDS, load_world
from pipelines.validate import validate, validate_file
from reference_impl.config import (
    CONFIG_DIR,
    Declarations,
    Scale,
    choose,
    domain_size,
    expert_file,
    load_declarations,
    load_scale,
    resolve_run,
)
from reference_impl.files import file_hash

PAGES = {"index": "headline", "everything": "everything"}
"""Pages of the report → the list of tables, figures and pages that each shows."""
SUFFIXES = {"table": ("csv", "md", "tex"), "figure": ("png", "svg", "json"), "page": ("html", "csv")}
"""Kind of experiment → its files."""
FOLDERS = {"table": "tables/", "figure": "figures/", "page": ""}
JUDGE_FLAGS = {"kind": "--judge", "timeout_s": "--judge-timeout"}
"""Options of evaluation.regrade for a scale's judge; every other setting is the option `--judge-<setting>`."""


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
    def policies(self) -> list[str]:
        """Every policy of this scale, whichever role it has in whichever domain."""
        return sorted({policy for domain in self.scale.domains.values() for policy in domain.policies.values()})

    def experiments(self, kind: str | None = None) -> list[str]:
        """Names of the tables, figures and pages of which this scale has a domain, in the report's order."""
        return [
            name
            for name, entry in experiment_entries(self.declarations).items()
            if kind in (None, entry["kind"]) and set(entry["domains"]) & set(self.scale.domains)
        ]

    @cached_property
    def headline(self) -> list[str]:
        """What the default target makes."""
        return [name for name in self.declarations.experiments["headline"] if name in self.experiments()]

    def page(self, page: str) -> list[str]:
        """Files of the tables and figures that a page of the report shows."""
        shown = self.headline if PAGES[page] == "headline" else self.experiments()
        return [
            path
            for name in shown
            if self.declarations.experiments[name]["kind"] != "page"
            for path in self.report(name)
        ]

    def policy(self, domain: str, role: str) -> str:
        """Folder of a domain's policy."""
        return f"{self.results}/policies/{self.scale.domains[domain].policies[role]}"

    def data_files(self, domain: str) -> list[str]:
        """The files of a domain's training data, without their manifest."""
        return [f"{self.results}/data/{domain}/{name}" for name in self.splits(domain)]

    def run_data(self, domain: str, run: str) -> list[str]:
        """The files that a training run reads: prompts, validation and the method's own demonstrations."""
        names = (PROMPTS, VALIDATION, expert_file(self.declarations.owner(run)[0].expert))
        return [f"{self.results}/data/{domain}/{name}" for name in names]

    def splits(self, domain: str) -> dict[str, int]:
        """File → its rows, of a domain's training data."""
        return split_rows(self.declarations, self.scale, domain)

    def checkpoint(self, domain: str, method: str, seed: int | str) -> str:
        """Folder of a method's checkpoint: its best, or the policy where nothing is trained."""
        entry = self.declarations.method(method)
        if entry.trains or entry.select:
            return f"{self.results}/runs/{domain}/{method}/seed{seed}/best"
        return self.policy(domain, entry.policy)

    def start(self, domain: str, run: str, seed: int | str) -> str:
        """Folder of the checkpoint that a training run starts from."""
        method = self.declarations.owner(run)[0]
        if method.init == "policy":
            return self.policy(domain, method.policy)
        return self.checkpoint(domain, method.init, seed)

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

    def evaluations(self, method: str, domains: tuple[str, ...] | None = None) -> list[str]:
        """Folders with a method's samples, in every domain with every seed."""
        if self.declarations.method(method).role != "method":
            return []
        return [
            f"{self.results}/evaluations/{domain}/{method}/seed{seed}"
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
        """Files of one table, figure or page."""
        kind = self.declarations.experiments[experiment]["kind"]
        return [f"{self.results}/report/{FOLDERS[kind]}{experiment}.{suffix}" for suffix in SUFFIXES[kind]]

    def ingredients(self, experiment: str) -> list[str]:
        """What a table (scores), a figure (training records) or a page (scores and samples) is made of, and the data's
        manifests.
        """
        entry = self.declarations.experiments[experiment]
        domains = tuple(domain for domain in entry["domains"] if domain in self.scale.domains)
        parts = {"table": [self.scores], "figure": [self.records], "page": [self.scores, self.evaluations]}
        made = [path for name in entry["methods"] for part in parts[entry["kind"]] for path in part(name, domains)]
        return made + [f"{self.results}/data/{domain}/manifest.json" for domain in domains]

    @cached_property
    def headline_runs(self) -> frozenset[tuple[str, str]]:
        """(domain, run or method) of every job that the headline needs."""
        found: set[tuple[str, str]] = set()
        for experiment in self.headline:
            entry = self.declarations.experiments[experiment]
            for method in entry["methods"]:
                found |= {(domain, name) for domain in entry["domains"] for name in self._needed(method)}
        return frozenset(found)

    def _needed(self, method: str) -> set[str]:
        """A method, its runs, and those of everything that it starts from or chooses among."""
        entry = self.declarations.method(method)
        names = {method, *self.declarations.runs(method)}
        for other in (entry.init, entry.select.get("from", "policy")):
            names |= set() if other == "policy" else self._needed(other)
        return names

    def urgency(self, domain: str, name: str) -> int:
        """10 for a run or method of the headline, 0 for any other: an interrupted call leaves the headline first."""
        return 10 if (domain, name) in self.headline_runs else 0

    def targets(self) -> dict[str, list[str]]:
        """Every name that can follow `snakemake --cores 2`: methods, tables, figures and pages, with their files."""
        methods = {name: self.records(name) + self.scores(name) for name in self.declarations.methods}
        again = {f"regrade_{name}": files for name in methods if (files := self.regraded(name))}
        reports = {name: self.report(name) for name in self.experiments()}
        everything = [path for name in reports for path in self.report(name)]
        pages = [f"{self.results}/report/{page}.html" for page in PAGES]
        return (
            methods
            | reports
            | {"everything": everything + pages}
            | {"regrade": [path for files in again.values() for path in files]}
            | again
        )

    def questions(self, task: str, benchmarks: str) -> str:
        """The file or folder with a task's questions: the user's, or the one among the benchmarks."""
        if task in self.data:
            return self.data[task].path
        return f"{benchmarks}/{task}" if _is_folder(task) else f"{benchmarks}/{task}.jsonl"

    def data_options(self, domain: str) -> list[str]:
        """Options of evaluation.generate that name the user's files for a domain's tasks."""
        local = {task: self.data[task] for task in self.scale.domains[domain].tasks if task in self.data}
        return [part for task, data in local.items() for part in ("--data", f"{task}={data.path}")]

    def judge_options(self, domain: str, task: str) -> list[str]:
        """Options of evaluation.regrade for the scale's judge; none for a task that needs no judge."""
        if task_settings(task)["kind"] != "judge":
            return []
        options = []
        for key, value in self.scale.domains[domain].judge.items():
            options += [
                JUDGE_FLAGS.get(key, f"--judge-{key}"),
                *map(str, value if isinstance(value, list) else [value]),
            ]
        return options

    def run_hash(self, domain: str, run: str, seed: int | str) -> str:
        """Hash of one training run's resolved configuration."""
        return resolve_run(self.declarations, self.scale, run, domain, int(seed)).hash()

    def selection_hash(self, selection: str) -> str:
        """Hash of what a selection chooses from."""
        return _digest(self.declarations.method(selection).select)

    def split_hash(self, domain: str, name: str) -> str:
        """Hash of what decides one file of a domain's data: where it comes from, and its rows."""
        source = self.scale.domains[domain].data
        return _digest([source, load_world(domain).VERSION, name, self.splits(domain)[name]])

    @staticmethod
    def worlds_hash() -> str:
        """Hash of what decides the sandbox's benchmarks."""
        return _digest({world: load_world(world).VERSION for world in WORLDS})

    def tasks_hash(self, domain: str) -> str:
        """Hash of a domain's evaluation tasks, the user's files for them, and how much of them this scale evaluates."""
        names = self.scale.domains[domain].tasks
        caps = self.scale.evaluation
        settings = {
            "tasks": {name: task_settings(name) for name in names},
            "caps": [caps.max_items, caps.max_samples],
            "max_tokens": domain_size(self.declarations, self.scale, domain, "max_response_tokens"),
        }
        judge = [option for name in names for option in self.judge_options(domain, name)]
        local = {name: self.data[name].sha256 for name in names if name in self.data}
        return _digest({**settings, **({"judge": judge} if judge else {}), **({"data": local} if local else {})})

    def task_hash(self, domain: str, task: str) -> str:
        """Hash of what decides a task's verdicts: its settings, its judge, and the user's file for it."""
        return _digest(
            [
                task_settings(task),
                self.judge_options(domain, task),
                self.data[task].sha256 if task in self.data else None,
            ]
        )

    def experiment_hash(self, experiment: str) -> str:
        """Hash of the declaration of a table, figure or page, its methods' labels included."""
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
    check_experiments(declarations, str(root / "experiments.yaml"))
    scale = load_scale(config["scale"], root)
    validate_file(root / "scales" / f"{scale.name}.yaml", "scale")
    check_scale(declarations, scale)
    seeds = tuple(int(seed) for seed in config.get("seeds", scale.seeds))
    data = {task: _local_data(scale, task, path) for task, path in config.get("data", {}).items()}
    return Plan(declarations, scale, seeds, data)


def _is_folder(task: str) -> bool:
    """Whether a task's questions are a folder, BFCL's layout; all others are one file."""
    return bool(task_settings(task)["kind"] == "bfcl")


def _local_data(scale: Scale, task: str, path: str) -> LocalData:
    """The user's questions for a task. Raises ValueError for a task that the scale does not evaluate, or no such file.

    Whether they are the task's questions is for evaluation.generate to check, which reads them.
    """
    choose("task", task, task_names(), "data: evaluation/tasks")
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


def _digest(value: Any) -> str:
    """A short hash of JSON-ready settings."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=list).encode()).hexdigest()[:16]
