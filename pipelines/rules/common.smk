# Configuration, checked before anything is planned, and what every rule shares.
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from pipelines.ops import call, terminal, warm
from pipelines.ops.try_phi import try_own_phi
from pipelines.plan import PAGES, load_plan
from pipelines.plan.own_data import check_once
from reference_impl.config.mine import MINE
from reference_impl.config.readings import READING

try:
    PLAN = load_plan(config)
    os.environ[MINE] = PLAN.mine
    os.environ[READING] = PLAN.reading
    if workflow.is_main_process:
        try_own_phi(PLAN.choice.declarations, Path(".snakemake"))
        check_once(PLAN.choice, Path(".snakemake"))
except ValueError as error:
    raise WorkflowError(f"Configuration error\n{error}") from None

if workflow.is_main_process:  # and not in every job that Snakemake starts as a process of its own
    terminal.install(Path(PLAN.files.results, "seconds.jsonl"))
    for warning in PLAN.warnings():
        print(f"warning: {warning}", file=sys.stderr)
    for note in PLAN.notes():
        print(f"note: {note}", file=sys.stderr)
    os.environ[warm.WORKFLOW] = warm.process_name(os.getpid())

RESULTS = PLAN.files.results
LOGS = f"{RESULTS}/logs"
# Of samples, scores and report: where the user brings questions of their own, a results folder inside the scale's.
ASKED = PLAN.files.asked
ASKED_LOGS = f"{ASKED}/logs"
RUN = f"{RESULTS}/runs/{{domain}}/{{run}}/seed{{seed}}"
SELECTION = f"{RESULTS}/runs/{{domain}}/{{selection}}/seed{{seed}}"
EVALUATION = f"{ASKED}/evaluations/{{domain}}/{{method}}/seed{{seed}}"
REGRADED = f"{ASKED}/regraded/{{domain}}/{{method}}/seed{{seed}}/{{task}}"

# Of every job; braces doubled, since Snakemake formats the path, and a clone's folder may have some.
ENVIRONMENT = f"{workflow.basedir}/environment.yml".replace("{", "{{").replace("}", "}}")

# Jobs run side by side with one thread each: spinning threads beside another busy process cost a factor of 40.
for name, value in {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}.items():
    os.environ.setdefault(name, value)
# Jobs call the Python that runs Snakemake, whether or not its environment is activated.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def stored_samples(wildcards):
    """Folder of an evaluation: as it is where it holds the task's samples, else as sampling will make it."""
    folder = EVALUATION.format(**wildcards)
    return before_update(folder) if Path(folder, f"{wildcards.task}.jsonl").is_file() else folder


wildcard_constraints:
    domain="|".join(PLAN.choice.scale.domains),
    method="|".join(PLAN.choice.declarations.known),
    task="|".join(task for domain in PLAN.choice.scale.domains.values() for task in domain.tasks),
    run="|".join(PLAN.choice.training_runs + PLAN.choice.trial_runs),
    selection="|".join(PLAN.choice.selections),
    grid="|".join(set(PLAN.choice.selections.values())) or "none",
    seed="[0-9]+",
