"""Learning rates chosen by validation: what is read, what is chosen, what runs then have."""

import json
from pathlib import Path
from typing import Any

import pytest

from reference_impl.config import (
    CONFIG_DIR,
    TUNING_SEED,
    Declarations,
    Scale,
    Trial,
    Tuned,
    best_trial,
    load_declarations,
    load_scale,
    resolve_run,
)
from reference_impl.config.tuned import FOLDER, load_tuned
from reference_impl.tune import main, summary, tuned

IDENTITY = {"config_hash": "c", "policy_hash": "p", "domain": "math", "scale": "mini"}


def validation(score: float, step: int, **more: Any) -> dict[str, Any]:
    return {"step": step, "score": score, "stderr": 0.02, **more}


def write_run(folder: Path, best: dict[str, Any], seed: int = TUNING_SEED, **more: Any) -> Path:
    folder.mkdir(parents=True)
    record = {**IDENTITY, "method": folder.parent.name, "seed": seed, "best": best, **more}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """GRPO at three rates, the two higher ones equally good, and SFT-best's choice among SFT's."""
    math, seed = tmp_path / "runs/math", f"seed{TUNING_SEED}"
    scores = {"1e-06": 0.4, "5e-06": 0.6, "1e-05": 0.6}
    made = [write_run(math / f"grpo-lr{rate}" / seed, validation(score, 15)) for rate, score in scores.items()]
    sft = [("sft-lr1e-06", 0.41, 64), ("sft-lr1e-05", 0.5, 64), ("sft-lr1e-05", 0.7, 128), ("sft-lr1e-05", 0.65, 192)]
    for run in {name for name, *_ in sft}:
        write_run(math / run / seed, validation(0.7, 128))
    options = [validation(score, step, run=run) for run, score, step in sft]
    return [*made, write_run(math / "sft_best" / seed, {}, selected_from=options)]


def test_best_score_and_among_equals_the_lowest_rate(runs: list[Path]) -> None:
    found = tuned(load_declarations(), runs)
    assert found.seed == TUNING_SEED
    grpo, sft = found.domains["math"]["grpo"], found.domains["math"]["sft_best"]
    assert grpo.learning_rate == 5e-6 and [trial.score for trial in grpo.trials] == [0.4, 0.6, 0.6]
    assert sft.learning_rate == 1e-5
    assert [(trial.run, trial.score, trial.step) for trial in sft.trials] == [
        ("sft-lr1e-06", 0.41, 64),
        ("sft-lr1e-05", 0.7, 128),
    ]
    lines = summary(load_declarations(), found).splitlines()
    assert [line.split() for line in lines if "GRPO" in line] == [
        ["math", "GRPO", "(Pure", "RL)", "1e-06", "0.400", "[5e-06", "0.600]", "1e-05", "0.600"]
    ]


def test_runs_of_other_seeds_are_refused(runs: list[Path], tmp_path: Path) -> None:
    other = write_run(tmp_path / "runs/math/grpo-lr1e-06/seed0", validation(0.9, 15), seed=0)
    with pytest.raises(ValueError, match=f"is of seed 0: rates are chosen with seed {TUNING_SEED} alone"):
        tuned(load_declarations(), [*runs, other])
    with pytest.raises(ValueError, match=r"is not finished: it has no run\.json"):
        tuned(load_declarations(), [tmp_path / "runs/math/nothing/seed1000"])


def test_command_writes_what_a_scale_reads(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / FOLDER / "mini.json"
    main(["--scale", "mini", "--runs", *map(str, runs), "--out", str(out)])
    assert "cp " in capsys.readouterr().out
    assert load_tuned(tmp_path, "mini") == tuned(load_declarations(), runs)
    assert load_tuned(tmp_path, "smoke") is None
    out.write_text(json.dumps({"seed": 1, "domains": {"math": {"grpo": {"learning_rate": -1, "trials": []}}}}))
    with pytest.raises(ValueError, match=r"learning_rate: .*greater than 0, found -1"):
        load_tuned(tmp_path, "mini")


def scale_with(rates: dict[str, float]) -> Scale:
    trial = {"run": "r", "step": 1, "score": 0.5, "stderr": 0.0, "config_hash": "c", "policy_hash": "p"}
    methods = {
        name: {"learning_rate": rate, "trials": ({"learning_rate": rate, **trial},)} for name, rate in rates.items()
    }
    found = Tuned.model_validate({"seed": TUNING_SEED, "domains": {"math": methods}})
    return load_scale("mini").model_copy(update={"tuned": found})


def rate_of(decl: Declarations, scale: Scale, run: str, domain: str = "math") -> float:
    """In the paper's units."""
    factor = scale.domains[domain].learning_rate_factor or scale.learning_rate_factor
    return resolve_run(decl, scale, run, domain, 0).learning_rate / factor


def test_runs_take_the_tuned_rate_of_what_they_vary() -> None:
    decl, scale = load_declarations(), scale_with({"grpo": 5e-6, "chord_phi": 1e-5})
    assert rate_of(decl, scale, "grpo") == pytest.approx(5e-6)
    assert rate_of(decl, scale, "grpo_relaxed") == pytest.approx(5e-6)
    assert rate_of(decl, scale, "chord_phi") == pytest.approx(1e-5)
    assert rate_of(decl, scale, "phi_focal_relaxed") == pytest.approx(1e-5)
    assert rate_of(decl, scale, "luffy") == pytest.approx(1e-6)  # not tuned there: the declared one
    assert rate_of(decl, scale, "phi_focal", "tool") == pytest.approx(1e-6)
    # Trials and grids have a rate of their own, whatever was chosen.
    assert rate_of(decl, scale, "grpo-lr1e-06") == pytest.approx(1e-6)
    assert rate_of(decl, scale, "sft-lr5e-06") == pytest.approx(5e-6)


def test_every_method_of_tables_1_and_12_has_the_one_grid() -> None:
    decl = load_declarations()
    grid = decl.method("sft").grid
    shown = {name for table in ("table1", "table12") for name in decl.experiments[table].methods} - {"original"}
    assert shown == set(decl.tuned)
    for name in shown:
        method = decl.method(name)
        assert (decl.method(method.select.grid).grid if method.select else method.grid) == grid


def test_everything_else_that_does_rl_takes_over_a_rate() -> None:
    """But the learning curve of SFT, whose rate is the figure's own."""
    decl = load_declarations()
    left = [name for name, m in decl.methods.items() if (m.select or m.learning_rate) and m.tuned_as is None]
    assert left == ["sft_curve"]


def test_ties_go_to_the_lowest_rate_in_any_order() -> None:
    one = Trial(learning_rate=1e-6, run="r", step=1, score=0.5, stderr=0.1, config_hash="c", policy_hash="p")
    assert best_trial([one.model_copy(update={"learning_rate": 1e-5}), one]).learning_rate == 1e-6


@pytest.mark.parametrize("path", sorted((CONFIG_DIR / FOLDER).glob("*.json")), ids=lambda path: path.stem)
def test_stored_choices_follow_from_their_scores(path: Path) -> None:
    found = load_tuned(CONFIG_DIR, path.stem)
    assert found is not None and found.seed == TUNING_SEED
    for methods in found.domains.values():
        for method in methods.values():
            assert method.learning_rate == best_trial(method.trials).learning_rate
