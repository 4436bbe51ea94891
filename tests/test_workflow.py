"""The workflow as a user meets it: plans, mistakes in the configuration, and the `smoke` scale end to end."""

import json
import re
import shutil
from pathlib import Path

import pytest

from reference_impl.files import read_jsonl
from tests.checkout import copy_project, snakemake

SMOKE = ("--config", "scale=smoke")
MATH_TASKS = ["sandbox-amc", "sandbox-aime24", "sandbox-aime25", "sandbox-mmlu-pro"]
NEW_METHOD = """
chord_phi_strong:
  label: CHORD-φ, μ = 0.3
  budget: {steps: rl}
  mu: {schedule: constant, value: 0.3}
  phi: p_one_minus_p
  learning_rate: 1.0e-6
  paper: "our own variant"
"""


def planned(folder: Path, *arguments: str) -> set[str]:
    """The one-line messages of the jobs that Snakemake would run."""
    result = snakemake(folder, "--dry-run", *arguments)
    assert result.returncode == 0, result.stdout
    return set(re.findall(r"^Job \d+: (.+)$", result.stdout, flags=re.MULTILINE))


def edit(folder: Path, name: str, old: str, new: str) -> None:
    """Replace the one occurrence of `old` in a configuration file."""
    path = folder / "pipelines" / "config" / name
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {name}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def strengthen_chord_phi(folder: Path) -> None:
    """Change one value of one method's entry."""
    methods = (folder / "pipelines" / "config" / "methods.yaml").read_text(encoding="utf-8")
    entry = re.search(r"^chord_phi:\n(?: .*\n)+", methods, flags=re.MULTILINE)
    assert entry is not None
    edit(folder, "methods.yaml", entry[0], entry[0].replace("value: 0.1}", "value: 0.2}"))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which nothing has run; not to be changed."""
    return copy_project(tmp_path_factory.mktemp("fresh"))


@pytest.fixture
def editable(tmp_path: Path) -> Path:
    """A copy of the repository for one test to change."""
    return copy_project(tmp_path / "checkout")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which the whole smoke workflow has run; not to be changed."""
    folder = copy_project(tmp_path_factory.mktemp("finished"))
    result = snakemake(folder, "--cores", "2", *SMOKE)
    assert result.returncode == 0, result.stdout
    return folder


@pytest.fixture
def finished_editable(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished workflow, its records and times included, for one test to change."""
    return Path(shutil.copytree(finished, tmp_path / "finished"))


def test_plan_of_one_method_holds_its_data_training_evaluation_and_scores(fresh: Path) -> None:
    expected = {
        "Policy: check and install sandbox-math",
        "Policy: check and install sandbox-tool",
        "Data: prompts, expert demonstrations and validation set of the math domain",
        "Data: prompts, expert demonstrations and validation set of the tool domain",
        "Data: evaluation sets, each from its own seed and disjoint from the training data",
    }
    for domain in ("math", "tool"):
        expected |= {
            f"Train: chord_phi on {domain}, seed 0",
            f"Evaluate: chord_phi on {domain}, seed 0, every task",
            f"Score: chord_phi on {domain}, seed 0",
        }
    assert planned(fresh, "chord_phi") == expected


def test_plan_of_a_table_evaluates_its_methods_and_trains_what_they_start_from(fresh: Path) -> None:
    jobs = planned(fresh, "table10")
    rows = [
        "original",
        "sft_light",
        "sft_best",
        "sft_light_rl",
        "sft_best_rl",
        "chord_mu",
        "grpo",
        "chord_phi",
    ]
    assert {job for job in jobs if job.startswith("Evaluate")} == {
        f"Evaluate: {method} on tool, seed 0, every task" for method in rows
    }
    assert {job for job in jobs if job.startswith("Select")} == {
        f"Select: {method} on tool, seed 0, by validation accuracy" for method in ("sft_light", "sft_best")
    }
    grid = ["sft-lr1e-06", "sft-lr5e-06", "sft-lr1e-05"]  # what the two selections choose among
    rl = ["sft_light_rl", "sft_best_rl", "chord_mu", "grpo", "chord_phi"]
    assert {job for job in jobs if job.startswith("Train")} == {f"Train: {run} on tool, seed 0" for run in grid + rl}
    assert {job for job in jobs if job.startswith("Report")} == {"Report: table10"}


def test_plan_of_a_figure_trains_and_does_not_evaluate(fresh: Path) -> None:
    jobs = planned(fresh, "figure6")
    assert {job for job in jobs if job.startswith("Train")} == {
        f"Train: {method} on {domain}, seed 0"
        for method in ("grpo", "chord_mu", "chord_phi")
        for domain in ("math", "tool")
    }
    assert not {job for job in jobs if job.startswith(("Evaluate", "Select"))}


def test_seeds_multiply_runs_but_not_data(fresh: Path) -> None:
    jobs = planned(fresh, "grpo", "--config", "seeds=[0,1,2]")
    assert {job for job in jobs if job.startswith("Train")} == {
        f"Train: grpo on {domain}, seed {seed}" for domain in ("math", "tool") for seed in (0, 1, 2)
    }
    assert len([job for job in jobs if job.startswith("Data")]) == 3  # two domains and the benchmarks


def test_default_target_makes_every_headline_table_and_figure(fresh: Path) -> None:
    reports = {job.removeprefix("Report: ") for job in planned(fresh) if job.startswith("Report")}
    names = ["table1", "table2", "table10", "table11", "figure2", "figure4", "figure6", "figure8", "figure9"]
    assert reports >= set(names)
    assert len(reports) == len(names) + 1  # and the page


def test_retraining_policies_writes_beside_the_shipped_ones(fresh: Path) -> None:
    result = snakemake(fresh, "--dry-run", "--printshellcmds", "retrain_policies")
    assert result.returncode == 0, result.stdout
    outputs = re.findall(r"--out (\S+)", result.stdout)
    assert sorted(outputs) == ["results/mini/retrained/sandbox-math", "results/mini/retrained/sandbox-tool"]


def test_grading_again_needs_samples_only(editable: Path) -> None:
    regrade = {f"Grade again: chord_phi on {task}, seed 0" for task in (*MATH_TASKS, "sandbox-bfcl")}
    jobs = planned(editable, "regrade_chord_phi")
    assert jobs >= regrade | {f"Train: chord_phi on {domain}, seed 0" for domain in ("math", "tool")}

    # Samples without the checkpoint that they are from, as another machine may hand them over.
    for domain, tasks in (("math", MATH_TASKS), ("tool", ["sandbox-bfcl"])):
        folder = editable / "results" / "mini" / "evaluations" / domain / "chord_phi" / "seed0"
        folder.mkdir(parents=True)
        for task in tasks:
            (folder / f"{task}.jsonl").touch()
    assert {job for job in planned(editable, "regrade_chord_phi") if not job.startswith("Data")} == regrade


def test_a_local_file_goes_to_the_evaluations_of_its_tasks_domain(fresh: Path) -> None:
    option = "data={sandbox-amc: CHANGELOG.md}"  # what the file holds is not looked at before it is sampled
    result = snakemake(fresh, "--dry-run", "--printshellcmds", "original", "--config", option)
    assert result.returncode == 0, result.stdout
    commands = re.findall(r"python -m evaluation\.generate .*", result.stdout)
    assert {"--domain math" in command: "--data" in command for command in commands} == {True: True, False: False}
    assert " --data sandbox-amc=CHANGELOG.md " in result.stdout


@pytest.mark.parametrize(
    ("name", "old", "new", "messages"),
    [
        (
            "methods.yaml",
            "grid:\n    learning_rate:",
            "grid:\n    lerning_rate:",
            ["methods.yaml", "unknown key 'lerning_rate'", "did you mean 'learning_rate'?"],
        ),
        (
            "methods.yaml",
            "init: sft_light\n",
            "init: sft_ligth\n",
            ["methods.yaml: sft_light_rl", "unknown method 'sft_ligth'", "did you mean 'sft_light'?"],
        ),
        (
            "experiments.yaml",
            "methods: [sft_curve]",
            "methods: [sft_curv]",
            ["experiments.yaml: figure2", "unknown method 'sft_curv'", "did you mean 'sft_curve'?"],
        ),
        (
            "scales/mini.yaml",
            "rollout_batch:",
            "rolout_batch:",
            ["mini.yaml", "unknown key 'rolout_batch'", "did you mean 'rollout_batch'?"],
        ),
    ],
)
def test_a_mistake_in_a_file_stops_before_the_plan(
    editable: Path, name: str, old: str, new: str, messages: list[str]
) -> None:
    edit(editable, name, old, new)
    result = snakemake(editable, "--dry-run")
    assert result.returncode != 0
    assert "Building DAG" not in result.stdout
    for message in messages:
        assert message in result.stdout


@pytest.mark.parametrize(
    ("option", "messages"),
    [
        ("scale=smokey", ["unknown scale 'smokey'", "did you mean 'smoke'?", "mini, smoke"]),
        ("scal=smoke", ["unknown key 'scal'", "did you mean 'scale'?"]),
        ("seeds=0", ["seeds: 0 is not of type 'array'"]),
        ("data={sandbox-amcs: x}", ["unknown task 'sandbox-amcs'", "did you mean 'sandbox-amc'?"]),
        ("data={aime24: x}", ["data.aime24: scale mini does not evaluate it", "it evaluates sandbox-amc, "]),
        ("data={sandbox-amc: no/such.jsonl}", ["data.sandbox-amc: no such file: no/such.jsonl"]),
    ],
)
def test_a_mistake_on_the_command_line_stops_before_the_plan(fresh: Path, option: str, messages: list[str]) -> None:
    result = snakemake(fresh, "--dry-run", "--config", option)
    assert result.returncode != 0
    assert "Building DAG" not in result.stdout
    for message in messages:
        assert message in result.stdout


@pytest.mark.workflow
def test_smoke_makes_the_whole_report_from_finished_runs(finished: Path) -> None:
    results = finished / "results" / "smoke"
    page = (results / "report" / "index.html").read_text(encoding="utf-8")
    assert "miniature" in page.lower()
    for table in ("table1", "table2", "table10", "table11"):
        for suffix in ("csv", "md", "tex"):
            assert (results / "report" / "tables" / f"{table}.{suffix}").stat().st_size > 0
    for figure in ("figure2", "figure4", "figure6", "figure8", "figure9"):
        for suffix in ("png", "svg"):
            assert (results / "report" / "figures" / f"{figure}.{suffix}").stat().st_size > 0
    records = [json.loads(path.read_text(encoding="utf-8")) for path in results.glob("runs/*/*/seed0/run.json")]
    # Per domain 3 grid runs, 2 selections and 5 RL runs; math has the learning curve too.
    assert len(records) == 2 * 10 + 1
    assert {record["status"] for record in records} == {"complete"}
    assert not list(results.glob("runs/**/state")), "a finished run keeps no resumption state"
    assert len(list(results.glob("scores/*/*/seed0.parquet"))) == 2 * 8


@pytest.mark.workflow
def test_smoke_shows_training_while_it_runs_and_keeps_the_lines(finished: Path) -> None:
    log = finished / "results" / "smoke" / "logs" / "train" / "math" / "chord_phi" / "seed0.log"
    assert "math/chord_phi" in log.read_text(encoding="utf-8")


@pytest.mark.workflow
def test_second_call_has_nothing_to_do(finished: Path) -> None:
    result = snakemake(finished, "--cores", "2", *SMOKE)
    assert result.returncode == 0
    assert "Nothing to be done" in result.stdout


@pytest.mark.workflow
def test_changing_one_entry_reruns_that_method_only(finished_editable: Path) -> None:
    strengthen_chord_phi(finished_editable)
    jobs = planned(finished_editable, *SMOKE)
    touched = {job for job in jobs if not job.startswith("Report")}
    assert touched == {
        f"{what}: chord_phi on {domain}, seed 0{tail}"
        for domain in ("math", "tool")
        for what, tail in (("Train", ""), ("Evaluate", ", every task"), ("Score", ""))
    }
    assert {job for job in jobs if job.startswith("Report: figure")} == {
        f"Report: {figure}" for figure in ("figure6", "figure8", "figure9")
    }

    records = finished_editable / "results" / "smoke" / "runs"
    before = {path: path.stat().st_mtime_ns for path in records.glob("*/*/seed0/run.json")}
    result = snakemake(finished_editable, "--cores", "2", "chord_phi", *SMOKE)
    assert result.returncode == 0, result.stdout
    rerun = {path.parent.parent.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert rerun == {"chord_phi"}
    record = json.loads((records / "math" / "chord_phi" / "seed0" / "run.json").read_text(encoding="utf-8"))
    assert record["config"]["mu"]["value"] == 0.2


@pytest.mark.workflow
def test_adding_a_method_reruns_nothing_and_gives_it_a_target(finished_editable: Path) -> None:
    methods = finished_editable / "pipelines" / "config" / "methods.yaml"
    methods.write_text(methods.read_text(encoding="utf-8") + NEW_METHOD, encoding="utf-8")
    assert planned(finished_editable, *SMOKE) == set()
    assert planned(finished_editable, "chord_phi_strong", *SMOKE) == {
        f"{what}: chord_phi_strong on {domain}, seed 0{tail}"
        for domain in ("math", "tool")
        for what, tail in (("Train", ""), ("Evaluate", ", every task"), ("Score", ""))
    }


@pytest.mark.workflow
def test_grading_again_gives_the_same_verdicts_and_leaves_the_samples(finished_editable: Path) -> None:
    strengthen_chord_phi(finished_editable)
    jobs = {f"Grade again: chord_phi on {task}, seed 0" for task in (*MATH_TASKS, "sandbox-bfcl")}
    assert planned(finished_editable, "regrade_chord_phi", *SMOKE) == jobs
    result = snakemake(finished_editable, "--cores", "2", "regrade_chord_phi", *SMOKE)
    assert result.returncode == 0, result.stdout
    files = sorted((finished_editable / "results" / "smoke" / "regraded").glob("*/chord_phi/seed0/*.jsonl"))
    assert len(files) == len(jobs)
    for path in files:
        again = read_jsonl(path)
        stored = read_jsonl(Path(str(path).replace("/regraded/", "/evaluations/")))
        assert again == [{key: row[key] for key in again[0]} for row in stored]
        assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["samples"] == len(stored)
    assert planned(finished_editable, "regrade_chord_phi", *SMOKE) == set()


@pytest.mark.workflow
def test_a_local_file_samples_its_domain_again_when_it_changes(finished_editable: Path) -> None:
    own = finished_editable / "results" / "smoke" / "benchmarks" / "sandbox-amc.jsonl"
    shutil.copy(own, finished_editable / "mine.jsonl")
    assert planned(finished_editable, "original", *SMOKE, "data={sandbox-amc: mine.jsonl}") == {
        "Evaluate: original on math, seed 0, every task",
        "Score: original on math, seed 0",
    }
