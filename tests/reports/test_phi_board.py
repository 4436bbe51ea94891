"""The board of φ: ranked by the main column, each against CHORD-φ, the user's marked."""

from pathlib import Path

from pipelines.plan import load_plan
from reports.paired import main_column
from reports.phi_board import board, phi_text, write
from tests.support.own_files import own_files
from tests.support.own_results import own_results, read

METHODS = "mine: {label: My φ, like: chord_phi, domains: [tool], phi: {name: my_phi.py:squared, power: 3}}\n"


def test_the_best_first(tmp_path: Path) -> None:
    mine = str(own_files(tmp_path, METHODS))
    results = own_results(tmp_path / "results", mine, phi_focal=12, chord_phi=20, mine=30, phi_is_clip=20)
    found = board(results, "tool", ["chord_phi", "phi_focal", "phi_is_clip", "mine"])
    assert found.column == "sandbox-bfcl overall"
    assert [(row.rank, row.phi, row.mine) for row in found.rows] == [
        (1, "my_phi.py:squared (power 3)", True),
        (2, "p_one_minus_p", False),
        (3, "is_clip (threshold 0.4, variant zero)", False),
        (4, "focal (gamma 2)", False),
    ]
    differences = [row.pair.difference and row.pair.difference.mean for row in found.rows]
    assert differences == [25, None, None, -20]  # (30 - 20) and (12 - 20) of 40
    assert [row.pair.verdict for row in found.rows] == ["above", "the same answers", "the same answers", "below"]
    write(results, [["tool", "chord_phi", "mine"]], tmp_path)
    text = (tmp_path / "phi_board.md").read_text(encoding="utf-8")
    assert "| 1 | my_phi.py:squared (power 3) (yours) | My φ | 75.0 [" in text
    assert "| 2 | p_one_minus_p | CHORD-φ | 50.0 [" in text
    assert read(tmp_path / "phi_board.json")["boards"][0]["rows"][0]["mine"] is True


def test_who_is_on_a_board(tmp_path: Path) -> None:
    path = own_files(tmp_path, METHODS + "slower: {like: mine, learning_rate: 1.0e-7}\n")
    plan = load_plan({"scale": "mini", "mine": str(path)})
    boards, decl = plan.choice.boards, plan.choice.declarations
    (tool,) = boards["tool"]
    assert "mine" in tool and "slower" not in tool and {"chord_phi", "phi_none", "phi_importance"} < set(tool)
    phis = {phi_text(decl.method(name)).split()[0] for name in tool}
    assert phis == {
        "none",
        "p_one_minus_p",
        "importance",
        "entropy_top",
        "entropy_norm",
        "is_clip",
        "focal",
        "my_phi.py:squared",
    }
    assert [len(names) for names in boards["math"]] == [5] and "chord_phi_relaxed" in boards["math"][0]
    assert "results/mini/scores/tool/mine/seed0.parquet" in plan.files.board_sources()
    assert "--board" in plan.options.boards()


def test_main_columns(tmp_path: Path) -> None:
    results = own_results(tmp_path)
    headers = [main_column(results.decl, domain).header for domain in ("math", "tool", "medicine")]
    assert headers == ["AMC", "BFCL Overall", "Score"]
