"""Methods against a baseline: the paper's main columns, paired, and their curves as differences to the baseline's.

    python -m reports.against --methods mine chord_phi --scale mini --results results/mini --out results/mini/report

The last method is the baseline. Written are compare.md, .csv and .json, and figures/compare.png and .svg: what the
target `compare` prints, and the section "Yours" of the page shows. No claim of the paper is among it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from pydantic import BaseModel, ConfigDict

from evaluation.statistics import paired_difference
from reference_impl.files import write_text
from reports.curves import Curve, training_curve
from reports.drawing import STEPS, WIDTH, aligned_runs, band_text, legend_above, miniature_axis, save
from reports.inputs import Results, add_common, open_results, run_command
from reports.paired import Pair, main_columns, make_pair, said_of, to_csv, to_markdown
from reports.scores import column_name, samples_of
from reports.style import RC, assign_styles, label

CAPTION = (
    "Differences to {baseline}: accuracy on the validation set in points, question by question, with its 95 % "
    "interval, and mean reward of the rollouts, step by step."
)


class Report(BaseModel):
    """compare.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    title: str
    methods: tuple[str, ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]
    caption: str


def common_domains(results: Results, method: str, baseline: str) -> list[str]:
    """The scale's domains that both are declared for."""
    both = set(results.decl.method_domains(method)) & set(results.decl.method_domains(baseline))
    return [domain for domain in results.scale.domains if domain in both]


def pairs(results: Results, methods: Sequence[str]) -> list[Pair]:
    """Every method but the last against that, in the main columns of their common domains."""
    *others, baseline = methods
    found = []
    for method in others:
        for domain in common_domains(results, method, baseline):
            for column in main_columns(results.decl, domain):
                first, second = (
                    (name, label(results.decl, name), samples_of(results, name, column)) for name in (method, baseline)
                )
                found.append(make_pair(column, column_name(results, column), first, second))
    return found


def reward_difference(frame: pd.DataFrame, base: pd.DataFrame) -> Curve | None:
    """Reward of the rollouts at the same steps, at which runs draw the same prompts; None where one has no rollouts."""
    key = ["seed", "paper_step"]
    first, second = (part.set_index(key)["reward_mean"].astype(float) for part in (frame, base))
    gap = (first - second).dropna().rename("reward_mean").reset_index()
    return None if gap.empty else training_curve(gap, "reward_mean")


def validation_difference(frame: pd.DataFrame, base: pd.DataFrame) -> Curve | None:
    """Validation accuracy at the same steps, paired by question, in points; None where no two steps are the same."""
    seeds = sorted(set(frame["seed"]) & set(base["seed"]))
    tables = [part.pivot(index="seed", columns="paper_step", values="scores").reindex(seeds) for part in (frame, base)]
    steps = [step for step in tables[0].columns if step in tables[1] and all(t[step].notna().all() for t in tables)]
    if len(steps) < 2:
        return None
    found = [paired_difference(*(np.stack(table[step].tolist()) for table in tables)).scaled(100) for step in steps]
    mean, low, high = (np.array([getattr(one, name) for one in found]) for name in ("mean", "low", "high"))
    return Curve(np.array(steps, dtype=float), mean, mean, low, high, 1, len(seeds))


ROWS = {
    "validation accuracy (points)": ("validation", validation_difference),
    "reward of rollouts": ("metrics", reward_difference),
}
"""What is drawn → the log that it is in, and how two runs of it are compared."""


def draw(results: Results, methods: Sequence[str], folder: Path) -> str:
    """Write figures/compare.png and .svg, a row a quantity and a column a domain; returns the caption."""
    *others, baseline = methods
    decl = results.decl
    drawn = [name for name in others if decl.method(name).trains and decl.method(baseline).trains]
    domains = list(dict.fromkeys(domain for name in drawn for domain in common_domains(results, name, baseline)))
    with plt.rc_context(RC):
        width = WIDTH * max(1.0, len(domains) / 2)
        figure, panels = plt.subplots(
            len(ROWS), max(1, len(domains)), figsize=(width, 5.2), layout="constrained", squeeze=False
        )
        curves: list[Curve] = []
        for row, (what, (log, compare)) in enumerate(ROWS.items()):
            for place, domain in enumerate(domains):
                axes: Axes = panels[row][place]
                axes.axhline(0, color="#555555", linewidth=1)
                axes.set(xlabel=STEPS, ylabel=what if place == 0 else "")
                names = [name for name in drawn if domain in common_domains(results, name, baseline)]
                logs = {name: getattr(results, log)(domain, name) for name in (*names, baseline)}
                runs = aligned_runs(results, domain, logs)
                for name in names:
                    curve = compare(runs.frames[name], runs.frames[baseline])
                    if curve is not None:
                        curves += [curve] if log == "metrics" else []
                        colour, dash = assign_styles((tuple(methods),))[name]
                        axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.16, linewidth=0)
                        axes.plot(curve.x, curve.mean, label=label(decl, name), color=colour, linestyle=dash)
                if row == 0:
                    axes.set_title(decl.domains[domain].label, loc="left")
                    miniature_axis(axes, runs.divisor)
        if curves:
            legend_above(figure, list(panels[-1]))
        if not domains:
            panels[0][0].set_title("no curves: of the methods compared, one trains nothing", loc="left")
        for kind in ("png", "svg"):
            (folder / "figures").mkdir(parents=True, exist_ok=True)
            save(figure, folder / "figures" / f"compare.{kind}")
        plt.close(figure)
    caption = CAPTION.format(baseline=label(decl, baseline))
    return f"{caption} {band_text(curves)}" if curves else caption


def report(results: Results, methods: Sequence[str], folder: Path) -> Report:
    """Compare, and draw into ``folder``."""
    found = pairs(results, methods)
    names = [label(results.decl, name) for name in methods]
    return Report(
        title=f"{', '.join(names[:-1])} against {names[-1]}",
        methods=tuple(methods),
        pairs=tuple(found),
        notes=tuple(said_of(found, results)),
        caption=draw(results, methods, folder),
    )


def write(results: Results, methods: Sequence[str], folder: Path) -> None:
    """Write compare.md, .csv and .json, and the figure."""
    made = report(results, methods, folder)
    lines = [f"# {made.title}", "", to_markdown(made.pairs), *made.notes]
    lines += ["“Finds”: the true difference that so much data shows with a power of 80 %."]
    lines += [f"Curves, as differences to the last: {folder / 'figures' / 'compare.svg'}"]
    write_text(folder / "compare.md", "\n".join(lines) + "\n")
    write_text(folder / "compare.csv", to_csv(made.pairs))
    write_text(folder / "compare.json", made.model_dump_json(indent=1) + "\n")


def main(argv: Sequence[str] | None = None) -> None:
    """Compare methods of one results folder."""
    made = argparse.ArgumentParser(prog="python -m reports.against", description=__doc__.split("\n\n")[0])
    made.add_argument("--methods", nargs="+", required=True, help="the last is the baseline")
    made.add_argument("--out", required=True, type=Path, help="folder to write to")
    add_common(made)
    arguments = made.parse_args(argv)
    write(open_results(arguments), arguments.methods, arguments.out)


if __name__ == "__main__":
    run_command(main)
