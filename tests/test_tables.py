"""Tables: numbers by hand from a few invented samples, the printed values beside them, errors that help."""

import csv
import dataclasses
from pathlib import Path

import pytest

from reference_impl.config import load_declarations, load_scale
from reports.inputs import Results, printed
from reports.style import OWN, look
from reports.table_formats import latex, to_csv, to_latex, to_markdown
from reports.tables import COLUMNS, TABLES, build, implied_values, main
from tests.synthetic_results import synthetic_results, write_json, write_scores


def small(root: Path, table: str, domains: list[str], methods: list[str]) -> Results:
    """A results folder whose table has only these domains and methods."""
    decl = load_declarations()
    experiments = {
        "headline": [table],
        table: {"kind": "table", "title": "Small", "domains": domains, "methods": methods},
    }
    return Results(root, load_scale("mini"), dataclasses.replace(decl, experiments=experiments))


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
    table = TABLES["table1"](bfcl)
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
    (row,) = csv.DictReader(to_csv(TABLES["table1"](bfcl)).splitlines())
    assert (row["method"], row["label"], row["seeds"]) == ("grpo", "GRPO (Pure RL)", "1")
    assert (row["sandbox-bfcl overall"], row["BFCL Overall (paper)"]) == ("50.0000", "77.1")
    assert float(row["sandbox-bfcl overall low"]) < 50 < float(row["sandbox-bfcl overall high"])
    assert row["sandbox-bfcl non-live unreadable"] == "1.0000"
    assert not any(name.startswith("BFCL") and "(paper)" not in name for name in row), "ours must not be called BFCL"


def test_unreadable_answers_are_named_under_the_table(bfcl: Results) -> None:
    assert "GRPO (Pure RL) on sandbox-bfcl non-live 100%" in " ".join(TABLES["table1"](bfcl).notes)


def test_methods_with_the_same_answers_are_named_under_the_table(tmp_path: Path) -> None:
    rows = bfcl_rows("simple_python", 3, 1)
    for method, own in {"sft_light": rows, "sft_best": rows, "grpo": bfcl_rows("simple_python", 2, 2)}.items():
        write_scores(tmp_path / f"scores/tool/{method}/seed0.parquet", own)
    results = small(tmp_path, "table1", ["tool"], ["sft_light", "sft_best", "grpo"])
    notes = [note for note in build(results, "table1", "accuracy, %").notes if "the same" in note]
    assert len(notes) == 1 and "tool domain: SFT-light = SFT-best. " in notes[0]


def test_two_seeds_share_a_cell(tmp_path: Path) -> None:
    for seed, right in ((0, 4), (1, 2)):
        write_scores(tmp_path / f"scores/tool/grpo/seed{seed}.parquet", bfcl_rows("live_simple", right, 4 - right))
    cell = TABLES["table1"](small(tmp_path, "table1", ["tool"], ["grpo"])).cells[0][0]
    assert cell.ours is not None
    # Seed means 1.0 and 0.5: mean 0.75, sd 0.35355.
    assert (cell.ours.mean, cell.ours.seeds, cell.ours.seed_sd) == pytest.approx((75.0, 2, 35.355), abs=1e-3)
    one = dataclasses.replace(small(tmp_path, "table1", ["tool"], ["grpo"]), seeds=(1,))
    assert TABLES["table1"](one).cells[0][0].ours.mean == pytest.approx(50.0)  # type: ignore[union-attr]


def test_lengths_with_the_expert_first(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores/tool/grpo/seed0.parquet", bfcl_rows("live_simple", 3, 0))
    write_json(tmp_path / "data/tool/manifest.json", {"expert_length_mean": 61.25, "expert_rows": 40})
    table = TABLES["table2"](small(tmp_path, "table2", ["tool"], ["grpo"]))
    assert table.labels == ("Expert Data", "GRPO (Pure RL)")
    # Tokens 20, 21, 22.
    assert [row[0].ours.mean for row in table.cells if row[0].ours] == pytest.approx([61.25, 21.0])
    assert [row[0].printed for row in table.cells] == ["315", "118"]
    assert "| Expert Data | 61.2 | 315 |" in to_markdown(table)


def test_a_known_error_of_the_paper_is_flagged(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores/tool/grpo/seed0.parquet", bfcl_rows("simple_python", 1, 1))
    table = TABLES["table10"](small(tmp_path, "table10", ["tool"], ["grpo"]))
    simple = table.cells[0][4]
    assert (simple.printed, simple.implied) == ("83.5", "90.2")
    assert "83.5† (90.2)" in to_markdown(table)
    assert r"83.5$^\dagger$ (90.2)" in to_latex(table)
    assert table.cells[0][0].ours is None, "a category that was not asked is empty, not zero"


def test_latex_escapes() -> None:
    assert latex("CHORD-φ 5 % a_b") == r"CHORD-$\phi$ 5 \% a\_b"


@pytest.mark.parametrize("name", TABLES)
def test_every_table_of_a_whole_folder(results: Results, tmp_path: Path, name: str) -> None:
    main(["--table", name, "--scale", "mini", "--results", str(results.root), "--out", str(tmp_path)])
    rows = list(csv.DictReader((tmp_path / f"{name}.csv").open(encoding="utf-8")))
    expected = results.decl.experiments[name]["methods"]
    assert [row["method"] for row in rows if row["method"] != "expert"] == expected
    assert all(value for row in rows for key, value in row.items() if "seed sd" not in key and "unreadable" not in key)
    assert (tmp_path / f"{name}.md").read_text(encoding="utf-8").count("\n| ") == len(rows) + 2
    assert (tmp_path / f"{name}.tex").read_text(encoding="utf-8").count(r" \\") == len(rows) + 2


def test_columns_stand_for_printed_columns() -> None:
    for table, columns in COLUMNS.items():
        for column in columns:
            assert printed(table, "grpo", column.header) is not None, f"{table} prints no {column.header}"
    assert implied_values("table1") == {}


def test_a_missing_input_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"scores/tool/grpo/seed0.parquet is missing; make it with: snakemake .*scale=mini"
    ):
        build(small(tmp_path, "table1", ["tool"], ["grpo"]), "table1", "accuracy, %")


def test_looks_are_unique_and_cover_every_method() -> None:
    decl = load_declarations()
    looks = {name: tuple(map(str, look(decl, name).values())) for name in decl.methods}
    assert set(OWN) <= {*decl.methods, "expert"}
    shown = [looks[name] for name in decl.experiments["table1"]["methods"]]
    assert len(set(shown)) == len(shown)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return synthetic_results(tmp_path_factory.mktemp("results"))
