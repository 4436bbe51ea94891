"""Training curves as numbers: smoothing and bands, apart from drawing."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """One line of a figure. All arrays have one entry a point."""

    x: Floats
    raw: Floats
    """Mean over seeds, not smoothed."""
    mean: Floats
    low: Floats
    high: Floats
    window: int
    """Points of the moving average; 1: not smoothed."""
    seeds: int


def window_for(points: int) -> int:
    """Points of the moving average: about a 25th of the run, odd, at least 5; 1 where there are fewer points than that.

    The band of one seed comes from the points of a window: with 3 of them it would be too wide to read.
    """
    width = max(5, points // 25) | 1
    return width if points >= width else 1


def common_steps(frames: Mapping[str, pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], float]:
    """Logs up to the last step (of the paper) that all runs of all seeds have, and that step."""
    last = float(min(frame.groupby("seed")["paper_step"].max().min() for frame in frames.values()))
    return {name: frame[frame["paper_step"] <= last] for name, frame in frames.items()}, last


def moving_mean(values: Floats, window: int) -> Floats:
    """Centred moving average; at the ends, over the part of the window that exists."""
    return pd.Series(values).rolling(window, center=True, min_periods=1).mean().to_numpy()


def _window_band(values: Floats, window: int) -> Floats:
    """Half width of the 95 % interval of a moving average, from the spread of the steps inside the window.

    Every step draws new prompts, so that the spread holds the prompts' and the rollouts' noise; it also holds
    the slope inside the window, which makes the band a little too wide, never too narrow.
    """
    rolling = pd.Series(values).rolling(window, center=True, min_periods=2)
    count = rolling.count().to_numpy()
    return stats.t.ppf(0.975, count - 1) * rolling.std(ddof=1).to_numpy() / np.sqrt(count)


def over_seeds(values_SX: Floats) -> Floats:
    """Half width of the 95 % interval of the mean over seeds, point by point (t with S - 1 dof)."""
    seeds = len(values_SX)
    return stats.t.ppf(0.975, seeds - 1) * values_SX.std(axis=0, ddof=1) / np.sqrt(seeds)


def training_curve(frame: pd.DataFrame, value: str, x: str = "paper_step") -> Curve:
    """A quantity of metrics.jsonl over the steps that all seeds have.

    Raises:
        ValueError: the column is absent or empty.
    """
    if value not in frame or frame[value].isna().all():
        raise ValueError(f"the runs hold no {value!r}; metrics.jsonl has {sorted(frame.columns)}")
    table = frame.pivot_table(index="seed", columns=x, values=value).dropna(axis="columns")
    values_SX = table.to_numpy(dtype=float)
    window = window_for(values_SX.shape[1])
    smooth_SX = np.stack([moving_mean(row, window) for row in values_SX])
    mean = smooth_SX.mean(axis=0)
    if len(values_SX) > 1:
        half = over_seeds(smooth_SX)
    else:
        half = _window_band(values_SX[0], window) if window > 1 else np.zeros_like(mean)
    points = table.columns.to_numpy(dtype=float)
    return Curve(points, values_SX.mean(axis=0), mean, mean - half, mean + half, window, len(values_SX))


def validation_curve(frame: pd.DataFrame, x: str = "epoch") -> Curve:
    """Accuracy on the validation set against epochs or steps; the band is the standard error over questions, or
    over seeds.
    """
    accuracy = frame.pivot_table(index="seed", columns=x, values="accuracy").dropna(axis="columns")
    values_SX = accuracy.to_numpy(dtype=float)
    mean = values_SX.mean(axis=0)
    if len(values_SX) > 1:
        half = over_seeds(values_SX)
    else:
        errors = frame.pivot_table(index="seed", columns=x, values="stderr")[accuracy.columns]
        half = stats.norm.ppf(0.975) * errors.to_numpy(dtype=float)[0]
    points = accuracy.columns.to_numpy(dtype=float)
    return Curve(points, mean, mean, mean - half, mean + half, 1, len(values_SX))
