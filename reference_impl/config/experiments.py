"""experiments.yaml as data: what each table, figure and page of the report is made of."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from reference_impl.config.fields import Name, Several, no_repetition
from reference_impl.config.model import Declared, choose, parse, read_yaml


class Experiment(Declared):
    """What every entry of experiments.yaml has."""

    kind: Literal["table", "figure", "page"]
    paper: str
    """Its name in the paper."""
    title: str
    """What it shows, in a line."""
    reading: str = ""
    """What the paper says it shows: its own words, or a close summary with the section."""
    domains: Several[str]
    """Whose results it shows."""
    methods: Several[str]
    """Rows, curves or answers, in the paper's order."""

    @property
    def made_of(self) -> tuple[str, ...]:
        """The methods whose runs or scores it is made of."""
        return self.methods

    @field_validator("reading")
    @classmethod
    def _without_a_last_line_break(cls, text: str) -> str:
        return text.strip()


class Column(Declared):
    """One column of a table: the paper's header, and the questions that stand for it."""

    header: str
    """The paper's column, as in reports/published."""
    domain: str
    """Whose questions count."""
    benchmarks: Several[str]
    """Benchmarks of the paper whose questions count, each with the same weight."""
    categories: tuple[str, ...] = ()
    """BFCL categories or MMLU-Pro subjects; left out: all."""
    part: str = ""
    """Which part of the task's questions, or what of them, as the column is named here: live, length."""
    value: Literal["correct", "score", "tokens"] = "correct"
    """What is averaged: whether an answer is correct, a judge's score (0 to 1; both shown times 100) or its tokens."""
    group: str = ""
    """The paper's header above several columns."""

    @property
    def graded(self) -> bool:
        """Whether a grader or a judge gave the values."""
        return self.value != "tokens"

    @property
    def factor(self) -> float:
        """What a mean is multiplied by to be in the paper's unit."""
        return 100 if self.graded else 1

    @property
    def unit(self) -> str:
        """The unit of a difference in this column."""
        return "points" if self.graded else "tokens"


class TableEntry(Experiment):
    """A table: a row for every method, ours beside the paper's value."""

    kind: Literal["table"]
    unit: str = "accuracy, %"
    """What its numbers are, as its caption says."""
    expert_row: bool = False
    """Whether the expert's demonstrations are the first row: their length is known."""
    columns: Annotated[tuple[Column, ...], Field(min_length=1)]

    @field_validator("columns")
    @classmethod
    def _headers_differ(cls, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        no_repetition(tuple(column.header for column in columns))
        return columns

    @model_validator(mode="after")
    def _columns_are_of_its_domains(self) -> "TableEntry":
        for column in self.columns:
            choose("domain", column.domain, self.domains, f"column {column.header}: the table's domains")
        return self


class FigureEntry(Experiment):
    """What all figures have."""

    kind: Literal["figure"]
    draw: str
    """Which drawing of reports/figures.py."""

    @property
    def of_runs(self) -> bool:
        """Whether it shows what runs logged, and not how their learning rates were chosen."""
        return self.draw != "tuned_rates"

    @property
    def made_of(self) -> tuple[str, ...]:
        return self.methods if self.of_runs else ()


class TrainingCurve(FigureEntry):
    """A figure of one logged quantity against training steps: a panel for every domain, a line for every method."""

    draw: Literal["training_curve"]
    """One quantity against training steps."""
    metric: str
    """The quantity, a key of metrics.jsonl."""
    ylabel: str
    """What it is, and its unit."""
    text: str
    """The caption's first sentence; how the lines were smoothed and what the bands are follows by itself."""
    from_zero: bool = False
    """Whether the vertical axis begins at zero."""


class OwnDrawing(FigureEntry):
    """A figure that draws something of its own, and says so in its own words."""

    draw: Literal[
        "validation_by_step", "validation_by_epoch", "reward_above_mu", "length_with_references", "tuned_rates"
    ]
    """Which drawing of reports/figures.py."""


class PageEntry(Experiment):
    """A page of case studies."""

    kind: Literal["page"]


AnyFigure = Annotated[TrainingCurve | OwnDrawing, Field(discriminator="draw")]
AnyExperiment = Annotated[TableEntry | AnyFigure | PageEntry, Field(discriminator="kind")]


class Experiments(Declared):
    """All of experiments.yaml: `headline`, and an entry for each table, figure and page, in the report's order."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Name, AnyExperiment]

    headline: Several[str]
    """What the default target makes; `everything` makes all."""

    @property
    def entries(self) -> dict[str, Experiment]:
        """Name → entry, in the order of the file."""
        return dict(self.__pydantic_extra__)


def read_experiments(path: Path) -> Experiments:
    """experiments.yaml, checked by itself. Raises ValueError with one line for every mistake in it."""
    return parse(Experiments, read_yaml(path), os.path.relpath(path))
