"""The workflow as a user meets it before anything runs: plans, and mistakes in the configuration."""

import re
from pathlib import Path

import pytest

from pipelines.ops import documents, keys_table
from pipelines.plan import load_plan
from reference_impl.config import load_declarations
from tests.support.checkout import REPO, copy_project, snakemake
from tests.support.workflow_plans import DOMAINS, MATH_TASKS, edit, planned, planned_jobs

pytestmark = pytest.mark.slow


def plain(folder: Path) -> Path:
    """A copy of the repository whose default scale has one seed, for short plans, and is not tuned, so that SFT has a
    grid in them.
    """
    copy_project(folder)
    edit(folder, "scales/mini.yaml", "seeds: [0, 1, 2]", "seeds: [0]")
    (folder / "pipelines/config/tuned/mini.json").unlink()
    return folder


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which nothing has run; not to be changed."""
    return plain(tmp_path_factory.mktemp("fresh"))


@pytest.fixture
def editable(tmp_path: Path) -> Path:
    """A copy for one test to change."""
    return plain(tmp_path / "checkout")


def test_the_default_scale_has_three_seeds_and_tuned_rates(tmp_path: Path) -> None:
    jobs = planned(copy_project(tmp_path), "sft_best")
    assert {job for job in jobs if job.startswith("Train") and "medicine" not in job} == {
        f"Train: {run} on {domain}, seed {seed}"
        for domain, run in (("math", "sft-lr1e-05"), ("tool", "sft-lr1e-06"))
        for seed in (0, 1, 2)
    }


def test_plan_of_one_method_holds_its_data_training_evaluation_and_scores(fresh: Path) -> None:
    expected = {"Data: evaluation sets, each from its own seed and disjoint from the training data"}
    for domain in DOMAINS:
        expected |= {
            f"Policy: check and install sandbox-{domain}",
            f"Data: prompts of the {domain} domain",
            f"Data: validation of the {domain} domain",
            f"Data: expert of the {domain} domain",
            f"Data: check the rows of {domain} that runs with the main expert read",
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
        "sasr",
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
    rl = ["sft_light_rl", "sft_best_rl", "sasr", "chord_mu", "grpo", "chord_phi"]
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


def test_the_documents_of_the_declarations_are_what_is_declared(tmp_path: Path) -> None:
    documents.main(["--check", "--folder", str(REPO / "docs")])
    documents.main(["--folder", str(tmp_path)])
    for name, old, new in (("declarations.md", "0.9", "0.8"), ("keys.md", "≥ 0, ≤ 1", "≥ 0, ≤ 2")):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert old in text
        (tmp_path / name).write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(SystemExit, match=rf"(?s)-.*{new}.*\+.*{old}.*{name} is not what is declared: make docs"):
            documents.main(["--check", "--folder", str(tmp_path)])
        (tmp_path / name).write_text(text, encoding="utf-8")


def test_every_key_has_a_meaning() -> None:
    rows = [line.strip("| ").split(" | ") for line in keys_table.document().splitlines() if line.startswith("| `")]
    assert len(rows) > 150 and [row for row in rows if len(row) != 4] == []


def test_seeds_multiply_runs_but_not_data(fresh: Path) -> None:
    jobs = planned(fresh, "grpo", "--config", "seeds=[0,1,2]")
    assert {job for job in jobs if job.startswith("Train")} == {
        f"Train: grpo on {domain}, seed {seed}" for domain in DOMAINS for seed in (0, 1, 2)
    }
    # Three files a domain and their check, and the benchmarks.
    assert len([job for job in jobs if job.startswith("Data")]) == 3 * 4 + 1


def test_plan_of_a_method_of_its_own_makes_its_own_demonstrations_and_policy(fresh: Path) -> None:
    assert {job for job in planned(fresh, "srft") if job.startswith(("Data", "Policy"))} == {
        "Data: prompts of the tool domain",
        "Data: validation of the tool domain",
        "Data: expert-aligned of the tool domain",
        "Data: check the rows of tool that runs with the aligned expert read",
        "Data: evaluation sets, each from its own seed and disjoint from the training data",
        "Policy: check and install sandbox-tool",
    }
    assert {job for job in planned(fresh, "grpo_weak") if job.startswith(("Policy", "Train"))} == {
        "Policy: check and install sandbox-math-small",
        "Train: grpo_weak on math, seed 0",
    }


def test_everything_is_each_table_figure_and_page_with_what_it_needs_once(fresh: Path) -> None:
    decl = load_declarations()
    evaluated: set[tuple[str, str]] = set()
    made: set[tuple[str, str]] = set()
    for entry in decl.experiments.values():
        pairs = {(name, domain) for name in entry.made_of for domain in entry.domains}
        made |= pairs
        evaluated |= set() if entry.kind == "figure" else pairs
    waiting = list(made)
    for name, domain in waiting:  # grows while it is read
        waiting += [(other, domain) for other in decl.method(name).builds_on]
    made |= set(waiting)

    jobs = planned_jobs(fresh, "everything")
    assert len(jobs) == len(set(jobs))

    def of(*kinds: str) -> set[str]:
        return {job for job in jobs if job.startswith(kinds)}

    assert of("Evaluate", "Score") == {
        f"{what}: {name} on {domain}, seed 0{tail}"
        for what, tail in (("Evaluate", ", every task"), ("Score", ""))
        for name, domain in evaluated
    }
    assert of("Train") == {f"Train: {run} on {domain}, seed 0" for name, domain in made for run in decl.runs(name)}
    assert of("Select") == {
        f"Select: {name} on {domain}, seed 0, by validation accuracy"
        for name, domain in made
        if decl.method(name).select
    }
    pages = {f"Report: the page of {page}, beside the paper's printed values" for page in ("headline", "everything")}
    phi = {f"Report: what φ does in {domain}" for domain in decl.domains if decl.main_table(domain)}
    assert of("Report") == {f"Report: {name}" for name in decl.experiments} | pages | phi
    # Every file of the data of every domain, and every policy but none twice.
    checks = {job for job in of("Data") if "that runs with" in job}
    assert checks == {
        f"Data: check the rows of {domain} that runs with the {decl.method(name).expert} expert read"
        for name, domain in made
        if decl.method(name).trains
    }
    assert len(of("Data") - checks) == 6 + 5 + 3 + 3 + 1 and len(of("Policy")) == 6
    assert planned(fresh, "headline") - {"Report: headline"} < set(jobs)


def test_every_target_resolves(fresh: Path) -> None:
    targets = load_plan({"scale": "mini"}).files.targets()
    assert {"everything", "table7", "scaling", "cases", "mu_cosine"} <= set(targets)
    jobs = planned(fresh, *targets)
    # What no table needs is trained for its own target only.
    alone = {"mu_cosine", "mu_binary", "mu_periodic", "phi_is_clip_cap", "luffy_no_std", "srft_released"}
    alone |= {"phi_none", "phi_importance", "chord_phi_decay"}
    assert {job for job in jobs - planned(fresh, "everything") if job.startswith("Train")} == {
        f"Train: {name} on {domain}, seed 0" for name in alone for domain in load_declarations().method_domains(name)
    }


def test_default_target_makes_every_headline_table_and_figure(fresh: Path) -> None:
    reports = {job.removeprefix("Report: ") for job in planned(fresh) if job.startswith("Report")}
    names = ["table1", "table2", "table10", "table11", "figure2", "figure4", "figure6", "figure8", "figure9", "tuning"]
    page = "the page of headline, beside the paper's printed values"
    assert reports == {*names, page, "what φ does in math", "what φ does in tool"}


def test_a_clone_in_a_folder_with_braces(tmp_path: Path) -> None:
    """Snakemake formats the path of a rule's environment."""
    called = snakemake(
        copy_project(tmp_path / "a{b}c"),
        "results/smoke/data/math/manifest.json",
        "--cores",
        "1",
        "--config",
        "scale=smoke",
    )
    assert called.returncode == 0, called.stdout
    assert (tmp_path / "a{b}c" / "results" / "smoke" / "data" / "math" / "manifest.json").is_file()


def test_retraining_policies_writes_beside_the_shipped_ones(fresh: Path) -> None:
    result = snakemake(fresh, "--dry-run", "--printshellcmds", "retrain_policies")
    assert result.returncode == 0, result.stdout
    outputs = re.findall(r"--out (\S+)", result.stdout)
    names = ["math", "math-base", "math-small", "medicine", "tool", "tool-moe"]
    assert sorted(outputs) == [f"results/mini/retrained/sandbox-{name}" for name in names]


def test_grading_again_needs_samples_only(editable: Path) -> None:
    tasks = {"math": MATH_TASKS, "tool": ["sandbox-bfcl"], "medicine": ["sandbox-medicine"]}
    refused = snakemake(editable, "--dry-run", "regrade_chord_phi")
    assert refused.returncode != 0
    assert (
        "regrade_chord_phi: nothing has been sampled; `snakemake --cores 2 chord_phi` samples first" in refused.stdout
    )

    # Samples without the checkpoint that they are from, as another machine may hand them over.
    for domain, names in tasks.items():
        folder = editable / "results" / "mini" / "evaluations" / domain / "chord_phi" / "seed0"
        folder.mkdir(parents=True)
        for task in names:
            (folder / f"{task}.jsonl").touch()
    regrade = {f"Grade again: chord_phi on {task}, seed 0" for names in tasks.values() for task in names}
    assert {job for job in planned(editable, "regrade_chord_phi") if not job.startswith("Data")} == regrade
    (editable / "results/mini/evaluations/tool/chord_phi/seed0/sandbox-bfcl.jsonl").unlink()
    regrade.remove("Grade again: chord_phi on sandbox-bfcl, seed 0")
    assert {job for job in planned(editable, "regrade_chord_phi") if not job.startswith("Data")} == regrade

    # The rubric's judge is the scale's.
    commands = snakemake(editable, "--dry-run", "--printshellcmds", "regrade_chord_phi").stdout
    judged = re.findall(r"""--task (\S+) .*--judge '{"kind": "local", "noise": 0.05}' --out""", commands)
    assert judged == ["sandbox-medicine"]


def test_own_questions_are_asked_in_a_folder_of_their_own(fresh: Path, tmp_path: Path) -> None:
    """And only in the domain of their task; what the scale was asked before is neither removed nor read."""
    path = tmp_path / "my.jsonl"
    path.write_text('{"question": "1 + 1", "answer": "2"}\n', encoding="utf-8")
    option = f"data={{sandbox-amc: {path}}}"
    result = snakemake(fresh, "--dry-run", "--printshellcmds", "original", "--config", option)
    assert result.returncode == 0, result.stdout
    commands = re.findall(r"pipelines\.ops\.warm evaluation\.generate .*", result.stdout)
    assert {"--domain math" in command: "--own" in command for command in commands} == {True: True, False: False}
    assert f" --own sandbox-amc={path} " in result.stdout
    outputs = re.findall(r" --out (\S+)", "\n".join(commands))
    assert outputs and all(re.match(r"results/mini/own/[0-9a-f]{16}/evaluations/", output) for output in outputs)


@pytest.mark.parametrize(
    ("name", "old", "new", "messages"),
    [
        (
            "methods.yaml",
            "grid: &tuned\n    learning_rate:",
            "grid: &tuned\n    lerning_rate:",
            ["methods.yaml", "grid.lerning_rate: unknown key", "did you mean 'learning_rate'?"],
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
            ["mini.yaml: rolout_batch: unknown key", "did you mean 'rollout_batch'?"],
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


def test_a_schedule_longer_than_its_run_is_said_once(editable: Path) -> None:
    edit(editable, "methods.yaml", "switch_steps: 78}", "switch_steps: 2000}")
    result = snakemake(editable, "--dry-run", "mu_binary")
    assert result.returncode == 0
    assert result.stdout.count("warning: methods.yaml: mu_binary in math at scale mini: mu's binary is longer") == 1


@pytest.mark.parametrize(
    ("option", "messages"),
    [
        ("scale=smokey", ["unknown scale 'smokey'", "did you mean 'smoke'?", "gpu1, mini, paper, smoke"]),
        ("scal=smoke", ["scal: unknown key", "did you mean 'scale'?"]),
        ("seeds=0", ["seeds: expected a list, found 0"]),
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


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("tabel1", "there is no target 'tabel1'; did you mean 'table1'?"),
        ("chord_ph", "there is no target 'chord_ph'; did you mean 'chord_phi'?"),
        ("regrade_chord_ph", "did you mean 'regrade_chord_phi'?"),
    ],
)
def test_an_unknown_target_is_one_sentence(fresh: Path, target: str, said: str) -> None:
    result = snakemake(fresh, "--dry-run", "table1", target)
    assert result.returncode != 0 and said in result.stdout and "Traceback" not in result.stdout
