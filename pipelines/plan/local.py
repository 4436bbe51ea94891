"""The user's file for a task: a copy of the benchmark (BFCL: a folder in its layout), or questions of their own."""

from dataclasses import dataclass
from pathlib import Path

from evaluation.tasks import load_items, own_items
from pipelines.plan.digest import digest
from reference_impl.config import Scale, Task, choose, load_task, task_names
from reference_impl.files import file_hash


@dataclass(frozen=True)
class LocalData:
    """Where the questions are, and the hash of what they say."""

    path: str
    sha256: str
    own: int = 0
    """How many questions of the user's own; 0: they are the benchmark's."""


def is_folder(task: str) -> bool:
    """Whether a task's questions are a folder, BFCL's layout; all others are one file."""
    return load_task(task).kind == "bfcl"


def local_data(scale: Scale, task: str, path: str) -> LocalData:
    """The user's file for a task, read: the benchmark's own questions, or any number of others in the same form.

    Raises ValueError for a task that the scale does not evaluate, no such file, and a file that is in another form.
    """
    choose("task", task, task_names(), "data: evaluation/tasks")
    evaluated = [name for domain in scale.domains.values() for name in domain.tasks]
    if task not in evaluated:
        raise ValueError(f"data.{task}: scale {scale.name} does not evaluate it; it evaluates {', '.join(evaluated)}")
    source = Path(path).expanduser()
    if not is_folder(task):
        if not source.is_file():
            raise ValueError(f"data.{task}: no such file: {path}")
        return LocalData(str(source), file_hash(source), _own(load_task(task), source))
    if not source.is_dir():
        raise ValueError(f"data.{task}: no such folder: {path} (BFCL's layout is a folder)")
    files = sorted([*source.glob("*.json"), *source.glob("possible_answer/*.json")])
    sha256 = digest({str(file.relative_to(source)): file_hash(file) for file in files})
    return LocalData(str(source), sha256, _own(load_task(task), source))


def _own(task: Task, source: Path) -> int:
    """How many questions of their own a user's file has. Raises ValueError where it is not in the task's form."""
    try:
        load_items(task, source)
    except ValueError:
        try:
            return len(own_items(task, source))
        except ValueError as error:
            raise ValueError(f"data.{task.name}: {error}") from None
    return 0
