"""The map of when CHORD helps as heat maps, tables, CSV and a page (`reports.when` computes its cells)."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict

from evaluation.statistics import holm
from reports.heat_maps import Cell, Grid
from reports.inputs import Results
from reports.pages import data_uri, environment, style
from reports.paired import ABOVE, ALPHA, BELOW, SAME, Pair, flat_row, said_of
from reports.style import label
from reports.table_formats import pipe

TITLE = "When does CHORD help?"
NOVELTY, POWERS = "By novelty and demonstrations", "By φ = p^a (1 − p)^b"
HOW_TO_READ = (
    "A cell is a method minus the baseline, on the same questions. Bold: its 95 % interval leaves out 0; a star: it "
    "does so too with all cells of this page as one family of tests (Holm). Without a star, expect one cell in twenty "
    "to be bold by chance.",
    "An interval that holds 0 says that this much data shows no effect, and not that there is none.",
    "None of this is a claim of the paper, and none counts among its claims.",
)
ABOUT_NOVELTY = (
    "A question is as new as the rarest kind of compound operation in it: how often the policy, before any training, "
    "spells that kind out, as its pretraining declares it. Columns: questions that need no such procedure, and thirds "
    "of the kinds. Learning rates are tuned for the usual number of demonstrations."
)
ABOUT_POWERS = (
    "Each cell is one method trained with another φ in its expert's loss, all else the same, also the learning rate, "
    "which was tuned for its own φ: (0, 0) is the expert's loss unweighted, (1, 0) importance sampling (Eq. 4), (1, 1) "
    "CHORD-φ's own (Eq. 5), (0, b) focal loss. The weights are not normalised, so the mean of φ, which is the mean "
    "over the steps of its run, says how much the expert teaches in all: a larger exponent is a smaller step too."
)
UNDECLARED = (
    "By novelty: left out, for the data of this scale do not say how new a question is to the policy, and what their "
    "expert knows beyond it is not declared."
)


class Compared(BaseModel):
    """A method against the baseline."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    pair: Pair


class NoveltyCell(Compared):
    """A method on the questions of one novelty."""

    method: str
    """How it is called without its number of demonstrations."""
    demonstrations: int
    varied: bool
    """Whether other rows differ from it in that number alone."""
    level: str
    low: float | None
    """How often the policy spells out the rarest kind of the level, and in `high` the most frequent."""
    high: float | None


class PowerCell(Compared):
    """A method with φ = p^a (1 − p)^b."""

    a: float
    b: float
    phi_mean: float | None


@dataclass(frozen=True)
class Table:
    """A domain's cells as text, with whether each is decided."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[tuple[str, bool], ...], ...]


@dataclass(frozen=True)
class Found:
    """All cells of the map."""

    results: Results
    novelty: tuple[NoveltyCell, ...]
    """By domain, then row, then level."""
    powers: tuple[PowerCell, ...]
    """By domain, then b, then a."""

    @property
    def cells(self) -> list[Compared]:
        """All of them."""
        return [*self.novelty, *self.powers]

    @property
    def pairs(self) -> list[Pair]:
        """Their comparisons."""
        return [cell.pair for cell in self.cells]

    @cached_property
    def kept(self) -> frozenset[Pair]:
        """The pairs whose difference is found with all of them as one family of tests."""
        tested = [pair for pair in self.pairs if pair.difference is not None]
        adjusted = holm([pair.p for pair in tested])
        return frozenset(pair for pair, p in zip(tested, adjusted, strict=True) if p <= ALPHA)

    @property
    def baseline(self) -> str:
        assert self.results.decl.map is not None
        return label(self.results.decl, self.results.decl.map.baseline)

    @property
    def unit(self) -> str:
        """What the bar of colours shows."""
        return f"difference to {self.baseline}, {self.pairs[0].unit}"

    def domains(self, cells: Iterable[Compared]) -> list[str]:
        """Those that have any, in their order."""
        return list(dict.fromkeys(cell.pair.domain for cell in cells))

    def where(self, domain: str) -> str:
        """A domain as titles name it."""
        return self.results.decl.domains[domain].label.lower()

    def star(self, pair: Pair) -> str:
        """Behind the number of a pair that is found also with all others."""
        return "*" if pair in self.kept else ""

    # ---- Heat maps

    def drawn(self, pair: Pair, *further: str) -> Cell:
        """A pair as a cell of a heat map."""
        if pair.verdict == SAME:
            return Cell(0.0, ("0", "the same answers", *further), decided=False)
        if pair.difference is None:
            return Cell(None, ("–", pair.verdict, *further), decided=False)
        one = pair.difference
        text = f"{one.mean:+.1f}{self.star(pair)}"
        lines = (text, f"[{one.low:+.1f}, {one.high:+.1f}]", *further)
        return Cell(one.mean, tuple(map(_minus, lines)), decided=_decided(pair))

    def novelty_grids(self) -> list[Grid]:
        """The heat map of novelty of every domain that has one."""
        return [self._novelty_grid(domain) for domain in self.domains(self.novelty)]

    def _novelty_grid(self, domain: str) -> Grid:
        rows = _by_row(cell for cell in self.novelty if cell.pair.domain == domain)
        return Grid(
            title=f"{NOVELTY}: {self.where(domain)}",
            rows=tuple(_row_name(row[0], "\n") for row in rows),
            columns=tuple(f"{_level(cell, chr(10))}\n{self._asked(cell.pair)}" for cell in rows[0]),
            row_axis="method and its demonstrations",
            column_axis="how often the policy spells out the rarest kind of operation in a question",
            cells=tuple(tuple(self.drawn(cell.pair) for cell in row) for row in rows),
            cut=sum(row[0].varied for row in rows),
        )

    def _asked(self, pair: Pair) -> str:
        value = "–" if pair.baseline_value is None else f"{pair.baseline_value.mean:.1f}"
        return f"n = {pair.questions}\n{self.baseline.partition(' (')[0]}: {value}"

    def power_grids(self) -> list[Grid]:
        """The heat map of φ of every domain."""
        return [self._power_grid(domain) for domain in self.domains(self.powers)]

    def _power_grid(self, domain: str) -> Grid:
        cells = {(cell.a, cell.b): cell for cell in self.powers if cell.pair.domain == domain}
        columns, rows = _exponents(cells)
        return Grid(
            title=f"By φ = $p^a (1 - p)^b$: {self.where(domain)}, n = {next(iter(cells.values())).pair.questions}",
            rows=tuple(f"{b:g}" for b in reversed(rows)),
            columns=tuple(f"{a:g}" for a in columns),
            row_axis="b, exponent of 1 − p",
            column_axis="a, exponent of p",
            cells=tuple(
                tuple(self.drawn(cells[a, b].pair, _phi_text(cells[a, b])) for a in columns) for b in reversed(rows)
            ),
        )

    # ---- Tables

    def tables(self) -> list[Table]:
        """Every domain's, of novelty and of φ."""
        novelty = [self._novelty_table(domain) for domain in self.domains(self.novelty)]
        return [*novelty, *(self._power_table(domain) for domain in self.domains(self.powers))]

    def _novelty_table(self, domain: str) -> Table:
        rows = _by_row(cell for cell in self.novelty if cell.pair.domain == domain)
        header = ["method", *(f"{_level(cell)}, n = {cell.pair.questions}" for cell in rows[0])]
        values = [cell.pair.baseline_value for cell in rows[0]]
        first = [(f"{self.baseline} itself", False), *((one.text() if one else "–", False) for one in values)]
        others = [
            ((_row_name(row[0], ", "), False), *((self._text(cell.pair), _decided(cell.pair)) for cell in row))
            for row in rows
        ]
        return Table(f"{NOVELTY}: {self.where(domain)}", tuple(header), (tuple(first), *others))

    def _power_table(self, domain: str) -> Table:
        cells = {(cell.a, cell.b): cell for cell in self.powers if cell.pair.domain == domain}
        columns, rows = _exponents(cells)
        body = tuple(((f"b = {b:g}", False), *(self._power(cells[a, b]) for a in columns)) for b in rows)
        questions = next(iter(cells.values())).pair.questions
        header = ("", *(f"a = {a:g}" for a in columns))
        return Table(f"{POWERS}: {self.where(domain)}, n = {questions}", header, body)

    def _power(self, cell: PowerCell) -> tuple[str, bool]:
        return f"{self._text(cell.pair)}; {_phi_text(cell)}", _decided(cell.pair)

    def _text(self, pair: Pair) -> str:
        return pair.verdict if pair.difference is None else pair.difference.text("+") + self.star(pair)

    def notes(self) -> list[str]:
        """What is said under the tables."""
        about = [ABOUT_NOVELTY if self.novelty else UNDECLARED, ABOUT_POWERS]
        asked = ", ".join(dict.fromkeys(f"{pair.domain}: {pair.column}" for pair in self.pairs))
        return [*about, f"Asked: {asked}.", *HOW_TO_READ, *said_of(self.pairs, self.results)]


def _decided(pair: Pair) -> bool:
    return pair.verdict in (ABOVE, BELOW)


def _minus(text: str) -> str:
    """With the sign that is as wide as a plus."""
    return text.replace("-", "−")


def _phi_text(cell: PowerCell) -> str:
    return "mean φ –" if cell.phi_mean is None else f"mean φ {cell.phi_mean:.3f}"


def _exponents(cells: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """The a and the b of some cells, as they stand in map.yaml."""
    pairs = list(cells)
    return list(dict.fromkeys(a for a, _ in pairs)), list(dict.fromkeys(b for _, b in pairs))


def _by_row(cells: Iterable[NoveltyCell]) -> list[list[NoveltyCell]]:
    rows: dict[str, list[NoveltyCell]] = {}
    for cell in cells:
        rows.setdefault(cell.pair.name, []).append(cell)
    return list(rows.values())


def _row_name(cell: NoveltyCell, between: str) -> str:
    return f"{cell.method}{between}{cell.demonstrations:,} demonstrations"


def _level(cell: NoveltyCell, between: str = ", ") -> str:
    """A column's name, with its range in per cent."""
    if cell.low is None or cell.high is None:
        return cell.level if between == ", " else between.join(cell.level.rsplit(" ", 1))
    return f"{cell.level}{between}{100 * cell.low:.2g}–{100 * cell.high:.2g} %"


def to_markdown(found: Found) -> str:
    """The tables, and how to read them."""
    lines = [f"# {TITLE}", ""]
    for table in found.tables():
        lines += [f"## {table.title}", "", pipe(table.header), pipe(["---"] * len(table.header))]
        lines += [pipe([f"**{text}**" if decided else text for text, decided in row]) for row in table.rows]
        lines.append("")
    lines += ["## How to read this", "", *(f"- {note}" for note in found.notes())]
    return "\n".join(lines) + "\n"


def to_csv(found: Found) -> str:
    """A row a cell, a column for every number."""
    keys = ("demonstrations", "level", "low", "high", "a", "b", "phi_mean")
    rows: list[dict[str, Any]] = []
    for cell in found.cells:
        kind = "novelty" if isinstance(cell, NoveltyCell) else "phi"
        own = {key: value for key, value in cell.model_dump(exclude={"pair"}).items() if key in keys}
        flat = flat_row(cell.pair.model_dump())
        rows.append({"map": kind, **own, **flat, "found in the family": cell.pair in found.kept})
    pair = flat_row(dict.fromkeys(Pair.model_fields))
    out = io.StringIO()
    fields = ["map", *keys, *pair, "found in the family"]
    writer = csv.DictWriter(out, fieldnames=fields, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def to_html(found: Found, images: Mapping[str, bytes]) -> str:
    """The same as a page of its own; ``images``: PNG by name."""
    scale, seeds = found.results.scale, found.results.seeds
    notes: Sequence[str] = found.notes()
    return (
        environment()
        .get_template("when.html.j2")
        .render(
            title=TITLE,
            scale=scale,
            seeds=seeds or scale.seeds,
            style=style("style.css", "report.css"),
            images={name: data_uri(content, "image/png") for name, content in images.items()},
            tables=found.tables(),
            lede=HOW_TO_READ,
            notes=[note for note in notes if note not in HOW_TO_READ],
        )
    )
