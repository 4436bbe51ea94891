"""What one call of the workflow chose, what it asks of its jobs, and the hashes of what decides their outcome.

A hash holds just the settings that decide one file's content. The rules hand it to the job as a parameter: a job reruns
when its own settings change, and for no other change of a configuration file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.data.splits import split_rows
from pipelines.plan.origins import LocalData, data_version, deciding_options, digest, policy_hash, policy_options
from pipelines.sandbox.policies import WORLDS, load_world
from reference_impl.config import Declarations, Scale, domain_size, load_task, resolve_run
from reference_impl.config.scales import Job, Resources


@dataclass(frozen=True)
class Settings:
    """The declarations, one scale and the seeds, and what the user brings."""

    declarations: Declarations
    scale: Scale
    seeds: tuple[int, ...]
    data: Mapping[str, LocalData] = field(default_factory=dict)
    """What the user brings, by task."""
    given_policies: Mapping[str, str] = field(default_factory=dict)
    """The user's folder or commit hash, by model of models.yaml."""

    def splits(self, domain: str) -> dict[str, int]:
        """File → its rows, of a domain's training data."""
        return split_rows(self.declarations, self.scale, domain)

    def fetch_options(self, task: str) -> list[str]:
        """Options of evaluation.fetch: the user's file, if there is one."""
        return ["--data", self.data[task].path] if task in self.data else []

    def question_options(self, domain: str) -> list[str]:
        """Options of evaluation.generate that name the user's files for a domain's tasks."""
        local = {task: self.data[task] for task in self.scale.domains[domain].tasks if task in self.data}
        return [part for task, data in local.items() for part in ("--data", f"{task}={data.path}")]

    def judge_options(self, domain: str, task: str) -> list[str]:
        """Options of evaluation.regrade for the scale's judge; none for a task that needs no judge."""
        judge = self.scale.domains[domain].judge
        return ["--judge", json.dumps(judge.given())] if judge and load_task(task).kind == "judge" else []

    def _judge_words(self, domain: str, task: str) -> list[str]:
        """A task's judge as its hashes have had it from the first version on, which evaluations are known by."""
        judge = self.scale.domains[domain].judge
        if judge is None or load_task(task).kind != "judge":
            return []
        words = []
        for key, value in judge.given().items():
            option = "--judge" if key == "kind" else f"--judge-{key.removesuffix('_s')}"
            words += [option, *map(str, value if isinstance(value, tuple) else [value])]
        return words

    def resources(self, kind: Job) -> dict[str, int]:
        """What a job that trains or samples asks of the machine."""
        return self.scale.resources.get(kind, Resources()).model_dump()

    def launcher(self, kind: Job) -> str:
        """What starts the module of a job that trains or samples."""
        return self.scale.launcher.get(kind, "python -m").format(processes=self.scale.strategy.processes)

    def run_hash(self, domain: str, run: str, seed: int | str) -> str:
        """Hash of one training run's resolved configuration."""
        return resolve_run(self.declarations, self.scale, run, domain, int(seed)).hash()

    def selection_hash(self, selection: str) -> str:
        """Hash of what a selection chooses from."""
        select = self.declarations.method(selection).select
        assert select is not None
        return digest(select.given())

    def split_hash(self, domain: str, name: str) -> str:
        """Hash of what decides one file of a domain's data: where it comes from, and its rows."""
        sizes = self.scale.domains[domain]
        options = deciding_options(sizes.data_options)
        made = [sizes.data, data_version(sizes.data, domain), name, self.splits(domain)[name]]
        return digest([*made, options] if options else made)

    def candidates_hash(self, domain: str) -> str:
        """Hash of what decides which rows may become a domain's data."""
        sizes = self.scale.domains[domain]
        limit = domain_size(self.declarations, self.scale, domain, "max_response_tokens")
        options = deciding_options(sizes.data_options)
        return digest([sizes.data, data_version(sizes.data, domain), limit, sorted(sizes.tasks), options])

    def benchmark_hash(self, task: str) -> str:
        """Hash of where a task's questions come from."""
        return digest([load_task(task).data.given(), self.data[task].sha256 if task in self.data else None])

    def policy_options(self, policy: str) -> list[str]:
        """Options of pipelines.policy.from_hub: the user's folder or revision, or the pinned one."""
        return policy_options(policy, self.given_policies)

    def policy_hash(self, policy: str) -> str:
        """Hash of which files a policy from the hub has."""
        return policy_hash(policy, self.given_policies)

    @staticmethod
    def worlds_hash() -> str:
        """Hash of what decides the sandbox's benchmarks."""
        return digest({world: load_world(world).VERSION for world in WORLDS})

    def tasks_hash(self, domain: str) -> str:
        """Hash of a domain's evaluation tasks, the user's files for them, and how much of them this scale evaluates."""
        names = self.scale.domains[domain].tasks
        caps = self.scale.evaluation
        settings = {
            "tasks": {name: load_task(name).given() for name in names},
            "caps": [caps.max_items, caps.max_samples],
            "max_tokens": domain_size(self.declarations, self.scale, domain, "max_response_tokens"),
        }
        if caps.engine_options.max_model_len is not None:
            settings["max_model_len"] = caps.engine_options.max_model_len
        judge = [word for name in names for word in self._judge_words(domain, name)]
        local = {name: self.data[name].sha256 for name in names if name in self.data}
        return digest({**settings, **({"judge": judge} if judge else {}), **({"data": local} if local else {})})

    def task_hash(self, domain: str, task: str) -> str:
        """Hash of what decides a task's verdicts: its settings, its judge, and the user's file for it."""
        return digest(
            [
                load_task(task).given(),
                self._judge_words(domain, task),
                self.data[task].sha256 if task in self.data else None,
            ]
        )

    def experiment_hash(self, experiment: str) -> str:
        """Hash of the declaration of a table, figure or page, its methods' labels included."""
        entry = self.declarations.experiments[experiment]
        return digest([entry, [self.declarations.method(name).label for name in entry["methods"]]])
