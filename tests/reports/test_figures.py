"""Figures: smoothing and bands by hand, one style a method, common axes, files that come out the same twice."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Rectangle

from reference_impl.config import Trial, Tuned, TunedMethod, load_declarations
from reference_impl.config.experiments import FigureEntry, OwnDrawing, TrainingCurve
from reports.curves import common_steps, moving_mean, over_seeds, training_curve, validation_curve, window_for
from reports.figures import DRAWINGS, draw, main
from reports.inputs import Results
from reports.style import (
    OWN,
    REFERENCES,
    SHARED_COLOURS,
    SHARED_DASHES,
    assign_styles,
    figure_methods,
    label,
    line_style,
)
from tests.support.synthetic_results import synthetic_results

pytestmark = pytest.mark.slow

ENTRIES = load_declarations().experiments.items()
FIGURES = [name for name, entry in ENTRIES if entry.kind == "figure"]
CURVES = [name for name, entry in ENTRIES if isinstance(entry, FigureEntry) and entry.of_runs]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return synthetic_results(tmp_path_factory.mktemp("results"), seeds=(0, 1))


def metrics(values: list[float], seed: int = 0) -> pd.DataFrame:
    steps = np.arange(1, len(values) + 1)
    return pd.DataFrame({"seed": seed, "step": steps, "paper_step": 10.0 * steps, "reward_mean": values})


def test_moving_mean_by_hand() -> None:
    # (1+2)/2, (1+2+6)/3, (2+6+4)/3, (6+4)/2
    assert moving_mean(np.array([1.0, 2.0, 6.0, 4.0]), 3) == pytest.approx([1.5, 3.0, 4.0, 5.0])


@pytest.mark.parametrize(("points", "window"), [(2, 1), (4, 1), (5, 5), (100, 5), (150, 7), (1500, 61)])
def test_window(points: int, window: int) -> None:
    assert window_for(points) == window


def test_band_of_one_seed_is_the_spread_inside_the_window() -> None:
    curve = training_curve(metrics([1.0, 2.0, 6.0, 4.0, 2.0]), "reward_mean")
    assert (curve.window, curve.seeds) == (5, 1)
    assert curve.x == pytest.approx([10, 20, 30, 40, 50])
    # At the third step: mean 3, squares 4 + 1 + 9 + 1 + 1 = 16, sd 2, t(4) = 2.77645: half = 2.77645 x 2 / sqrt(5).
    assert curve.mean[2] == pytest.approx(3.0)
    assert curve.high[2] - curve.mean[2] == pytest.approx(2.4833, abs=1e-4)


def test_band_over_seeds() -> None:
    # Two seeds 1 and 2: sd 0.70711, t(1) = 12.7062: half = 12.7062 x 0.70711 / sqrt(2) = 6.3531.
    assert over_seeds(np.array([[1.0], [2.0]])) == pytest.approx([6.3531], abs=1e-3)
    frame = pd.concat([metrics([1.0] * 4), metrics([2.0] * 3, seed=1)])
    curve = training_curve(frame, "reward_mean")
    assert len(curve.x) == 3, "only steps that every seed has"
    assert (curve.mean[0], curve.seeds) == (1.5, 2)


def test_common_steps_end_where_the_shortest_run_of_any_seed_does() -> None:
    long, short = metrics([0.0] * 9), pd.concat([metrics([1.0] * 6), metrics([1.0] * 4, seed=1)])
    cut, last = common_steps({"long": long, "short": short})
    assert last == 40.0
    assert [len(frame) for frame in cut.values()] == [4, 8]


def test_validation_band_is_the_standard_error_over_questions() -> None:
    frame = pd.DataFrame({"seed": 0, "epoch": [0.0, 1.0], "accuracy": [0.5, 0.4], "stderr": [0.05, 0.04]})
    curve = validation_curve(frame)
    assert curve.high - curve.mean == pytest.approx([1.95996 * 0.05, 1.95996 * 0.04], abs=1e-5)


def test_a_quantity_that_was_not_logged_is_an_error() -> None:
    with pytest.raises(ValueError, match="no 'entropy'"):
        training_curve(metrics([1.0, 2.0]), "entropy")


@pytest.mark.parametrize("name", CURVES)
def test_axes_are_labelled_and_methods_keep_their_colour(results: Results, name: str) -> None:
    drawing = draw(results, name)
    for axes in drawing.figure.axes:
        assert axes.get_ylabel()
        for line in axes.get_lines():
            for method in results.decl.experiments[name].methods:
                if line.get_label() == results.decl.methods[method].label:
                    assert to_hex(line.get_color()).upper() == OWN[method][0]
    assert drawing.figure.axes[-1].get_xlabel()
    assert "2 seeds" in drawing.caption
    plt.close(drawing.figure)


def test_learning_rates_are_a_row_a_method_and_the_chosen_one_is_framed(results: Results) -> None:
    trials = [
        Trial(learning_rate=rate, run="r", step=1, score=score, stderr=0.02, config_hash="c", policy_hash="p")
        for rate, score in ((1e-6, 0.4), (5e-6, 0.625), (1e-5, 0.5))
    ]
    method = TunedMethod(learning_rate=5e-6, trials=tuple(trials))
    tuned = Tuned(seed=1000, domains={"tool": {"grpo": method, "chord_phi": method}})
    drawing = draw(replace(results, scale=results.scale.model_copy(update={"tuned": tuned})), "tuning")
    (axes,) = drawing.figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["GRPO (Pure RL)", "CHORD-φ"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.0001", "0.0005", "0.001"]  # factor 100
    assert [text.get_text() for text in axes.texts] == 2 * ["40.0 ± 2.0", "62.5 ± 2.0", "50.0 ± 2.0"]
    framed = [patch.get_xy() for patch in axes.patches if isinstance(patch, Rectangle) and not patch.get_fill()]
    assert [(round(x), round(y)) for x, y in framed] == [(1, 0), (1, 1)]
    plt.close(drawing.figure)
    untuned = draw(replace(results, scale=results.scale.model_copy(update={"tuned": None})), "tuning")
    assert "No learning rate was tuned at this scale" in untuned.caption
    plt.close(untuned.figure)


def curves_of(axes: Axes, results: Results, name: str) -> dict[str, np.ndarray]:
    """Method → x of its labelled line."""
    lines = {line.get_label(): line for line in axes.get_lines()}
    methods = results.decl.experiments[name].methods
    return {method: np.asarray(lines[label(results.decl, method)].get_xdata(), dtype=float) for method in methods}


def test_every_drawing_can_be_declared() -> None:
    kinds = (TrainingCurve, OwnDrawing)
    assert [name for kind in kinds for name in get_args(kind.model_fields["draw"].annotation)] == list(DRAWINGS)


@pytest.mark.parametrize("name", ["figure5", "figure7", "figure11"])
def test_curves_of_different_length_end_together_and_the_caption_says_so(results: Results, name: str) -> None:
    drawing = draw(results, name)
    (axes,) = drawing.figure.axes
    ends = {method: x[-1] for method, x in curves_of(axes, results, name).items()}
    assert set(ends.values()) == {750.0} and axes.get_xlim() == (0.0, 750.0)  # 75 steps of a mini run x 10
    assert "The axis ends at step 750, where the shortest run does" in drawing.caption
    assert ("CHORD-μ" in drawing.caption and "up to step 1,500" in drawing.caption) or name == "figure5"
    plt.close(drawing.figure)


def test_runs_of_one_length_are_not_cut(results: Results) -> None:
    drawing = draw(results, "figure9")
    assert "axis ends" not in drawing.caption and drawing.figure.axes[0].get_xlim() == (0.0, 1500.0)
    plt.close(drawing.figure)


def test_figure1_starts_both_runs_at_step_0_and_says_that_sft_came_before(results: Results) -> None:
    drawing = draw(results, "figure1")
    x = curves_of(drawing.figure.axes[0], results, "figure1")
    assert {method: (points[0], points[-1]) for method, points in x.items()} == {
        "grpo_small": (0.0, 750.0),
        "sft_best_rl_small": (0.0, 750.0),
    }
    begins = "SFT-then-RL (small policy) begins with the checkpoint of SFT-best (small policy) that validation chose"
    assert begins in drawing.caption and "its SFT comes before step 0" in drawing.caption
    assert "Pure RL (small policy) begins" not in drawing.caption
    plt.close(drawing.figure)


def test_figure10_is_the_judge_s_score_in_the_medicine_domain(results: Results) -> None:
    drawing = draw(results, "figure10")
    assert drawing.figure.axes[0].get_ylabel() == "mean score of rollouts" and "the judge gave" in drawing.caption
    assert drawing.figure.axes[0].get_xlim() == (0.0, 200.0)  # B.4: 200 steps
    plt.close(drawing.figure)


def test_figure12_has_no_second_axis_where_the_steps_are_the_paper_s(results: Results) -> None:
    (axes,) = (drawing := draw(results, "figure12")).figure.axes
    assert results.scale.domains["tool"].steps_divisor == 1 and not axes.child_axes
    plt.close(drawing.figure)


def test_figure13_names_the_policies_that_its_runs_start_from(results: Results) -> None:
    drawing = draw(results, "figure13")
    assert "μ = 0.1, fixed (base policy): sandbox-math-base" in drawing.caption
    assert "start from different policies" in drawing.caption
    plt.close(drawing.figure)


def test_a_scale_without_the_domain_is_an_error(results: Results) -> None:
    domains = {name: part for name, part in results.scale.domains.items() if name != "medicine"}
    with pytest.raises(ValueError, match=r"figure10 needs one of the domains .* scale mini has none"):
        draw(replace(results, scale=results.scale.model_copy(update={"domains": domains})), "figure10")


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("figure2", {"methods": ("sft_curve", "grpo")}, "figure2: its drawing shows one method, not sft_curve, grpo"),
        ("figure4", {"domains": ("math", "tool")}, "figure4: its drawing shows one domain, not math, tool"),
    ],
)
def test_more_than_a_drawing_can_show_is_an_error(
    results: Results, name: str, changed: dict[str, tuple[str, ...]], message: str
) -> None:
    entry = results.decl.experiments[name].model_copy(update=changed)
    decl = replace(results.decl, experiments={**results.decl.experiments, name: entry})
    with pytest.raises(ValueError, match=message):
        draw(replace(results, decl=decl), name)


def machado(colour: str, matrix: list[list[float]]) -> np.ndarray:
    """A colour as a colour-blind reader sees it (Machado et al. 2009, severity 1), in CIELAB."""
    srgb = np.array(to_rgb(colour))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(matrix) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ seen / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


SIGHT = {
    "full": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_of_a_figure_stay_apart(sight: str) -> None:
    # 2.3 is a difference that is just noticed; 15 is one that no reader of a thin line misses.
    figures = figure_methods(load_declarations())
    styles = assign_styles(figures)
    for methods in figures:
        for pair in itertools.combinations(methods, 2):
            first, second = (machado(styles[method][0], SIGHT[sight]) for method in pair)
            assert np.linalg.norm(first - second) > 15, pair


def test_every_curve_of_a_figure_has_another_colour_and_every_method_one_style() -> None:
    decl = load_declarations()
    figures = figure_methods(decl)
    assert len(figures) == len(CURVES)
    for methods in figures:
        styles = [line_style(decl, method) for method in methods]
        assert len({made["color"] for made in styles}) == len(methods), methods
    assert len(set(OWN.values())) == len(OWN), "two methods with one style"


def test_shared_styles_never_meet_in_a_figure() -> None:
    figures = (("grpo", "a", "b", "chord_mu"), ("b", "c", "grpo"), ("a", "c", "d"))
    styles = assign_styles(figures)
    for methods in figures:
        colours = {styles[method][0] for method in (*methods, *REFERENCES)}
        assert len(colours) == len(methods) + len(REFERENCES)
    assert styles["grpo"] == OWN["grpo"]


def test_more_curves_than_colours_take_other_dashes_and_more_than_styles_are_an_error() -> None:
    crowd = tuple(f"method{i}" for i in range(20))
    assert len({assign_styles((crowd,))[method] for method in crowd}) == 20
    limit = len(SHARED_COLOURS) * len(SHARED_DASHES)
    with pytest.raises(ValueError, match=f"no line style is left for .*: a figure can hold {limit} curves"):
        assign_styles((tuple(f"method{i}" for i in range(limit + 1)),))


def test_figure6_has_both_domains_and_the_two_reference_lines(results: Results) -> None:
    drawing = draw(results, "figure6")
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
    drawing = draw(results, "figure4")
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
    for ending in ("png", "svg", "json", "csv"):
        first, second = ((tmp_path / folder / f"figure9.{ending}").read_bytes() for folder in ("a", "b"))
        assert first == second
    assert (tmp_path / "a/figure9.png").read_bytes().startswith(b"\x89PNG")
    words = json.loads((tmp_path / "a/figure9.json").read_text(encoding="utf-8"))
    assert "moving average over 7 steps of these runs (70 of the paper's)" in words["caption"]
    assert "one seed: not the spread between runs" in words["caption"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "figure9.csv",
        "figure9.json",
        "figure9.png",
        "figure9.svg",
    ]


def test_a_missing_run_names_the_file_and_the_target_that_makes_it(results: Results, tmp_path: Path) -> None:
    empty = Results(tmp_path, results.scale, results.decl)
    with pytest.raises(ValueError, match=r"grpo/seed0/metrics.jsonl is missing; .*snakemake .*grpo/seed0/run.json"):
        draw(empty, "figure9")
