"""What φ does in a domain: every φ as a function of p; mean φ and μ × the expert's loss over the runs; a demonstration.

    python -m reports.phi_figure --domain math --scale mini --results results/mini --out results/mini/report/figures

Curves are those of evaluation/phi_tokens.py and of metrics.jsonl, of the methods of the domain's main table. `heat` is
for the page: how much of each φ a demonstration's tokens get.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from reference_impl.files import write_text
from reports.drawing import STEPS, Drawing, aligned_runs, draw_runs, panels, save, smoothing_text
from reports.figure_data import panels_of, to_csv
from reports.inputs import Results, add_common, open_results, run_command
from reports.style import RC, SHARED_COLOURS, SHARED_DASHES, label

SHADES = 8
"""Of the heat map: steps of one colour."""
TITLES = ("φ of a token with probability p", "mean φ over the run", "μ × the expert's loss, φ in it")


@dataclass(frozen=True)
class Token:
    """A token of the demonstration."""

    text: str
    said: str
    """Its numbers, for who points at it."""
    shade: int
    """0 to SHADES, of the largest weight."""


@dataclass(frozen=True)
class Heat:
    """A demonstration as one φ weighs it."""

    phi: str
    formula: str
    mean: float
    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class HeatMap:
    """A domain's demonstration, as every φ weighs it."""

    domain: str
    label: str
    policy: str
    id: str
    question: str
    heats: tuple[Heat, ...]


def name_of(domain: str) -> str:
    """The figure's name."""
    return f"phi-{domain}"


def shown_domains(results: Results, experiments: Sequence[str]) -> list[str]:
    """The scale's domains whose main table is among some experiments."""
    mains = {domain: results.decl.main_table(domain) for domain in results.scale.domains}
    return [domain for domain, main in mains.items() if main is not None and main[0] in experiments]


def runs(results: Results, domain: str) -> dict[str, pd.DataFrame]:
    """The logs of the main table's runs that have an expert loss at any step."""
    main = results.decl.main_table(domain)
    assert main is not None
    methods = [results.decl.method(name) for name in main[1].methods]
    trained = [method.name for method in methods if method.trains and domain in method.domains]
    logs = {name: results.metrics(domain, name) for name in trained}
    return {name: log.assign(expert=log["mu"] * log["sft_loss"]) for name, log in logs.items() if log["mu"].any()}


def _weighs(results: Results, method: str) -> bool:
    return results.decl.method(method).phi.name != "none"


def _draw_functions(axes: Axes, curves: dict[str, list[float]]) -> None:
    names = [name for name in curves if name != "p"]
    for at, name in enumerate(names):
        colour, dash = SHARED_COLOURS[at % len(SHARED_COLOURS)], SHARED_DASHES[at % len(SHARED_DASHES)]
        axes.plot(curves["p"], curves[name], color=colour, linestyle=dash, label=name)
    axes.set(xlabel="p: the policy's probability of the expert's token", ylabel="φ", xlim=(0, 1), ylim=(0, 1.05))
    axes.set_title(TITLES[0], loc="left")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))


def _draw_log(axes: Axes, results: Results, domain: str, logs: dict[str, pd.DataFrame], value: str, title: str) -> str:
    """One logged quantity; returns how its lines are smoothed, or that no run has it."""
    axes.set_title(title, loc="left")
    axes.set(xlabel=STEPS, ylabel=title.split(",")[0])
    if not logs:
        return ""
    drawn = aligned_runs(results, domain, logs)
    curves = draw_runs(axes, results, drawn, value)
    axes.set_ylim(bottom=0)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return smoothing_text(curves, drawn.divisor)


def draw(results: Results, domain: str) -> Drawing:
    """The figure of a domain with its caption."""
    found, logs = results.json(results.root / "phi" / f"{domain}.json"), runs(results, domain)
    figure, (functions, means, losses) = panels(3, 8.4)
    _draw_functions(functions, found["curves"])
    weighing = {name: log for name, log in logs.items() if _weighs(results, name)}
    # A run that stops learning from the expert logs no loss of it from then on: zero.
    learning = {name: log.assign(expert=log["expert"].fillna(0.0)) for name, log in logs.items()}
    said = [
        _draw_log(means, results, domain, weighing, "phi_mean", TITLES[1]),
        _draw_log(losses, results, domain, learning, "expert", TITLES[2]),
    ]
    smoothing = next((text for text in said if text), "every step")
    plain = ", ".join(label(results.decl, name) for name in logs if name not in weighing)
    caption = (
        "Top: every φ that is a function of the token's probability alone. Middle: mean φ over the expert's tokens of "
        f"each step{f' (1 for {plain})' if plain else ''}. Bottom: what the expert adds to the loss, "
        f"μ times its φ-weighted loss. Lines: {smoothing}; thin lines: not smoothed."
    )
    return Drawing(figure, caption)


def _shade(weight: float, largest: float) -> int:
    return int(np.ceil(SHADES * weight / largest)) if largest > 0 else 0


def heat_map(results: Results, domain: str) -> HeatMap:
    """The demonstration's tokens in the shades of every φ."""
    found: dict[str, Any] = results.json(results.root / "phi" / f"{domain}.json")
    shown = found["demonstration"]
    return HeatMap(
        domain,
        results.decl.domains[domain].label,
        found["policy"],
        shown["id"],
        shown["question"] if isinstance(shown["question"], str) else json.dumps(shown["question"], ensure_ascii=False),
        tuple(
            Heat(
                name,
                found["formulas"][name],
                float(np.mean(weights)),
                tuple(
                    Token(text, f"p = {p:.3f}, H = {entropy:.2f}, φ = {weight:.3f}", _shade(weight, max(weights)))
                    for text, p, entropy, weight in zip(
                        shown["tokens"], shown["p"], shown["entropy"], weights, strict=True
                    )
                ),
            )
            for name, weights in shown["phi"].items()
        ),
    )


def write(results: Results, domain: str, out: Path) -> None:
    """Write the figure as PNG, SVG and CSV, and its words and curves as JSON, to the folder `out`."""
    name = name_of(domain)
    with plt.rc_context(RC):
        drawing = draw(results, domain)
        out.mkdir(parents=True, exist_ok=True)
        for kind in ("png", "svg"):
            save(drawing.figure, out / f"{name}.{kind}")
        drawn = panels_of(drawing.figure)
        plt.close(drawing.figure)
    title = f"What φ does: {results.decl.domains[domain].label.lower()}"
    words: dict[str, Any] = {"title": title, "caption": drawing.caption, "reading": ""}
    words |= {"panels": [panel.model_dump() for panel in drawn]}
    write_text(out / f"{name}.csv", to_csv(drawn))
    write_text(out / f"{name}.json", json.dumps(words, ensure_ascii=False, indent=2) + "\n")


def main(argv: Sequence[str] | None = None) -> None:
    """Draw one domain's figure."""
    made = argparse.ArgumentParser(description="Draw what φ does in a domain.")
    made.add_argument("--domain", required=True)
    made.add_argument("--out", required=True, type=Path, help="folder to write to")
    add_common(made)
    arguments = made.parse_args(argv)
    write(open_results(arguments), arguments.domain, arguments.out)


if __name__ == "__main__":
    run_command(main)
