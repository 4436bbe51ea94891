"""A board of φ: methods that differ in φ alone, ranked by the first column of the paper that asks a whole benchmark.

    python -m reports.phi_board --board tool chord_phi phi_focal … --scale mini --results results/mini --out FOLDER

A board is a domain and the methods on it; which these are, the plan says. Each φ has its value with its 95 % interval
and its paired difference to CHORD-φ's. Written are phi_board.md and phi_board.json.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from reference_impl.config import Method
from reference_impl.files import write_text
from reports.inputs import Results, add_common, open_results, run_command
from reports.paired import Pair, main_column, make_pair, said_of
from reports.scores import column_name, samples_of
from reports.style import label
from reports.table_formats import pipe

OURS = "p_one_minus_p"
"""The φ that the others are compared with (Eq. 5)."""


class Row(BaseModel):
    """A φ on its board."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    rank: int
    phi: str
    mine: bool
    """Whether it is the user's."""
    pair: Pair
    """Its method against the board's baseline; the baseline against itself."""


class Board(BaseModel):
    """Methods of one domain that differ in φ alone, the best first."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    domain: str
    column: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


class Boards(BaseModel):
    """phi_board.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    scale: str
    boards: tuple[Board, ...]


def phi_text(method: Method) -> str:
    """The φ of a method with its parameters: focal (gamma 2)."""
    given = method.phi.given()
    name = given.pop("name")
    params = ", ".join(f"{key} {value:g}" if type(value) is float else f"{key} {value}" for key, value in given.items())
    return f"{name} ({params})" if params else str(name)


def board(results: Results, domain: str, methods: Sequence[str]) -> Board:
    """Rank methods that differ in φ alone."""
    decl = results.decl
    column = main_column(decl, domain)
    asked = column_name(results, column)
    sides = {name: (name, label(decl, name), samples_of(results, name, column)) for name in methods}
    baseline = next((name for name in methods if phi_text(decl.method(name)) == OURS), methods[0])
    pairs = [make_pair(column, asked, sides[name], sides[baseline]) for name in methods]
    pairs.sort(key=lambda pair: -pair.value.mean if pair.value else 1.0)
    rows = [
        Row(rank=rank, phi=phi_text(decl.method(pair.name)), mine=pair.name in decl.mine_names, pair=pair)
        for rank, pair in enumerate(pairs, start=1)
    ]
    others = [pair for pair in pairs if pair.name != baseline]
    return Board(domain=domain, column=asked, rows=tuple(rows), notes=tuple(said_of(others)))


def to_markdown(found: Board) -> str:
    """A board as a pipe table."""
    baseline = found.rows[0].pair.baseline_label
    header = ["", "φ", "method", found.column, f"difference to {baseline} [95 %]", "verdict", "n", "seeds"]
    lines = [f"## {found.domain}: {baseline} with another φ", "", pipe(header), pipe(["---"] * len(header))]
    for row in found.rows:
        pair = row.pair
        itself = pair.name == pair.baseline
        lines.append(
            pipe(
                [
                    str(row.rank),
                    f"{row.phi}{' (yours)' if row.mine else ''}",
                    pair.label,
                    pair.value.text() if pair.value else "–",
                    pair.difference.text("+") if pair.difference else "–",
                    "" if itself else pair.verdict,
                    str(pair.questions),
                    str(pair.seeds),
                ]
            )
        )
    return "\n".join([*lines, "", *found.notes]) + "\n"


def write(results: Results, boards: Sequence[Sequence[str]], folder: Path) -> None:
    """Write phi_board.md and phi_board.json; each board is its domain, then its methods."""
    found = [board(results, domain, methods) for domain, *methods in boards]
    text = f"# Every φ, ranked: scale {results.scale.name}\n\n{results.scale.description}\n\n"
    write_text(folder / "phi_board.md", text + "\n".join(map(to_markdown, found)))
    made = Boards(scale=results.scale.name, boards=tuple(found))
    write_text(folder / "phi_board.json", made.model_dump_json(indent=1) + "\n")


def main(argv: Sequence[str] | None = None) -> None:
    """Write the boards of a results folder."""
    made = argparse.ArgumentParser(prog="python -m reports.phi_board", description=__doc__.split("\n\n")[0])
    made.add_argument("--board", nargs="+", action="append", required=True, help="a domain, then methods of it")
    made.add_argument("--out", required=True, type=Path, help="folder to write to")
    add_common(made)
    arguments = made.parse_args(argv)
    write(open_results(arguments), arguments.board, arguments.out)


if __name__ == "__main__":
    run_command(main)
