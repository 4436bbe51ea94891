"""The keys of evaluation/tasks/<name>.yaml: benchmarks as data, read by the plan and by the evaluation."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from reference_impl.config.fields import Count, Fraction, Positive, Several
from reference_impl.config.model import Declared, choose, parse, read_yaml
from reference_impl.text.prompts import PROMPTS

TASKS_DIR = Path(__file__).resolve().parents[2] / "evaluation" / "tasks"


class Generated(Declared):
    """The sandbox makes the questions."""

    source: Literal["generated"]


class Hub(Declared):
    """A dataset of the hub at a pinned revision."""

    source: Literal["hub"]
    repository: str
    """Owner and name."""
    revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
    """Full commit hash."""
    split: str
    """Such as test."""


class Local(Declared):
    """A file that the user brings, where no revision could be established."""

    source: Literal["local"]
    note: str | None = None
    """Where it is to be had."""


class Own(Declared):
    """Questions of the user's own, and no benchmark's."""

    source: Literal["own"]


DataSource = Generated | Hub | Local | Own


class Task(Declared):
    """A benchmark as it is sampled and graded; a file of the user's of the same format may always be asked instead."""

    name: str
    """That of the file."""
    version: Count
    """Goes up with every change that changes a score."""
    kind: Literal["math", "mmlu_pro", "bfcl", "judge"]
    """Which grader reads the answers."""
    benchmark: str | Several[str]
    """The paper's benchmark that it stands for; several where one set of questions serves them all."""
    prompt: Annotated[str, AfterValidator(lambda name: choose("prompt", name, PROMPTS, "reference_impl.text.prompts"))]
    """How a question is asked: a name of reference_impl.text.prompts."""
    samples_per_problem: Count
    """k of avg@k."""
    temperature: Positive = 1.0
    """A.1: 1.0."""
    top_p: Fraction = 1.0
    """Share of the probability that is sampled from."""
    rows: Annotated[int, Field(ge=0)]
    """Expected number of questions; 0 where they are the user's own."""
    categories: dict[str, int] = Field(default_factory=dict)
    """Expected number of questions in each category, for kinds that have categories."""
    answers_sha256: str | None = None
    """Fingerprint of the gold answers, whatever the layout of their file."""
    answer_format: Literal["index", "letter", "any"] = "index"
    """mmlu_pro: how a choice is read."""
    on_failure: Literal["wrong", "random"] = "wrong"
    """mmlu_pro: what an unreadable answer counts as; `random` is the official harness's guess, seeded."""
    aggregation: Literal["explicit", "implicit"] = "explicit"
    """judge: a score from verdicts on each criterion, or one rating."""
    data: Annotated[DataSource, Field(discriminator="source")]
    """Where the questions come from."""

    @model_validator(mode="after")
    def _categories_add_up(self) -> Self:
        if self.categories and sum(self.categories.values()) != self.rows:
            raise ValueError(f"rows is {self.rows}, but the categories add up to {sum(self.categories.values())}")
        return self


def task_names() -> list[str]:
    """Every task that has a file."""
    return sorted(path.stem for path in TASKS_DIR.glob("*.yaml"))


def benchmark_tasks(names: Iterable[str]) -> tuple[str, ...]:
    """Those of some tasks that are a benchmark's, not the user's own questions."""
    return tuple(name for name in names if load_task(name).data.source != "own")


@cache
def load_task(name: str) -> Task:
    """The task called ``name``. Raises ValueError naming the known tasks, or every mistake of its file."""
    choose("task", name, task_names(), "evaluation/tasks")
    path = TASKS_DIR / f"{name}.yaml"
    return parse(Task, read_yaml(path), f"evaluation/tasks/{name}.yaml")
