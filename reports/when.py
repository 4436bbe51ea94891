"""When does CHORD help? By how new a question is to the policy and by the number of demonstrations; and by φ.

    python -m reports.when --scale mini --results results/mini --novelty results/mini/novelty/math.json \\
        --out results/mini/report

Written are map.md, .csv and .html, and two heat maps as map-novelty and map-phi, each .png and .svg. Cells are paired
differences to the baseline of map.yaml on the questions of the first whole column of a domain's main table, which in
the sandbox are as long as those of training. No claim of the paper is among them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib import pyplot as plt
from pydantic import BaseModel, ConfigDict

from reference_impl.config import expert_roles, expert_rows
from reference_impl.config.help_map import HelpMap
from reference_impl.files import write_text
from reports import when_pages
from reports.drawing import save
from reports.heat_maps import draw
from reports.inputs import Results, add_common, open_results, run_command
from reports.paired import Pair, main_column, make_pair
from reports.scores import column_name, samples_of
from reports.style import RC, label
from reports.when_pages import NoveltyCell, PowerCell


class Level(BaseModel):
    """Questions that are about as new to the policy."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    low: float | None
    """How often the policy spells out the rarest kind of operation of the level, and in `high` the most frequent; None:
    the level has no such operation.
    """
    high: float | None


class Novelty(BaseModel):
    """A file of pipelines/sandbox/novelty.py."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    domain: str
    levels: tuple[Level, ...]
    tasks: dict[str, dict[str, int]]
    """Task → question → number of its level."""

    def at(self, level: int) -> set[str]:
        """The questions of a level, called as scores call them: task/id."""
        return {f"{task}/{item}" for task, items in self.tasks.items() for item, own in items.items() if own == level}


def the_map(results: Results) -> HelpMap:
    """map.yaml. Raises ValueError where the scale has none of its domains."""
    found = results.decl.map
    assert found is not None
    if not set(found.domains) & set(results.scale.domains):
        raise ValueError(f"map.yaml: domains: {', '.join(found.domains)}: scale {results.scale.name} has none of them")
    return found


def _shown(results: Results, method: str, domain: str) -> bool:
    """Whether a domain has a cell of a method: it is trained there, and the scale has its demonstrations."""
    entry = results.decl.method(method)
    return domain in entry.domains and entry.expert in expert_roles(results.decl, results.scale, domain)


def _domains(results: Results) -> list[str]:
    return [domain for domain in the_map(results).domains if domain in results.scale.domains]


def pair_of(results: Results, domain: str, method: str, questions: set[str] | None = None) -> Pair:
    """A method against the baseline on the domain's column; ``questions``: on those alone."""
    column, baseline = main_column(results.decl, domain), the_map(results).baseline

    def side(name: str) -> tuple[str, str, pd.DataFrame]:
        samples = samples_of(results, name, column)
        return name, label(results.decl, name), samples if questions is None else _among(samples, questions)

    return make_pair(column, column_name(results, column), side(method), side(baseline))


def _among(samples: pd.DataFrame, questions: set[str]) -> pd.DataFrame:
    return samples[samples["item_id"].isin(questions)]


def novelty_cells(results: Results, novelty: Novelty) -> list[NoveltyCell]:
    """Every row of the map of novelty in a domain, at every level."""
    found, drawn = [], the_map(results)
    for method, base in drawn.rows(results.decl.methods).items():
        if not _shown(results, method, novelty.domain):
            continue
        rows = expert_rows(results.decl, results.scale, novelty.domain, results.decl.method(method).expert)
        for number, level in enumerate(novelty.levels):
            found.append(
                NoveltyCell(
                    method=label(results.decl, base),
                    demonstrations=rows,
                    varied=base in drawn.demonstrations.methods,
                    level=level.name,
                    low=level.low,
                    high=level.high,
                    pair=pair_of(results, novelty.domain, method, novelty.at(number)),
                )
            )
    return found


def power_cells(results: Results, domain: str) -> list[PowerCell]:
    """Every φ of the family in a domain."""
    methods = the_map(results).powers_of(results.decl.methods)
    return [
        PowerCell(a=a, b=b, phi_mean=phi_mean(results, domain, name), pair=pair_of(results, domain, name))
        for (a, b), name in methods.items()
        if _shown(results, name, domain)
    ]


def phi_mean(results: Results, domain: str, method: str) -> float | None:
    """Mean φ of the expert's tokens over a run's steps and over seeds; None where no step had an expert's loss."""
    logged = pd.to_numeric(results.metrics(domain, method)["phi_mean"]).dropna()
    return None if logged.empty else float(logged.mean())


def write(results: Results, folder: Path, novelty: Sequence[Novelty]) -> None:
    """Write the map; ``novelty``: of the domains whose questions' novelty is known."""
    powers = [cell for domain in _domains(results) for cell in power_cells(results, domain)]
    known = [cell for one in novelty for cell in novelty_cells(results, one)]
    found = when_pages.Found(results, tuple(known), tuple(powers))
    images: dict[str, Path] = {}
    with plt.rc_context(RC):
        for name, grids, height in (
            ("map-novelty", found.novelty_grids(), 0.42),
            ("map-phi", found.power_grids(), 0.64),
        ):
            if grids:
                figure = draw(grids, found.unit, height)
                folder.mkdir(parents=True, exist_ok=True)
                for kind in ("png", "svg"):
                    images[name] = folder / f"{name}.png"
                    save(figure, folder / f"{name}.{kind}")
                plt.close(figure)
    write_text(folder / "map.csv", when_pages.to_csv(found))
    write_text(
        folder / "map.html", when_pages.to_html(found, {name: path.read_bytes() for name, path in images.items()})
    )
    write_text(folder / "map.md", when_pages.to_markdown(found))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m reports.when", description=str(__doc__).split("\n\n")[0])
    made.add_argument("--novelty", nargs="+", default=[], type=Path, help="files that say how new questions are")
    made.add_argument("--out", required=True, type=Path, help="folder to write to")
    add_common(made)
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Write the map of a results folder."""
    arguments = parser().parse_args(argv)
    results = open_results(arguments)
    write(results, arguments.out, [Novelty.model_validate(results.json(path)) for path in arguments.novelty])


if __name__ == "__main__":
    run_command(main)
