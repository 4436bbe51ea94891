"""Tables: numbers by hand from a few invented samples, the printed values beside them, errors that help."""

import csv
import dataclasses
import math
from pathlib import Path

import pytest

from evaluation.statistics import Estimate
from reference_impl.config import load_declarations, load_scale
from reference_impl.config.methods import Budget
from reports.inputs import Results, published_table, task_benchmarks
from reports.scores import column_name
from reports.table_formats import latex, to_csv, to_json, to_latex, to_markdown
from reports.table_model import Cell, Table
from reports.table_notes import row_labels
from reports.tables import build, implied_values, main
from tests.support.synthetic_results import synthetic_results, tables, write_json, write_scores

pytestmark = pytest.mark.slow

TABLES = tables(load_declarations())


def small(root: Path, table: str, domains: list[str], methods: list[str]) -> Results:
    """A results folder whose table has only these domains and methods."""
    decl = load_declarations()
    changed = {"title": "Small", "domains": tuple(domains), "methods": tuple(methods)}
    entry = decl.experiments[table].model_copy(update=changed)
    return Results(root, load_scale("mini"), dataclasses.replace(decl, experiments={table: entry}, headline=(table,)))


def bfcl_rows(category: str, right: int, wrong: int, **extra: object) -> list[dict[str, object]]:
    rows = []
    for index in range(right + wrong):
        correct = index < right
        row = {
            "task": "sandbox-bfcl",
            "item_id": f"{category}_{index}",
            "category": category,
            "correct": correct,
            "tokens": 20 + index,
        }
        rows.append(row | extra if not correct else row)
    return rows


@pytest.fixture
def bfcl(tmp_path: Path) -> Results:
    """GRPO: 3 of 4 live_simple and 0 of 2 simple_python right, the wrong ones of the latter unreadable."""
    rows = bfcl_rows("live_simple", 3, 1) + bfcl_rows("simple_python", 0, 2, reason="bad_format")
    write_scores(tmp_path / "scores/tool/grpo/seed0.parquet", rows)
    return small(tmp_path, "table1", ["tool"], ["grpo"])


def test_instance_weighted_averages_by_hand(bfcl: Results) -> None:
    table = build(bfcl, "table1")
    live, non_live, overall = table.cells[0]
    assert table.column_names == ("sandbox-bfcl live", "sandbox-bfcl non-live", "sandbox-bfcl overall")
    # 3/4, 0/2, 3/6
    assert [cell.ours.mean for cell in table.cells[0] if cell.ours] == pytest.approx([75.0, 0.0, 50.0])
    assert [cell.printed for cell in table.cells[0]] == ["68.5", "88.8", "77.1"]
    assert [cell.unreadable for cell in (live, non_live, overall)] == pytest.approx([0.0, 1.0, 2 / 6])
    # Wilson, 3 of 4 right: SE^2 = 0.1875/3, n_eff = 3: (0.75 + 3.8415/6) / (1 + 3.8415/3) = 0.60963 +-
    # 0.35354
    assert live.ours is not None
    assert (live.ours.low, live.ours.high) == pytest.approx((25.609, 96.317), abs=2e-3)


def test_csv_has_every_number_in_its_own_column(bfcl: Results) -> None:
    (row,) = csv.DictReader(to_csv(build(bfcl, "table1")).splitlines())
    assert (row["method"], row["label"], row["seeds"]) == ("grpo", "GRPO (Pure RL)", "1")
    assert (row["sandbox-bfcl overall"], row["BFCL Overall (paper)"]) == ("50.0000", "77.1")
    assert float(row["sandbox-bfcl overall low"]) < 50 < float(row["sandbox-bfcl overall high"])
    assert row["sandbox-bfcl non-live unreadable"] == "1.0000"
    assert not any(name.startswith("BFCL") and "(paper)" not in name for name in row), "ours must not be called BFCL"


def test_unreadable_answers_are_named_under_the_table(bfcl: Results) -> None:
    assert "GRPO (Pure RL) on sandbox-bfcl non-live 100%" in " ".join(build(bfcl, "table1").notes)


def test_methods_with_the_same_answers_are_named_under_the_table(tmp_path: Path) -> None:
    rows = bfcl_rows("simple_python", 3, 1)
    for method, own in {"sft_light": rows, "sft_best": rows, "grpo": bfcl_rows("simple_python", 2, 2)}.items():
        write_scores(tmp_path / f"scores/tool/{method}/seed0.parquet", own)
    results = small(tmp_path, "table1", ["tool"], ["sft_light", "sft_best", "grpo"])
    notes = [note for note in build(results, "table1").notes if "the same" in note]
    assert len(notes) == 1 and "tool domain: SFT-light = SFT-best. " in notes[0]


def test_two_seeds_share_a_cell(tmp_path: Path) -> None:
    for seed, right in ((0, 4), (1, 2)):
        write_scores(tmp_path / f"scores/tool/grpo/seed{seed}.parquet", bfcl_rows("live_simple", right, 4 - right))
    cell = build(small(tmp_path, "table1", ["tool"], ["grpo"]), "table1").cells[0][0]
    assert cell.ours is not None
    # Seed means 1.0 and 0.5: mean 0.75, sd 0.35355.
    assert (cell.ours.mean, cell.ours.seeds, cell.ours.seed_sd) == pytest.approx((75.0, 2, 35.355), abs=1e-3)
    one = dataclasses.replace(small(tmp_path, "table1", ["tool"], ["grpo"]), seeds=(1,))
    assert build(one, "table1").cells[0][0].ours.mean == pytest.approx(50.0)  # type: ignore[union-attr]


def test_lengths_with_the_expert_first(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores/tool/grpo/seed0.parquet", bfcl_rows("live_simple", 3, 0))
    write_json(tmp_path / "data/tool/manifest.json", {"expert_length_mean": 61.25, "expert_rows": 40})
    table = build(small(tmp_path, "table2", ["tool"], ["grpo"]), "table2")
    assert table.labels == ("Expert Data", "GRPO (Pure RL)")
    # Tokens 20, 21, 22.
    assert [row[0].ours.mean for row in table.cells if row[0].ours] == pytest.approx([61.25, 21.0])
    assert [row[0].printed for row in table.cells] == ["315", "118"]
    assert "| Expert Data | 61.2 | 315 |" in to_markdown(table)


def test_a_known_error_of_the_paper_is_flagged(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores/tool/grpo/seed0.parquet", bfcl_rows("simple_python", 1, 1))
    table = build(small(tmp_path, "table10", ["tool"], ["grpo"]), "table10")
    simple = table.cells[0][4]
    assert (simple.printed, simple.implied) == ("83.5", "90.2")
    assert "83.5† (90.2)" in to_markdown(table)
    assert r"83.5$^\dagger$ (90.2)" in to_latex(table)
    assert table.cells[0][0].ours is None, "a category that was not asked is empty, not zero"


def test_the_json_file_holds_all_of_a_table(bfcl: Results) -> None:
    table = build(bfcl, "table1")
    assert Table.model_validate_json(to_json(table)) == table
    alone = Cell(ours=Estimate(1.0, math.nan, math.nan, math.inf, 1), printed=None)
    unknown = table.model_copy(update={"cells": ((alone,),)})
    (read,) = Table.model_validate_json(to_json(unknown)).cells[0]
    assert read.ours is not None and math.isnan(read.ours.low) and read.ours.high == math.inf


def test_latex_escapes() -> None:
    assert latex("CHORD-φ 5 % a_b") == r"CHORD-$\phi$ 5 \% a\_b"


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("folder", ["one_seed", "three_seeds"])
def test_every_table_of_a_whole_folder(request: pytest.FixtureRequest, tmp_path: Path, folder: str, name: str) -> None:
    results: Results = request.getfixturevalue(folder)
    main(["--table", name, "--scale", "mini", "--results", str(results.root), "--out", str(tmp_path)])
    rows = list(csv.DictReader((tmp_path / f"{name}.csv").open(encoding="utf-8")))
    expected = results.decl.experiments[name].methods
    assert tuple(row["method"] for row in rows if row["method"] != "expert") == expected
    trained = [row for row in rows if row["method"] != "expert"]
    seeds = 1 if folder == "one_seed" else 3
    assert {row["seeds"] for row in trained} == {str(seeds)}
    for row in trained:
        names = [key.removesuffix(" low") for key in row if key.endswith(" low")]
        for column in names:
            assert float(row[f"{column} low"]) < float(row[column]) < float(row[f"{column} high"])
            assert bool(row[f"{column} seed sd"]) == (seeds > 1)
    markdown = (tmp_path / f"{name}.md").read_text(encoding="utf-8")
    assert markdown.count("\n| ") == len(rows) + 2
    assert ("over questions and 3 seeds" in markdown) == (seeds == 3)
    tex = (tmp_path / f"{name}.tex").read_text(encoding="utf-8")
    assert tex.count(r" \\") == len(rows) + 2
    assert tex.isascii(), "every character needs its LaTeX form"


def test_columns_stand_for_printed_columns() -> None:
    for table, entry in TABLES.items():
        assert {column.header for column in entry.columns} == set(published_table(table)[0]) - {"method", "label"}
    assert implied_values("table1") == {}


OURS = {"scaling": {"original", "chord_phi"}}
"""Rows that a table has beyond the paper's: the starting point, and CHORD without the additional data."""


@pytest.mark.parametrize("table", TABLES)
def test_rows_are_the_paper_s_in_the_paper_s_order(table: str) -> None:
    decl = load_declarations()
    methods = decl.experiments[table].methods
    printed_methods = [row["method"] for row in published_table(table)]
    assert set(printed_methods) <= {*decl.methods, "expert"}
    beyond = OURS.get(table, set())
    assert [name for name in printed_methods if name != "expert"] == [name for name in methods if name not in beyond]
    assert beyond <= set(methods)


def test_a_missing_input_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"scores/tool/grpo/seed0.parquet is missing; make it with: snakemake .*scale=mini"
    ):
        build(small(tmp_path, "table1", ["tool"], ["grpo"]), "table1")


def test_a_qualifier_that_all_rows_share_is_left_out() -> None:
    assert row_labels(["Original Model (MoE)", "GRPO (Pure RL, MoE)"]) == ("Original Model", "GRPO (Pure RL)")
    assert row_labels(["GRPO (Pure RL), relaxed", "IS Clip, relaxed"]) == ("GRPO (Pure RL)", "IS Clip")
    mixed = ("CHORD-φ", "CHORD-φ (second expert)")
    assert row_labels(mixed) == mixed
    assert row_labels(["SFT (MoE)"]) == ("SFT (MoE)",), "one row shares nothing"
    assert row_labels(["A (τ = 0.5)", "A (τ = 0.7)"]) == ("A (τ = 0.5)", "A (τ = 0.7)")


def judged_rows(scores: list[float | None]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [
        {"task": "sandbox-medicine", "item_id": f"{i}", "correct": score == 1.0, "score": score, "tokens": 100 + i}
        for i, score in enumerate(scores)
    ]
    return [row | {"reason": "judge_failed" if row["score"] is None else "judged"} for row in rows]


def test_judged_answers_are_averaged_and_a_failed_judge_counts_for_nobody(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores/medicine/grpo/seed0.parquet", judged_rows([0.25, 0.5, 0.9, None]))
    write_json(tmp_path / "data/medicine/manifest.json", {"expert_length_mean": 70.0, "expert_rows": 8})
    table = build(small(tmp_path, "table7", ["medicine"], ["grpo"]), "table7")
    (no_score, expert_length), (score, length) = table.cells
    assert (no_score.ours, no_score.printed, expert_length.printed) == (None, "-", "550")
    # (0.25 + 0.5 + 0.9) / 3 = 0.55; tokens (100 + 101 + 102 + 103) / 4.
    assert score.ours is not None and length.ours is not None and expert_length.ours is not None
    assert (score.ours.mean, length.ours.mean, expert_length.ours.mean) == pytest.approx((55.0, 101.5, 70.0))
    assert (score.printed, length.printed) == ("76.8", "685")
    assert "Questions left out because the judge failed: GRPO (Pure RL) 1." in table.notes
    assert "Judge of the medicine domain: kind local, noise 0.05." in table.notes


def math_rows(correct: dict[str, list[bool]]) -> list[dict[str, object]]:
    return [
        {"task": task, "item_id": str(index), "correct": right}
        for task, answers in correct.items()
        for index, right in enumerate(answers)
    ]


def test_both_years_of_aime_weigh_alike(tmp_path: Path) -> None:
    rows = math_rows({"sandbox-aime24": [True, True], "sandbox-aime25": [False, True], "sandbox-amc": [False, False]})
    write_scores(tmp_path / "scores/math/sft_best_large/seed0.parquet", rows)
    aime, amc = build(small(tmp_path, "scaling", ["math"], ["sft_best_large"]), "scaling").cells[0]
    # (2/2 + 1/2) / 2
    assert aime.ours is not None and amc.ours is not None
    assert (aime.ours.mean, amc.ours.mean) == pytest.approx((75.0, 0.0))
    assert (aime.printed, amc.printed) == ("24", None)


def test_the_sandbox_s_amc_stands_for_both_of_the_paper_s(tmp_path: Path) -> None:
    assert task_benchmarks("sandbox-amc") == ("AMC", "AMC23")
    assert (task_benchmarks("amc"), task_benchmarks("amc23")) == (("AMC",), ("AMC23",))
    both = load_scale("mini").domains["math"].model_copy(update={"tasks": ("amc", "amc23")})
    paper = load_scale("mini").model_copy(update={"domains": {"math": both}})
    results = Results(tmp_path, paper, load_declarations())
    assert [results.task("math", name) for name in ("AMC", "AMC23", "AIME24")] == ["amc", "amc23", None]
    names = [column_name(results, TABLES[table].columns[0]) for table in ("table1", "table5", "table8")]
    assert names == ["amc", "amc23", "amc23"]
    assert column_name(results, TABLES["table5"].columns[1]) == "AIME2024 (not asked here)"


@pytest.mark.parametrize(
    ("table", "note"),
    [
        ("table1", "SASR: low confidence, for no code of it is public. γ = 1 and a warm-up of one SFT epoch, 78 steps"),
        ("table5", "Relaxed protocol (B.2) for all RL runs: the sampler gets the new weights every 2 updates"),
        ("table8", "makes 16 rollouts per prompt, not 8."),
        ("table8", "Length of all RL runs: 400 of the paper's steps"),
        ("table8", "Policy: sandbox-math-small; the paper's is Qwen2.5-3B-Instruct."),
        (
            "table12",
            "Demonstrations of LUFFY, SRFT: 400 in the tool domain, one to every RL prompt; the main set has 40",
        ),
        ("table12", "LUFFY, SRFT: every group of 8 holds 1 of the demonstrations and 7 own rollouts."),
        ("scaling", "The paper has no such table: its numbers are read from the text of Appendix D.3."),
        ("scaling", "Rows that the paper does not print: Original Model, CHORD-φ."),
    ],
)
def test_what_was_trained_how_is_said_under_the_table(one_seed: Results, table: str, note: str) -> None:
    assert note in " ".join(build(one_seed, table).notes)


def test_runs_of_half_the_budget_are_named(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores/tool/grpo/seed0.parquet", bfcl_rows("live_simple", 3, 1))
    results = small(tmp_path, "table4", ["tool"], ["grpo"])
    halved = results.decl.methods["grpo"].model_copy(update={"budget": Budget(steps=50)})
    decl = dataclasses.replace(results.decl, methods={**results.decl.methods, "grpo": halved})
    notes = build(dataclasses.replace(results, decl=decl), "table4").notes
    assert "Length of all RL runs: 50 of the paper's steps; in the tool domain, RL usually has 100." in notes
    assert not any("Length" in note for note in build(results, "table4").notes)


@pytest.fixture(scope="module")
def one_seed(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return synthetic_results(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def three_seeds(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return synthetic_results(tmp_path_factory.mktemp("three"), seeds=(0, 1, 2))
