"""The section of docs/fidelity.md that readings.yaml decides: what can be read otherwise, and what presets follow."""

from pathlib import Path

from pipelines.ops.declarations_table import table
from pipelines.ops.declarations_table import value_text as text
from reference_impl.config import load_declarations
from reference_impl.config.readings import Preset, Reading, Readings

FIDELITY = Path(__file__).resolve().parents[2] / "docs" / "fidelity.md"
HEADING = "## Other readings\n"
NEXT = "\n## "
WORDS = """
Made by `make docs` from `pipelines/config/readings.yaml`. `snakemake --cores 2 sensitivity` trains each method of each
reading with that one change, `chord_mu@mu_cosine`, and writes what it changes to `report/sensitivity.md`, `.csv` and
`.html`: paired differences to the same method as it is read here, with interval and power. Any two compare:
`snakemake --cores 2 compare --config methods='[chord_mu@mu_cosine, chord_mu]'`. None of it counts among the paper's
claims.
"""


def document() -> str:
    """The text of docs/fidelity.md with the section as it is declared."""
    whole = FIDELITY.read_text(encoding="utf-8")
    before, heading, after = whole.partition(HEADING)
    assert heading, f"{FIDELITY}: no {HEADING!r}"
    return before + heading + section() + after[after.index(NEXT) :]


def section() -> str:
    """What follows the heading, up to the next one."""
    readings = load_declarations(mine="", reading="").readings
    assert readings is not None
    parts = [WORDS, table(["reading", "open question", "changes", "methods"], map(_row, *_items(readings)))]
    parts += [_preset(name, preset, readings) for name, preset in readings.presets.items()]
    return "\n".join(parts)


def _items(readings: Readings) -> tuple[tuple[str, ...], tuple[Reading, ...]]:
    return tuple(readings.readings), tuple(readings.readings.values())


def _row(name: str, reading: Reading) -> list[str]:
    where = f" ({', '.join(reading.domains)})" if reading.domains else ""
    methods = ", ".join(f"`{method}`" for method in reading.methods)
    return [f"`{name}`", reading.question, text(reading.changes), methods + where]


def _preset(name: str, preset: Preset, readings: Readings) -> str:
    """A preset: what it applies, and what it does with the open questions that no reading answers."""
    everywhere = [one for one in preset.readings if readings.readings[one].everywhere]
    named = [one for one in preset.readings if one not in everywhere]
    applied = (
        f"{_names(named)} for its methods and what is like them, {_names(everywhere)} for every method that trains"
    )
    said = (
        f"`--config reading={name}` makes every target {preset.label}, in `results/SCALE/readings/{name}/`: "
        f"{applied}; learning rates {'tuned' if preset.tuned else 'untuned'}. Of the rows above:\n"
    )
    return f"{said}\n{table(['open question', f'`{name}`'], preset.besides.items())}"


def _names(readings: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in readings)
