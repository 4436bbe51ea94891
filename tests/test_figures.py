"""Figures: smoothing and bands by hand, one colour a method, files that come out the same twice."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from reports.curves import moving_mean, over_seeds, training_curve, validation_curve, window_for
from reports.figures import FIGURES, main
from reports.inputs import Results
from reports.style import OWN
from tests.synthetic_results import synthetic_results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return synthetic_results(tmp_path_factory.mktemp("results"), seeds=(0, 1))


def metrics(values: list[float], seed: int = 0) -> pd.DataFrame:
    steps = np.arange(1, len(values) + 1)
    return pd.DataFrame({"seed": seed, "step": steps, "paper_step": 10.0 * steps, "reward_mean": values})


def test_moving_mean_by_hand() -> None:
    # (1+2)/2, (1+2+6)/3, (2+6+4)/3, (6+4)/2
    assert moving_mean(np.array([1.0, 2.0, 6.0, 4.0]), 3) == pytest.approx([1.5, 3.0, 4.0, 5.0])


@pytest.mark.parametrize(("points", "window"), [(2, 1), (3, 3), (100, 5), (150, 7), (1500, 61)])
def test_window(points: int, window: int) -> None:
    assert window_for(points) == window


def test_band_of_one_seed_is_the_spread_inside_the_window() -> None:
    curve = training_curve(metrics([1.0, 2.0, 6.0, 4.0]), "reward_mean")
    assert (curve.window, curve.seeds) == (3, 1)
    assert curve.x == pytest.approx([10, 20, 30, 40])
    # At the second step: 1, 2, 6 have sd 2.6458, t(2) = 4.3027: half = 4.3027 x 2.6458 / sqrt(3) = 6.5725.
    assert curve.high[1] - curve.mean[1] == pytest.approx(6.5725, abs=1e-3)


def test_band_over_seeds() -> None:
    # Two seeds 1 and 2: sd 0.70711, t(1) = 12.7062: half = 12.7062 x 0.70711 / sqrt(2) = 6.3531.
    assert over_seeds(np.array([[1.0], [2.0]])) == pytest.approx([6.3531], abs=1e-3)
    frame = pd.concat([metrics([1.0] * 4), metrics([2.0] * 3, seed=1)])
    curve = training_curve(frame, "reward_mean")
    assert len(curve.x) == 3, "only steps that every seed has"
    assert (curve.mean[0], curve.seeds) == (1.5, 2)


def test_validation_band_is_the_standard_error_over_questions() -> None:
    frame = pd.DataFrame({"seed": 0, "epoch": [0.0, 1.0], "accuracy": [0.5, 0.4], "stderr": [0.05, 0.04]})
    curve = validation_curve(frame)
    assert curve.high - curve.mean == pytest.approx([1.95996 * 0.05, 1.95996 * 0.04], abs=1e-5)


def test_a_quantity_that_was_not_logged_is_an_error() -> None:
    with pytest.raises(ValueError, match="no 'entropy'"):
        training_curve(metrics([1.0, 2.0]), "entropy")


@pytest.mark.parametrize("name", FIGURES)
def test_axes_are_labelled_and_methods_keep_their_colour(results: Results, name: str) -> None:
    drawing = FIGURES[name](results)
    for axes in drawing.figure.axes:
        assert axes.get_ylabel()
        for line in axes.get_lines():
            for method in results.decl.experiments[name]["methods"]:
                if line.get_label() == results.decl.methods[method].label:
                    assert to_hex(line.get_color()).upper() == OWN[method][0]
    assert drawing.figure.axes[-1].get_xlabel()
    assert "2 seeds" in drawing.caption
    plt.close(drawing.figure)


def test_figure6_has_both_domains_and_the_two_reference_lines(results: Results) -> None:
    drawing = FIGURES["figure6"](results)
    math, tool = drawing.figure.axes[:2]
    assert (math.get_title("left"), tool.get_title("left")) == ("Mathematical reasoning", "Tool use")
    labels = [text.get_text() for text in drawing.figure.legends[0].get_texts()]
    assert labels == ["GRPO (Pure RL)", "CHORD-μ", "CHORD-φ", "Expert Data", "Original Model"]
    expert = next(line for line in math.get_lines() if line.get_label() == "Expert Data")
    assert np.asarray(expert.get_ydata(), dtype=float).tolist() == [
        88.5,
        88.5,
    ]  # the manifest's expert_length_mean
    original = next(line for line in math.get_lines() if line.get_label() == "Original Model")
    assert np.asarray(original.get_ydata(), dtype=float).tolist() == [60.0, 60.0]  # validation.jsonl, step 0
    plt.close(drawing.figure)


def test_figure4_shows_mu_below_the_reward(results: Results) -> None:
    drawing = FIGURES["figure4"](results)
    _, lower = drawing.figure.axes[:2]
    mu = np.asarray(lower.get_lines()[1].get_ydata(), dtype=float)
    assert mu[0] > 0.8 and mu[-1] == pytest.approx(0.05)
    plt.close(drawing.figure)


def test_files_are_the_same_twice(results: Results, tmp_path: Path) -> None:
    arguments = [
        "--figure",
        "figure9",
        "--scale",
        "mini",
        "--results",
        str(results.root),
        "--seeds",
        "0",
        "--out",
    ]
    for folder in ("a", "b"):
        main([*arguments, str(tmp_path / folder)])
    for ending in ("png", "svg", "json"):
        first, second = ((tmp_path / folder / f"figure9.{ending}").read_bytes() for folder in ("a", "b"))
        assert first == second
    assert (tmp_path / "a/figure9.png").read_bytes().startswith(b"\x89PNG")
    words = json.loads((tmp_path / "a/figure9.json").read_text(encoding="utf-8"))
    assert "moving average over 7 steps of these runs (70 of the paper's)" in words["caption"]
    assert "one seed: not the spread between runs" in words["caption"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "figure9.json",
        "figure9.png",
        "figure9.svg",
    ]


def test_a_missing_run_names_the_file_and_the_target_that_makes_it(results: Results, tmp_path: Path) -> None:
    empty = Results(tmp_path, results.scale, results.decl)
    with pytest.raises(ValueError, match=r"grpo/seed0/metrics.jsonl is missing; .*snakemake .*grpo/seed0/run.json"):
        FIGURES["figure9"](empty)
