"""The complete workflow at the `smoke` scale, once, and what a change makes run again."""

import json
import re
import shutil
from pathlib import Path

import pytest

from reference_impl.files import read_jsonl, write_jsonl
from tests.support.checkout import snakemake
from tests.support.workflow_plans import MATH_TASKS, SMOKE, edit, planned

pytestmark = pytest.mark.slow

NEW_METHOD = """
chord_phi_strong:
  label: CHORD-φ, μ = 0.3
  budget: {steps: rl}
  mu: {schedule: constant, value: 0.3}
  phi: p_one_minus_p
  learning_rate: 1.0e-6
  paper: "our own variant"
"""


def strengthen_chord_phi(folder: Path) -> None:
    """Change one value of one method's entry."""
    methods = (folder / "pipelines" / "config" / "methods.yaml").read_text(encoding="utf-8")
    entry = re.search(r"^chord_phi:\n(?: .*\n)+", methods, flags=re.MULTILINE)
    assert entry is not None
    edit(folder, "methods.yaml", entry[0], entry[0].replace("value: 0.1}", "value: 0.2}"))


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
    # Per domain 3 grid runs, 2 selections and 7 RL runs; math has the learning curve too.
    assert len(records) == 2 * 12 + 1
    assert {record["status"] for record in records} == {"complete"}
    assert not list(results.glob("runs/**/state")), "a finished run keeps no resumption state"
    assert len(list(results.glob("scores/*/*/seed0.parquet"))) == 2 * 10


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
    scores = [f"results/smoke/scores/{domain}/chord_phi/seed0.parquet" for domain in ("math", "tool")]
    result = snakemake(finished_editable, "--cores", "2", *scores, *SMOKE)
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


def edit_code(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / name
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.workflow
def test_an_edited_phi_trains_its_own_runs_again_and_the_plan_says_why(finished_editable: Path) -> None:
    phi = "reference_impl/token_weights.py"
    edit_code(finished_editable, phi, '"""phi = p (1 - p): CHORD', '"""The same, in other words: CHORD')
    assert planned(finished_editable, *SMOKE) == set()
    edit_code(finished_editable, phi, "prob * (1 - prob)", "4 * prob * (1 - prob)")
    jobs = planned(finished_editable, *SMOKE)
    assert {job for job in jobs if job.startswith("Train")} == {
        f"Train: chord_phi on {domain}, seed 0" for domain in ("math", "tool")
    }
    plan = snakemake(finished_editable, "--dry-run", *SMOKE).stdout
    notes = [line for line in plan.splitlines() if line.startswith("note: ")]
    assert notes == ["note: the code of phi has changed since: chord_phi trains again on math, seed 0, and 1 more"]


@pytest.mark.workflow
def test_an_edited_grader_grades_stored_samples_again(finished_editable: Path) -> None:
    samples = finished_editable / "results" / "smoke" / "evaluations"
    before = {path: path.stat().st_mtime_ns for path in samples.rglob("*.jsonl")}
    edit_code(
        finished_editable,
        "evaluation/graders.py",
        "    return _judged(index == reference.index",
        "    return _judged(index is not None",
    )
    assert (
        "note: the graders of mmlu_pro have changed since: " in snakemake(finished_editable, "--dry-run", *SMOKE).stdout
    )
    jobs = planned(finished_editable, *SMOKE)
    assert {job.partition(":")[0] for job in jobs} <= {"Score", "Report"}
    assert {job for job in jobs if job.startswith("Score") and "tool" in job} == set()
    result = snakemake(finished_editable, "--cores", "2", "grpo", *SMOKE)
    assert result.returncode == 0, result.stdout
    log = (finished_editable / "results/smoke/logs/score/math/grpo/seed0.log").read_text(encoding="utf-8")
    assert "sandbox-mmlu-pro: graded again by the code of now" in log and "sandbox-amc" not in log
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.workflow
def test_adding_a_set_of_demonstrations_retrains_nothing(finished_editable: Path) -> None:
    second = "    second: {source: Qwen2.5-72B-Instruct, rows: 500}"
    edit(finished_editable, "domains.yaml", second, f"    third: {{source: x, rows: 250}}\n{second}")
    jobs = {job for job in planned(finished_editable, *SMOKE) if not job.startswith("Report")}
    assert jobs == {"Data: expert-third of the tool domain", "Data: check and describe the tool domain"}


@pytest.mark.workflow
def test_grading_again_gives_the_same_verdicts_and_leaves_the_samples(finished_editable: Path) -> None:
    # LUFFY, which the finished workflow has evaluated in all its domains.
    edit(
        finished_editable,
        "methods.yaml",
        'mixed: {demonstrations: 1, shaping: 0.1}\n  tuned_as: luffy\n  paper: >-\n    "A method that integrates',
        'mixed: {demonstrations: 1, shaping: 0.2}\n  tuned_as: luffy\n  paper: >-\n    "A method that integrates',
    )
    jobs = {f"Grade again: luffy on {task}, seed 0" for task in (*MATH_TASKS, "sandbox-bfcl")}
    assert planned(finished_editable, "regrade_luffy", *SMOKE) == jobs
    result = snakemake(finished_editable, "--cores", "2", "regrade_luffy", *SMOKE)
    assert result.returncode == 0, result.stdout
    files = sorted((finished_editable / "results" / "smoke" / "regraded").glob("*/luffy/seed0/*.jsonl"))
    assert len(files) == len(jobs)
    for path in files:
        again = read_jsonl(path)
        stored = read_jsonl(Path(str(path).replace("/regraded/", "/evaluations/")))
        assert again == [{key: row[key] for key in again[0]} for row in stored]
        assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["samples"] == len(stored)
    assert planned(finished_editable, "regrade_luffy", *SMOKE) == set()
    samples = sum(json.loads(path.with_suffix(".json").read_bytes())["samples"] for path in files)
    assert f"{samples} of {samples} verdicts the same" in result.stdout


@pytest.mark.workflow
def test_a_local_file_samples_its_domain_again_when_it_changes(finished_editable: Path) -> None:
    own = finished_editable / "results" / "smoke" / "benchmarks" / "sandbox-amc.jsonl"
    shutil.copy(own, finished_editable / "mine.jsonl")
    assert planned(finished_editable, "sft_light", *SMOKE, "data={sandbox-amc: mine.jsonl}") == {
        "Evaluate: sft_light on math, seed 0, every task",
        "Score: sft_light on math, seed 0",
    }


@pytest.mark.workflow
def test_own_questions_are_answered_beside_what_is_finished(finished_editable: Path) -> None:
    results = finished_editable / "results" / "smoke"
    rows = [{"question": f"Start with {digit};a plusOne. Join all results.", "answer": digit + 1} for digit in range(3)]
    write_jsonl(finished_editable / "mine.jsonl", rows)
    before = {path: path.stat().st_mtime_ns for path in results.glob("evaluations/*/original/seed0/*")}
    result = snakemake(finished_editable, "--cores", "2", "original", *SMOKE, "data={sandbox-amc: mine.jsonl}")
    assert result.returncode == 0, result.stdout
    assert before == {path: path.stat().st_mtime_ns for path in results.glob("evaluations/*/original/seed0/*")}
    (folder,) = (results / "own").iterdir()
    samples = read_jsonl(folder / "evaluations" / "math" / "original" / "seed0" / "sandbox-amc.jsonl")
    assert [(row["gold"], row["sample"]) for row in samples] == [(str(n), s) for n in (1, 2, 3) for s in (0, 1)]
    # The other domains were asked nothing new: their answers are those that were there.
    linked = json.loads((folder / "evaluations" / "tool" / "original" / "seed0" / "identity.json").read_bytes())
    assert linked["linked_from"] == "tool/original/seed0"
    # A report of its own says whose questions they are.
    call = ("--cores", "2", str(folder.relative_to(finished_editable) / "report/tables/table2.md"))
    result = snakemake(finished_editable, *call, *SMOKE, "data={sandbox-amc: mine.jsonl}")
    assert result.returncode == 0, result.stdout
    table = (folder / "report" / "tables" / "table2.md").read_text(encoding="utf-8")
    assert "3 questions of your own (mine.jsonl) in the place of sandbox-amc" in table
