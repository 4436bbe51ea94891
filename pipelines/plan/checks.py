"""Checks of what the configuration files say of each other, which no model of one file can see."""

from collections.abc import Iterator
from functools import cache

from pipelines.data.stages import OWN, STAGES, load_stage
from reference_impl.config import (
    TUNING_SEED,
    Declarations,
    HttpJudgeSettings,
    RunConfig,
    Scale,
    Trial,
    load_task,
    resolve_run,
    task_names,
)
from reference_impl.config.experiments import FigureEntry, TableEntry
from reference_impl.config.model import refuse, unknown

RULES = frozenset({
    "all", "benchmarks", "candidates", "case_page", "check_rows", "compare", "comparison", "data",
    "everything", "fetch", "fetch_folder", "figure", "generate", "grade_again", "headline", "help_map", "hub_policy",
    "manifest", "map", "novelty", "own_questions", "phi_board", "phi_figure", "phi_tokens", "policy", "prune",
    "random_policy", "ranking", "regrade", "retrain_policies", "retrain_policy", "score", "select", "sensitivity",
    "sensitivity_table", "site", "table", "train", "tune",
})  # fmt: skip
"""What the workflow calls its own rules and targets; a test compares it with them."""


@cache
def benchmarks() -> list[str]:
    """The paper's benchmarks that some task stands for."""
    named = (load_task(task).benchmark for task in task_names())
    return sorted({name for one in named for name in ([one] if isinstance(one, str) else one)})


def check_scale(declarations: Declarations, scale: Scale) -> None:
    """Every name in a scale must exist, every role of a policy must be filled, and every run must resolve.

    Raises ValueError with one line for every mistake; runs are resolved where there is none.
    """
    problems = [f"{name}: {text}" for name in scale.domains for text in _domain_problems(declarations, scale, name)]
    refuse(f"scale {scale.name}: {problem}" for problem in [*problems, *_task_problems(scale)])
    resolved_runs(declarations, scale)


def _domain_problems(declarations: Declarations, scale: Scale, name: str) -> Iterator[str]:
    """What is wrong with a domain of a scale."""
    sizes = scale.domains[name]
    if name not in declarations.domains:
        yield from unknown("domain", name, declarations.domains, "domains.yaml")
        return
    domain = declarations.domains[name]
    yield from unknown("data", sizes.data, ["sandbox", *STAGES], "pipelines/data")
    if sizes.data in STAGES and name not in load_stage(sizes.data).domains:
        yield f"data {sizes.data} is for the domain {' or '.join(load_stage(sizes.data).domains)}"
    if sizes.data_options and sizes.data in ("sandbox", OWN):
        yield f"data {sizes.data} has no options"
    if sizes.data == OWN and sizes.files is None:
        yield f"data {OWN} needs files: {{questions: FILE}}"
    if sizes.data != OWN and sizes.files is not None:
        yield f"files: data {sizes.data} reads none; data {OWN} does"
    for role in sizes.experts or ():
        yield from unknown("expert", role, domain.experts, "domains.yaml: experts")
    for role in sizes.policies:
        yield from unknown("policy", role, domain.policies, "domains.yaml: policies")
    for role in domain.policies:
        yield from unknown("policy", role, sizes.policies, "policies")
    for task in sizes.tasks:
        yield from unknown("task", task, task_names(), "evaluation/tasks")
    judged = [task for task in sizes.tasks if task in task_names() and load_task(task).kind == "judge"]
    if (judged or domain.reward == "judge") and not sizes.judge:
        yield f"its reward or {', '.join(judged) or 'a task'} needs a judge: give `judge`"
    if isinstance(sizes.judge, HttpJudgeSettings):
        own = sizes.judge.aggregation
        for task in judged:
            if (other := load_task(task).aggregation) != own:
                yield f"the reward is the judge's {own} score, {task} its {other} one: judge: {{aggregation: {other}}}"


def _task_problems(scale: Scale) -> Iterator[str]:
    """Tasks of more than one origin: the sandbox writes a whole folder of benchmarks."""
    tasks = [task for domain in scale.domains.values() for task in domain.tasks if task in task_names()]
    made = [task for task in tasks if load_task(task).data.source == "generated"]
    if made and len(made) != len(tasks):
        fetched = ", ".join(task for task in tasks if task not in made)
        yield f"tasks of the sandbox ({', '.join(made)}) and others ({fetched}): take one"


def resolved_runs(declarations: Declarations, scale: Scale) -> list[RunConfig]:
    """Every run of a scale, with seed 0. Raises ValueError for one that cannot be resolved."""
    return [
        resolve_run(declarations, scale, run, domain, 0)
        for domain in scale.domains
        for method in declarations.known
        if domain in declarations.method_domains(method)
        for run in declarations.runs(method)
    ]


def schedule_warnings(declarations: Declarations, scale: Scale) -> list[str]:
    """A sentence for every run that ends before its schedule of mu has gone through all its phases."""
    found = []
    for config in resolved_runs(declarations, scale):
        # A period's SFT steps are a part of it; all other step counts are phases one after the other.
        phases = {key: value for key, value in config.mu.items() if key.endswith("_steps") and key != "sft_steps"}
        name = config.mu["schedule"]
        if declarations.base(config.method) != config.method and _same_mu(declarations, config.method):
            continue  # said of the method itself
        if sum(phases.values()) > config.steps:
            source = declarations.source(declarations.owner(config.method)[0].name)
            lengths = " + ".join(f"{key} {value:g}" for key, value in phases.items())
            found.append(
                f"{source}: {config.method} in {config.domain} at scale {scale.name}: mu's {name} is longer "
                f"than the run: {lengths}, the run has {config.steps} steps"
            )
    return found


def _same_mu(declarations: Declarations, derived: str) -> bool:
    """Whether a method of a reading or of the map has the μ of the one that it varies."""
    return declarations.method(derived).mu == declarations.method(declarations.base(derived)).mu


def tuning_warnings(declarations: Declarations, scale: Scale) -> list[str]:
    """A sentence for every domain whose learning rates were tuned with other settings than those of now."""
    found: dict[str, list[str]] = {}
    for domain, methods in scale.tuned.domains.items() if scale.tuned else ():
        for name, method in methods.items():
            if any(_settings_differ(declarations, scale, domain, trial) for trial in method.trials):
                found.setdefault(domain, []).append(name)
    return [
        f"pipelines/config/tuned/{scale.name}.json: {domain}: {', '.join(names)}: tuned with other settings than "
        "those of now; snakemake tune tunes again"
        for domain, names in found.items()
    ]


def _settings_differ(declarations: Declarations, scale: Scale, domain: str, trial: Trial) -> bool:
    try:
        now = resolve_run(declarations, scale, trial.run, domain, TUNING_SEED)
    except ValueError:  # no such run any more
        return True
    return now.hash() != trial.config_hash


def check_names(declarations: Declarations) -> None:
    """A method is a target by its name. Raises ValueError for each that has the name of another target."""
    refuse(
        f"{declarations.source(name)}: {name}: the workflow's own name: choose another"
        for name in declarations.methods
        if name in RULES or name.startswith("regrade_")
    )


BASELINE = "chord_phi"
"""What the user's methods are compared with where no methods are named."""


def compared_methods(declarations: Declarations, scale: Scale, named: tuple[str, ...] | None) -> tuple[str, ...]:
    """What `compare` compares: the named methods, or the user's and `chord_phi`; none where there are none.

    Raises ValueError for an unknown name, one that is not evaluated or stands twice, and a method that shares no domain
    of the scale with the last, the baseline.
    """

    def shared(name: str, baseline: str) -> set[str]:
        return set(declarations.method_domains(name)) & set(declarations.method_domains(baseline)) & set(scale.domains)

    def evaluated(name: str) -> bool:
        return declarations.method(name).role == "method"

    if named is None:
        own = [name for name in declarations.mine_names if evaluated(name) and shared(name, BASELINE)]
        return (*own, BASELINE) if own else ()
    known = {name: declarations.method(name) for name in named}
    if len(named) < 2 or len(known) < len(named):
        raise ValueError(f"methods: {', '.join(named)}: name two or more, each once; the last is the baseline")
    unfit = (name for name in named if not evaluated(name))
    refuse(f"methods: {name} has role {known[name].role}: only role method is evaluated" for name in unfit)
    *others, baseline = named
    refuse(
        f"methods: {name} ({', '.join(known[name].domains)}) and {baseline} ({', '.join(known[baseline].domains)}) "
        f"share no domain of scale {scale.name}"
        for name in others
        if not shared(name, baseline)
    )
    return named


def check_experiments(declarations: Declarations, source: str) -> None:
    """Every name in experiments.yaml must exist, and every method be there as the kind of experiment needs it.

    Raises ValueError with one line for every mistake.
    """
    names = declarations.experiments
    problems = [f"{name}: {text}" for name in names for text in _problems(declarations, name)]
    headline = declarations.headline
    problems += [f"headline: {text}" for name in headline for text in unknown("experiment", name, names, source)]
    refuse(f"{source}: {problem}" for problem in problems)


def _problems(declarations: Declarations, experiment: str) -> Iterator[str]:
    """What is wrong with an entry's references."""
    entry, domains = declarations.experiments[experiment], declarations.domains
    if experiment in declarations.methods:
        yield f"{experiment} is a method's name too: each is a target of its own"
    for domain in entry.domains:
        yield from unknown("domain", domain, domains, "domains.yaml")
    for column in entry.columns if isinstance(entry, TableEntry) else ():
        for benchmark in column.benchmarks:
            yield from unknown("benchmark", benchmark, benchmarks(), f"column {column.header}: evaluation/tasks")
    for name in entry.methods:
        yield from unknown("method", name, declarations.methods, "methods.yaml")
        if name not in declarations.methods:
            continue
        method = declarations.methods[name]
        if isinstance(entry, FigureEntry) and not entry.of_runs:
            if method.tuned_as != name:
                yield f"{name} is not tuned itself: it has no choice of a learning rate to show"
            continue
        for domain in (domain for domain in entry.domains if domain in domains):
            yield from unknown("domain", domain, declarations.method_domains(name), name)
        if entry.kind != "figure" and method.role != "method":
            yield f"{name} has role {method.role}: only role method is evaluated"
        if entry.kind == "figure" and not method.trains:
            yield f"{name} trains nothing, so it has no curve"
