"""The user's own questions for a task: a file, or a folder in BFCL's layout, asked instead of the task's."""

from dataclasses import dataclass
from pathlib import Path

from pipelines.plan.digest import digest
from reference_impl.config import Scale, choose, load_task, task_names
from reference_impl.files import file_hash


@dataclass(frozen=True)
class LocalData:
    """Where the questions are, and the hash of what they say."""

    path: str
    sha256: str


def is_folder(task: str) -> bool:
    """Whether a task's questions are a folder, BFCL's layout; all others are one file."""
    return load_task(task).kind == "bfcl"


def local_data(scale: Scale, task: str, path: str) -> LocalData:
    """The user's questions for a task. Raises ValueError for a task that the scale does not evaluate, or no such file.

    Whether they are the task's questions is for evaluation.generate to check, which reads them.
    """
    choose("task", task, task_names(), "data: evaluation/tasks")
    evaluated = [name for domain in scale.domains.values() for name in domain.tasks]
    if task not in evaluated:
        raise ValueError(f"data.{task}: scale {scale.name} does not evaluate it; it evaluates {', '.join(evaluated)}")
    source = Path(path).expanduser()
    if not is_folder(task):
        if not source.is_file():
            raise ValueError(f"data.{task}: no such file: {path}")
        return LocalData(str(source), file_hash(source))
    if not source.is_dir():
        raise ValueError(f"data.{task}: no such folder: {path} (BFCL's layout is a folder)")
    files = sorted([*source.glob("*.json"), *source.glob("possible_answer/*.json")])
    return LocalData(str(source), digest({str(file.relative_to(source)): file_hash(file) for file in files}))
