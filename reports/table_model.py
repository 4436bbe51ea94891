"""A table as data: tables.py makes it, table_formats.py and the page show it, its JSON file holds all of it."""

from pydantic import BaseModel, ConfigDict

from evaluation.statistics import Estimate
from reference_impl.config.experiments import Column

CONFIG = ConfigDict(frozen=True, ser_json_inf_nan="constants")
"""An interval over too few questions is not a number, and stays so in JSON."""


class Cell(BaseModel):
    """Ours and the paper's."""

    model_config = CONFIG

    ours: Estimate | None
    """In per cent (a judge's score: times 100) or tokens; None where nothing was asked."""
    printed: str | None
    """The printed string; None where the paper has no such row."""
    implied: str | None = None
    """What the paper's other numbers imply, where the printed cell contradicts them."""
    unreadable: float | None = None
    """Share of answers that the grader could not read."""
    unscored: int = 0
    """Questions left out because the judge failed on an answer to them."""


class Table(BaseModel):
    """A table ready to be written: rows are methods, cells[row][column]."""

    model_config = CONFIG

    name: str
    title: str
    columns: tuple[Column, ...]
    column_names: tuple[str, ...]
    """What was asked here, column by column."""
    methods: tuple[str, ...]
    labels: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    unit: str
    notes: tuple[str, ...] = ()
