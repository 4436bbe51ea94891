"""What one call of the workflow is made of: the files of a scale, and what each is made from.

Paths only; free of torch, so that the workflow starts at once. The rules in `pipelines/rules` turn it into jobs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.data.splits import PROMPTS, VALIDATION
from pipelines.plan.checks import check_experiments, check_scale, experiment_entries, schedule_warnings
from pipelines.plan.origins import (
    check_policies,
    data_arguments,
    is_drawn_from_candidates,
    is_folder,
    is_generated,
    local_data,
    sandbox_policies,
)
from pipelines.plan.settings import Settings
from pipelines.plan.validate import validate, validate_file
from reference_impl.config import (
    CONFIG_DIR,
    Scale,
    choose,
    expert_file,
    load_declarations,
    load_scale,
)

PAGES = {"index": "headline", "everything": "everything"}
"""Pages of the report → the list of tables, figures and pages that each shows."""
SUFFIXES = {"table": ("csv", "md", "tex"), "figure": ("png", "svg", "json"), "page": ("html", "csv")}
"""Kind of experiment → its files."""
FOLDERS = {"table": "tables/", "figure": "figures/", "page": ""}


@dataclass(frozen=True)
class Plan(Settings):
    """The files that belong to what was chosen; paths are relative to the repository's root."""

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

    def grid(self, selection: str) -> str:
        """The method whose runs a selection chooses among."""
        select = self.declarations.method(selection).select
        assert select is not None
        return select.grid

    @property
    def policies(self) -> list[str]:
        """Every policy of this scale, whichever role it has in whichever domain."""
        return sorted({policy for domain in self.scale.domains.values() for policy in domain.policies.values()})

    @property
    def hub_policies(self) -> list[str]:
        """Those of them that are models on the hub, or folders of the user's in their place."""
        return [name for name in self.policies if name not in sandbox_policies()]

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

    @property
    def headline_pruned(self) -> list[str]:
        """Records of the pruning of every grid that the headline chooses from."""
        return sorted({path for name in self.headline for path in self.report_pruned(name)})

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

    def data_sources(self, domain: str) -> list[str]:
        """What a domain's splits are made from: nothing in the sandbox, else candidates and the policy's tokenizer."""
        if not is_drawn_from_candidates(self.scale.domains[domain].data):
            return []
        return [f"{self.results}/data/{domain}/candidates.jsonl", self.whole(self.policy(domain, "main"))]

    def data_options(self, domain: str) -> list[str]:
        """Options of the module that writes a domain's data, beside those that every such module has."""
        sizes = self.scale.domains[domain]
        if not is_drawn_from_candidates(sizes.data):
            return []
        known = ["--benchmarks", self.benchmarks, "--tokenizer", self.policy(domain, "main")]
        return known + data_arguments(sizes.data_options)

    @property
    def benchmarks(self) -> str:
        """The folder of the evaluation sets."""
        return f"{self.results}/benchmarks"

    def benchmark_files(self, tasks: Iterable[str]) -> list[str]:
        """What must be there before a task's questions are asked: the sandbox makes all of its own at once."""
        return sorted({self.benchmarks if is_generated(task) else self._benchmark(task) for task in tasks})

    def _benchmark(self, task: str) -> str:
        return f"{self.benchmarks}/{task}" if is_folder(task) else f"{self.benchmarks}/{task}.jsonl"

    def run_data(self, domain: str, run: str) -> list[str]:
        """The files that a training run reads: prompts, validation and the method's own demonstrations."""
        names = (PROMPTS, VALIDATION, expert_file(self.declarations.owner(run)[0].expert))
        return [f"{self.results}/data/{domain}/{name}" for name in names]

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
        return [f"{folder}/run.json" for folder in self.grid_folders(domain, self.grid(selection), seed)]

    def pruned(self, methods: Iterable[str], domains: tuple[str, ...] | None = None) -> list[str]:
        """Records of the pruning of every grid that these methods choose from; none where a scale keeps all."""
        if self.scale.keep_checkpoints == "all":
            return []
        needed = {other for name in methods for other in self.needed(name)} & set(self.selections)
        return sorted(
            {
                f"{self.results}/pruned/{domain}/{self.grid(name)}/seed{seed}.json"
                for name in needed
                for domain in self._domains(name, domains)
                for seed in self.seeds
            }
        )

    def report_pruned(self, experiment: str) -> list[str]:
        """The same for a table, figure or page, in its domains."""
        entry = self.declarations.experiments[experiment]
        return self.pruned(entry["methods"], tuple(entry["domains"]))

    def choices(self, domain: str, grid: str, seed: int | str) -> list[str]:
        """Records of all selections that choose from a grid: what they copied is all that is needed of it."""
        return [
            f"{self.results}/runs/{domain}/{name}/seed{seed}/run.json"
            for name in self.selections
            if self.grid(name) == grid and domain in self._domains(name, None)
        ]

    def grid_folders(self, domain: str, grid: str, seed: int | str) -> list[str]:
        """Folders of a grid's runs."""
        return [f"{self.results}/runs/{domain}/{run}/seed{seed}" for run in self.declarations.runs(grid)]

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
                found |= {(domain, name) for domain in entry["domains"] for name in self.needed(method)}
        return frozenset(found)

    def needed(self, method: str) -> set[str]:
        """A method, its runs, and those of everything that it starts from or chooses among."""
        names = {method, *self.declarations.runs(method)}
        return names.union(*map(self.needed, self.declarations.method(method).builds_on))

    def urgency(self, domain: str, name: str) -> int:
        """10 for a run or method of the headline, 0 for any other: an interrupted call leaves the headline first."""
        return 10 if (domain, name) in self.headline_runs else 0

    def warnings(self) -> list[str]:
        """What is allowed and probably not meant."""
        return schedule_warnings(self.declarations, self.scale)

    def targets(self) -> dict[str, list[str]]:
        """Every name that can follow `snakemake --cores 2`: methods, tables, figures and pages, with their files."""
        declared = self.declarations
        methods = {name: self.records(name) + self.scores(name) + self.pruned([name]) for name in declared.methods}
        again = {f"regrade_{name}": files for name in methods if (files := self.regraded(name))}
        reports = {name: self.report(name) + self.report_pruned(name) for name in self.experiments()}
        everything = list(dict.fromkeys(path for files in reports.values() for path in files))
        pages = [f"{self.results}/report/{page}.html" for page in PAGES]
        return (
            methods
            | reports
            | {"everything": everything + pages}
            | {"regrade": [path for files in again.values() for path in files]}
            | again
        )

    def questions(self, task: str) -> str:
        """The file or folder with a task's questions: the user's, or the one among the benchmarks."""
        return self.data[task].path if task in self.data else self._benchmark(task)


def load_plan(config: Mapping[str, Any], root: Path = CONFIG_DIR) -> Plan:
    """Check every configuration file, and the references between them.

    `config` is the workflow's own configuration (`workflow.yaml` and `--config`). Raises ValueError naming
    the file, the offending value and the allowed or nearest ones.
    """
    validate(config, "workflow", "workflow.yaml or --config")
    validate_file(root / "experiments.yaml", "experiments")
    declarations = load_declarations(root)
    check_experiments(declarations, str(root / "experiments.yaml"))
    scale = load_scale(config["scale"], root)
    scale = _with_data_options(scale, config.get("data_options", {}))
    check_scale(declarations, scale)
    policies = config.get("policies", {})
    check_policies(scale, policies)
    seeds = tuple(int(seed) for seed in config.get("seeds", scale.seeds))
    data = {task: local_data(scale, task, path) for task, path in config.get("data", {}).items()}
    return Plan(declarations, scale, seeds, data, policies)


def _with_data_options(scale: Scale, given: Mapping[str, Mapping[str, Any]]) -> Scale:
    """The scale with the user's options of data stages beside its own, or in their place."""
    domains = dict(scale.domains)
    for name, options in given.items():
        sizes = domains[choose("domain", name, domains, f"data_options: scale {scale.name}")]
        domains[name] = sizes.model_copy(update={"data_options": {**sizes.data_options, **options}})
    return scale.model_copy(update={"domains": domains})
