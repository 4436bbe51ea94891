"""The paper's claims, decided by tests: holds, does not hold, undecided, not testable here. Nothing is decided by hand.

    python -m reports.claims --scale mini --results results/mini --out results/mini/report/claims.csv

claims.yaml says which comparisons decide a claim; comparisons.py makes them. Where a claim makes several, their
p-values are adjusted (Holm), for holding and for not holding, so that a claim without any true difference is decided by
chance as rarely as a single comparison; `family_wise` says what is left when all claims are taken as one family. A page
shows the claims that its own experiments can decide: those whose every method is in one of them.
"""

import argparse
import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evaluation.statistics import holm
from reference_impl.config.experiments import Experiment
from reference_impl.config.model import read_yaml
from reference_impl.files import write_text
from reports.comparisons import ALPHA, CLAIMS, FAILS, HOLDS, UNDECIDED, UNTESTED, Comparison, Entry, compare, needs
from reports.inputs import Results, add_common, experiment, open_results, run_command

__all__ = [
    "CLAIMS",
    "FAILS",
    "HOLDS",
    "MAIN",
    "UNDECIDED",
    "UNTESTED",
    "Claim",
    "Comparison",
    "decide",
    "family_wise",
    "to_csv",
]
MAIN = ("sft_shift", "no_is_entropy_rises", "chord_mu_math", "chord_phi_over_sft_rl", "chord_phi_over_rl")
"""The claims that README and the page's first screen quote: the paper's argument in its own order (3.1, 3.3, 4.2,
4.3).
"""


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

    @property
    def p_holds(self) -> float:
        """That all comparisons hold: the largest of their p-values."""
        return max(comparison.p_holds for comparison in self.comparisons)

    @property
    def p_fails(self) -> float:
        """That one is refuted: the smallest of the adjusted ones."""
        return min(comparison.p_fails for comparison in self.comparisons)


def combine(verdicts: Sequence[str]) -> str:
    """The verdict on a claim that makes several comparisons."""
    if FAILS in verdicts:
        return FAILS
    if all(verdict == UNTESTED for verdict in verdicts):
        return UNTESTED
    return HOLDS if all(verdict == HOLDS for verdict in verdicts) else UNDECIDED


def adjusted(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons of a claim with p-values adjusted within it, each way."""
    tested = [part for part in comparisons if part.estimate is not None]
    holding, failing = holm([part.p_holds for part in tested]), holm([part.p_fails for part in tested])
    pairs = iter(zip(holding, failing, strict=True))
    found = []
    for part in comparisons:
        if part.estimate is None:
            found.append(part)
        else:
            p_holds, p_fails = next(pairs)
            found.append(replace(part, p_holds=p_holds, p_fails=p_fails))
    return tuple(found)


def family_wise(claims: Sequence[Claim]) -> Counter[str]:
    """How many claims hold and do not, all of them taken as one family (Holm over both)."""
    decided: Counter[str] = Counter()
    p_values = holm([p for claim in claims for p in (claim.p_holds, claim.p_fails)])
    for holds, fails in zip(p_values[::2], p_values[1::2], strict=True):
        decided[HOLDS] += holds <= ALPHA
        decided[FAILS] += fails <= ALPHA
    return decided


def available(results: Results, experiments: Sequence[str]) -> set[tuple[str, str, bool]]:
    """(domain, method, scored) that the files of some experiments hold: a table has its methods' scores and runs,
    anything else their runs.
    """
    found = set()
    for name in experiments:
        entry = experiment(results, name, Experiment)
        for domain in entry.domains:
            for method in entry.made_of:
                if domain in results.decl.method_domains(method):
                    found |= {(domain, method, False), (domain, method, entry.kind == "table")}
    return found


def decidable(results: Results, entry: Entry, there: set[tuple[str, str, bool]]) -> bool:
    """Whether every comparison of a claim has the methods that it needs."""
    wanted = [needs(results.decl, part) for part in entry["comparisons"]]
    return all((part.domain, method, part.scored) in there for part in wanted for method in part.methods)


def decide(results: Results, experiments: Sequence[str], path: Path = CLAIMS) -> list[Claim]:
    """Every claim of claims.yaml that these tables and figures can decide, with its verdict on these results.

    None where questions are the user's own, of which the paper claims nothing.
    """
    if results.own_questions:
        return []
    there = available(results, experiments)
    return [
        Claim(
            id=entry["id"],
            section=entry["section"],
            paper=entry["paper"],
            note=entry.get("note", ""),
            comparisons=adjusted([compare(results, part) for part in entry["comparisons"]]),
        )
        for entry in read_yaml(path)
        if decidable(results, entry, there)
    ]


HEAD = (
    *("claim", "section", "claim verdict", "comparison", "verdict", "unit", "paper", "difference", "low", "high"),
    *("p holds", "p does not hold", "detectable", "power at the paper's difference"),
)


def to_csv(claims: Sequence[Claim]) -> str:
    """One row a comparison."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*HEAD])
    for claim in claims:
        for part in claim.comparisons:
            numbers = (part.mean, part.low, part.high, part.p_holds, part.p_fails, part.detectable, part.power)
            shown = ["" if value is None else f"{value:.4g}" for value in numbers]
            row = [claim.id, claim.section, claim.verdict, part.text, part.verdict, part.unit, part.printed or ""]
            writer.writerow([*row, *shown])
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
