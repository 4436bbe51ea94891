"""What makes each file again: hashes of just the settings that decide its content.

The rules give a hash to its job as a parameter: a job reruns when its own settings change, and for no other change of a
configuration file.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.data.stages import load_stage
from pipelines.plan.choice import Choice
from pipelines.plan.digest import digest
from pipelines.plan.own_data import own_files
from pipelines.policy.origin import origin_identity
from pipelines.sandbox.policies import WORLDS, load_world
from pipelines.sandbox.procedure import LEVELS
from reference_impl.config import domain_size, load_task, resolve_run
from reference_impl.config.experiments import FigureEntry
from reference_impl.files import file_hash
from reference_impl.run.code import grader_code, run_code

HOW_NOT_WHAT = frozenset({"ask", "url", "model", "budget", "prices", "concurrency", "timeout"})
"""Options of a data stage that change how rows are asked for, not which they are.

Asked are the experts of domains.yaml, one endpoint after the other. `model` is an endpoint's own name for one of them,
and stored answers that have another are refused.
"""


@dataclass(frozen=True)
class Hashes:
    """The hashes of what was chosen."""

    choice: Choice

    def run(self, domain: str, run: str, seed: int | str) -> str:
        """Of one training run's resolved configuration."""
        return resolve_run(self.choice.declarations, self.choice.scale, run, domain, int(seed)).hash()

    def run_code(self, domain: str, run: str, seed: int | str) -> list[str]:
        """Of the code that decides a run's numbers, part by part, so that a plan can say which one changed."""
        config = resolve_run(self.choice.declarations, self.choice.scale, run, domain, int(seed))
        return [f"{part} {value[:12]}" for part, value in run_code(config).items()]

    def graders(self, domain: str) -> list[str]:
        """Of the code that gives the verdicts of a domain's tasks, kind by kind."""
        sizes = self.choice.scale.domains[domain]
        kinds = sorted({load_task(name).kind for name in sizes.tasks})
        return [f"{kind} {grader_code(kind, sizes.judge)[:12]}" for kind in kinds]

    def selection(self, selection: str) -> str:
        """Of what a selection chooses from."""
        select = self.choice.declarations.method(selection).select
        assert select is not None
        return digest(select.given())

    def split(self, domain: str, name: str) -> str:
        """Of one file of a domain's data: where it comes from, and its rows."""
        sizes = self.choice.scale.domains[domain]
        options = _deciding(sizes.data_options)
        made = [sizes.data, _data_version(sizes.data, domain), name, self.choice.splits(domain)[name]]
        return digest([*made, options] if options else made)

    def candidates(self, domain: str) -> str:
        """Of which rows may become a domain's data."""
        sizes = self.choice.scale.domains[domain]
        version, options = _data_version(sizes.data, domain), _deciding(sizes.data_options)
        made = [sizes.data, version, self._response_limit(domain), sorted(sizes.tasks), options]
        own = [own_files(self.choice, domain), sizes.files.given()] if sizes.files else []
        return digest([*made, *own])

    def benchmark(self, task: str) -> str:
        """Of where a task's questions come from."""
        return digest([load_task(task).data.given(), None if task in self.choice.own_questions else self._local(task)])

    def worlds(self) -> str:
        """Of the sandbox's benchmarks."""
        return digest({world: load_world(world).VERSION for world in WORLDS})

    def policy(self, policy: str) -> str:
        """Of which files a policy from the hub has."""
        return digest(origin_identity(policy, self.choice.given_policies))

    def tasks(self, domain: str, method: str | None = None) -> str:
        """Of a domain's evaluation tasks, the user's files for them, and how much of them the scale evaluates;
        ``method``: with prompts of its own, where it has any.
        """
        names = self.choice.scale.domains[domain].tasks
        caps = self.choice.scale.evaluation
        settings: dict[str, Any] = {
            "tasks": {name: load_task(name).given() for name in names},
            "caps": [caps.max_items, caps.max_samples],
            "max_tokens": self._response_limit(domain),
        }
        # Left out where it does not apply, as in the hashes of results that exist.
        if caps.engine_options.max_model_len is not None:
            settings["max_model_len"] = caps.engine_options.max_model_len
        prompts = {} if method is None else self.choice.declarations.method(method).prompts
        if asked := {old: new for old, new in prompts.items() if old in {load_task(name).prompt for name in names}}:
            settings["prompts"] = asked
        if judge := [word for name in names for word in self._judge(domain, name)]:
            settings["judge"] = judge
        if local := {name: self._local(name) for name in names if name in self.choice.data}:
            settings["data"] = local
        return digest(settings)

    def task(self, domain: str, task: str) -> str:
        """Of a task's verdicts: its settings, its judge, and the user's file for it."""
        return digest([load_task(task).given(), self._judge(domain, task), self._local(task)])

    def experiment(self, experiment: str) -> str:
        """Of the declaration of a table, figure or page, its methods' labels included."""
        entry = self.choice.declarations.experiments[experiment]
        labels = [self.choice.declarations.method(name).label for name in entry.methods]
        tuned = self.choice.scale.tuned
        if isinstance(entry, FigureEntry) and not entry.of_runs and tuned is not None:
            return digest([entry.model_dump(), labels, tuned.model_dump()])
        return digest([entry.model_dump(), labels])

    def labels(self, methods: Iterable[str]) -> str:
        """Of how methods are called, and of their φ."""
        entries = map(self.choice.declarations.method, methods)
        return digest([[method.name, method.label, method.phi.given()] for method in entries])

    def readings(self) -> str:
        """Of how readings and their methods are called, and of what they ask."""
        decl = self.choice.declarations
        names = [name for name, _ in self.choice.readings]
        asked = {} if decl.readings is None else {name: one.question for name, one in decl.readings.readings.items()}
        return digest([self.labels([*names, *map(decl.base, names)]), asked])

    def novelty(self, domain: str) -> str:
        """Of how new a sandbox domain's questions are, and of which are asked."""
        levels = [[level.name, level.shares] for level in LEVELS]
        return digest([load_world(domain).VERSION, levels, sorted(self.choice.scale.domains[domain].tasks)])

    def map(self) -> str:
        """Of what the map is drawn of, and of how it is called."""
        decl = self.choice.declarations
        assert decl.map is not None
        return digest([self.labels(name for name, _ in self.choice.mapped), decl.map.given()])

    @staticmethod
    def comparison(results: str) -> str:
        """Of the user's last comparison, which pages show; no input of theirs: to make a page makes no comparison."""
        path = Path(results, "report", "compare.json")
        return file_hash(path) if path.is_file() else ""

    def _judge(self, domain: str, task: str) -> list[str]:
        """A task's judge as its hashes have had it from the first version on, which evaluations are known by."""
        judge = self.choice.scale.domains[domain].judge
        if judge is None or load_task(task).kind != "judge":
            return []
        words = []
        for key, value in judge.given().items():
            option = "--judge" if key == "kind" else f"--judge-{key.removesuffix('_s')}"
            words += [option, *map(str, value if isinstance(value, tuple) else [value])]
        return words

    def _local(self, task: str) -> str | None:
        return self.choice.data[task].sha256 if task in self.choice.data else None

    def _response_limit(self, domain: str) -> Any:
        return domain_size(self.choice.declarations, self.choice.scale, domain, "max_response_tokens")


def _data_version(module: str, domain: str) -> int:
    """Version of what writes a domain's data: its stage, or its world in the sandbox."""
    version: int = load_world(domain).VERSION if module == "sandbox" else load_stage(module).version
    return version


def _deciding(options: Mapping[str, Any]) -> dict[str, Any]:
    """The `data_options` that decide which rows a split has."""
    return {key: value for key, value in options.items() if key not in HOW_NOT_WHAT}
