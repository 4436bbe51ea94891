"""Sources that no job can bring by itself and that are not there: named by every plan, and by the doctor."""

from collections.abc import Iterator
from pathlib import Path

from pipelines.data.stages import STAGES, load_stage
from pipelines.plan.choice import Choice
from pipelines.plan.files import Files
from reference_impl.config import expert_file, load_task
from reference_impl.config.tasks import Local, Own


def missing_files(choice: Choice) -> list[str]:
    """One sentence for every benchmark and every expert's answers that must be brought, saying how."""
    domains, files = choice.scale.domains, Files(choice)
    tasks = dict.fromkeys(task for sizes in domains.values() for task in sizes.tasks)
    found = [line for task in tasks if not Path(files.benchmark(task)).exists() for line in _benchmark(choice, task)]
    for domain in domains:
        found += [line for path in files.data(domain) if not Path(path).is_file() for line in _answers(choice, path)]
    return found


def missing_revisions(choice: Choice) -> list[str]:
    """One sentence for every source of data that has no pinned revision, where the user gives neither one nor files."""
    return [
        f"{repository} ({name}) has no pinned revision: give one: --config "
        f"data_options='{{{domain}: {{revision: {{{name}: HASH}}}}}}', or local: its files"
        for domain in choice.scale.domains
        if not Path(Files(choice).results, "data", domain, "candidates.jsonl").is_file()
        for name, repository in _unpinned(choice, domain)
    ]


def _benchmark(choice: Choice, task: str) -> Iterator[str]:
    data = load_task(task).data
    if isinstance(data, Local | Own) and task not in choice.data:
        note = f". {' '.join(data.note.split())}" if isinstance(data, Local) and data.note else ""
        yield f"the questions of {task} must be brought: --config data='{{{task}: PATH}}'{note}"


def _unpinned(choice: Choice, domain: str) -> Iterator[tuple[str, str]]:
    sizes = choice.scale.domains[domain]
    given = {**sizes.data_options.get("local", {}), **sizes.data_options.get("revision", {})}
    pools = load_stage(sizes.data).pools if sizes.data in STAGES else {}
    for name, pool in pools.items():
        if pool.source.revision is None and name not in given:
            yield name, pool.source.repository


def _answers(choice: Choice, path: str) -> Iterator[str]:
    """Of a file of demonstrations that is made of an expert's stored answers."""
    name, domain = Path(path).name, Path(path).parent.name
    sizes = choice.scale.domains[domain]
    sources = {
        expert_file(role): (role, one.source) for role, one in choice.declarations.domains[domain].experts.items()
    }
    if sizes.data not in STAGES or name not in sources:
        return
    role, source = sources[name]
    shown, folder = load_stage(sizes.data).shown, sizes.data_options.get("answers")
    if shown is None or role in shown or sizes.data_options.get("ask") == source:
        return
    if folder is None or not Path(str(folder), f"{source}.jsonl").expanduser().is_file():
        where = "data_options names no folder `answers`" if folder is None else f"no file {folder}/{source}.jsonl"
        yield (
            f"{name} of {domain} needs the answers of {source}: {where}; bring them, or name an endpoint: --config "
            f"data_options='{{{domain}: {{answers: FOLDER, ask: {source}, url: ADDRESS, model: NAME}}}}'"
        )
