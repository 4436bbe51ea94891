"""Which files a scale has, and what each is made from. Paths are relative to the repository's root."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipelines.data.splits import PROMPTS, VALIDATION
from pipelines.data.stages import STAGES
from pipelines.plan.choice import Choice
from pipelines.plan.digest import digest
from pipelines.plan.local import is_folder
from reference_impl.config import TUNING_SEED, benchmark_tasks, expert_file, load_task

PAGES = {"index": "headline", "everything": "everything"}
"""Pages of the report → the list of tables, figures and pages that each shows."""
SUFFIXES = {"table": ("csv", "md", "tex", "json"), "figure": ("png", "svg", "json", "csv"), "page": ("html", "csv")}
"""Kind of experiment → its files."""
FOLDERS = {"table": "tables/", "figure": "figures/", "page": ""}


@dataclass(frozen=True)
class Files:
    """The files of what was chosen."""

    choice: Choice

    @property
    def results(self) -> str:
        """The folder that everything of the scale is written to; one inside it for a preset of readings."""
        reading = self.choice.declarations.reading
        return f"results/{self.choice.scale.name}" + (f"/readings/{reading}" if reading else "")

    @property
    def asked(self) -> str:
        """The folder of samples, scores and report: the scale's, or one of the user's questions' own inside it."""
        own = {task: local.sha256 for task, local in self.choice.own_questions.items()}
        return f"{self.results}/own/{digest(own)}" if own else self.results

    @property
    def own_questions(self) -> list[str]:
        """What says which questions are the user's; none where all are the benchmarks'."""
        return [f"{self.asked}/questions.json"] if self.choice.own_questions else []

    # ---- Policies, data, benchmarks

    def policy(self, domain: str, role: str) -> str:
        """Folder of a domain's policy."""
        return f"{self.results}/policies/{self.choice.scale.domains[domain].policies[role]}"

    def data(self, domain: str) -> list[str]:
        """The files of a domain's training data, without their manifest."""
        return [f"{self.results}/data/{domain}/{name}" for name in self.choice.splits(domain)]

    def data_sources(self, domain: str) -> list[str]:
        """What a domain's splits are made from: nothing in the sandbox, else candidates and the policy's tokenizer."""
        if self.choice.scale.domains[domain].data not in STAGES:
            return []
        return [f"{self.results}/data/{domain}/candidates.jsonl", self.complete_marker(self.policy(domain, "main"))]

    @property
    def benchmarks(self) -> str:
        """The folder of the evaluation sets."""
        return f"{self.results}/benchmarks"

    def benchmark_sources(self, tasks: Iterable[str]) -> list[str]:
        """What must be there before tasks' questions are asked: the sandbox makes all of its own at once."""
        others = [task for task in tasks if task not in self.choice.own_questions]
        return sorted({self._source(task) for task in others})

    def compared_with(self, domain: str) -> list[str]:
        """The benchmarks that a domain's training questions must not be of, also where others are asked in their place.

        Left out are those that nothing but a file of the user's could be, and that is the others.
        """
        others = {task for task in self.choice.own_questions if load_task(task).data.source == "local"}
        tasks = benchmark_tasks(self.choice.scale.domains[domain].tasks)
        return sorted({self._source(task) for task in tasks if task not in others})

    def questions(self, task: str) -> str:
        """The file or folder with a task's questions: the user's, or the one among the benchmarks."""
        return self.choice.data[task].path if task in self.choice.data else self.benchmark(task)

    def _source(self, task: str) -> str:
        return self.benchmarks if _is_generated(task) else self.benchmark(task)

    def benchmark(self, task: str) -> str:
        """A task's questions among the benchmarks."""
        return f"{self.benchmarks}/{task}" if is_folder(task) else f"{self.benchmarks}/{task}.jsonl"

    # ---- Runs and their checkpoints

    def run_data(self, domain: str, run: str) -> list[str]:
        """The files that a training run reads: prompts, validation and the method's own demonstrations."""
        return self.data_of(domain, self.choice.declarations.owner(run)[0].expert)

    def data_of(self, domain: str, expert: str) -> list[str]:
        """The files that runs with one set of demonstrations read. Raises ValueError where there is no such set."""
        if expert_file(expert) not in self.choice.splits(domain):
            has, scale = ", ".join(self.choice.scale.domains[domain].experts or ()), self.choice.scale.name
            raise ValueError(f"scale {scale}: {domain} has no demonstrations {expert!r} (its `experts`: {has})")
        return [f"{self.results}/data/{domain}/{name}" for name in (PROMPTS, VALIDATION, expert_file(expert))]

    def checked(self, domain: str, run: str) -> str:
        """What says that the rows of those files are sound."""
        expert = self.choice.declarations.owner(run)[0].expert
        return f"{self.results}/data/{domain}/checked-{expert}.json"

    def checkpoint(self, domain: str, method: str, seed: int | str) -> str:
        """Folder of a method's checkpoint: its best, or the policy where nothing is trained."""
        entry = self.choice.declarations.method(method)
        if entry.trains or entry.select:
            return f"{self.results}/runs/{domain}/{method}/seed{seed}/best"
        return self.policy(domain, entry.policy)

    def initial_checkpoint(self, domain: str, run: str, seed: int | str) -> str:
        """Folder of the checkpoint that a training run starts from."""
        method = self.choice.declarations.owner(run)[0]
        if method.init == "policy":
            return self.policy(domain, method.policy)
        return self.checkpoint(domain, method.init, seed)

    @staticmethod
    def complete_marker(checkpoint: str) -> str:
        """The file that exists once a checkpoint is complete: its run's record, or its policy's manifest."""
        folder = Path(checkpoint)
        return str(folder.parent / "run.json" if folder.name == "best" else folder / "manifest.json")

    def records(self, method: str, domains: tuple[str, ...] | None = None) -> list[str]:
        """`run.json` of every run of a method: every domain, seed and member of its grid."""
        runs = [method] if method in self.choice.selections else list(self.choice.declarations.runs(method))
        return [
            f"{self.results}/runs/{domain}/{run}/seed{seed}/run.json"
            for domain in self.choice.domains(method, domains)
            for run in runs
            for seed in self.choice.seeds
        ]

    # ---- Grids: the runs that a selection chooses among

    def grid_folders(self, domain: str, grid: str, seed: int | str) -> list[str]:
        """Folders of a grid's runs that any selection chooses among."""
        chosen = {
            run
            for name, chosen_from in self.choice.selections.items()
            if chosen_from == grid and domain in self.choice.domains(name)
            for run in self.choice.candidates(domain, name, int(seed))
        }
        return [self._run(domain, run, seed) for run in self.choice.declarations.runs(grid) if run in chosen]

    def selection_candidates(self, domain: str, selection: str, seed: int | str) -> list[str]:
        """Records of the runs that a selection chooses among."""
        runs = self.choice.candidates(domain, selection, int(seed))
        return [f"{self._run(domain, run, seed)}/run.json" for run in runs]

    def tuning_records(self) -> list[str]:
        """Records of every run and selection that learning rates are tuned by."""
        decl = self.choice.declarations
        return [
            f"{self._run(domain, run, TUNING_SEED)}/run.json"
            for name in decl.tuned
            for domain in self.choice.domains(name)
            for run in (decl.trials(name) or [name])
        ]

    def _run(self, domain: str, run: str, seed: int | str) -> str:
        return f"{self.results}/runs/{domain}/{run}/seed{seed}"

    def selections_from(self, domain: str, grid: str, seed: int | str) -> list[str]:
        """Records of all selections that choose from a grid: what they copied is all that is needed of it."""
        return [
            f"{self.results}/runs/{domain}/{name}/seed{seed}/run.json"
            for name, chosen_from in self.choice.selections.items()
            if chosen_from == grid and domain in self.choice.domains(name)
        ]

    def pruned(self, methods: Iterable[str], domains: tuple[str, ...] | None = None) -> list[str]:
        """Records of the pruning of every grid that these methods choose from; none where a scale keeps all."""
        if self.choice.scale.keep_checkpoints == "all":
            return []
        selections = self.choice.selections
        needed = {other for name in methods for other in self.choice.needed(name)} & set(selections)
        return sorted(
            {
                f"{self.results}/pruned/{domain}/{selections[name]}/seed{seed}.json"
                for name in needed
                for domain in self.choice.domains(name, domains)
                for seed in self.choice.seeds
            }
        )

    # ---- Evaluation

    def scores(self, method: str, domains: tuple[str, ...] | None = None) -> list[str]:
        """Scores of a method in every domain with every seed, and with its second prompt where it has one; grids and
        curves are not evaluated.
        """
        seconds = ((self.choice.second_of(method, domain), domain) for domain in self.choice.domains(method, domains))
        others = [name for second, domain in seconds if second for name in self._evaluated(second, (domain,))]
        return [f"{self.asked}/scores/{name}.parquet" for name in (*self._evaluated(method, domains), *others)]

    def evaluations(self, method: str, domains: tuple[str, ...] | None = None) -> list[str]:
        """Folders with a method's samples, in every domain with every seed."""
        return [f"{self.asked}/evaluations/{name}" for name in self._evaluated(method, domains)]

    def regraded(self, method: str) -> list[str]:
        """Summaries of a method's samples graded again: every domain, seed and task that there are samples of."""
        return [
            f"{self.asked}/regraded/{name}/{task}.json"
            for domain in self.choice.domains(method)
            for name in self._evaluated(method, (domain,))
            for task in self.choice.scale.domains[domain].tasks
            if Path(self.asked, "evaluations", name, f"{task}.jsonl").is_file()
        ]

    def _evaluated(self, method: str, only: tuple[str, ...] | None) -> list[str]:
        """<domain>/<method>/seed<seed> of every evaluation of a method."""
        if self.choice.declarations.method(method).role != "method":
            return []
        domains = self.choice.domains(method, only)
        return [f"{domain}/{method}/seed{seed}" for domain in domains for seed in self.choice.seeds]

    # ---- Report

    def report(self, experiment: str) -> list[str]:
        """Files of one table, figure or page."""
        kind = self.choice.declarations.experiments[experiment].kind
        return [f"{self.asked}/report/{FOLDERS[kind]}{experiment}.{suffix}" for suffix in SUFFIXES[kind]]

    def report_sources(self, experiment: str) -> list[str]:
        """What a table (scores), a figure (training records) or a page (scores and samples) is made of, and the data's
        manifests.
        """
        entry = self.choice.declarations.experiments[experiment]
        domains = tuple(domain for domain in entry.domains if domain in self.choice.scale.domains)
        parts = {"table": [self.scores], "figure": [self.records], "page": [self.scores, self.evaluations]}
        made = [path for name in entry.made_of for part in parts[entry.kind] for path in part(name, domains)]
        manifests = [f"{self.results}/data/{domain}/manifest.json" for domain in domains if entry.made_of]
        return [*made, *manifests, *self.own_questions]

    def comparison_sources(self) -> list[str]:
        """What `compare` reads: scores, and the records of what trains, in the domains that a method shares with the
        baseline.
        """
        if not self.choice.compared:
            return []
        *others, baseline = self.choice.compared
        shared = {name: self.choice.common_domains(name, baseline) for name in others}
        shared[baseline] = tuple(domain for domain in self.choice.scale.domains if domain in sum(shared.values(), ()))
        return [path for name, domains in shared.items() for path in self._made(name, domains)]

    def board_sources(self) -> list[str]:
        """What `phi_board` reads."""
        boards = self.choice.boards.items()
        places = [(name, (domain,)) for domain, groups in boards for names in groups for name in names]
        return [path for place in places for path in self._made(*place)]

    def sensitivity_sources(self) -> list[str]:
        """What `sensitivity` reads: scores and records of every reading's methods, and of those that they are like."""
        decl = self.choice.declarations
        places = [(one, domains) for name, domains in self.choice.readings for one in (name, decl.base(name))]
        return list(dict.fromkeys(path for place in places for path in self._made(*place)))

    def map_sources(self) -> list[str]:
        """What `map` reads: scores and records of every cell's method, and how new questions are."""
        made = [path for place in self.choice.mapped for path in self._made(*place)]
        return list(dict.fromkeys([*made, *self.novelty()]))

    def novelty(self) -> list[str]:
        """What says how new the questions of the map's domains are, where anything does."""
        return [f"{self.results}/novelty/{domain}.json" for domain in self.choice.novelty_domains]

    def map_files(self) -> list[str]:
        """Its table, its page and its figures: that of novelty where anything is known of it."""
        figures = ["map-phi", *(["map-novelty"] if self.choice.novelty_domains else [])]
        drawn = [f"{name}.{kind}" for name in figures for kind in ("png", "svg")]
        return [f"{self.asked}/report/{name}" for name in ("map.md", "map.csv", "map.html", *drawn)]

    def _made(self, method: str, domains: tuple[str, ...]) -> list[str]:
        """Records and scores of a method, and of the pruning of the grids behind it."""
        made = self.records(method, domains) + self.scores(method, domains) + self.pruned([method], domains)
        return made + self.own_questions

    def report_pruned(self, experiment: str) -> list[str]:
        """Records of the pruning of every grid behind a table, figure or page, in its domains."""
        entry = self.choice.declarations.experiments[experiment]
        return self.pruned(entry.made_of, entry.domains)

    @property
    def headline_pruned(self) -> list[str]:
        """The same for all of the headline."""
        return sorted({path for name in self.choice.headline for path in self.report_pruned(name)})

    def page_sources(self, page: str) -> list[str]:
        """Files of the tables and figures that a page of the report shows, the samples behind its tables, and what φ
        does in the domains of its main tables.
        """
        shown = self.choice.headline if PAGES[page] == "headline" else self.choice.experiments()
        entries = {name: self.choice.declarations.experiments[name] for name in shown}
        made = [path for name, entry in entries.items() if entry.kind != "page" for path in self.report(name)]
        tables = [entry for entry in entries.values() if entry.kind == "table"]
        samples = [path for entry in tables for name in entry.methods for path in self.evaluations(name, entry.domains)]
        mains = {domain: self.choice.declarations.main_table(domain) for domain in self.choice.scale.domains}
        phi = [domain for domain, main in mains.items() if main is not None and main[0] in entries]
        return [*made, *dict.fromkeys(samples), *(path for domain in phi for path in self.phi_figure(domain))]

    def phi_figure(self, domain: str) -> list[str]:
        """Files of the figure of what φ does in a domain, and the demonstration that the page shows with it."""
        figure = [f"{self.asked}/report/figures/phi-{domain}.{suffix}" for suffix in SUFFIXES["figure"]]
        return [*figure, f"{self.results}/phi/{domain}.json"]

    def phi_sources(self, domain: str) -> list[str]:
        """The records of the runs that it draws: those of the domain's main table."""
        main = self.choice.declarations.main_table(domain)
        return [path for name in (main[1].methods if main else ()) for path in self.records(name, (domain,))]

    def targets(self) -> dict[str, list[str]]:
        """Names that can follow `snakemake --cores 2`: methods, tables, figures and pages, with their files."""
        methods = self.choice.declarations.methods
        made = {name: self.records(name) + self.scores(name) + self.pruned([name]) for name in methods}
        reports = {name: self.report(name) + self.report_pruned(name) for name in self.choice.experiments()}
        everything = list(dict.fromkeys(path for files in reports.values() for path in files))
        pages = [f"{self.asked}/report/{page}.html" for page in PAGES]
        return {
            **made,
            **reports,
            "everything": everything + pages,
        }

    def regrade_targets(self) -> dict[str, list[str]]:
        """`regrade` and `regrade_<method>`, with their files; none where nothing has been sampled."""
        methods = self.choice.declarations.methods
        regraded = {f"regrade_{name}": self.regraded(name) for name in methods if self._evaluated(name, None)}
        return {"regrade": [path for files in regraded.values() for path in files], **regraded}


def _is_generated(task: str) -> bool:
    """Whether the sandbox makes a task's questions; all others are fetched."""
    return load_task(task).data.source == "generated"
