"""What jobs get: words of their command lines, a launcher, the machine's resources, a priority."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.data.stages import STAGES
from pipelines.plan.choice import Choice
from pipelines.plan.files import Files
from pipelines.policy.origin import origin_options
from reference_impl.config import StrategyChoice, load_task
from reference_impl.config.scales import Job, Resources

WARM = "python -m pipelines.ops.warm"


@dataclass(frozen=True)
class Options:
    """The options of jobs, for what was chosen."""

    choice: Choice

    def data(self, domain: str) -> list[str]:
        """Options of the module that writes a domain's data, beside those that every such module has."""
        sizes, files = self.choice.scale.domains[domain], Files(self.choice)
        if sizes.data not in STAGES:
            return []
        known = ["--benchmarks", files.benchmarks, "--tokenizer", files.policy(domain, "main")]
        return known + _words(sizes.data_options)

    def fetch(self, task: str) -> list[str]:
        """Options of evaluation.fetch: the user's copy, if there is one."""
        copied = task in self.choice.data and task not in self.choice.own_questions
        return ["--data", self.choice.data[task].path] if copied else []

    def questions(self, domain: str) -> list[str]:
        """Options of evaluation.generate that name the user's files for a domain's tasks."""
        local = {t: self.choice.data[t] for t in self.choice.scale.domains[domain].tasks if t in self.choice.data}
        words = [("--own" if one.own else "--data", f"{task}={one.path}") for task, one in local.items()]
        return [word for pair in words for word in pair]

    def own(self, task: str) -> list[str]:
        """The option of evaluation.regrade for a task whose questions are the user's own."""
        return ["--own"] if task in self.choice.own_questions else []

    def own_questions(self) -> list[str]:
        """Options of pipelines.data.own_questions: every file of the user's."""
        return [word for task, one in self.choice.own_questions.items() for word in ("--own", f"{task}={one.path}")]

    def boards(self) -> list[str]:
        """Options of reports.phi_board: a board each."""
        boards = self.choice.boards.items()
        return [word for domain, groups in boards for names in groups for word in ("--board", domain, *names)]

    def novelty(self) -> list[str]:
        """Options of reports.when: the files that say how new questions are."""
        files = Files(self.choice).novelty()
        return ["--novelty", *files] if files else []

    def judge(self, domain: str, task: str) -> list[str]:
        """Options of evaluation.regrade for the scale's judge; none for a task that needs no judge."""
        judge = self.choice.scale.domains[domain].judge
        return ["--judge", json.dumps(judge.given())] if judge and load_task(task).kind == "judge" else []

    def policy(self, policy: str) -> list[str]:
        """Options of pipelines.policy.from_hub: the user's folder or commit, or the pinned one."""
        return origin_options(policy, self.choice.given_policies)

    def resources(self, kind: Job) -> dict[str, int]:
        """What a job that trains or samples asks of the machine, at most."""
        return self.choice.scale.resources.get(kind, Resources()).model_dump()

    def train_resources(self, domain: str, run: str) -> dict[str, int]:
        """What one training run asks: of GPUs, cores and main memory as much less as it has fewer processes."""
        whole, of = self.resources("train"), self.choice.scale.strategy.processes
        own = self._strategy(domain, run).processes
        shared = {key: math.ceil(whole[key] * own / of) for key in ("gpu", "threads", "mem_mb")}
        return {**whole, **shared}

    def _strategy(self, domain: str, run: str) -> StrategyChoice:
        role = self.choice.declarations.owner(run)[0].policy
        return self.choice.scale.strategy_of(self.choice.scale.domains[domain].policies[role])

    @property
    def warm(self) -> bool:
        """Whether jobs may be forks of one process: on a scale without GPUs, launchers and engines of their own."""
        scale = self.choice.scale
        alone = not scale.launcher and not any(resources.gpu for resources in scale.resources.values())
        return alone and scale.strategy.kind == "torch" and scale.engine != "vllm"

    def start(self) -> str:
        """What starts a job's module that needs no GPU: a fork of what has imported it, or a process."""
        return WARM if self.warm else "python -m"

    def start_training(self, domain: str, run: str) -> str:
        """The same of a training run, which gets its GPUs."""
        if self.warm:
            return WARM
        # As many as the scale says, not what Snakemake may have clipped that to.
        launcher = self.launcher("train", self._strategy(domain, run).processes)
        return f"python -m pipelines.ops.gpu_lease --gpu {self.train_resources(domain, run)['gpu']} -- {launcher}"

    def start_sampling(self) -> str:
        """The same of an evaluation."""
        if self.warm:
            return WARM
        gpus = self.resources("generate")["gpu"]
        return f"python -m pipelines.ops.gpu_lease --gpu {gpus} -- {self.launcher('generate')}"

    def launcher(self, kind: Job, processes: int | None = None) -> str:
        """What starts the module of a job that trains or samples; ``processes``: left out, as many as the scale has."""
        scale = self.choice.scale
        return scale.launcher.get(kind, "python -m").format(processes=processes or scale.strategy.processes)

    def priority(self, domain: str, name: str) -> int:
        """10 for a run or method of the headline, 0 for any other: an interrupted call leaves the headline first."""
        return 10 if (domain, name) in self.choice.headline_runs else 0

    def train_priority(self, domain: str, run: str) -> int:
        """Before evaluations: runs are long and start from one another, evaluations fill the gaps. A run that may be
        linked, since it is another's (`reference_impl.run.reuse`), comes after the others: beside that it would wait.
        """
        return self.priority(domain, run) + ((domain, run) not in self.choice.repeated_runs)


def _words(options: Mapping[str, Any]) -> list[str]:
    """A scale's `data_options` as a command line: {model: x, local: {toolace: y}} → --model x --local toolace=y."""
    words: list[str] = []
    for key, value in options.items():
        if isinstance(value, Mapping):
            words += [word for name, part in value.items() for word in (f"--{key}", f"{name}={part}")]
        else:
            words += [f"--{key}", *_values(value)]
    return words


def _values(value: Any) -> list[str]:
    return [str(part) for part in value] if isinstance(value, list | tuple) else [str(value)]
