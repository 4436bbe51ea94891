"""The map in the plan: what it is made of, how many runs that is, and where half of it cannot be drawn."""

from pathlib import Path

from pipelines.plan import Plan, load_plan
from tests.support.plans import SCALES, with_domain, with_scale


def runs(plan: Plan, seed: int = 0) -> set[str]:
    """Training runs of a seed that the map's sources lead to."""
    methods = {name for name, _ in plan.choice.mapped}
    needed = set().union(*map(plan.choice.needed, methods))
    chosen = {
        run for one in plan.choice.selections if one in needed for run in plan.choice.candidates("math", one, seed)
    }
    grids = {run for grid in plan.choice.selections.values() for run in plan.choice.declarations.runs(grid)}
    trained = needed & set(plan.choice.training_runs)
    return (trained - grids) | (trained & chosen)


def test_the_map_resolves_at_every_scale() -> None:
    for scale in SCALES:
        plan = load_plan({"scale": scale, "mine": ""})
        sources = plan.files.map_sources()
        assert len(sources) == len(set(sources))
        for name in ("grpo", "chord_mu@few", "chord_phi@large", "chord_phi@a0.5_b2", "luffy"):
            assert f"results/{scale}/scores/math/{name}/seed0.parquet" in sources
            assert f"results/{scale}/runs/math/{name}/seed0/run.json" in sources
        assert not [path for path in sources if "/tool/" in path or "chord_phi@a1_b1" in path]


def test_chord_phi_is_a_cell_and_trained_once() -> None:
    plan = load_plan({"scale": "mini", "mine": "", "seeds": (0,)})
    # grpo, sft_best's run and sft_best_rl, luffy, sasr; two methods with three numbers of demonstrations; 15 other φ.
    found = runs(plan)
    assert len(found) == 5 + 6 + 15 and "chord_phi" in found
    hashes = [plan.hashes.run("math", run, 0) for run in found]
    assert len(set(hashes)) == len(hashes)
    usual = {name for name, _ in plan.choice.mapped} & set(plan.choice.declarations.methods)
    assert usual == {"grpo", "chord_mu", "chord_phi", "sft_best", "sft_best_rl", "luffy", "sasr"}
    settings = [plan.choice.declarations.method(name).phi for name, _ in plan.choice.mapped if "@a" in name]
    assert all(phi.name != "p_one_minus_p" for phi in settings)


def test_novelty_where_the_data_tell_it() -> None:
    figures = {f"map-novelty.{kind}" for kind in ("png", "svg")}
    for scale, known in (("mini", True), ("smoke", True), ("gpu-smoke", True), ("gpu1", False), ("paper", False)):
        plan = load_plan({"scale": scale, "mine": ""})
        file = f"results/{scale}/novelty/math.json"
        made = {Path(path).name for path in plan.files.map_files()}
        assert made >= {"map.md", "map.csv", "map.html", "map-phi.png", "map-phi.svg"}
        assert (made >= figures) is known and plan.options.novelty() == (["--novelty", file] if known else [])
        assert (file in plan.files.map_sources()) is known


def test_novelty_is_of_the_worlds_own_questions(tmp_path: Path) -> None:
    mine = tmp_path / "mine.jsonl"
    mine.write_text('{"problem": "What is 2 + 2?", "answer": "4"}\n', encoding="utf-8")
    plan = load_plan({"scale": "smoke", "mine": "", "data": {"sandbox-amc": str(mine)}})
    assert plan.choice.novelty_domains == () and "map-novelty" not in " ".join(plan.files.map_files())


def test_demonstrations_that_a_scale_has_not_are_no_rows() -> None:
    plan = with_domain(load_plan({"scale": "smoke", "mine": ""}), "math", experts=("main", "aligned"))
    names = {name for name, _ in plan.choice.mapped}
    assert "chord_mu" in names and not names & {"chord_mu@few", "chord_phi@large"}
    domains = plan.choice.scale.domains
    assert with_scale(plan, domains={"tool": domains["tool"]}).choice.mapped == []


def test_what_is_drawn_is_drawn_again_when_the_map_changes() -> None:
    plan, other = load_plan({"scale": "mini", "mine": ""}), load_plan({"scale": "smoke", "mine": ""})
    assert plan.hashes.map() == other.hashes.map()
    fewer = with_domain(plan, "math", experts=("main", "aligned"))
    assert fewer.hashes.map() != plan.hashes.map()
