"""The paper's claims, decided by intervals: holds, does not hold, or undecided. Nothing here is decided by
hand.

    python -m reports.claims --scale mini --results results/mini --out results/mini/report/claims.csv

claims.yaml says which comparisons decide a claim; comparisons.py makes them. A page shows the claims that its own
experiments can decide: those whose every method is in one of them.
"""

import argparse
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reference_impl.config.experiments import Experiment
from reference_impl.config.model import read_yaml
from reference_impl.files import write_text
from reports.comparisons import CLAIMS, FAILS, HOLDS, UNDECIDED, Comparison, Entry, compare, needs
from reports.inputs import Results, add_common, experiment, open_results, run_command

__all__ = ["CLAIMS", "FAILS", "HOLDS", "UNDECIDED", "Claim", "Comparison", "decide", "to_csv"]


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper with what decides it."""

    id: str
    section: str
    paper: str
    note: str
    comparisons: tuple[Comparison, ...]

    @property
    def verdict(self) -> str:
        """Holds if all comparisons do; does not hold if one of them is refuted."""
        return combine([comparison.verdict for comparison in self.comparisons])


def combine(verdicts: Sequence[str]) -> str:
    """The verdict on a claim that makes several comparisons."""
    if FAILS in verdicts:
        return FAILS
    return HOLDS if all(verdict == HOLDS for verdict in verdicts) else UNDECIDED


def available(results: Results, experiments: Sequence[str]) -> set[tuple[str, str, bool]]:
    """(domain, method, scored) that the files of some experiments hold: a table has its methods' scores and runs,
    anything else their runs.
    """
    found = set()
    for name in experiments:
        entry = experiment(results, name, Experiment)
        for domain in entry.domains:
            for method in entry.methods:
                if domain in results.decl.method_domains(method):
                    found |= {(domain, method, False), (domain, method, entry.kind == "table")}
    return found


def decidable(results: Results, entry: Entry, there: set[tuple[str, str, bool]]) -> bool:
    """Whether every comparison of a claim has the methods that it needs."""
    wanted = [needs(results.decl, part) for part in entry["comparisons"]]
    return all((part.domain, method, part.scored) in there for part in wanted for method in part.methods)


def decide(results: Results, experiments: Sequence[str], path: Path = CLAIMS) -> list[Claim]:
    """Every claim of claims.yaml that these tables and figures can decide, with its verdict on these results."""
    there = available(results, experiments)
    return [
        Claim(
            id=entry["id"],
            section=entry["section"],
            paper=entry["paper"],
            note=entry.get("note", ""),
            comparisons=tuple(compare(results, part) for part in entry["comparisons"]),
        )
        for entry in read_yaml(path)
        if decidable(results, entry, there)
    ]


def to_csv(claims: Sequence[Claim]) -> str:
    """One row a comparison."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["claim", "section", "claim verdict", "comparison", "verdict", "difference", "low", "high"]
    writer.writerow([*head, "unit", "paper", "detectable"])
    for claim in claims:
        for part in claim.comparisons:
            shown = (part.mean, part.low, part.high, part.detectable)
            *numbers, detectable = ["" if value is None else f"{value:.4f}" for value in shown]
            row = [claim.id, claim.section, claim.verdict, part.text, part.verdict, *numbers]
            writer.writerow([*row, part.unit, part.paper or "", detectable])
    return out.getvalue()


def main(argv: Sequence[str] | None = None) -> None:
    """Write every claim with its verdict as CSV."""
    made = argparse.ArgumentParser(description="Decide the paper's claims on these results.")
    made.add_argument("--out", required=True, type=Path, help="CSV file to write")
    made.add_argument("--experiments", nargs="+", help="tables and figures that are made; by default the headline's")
    add_common(made)
    arguments = made.parse_args(argv)
    results = open_results(arguments)
    experiments = arguments.experiments or results.decl.headline
    write_text(arguments.out, to_csv(decide(results, experiments)))


if __name__ == "__main__":
    run_command(main)
