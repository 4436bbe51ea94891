"""A user's own training files, read before anything starts: is every row sound, and are there enough?"""

from pathlib import Path
from typing import Any

from evaluation.tasks import read_items
from pipelines.data.stages import OWN
from pipelines.plan.choice import Choice
from pipelines.plan.digest import digest
from pipelines.policy.origin import is_shipped
from pipelines.sandbox.policies import SHIPPED
from reference_impl.config import domain_size, load_task
from reference_impl.files import file_hash
from reference_impl.hub import is_revision
from reference_impl.run.rows import report

READ = "own-data"
"""Folder, in Snakemake's own, with an empty file for what was read and is sound."""


def own_domains(choice: Choice) -> list[str]:
    """The scale's domains whose data is the user's own."""
    return [name for name, sizes in choice.scale.domains.items() if sizes.data == OWN]


def own_files(choice: Choice, domain: str) -> dict[str, str]:
    """File → SHA-256 of a domain's own data; empty for one that is not there."""
    files = choice.scale.domains[domain].files
    named = [] if files is None else [path for path in (files.questions, files.demonstrations) if path is not None]
    found = {path: Path(path).expanduser() for path in named}
    return {name: file_hash(path) if path.is_file() else "" for name, path in found.items()}


def check_own_data(choice: Choice) -> None:
    """Raise ValueError with everything that is wrong with the user's training files.

    Lengths are counted where the policy's tokenizer is at hand: shipped, or a folder; a model of the hub counts them in
    the job that reads the files.
    """
    found = [fault for domain in own_domains(choice) for fault in _faults(choice, domain)]
    if found:
        raise ValueError(report(found))


def check_once(choice: Choice, folder: Path) -> None:
    """The same, once per version of the files and of what is asked of them; ``folder`` is Snakemake's own."""
    if not own_domains(choice):
        return
    asked: list[Any] = [
        [domain, own_files(choice, domain), choice.splits(domain), choice.scale.domains[domain].model_dump(mode="json")]
        for domain in own_domains(choice)
    ]
    held = {task: one.sha256 for task, one in choice.own_questions.items()}
    marker = folder / READ / digest([asked, held, dict(choice.given_policies)])
    if not marker.is_file():
        check_own_data(choice)
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()


def _faults(choice: Choice, domain: str) -> list[str]:
    # The readers of data sets take most of a second to import: plans without own data do without.
    from pipelines.data.jsonl import too_few, what_is_asked
    from pipelines.data.own_rows import faults, held_out
    from pipelines.data.stage import Limits, load_tokenizer

    tasks = [task for task in choice.scale.domains[domain].tasks if task in choice.own_questions]
    texts = {
        task: [item.row["question"] for item in read_items(load_task(task), Path(choice.data[task].path))]
        for task in tasks
    }
    folder = _policy_folder(choice, choice.scale.domains[domain].policies["main"])
    limit = domain_size(choice.declarations, choice.scale, domain, "max_response_tokens")
    limits = Limits(limit, load_tokenizer(folder) if folder and (folder / "tokenizer.json").is_file() else None)
    asked = what_is_asked(choice.declarations, choice.scale, domain, limits, held_out(texts))
    return faults(asked) or too_few(asked, choice.splits(domain))


def _policy_folder(choice: Choice, policy: str) -> Path | None:
    """Where a policy is already; None for one that is fetched or made."""
    if is_shipped(policy):
        return SHIPPED / policy
    given = choice.given_policies.get(policy)
    return None if given is None or is_revision(given) else Path(given).expanduser()
