"""The sentences of the first screen, made from verdicts, intervals and logs; no number in them is written by hand."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.claims import FAILS, HOLDS, MAIN, UNDECIDED, UNTESTED, Claim
from reports.inputs import Results
from reports.pages import signed

VERBS = {HOLDS: ("holds", "hold"), FAILS: ("does not hold", "do not hold")}


@dataclass(frozen=True)
class Finding:
    """A claim of the paper with what was found, in a sentence."""

    claim: Claim
    text: str


def counted(claims: Sequence[Claim], seeds: int) -> str:
    """How many claims hold."""
    counts = {verdict: sum(claim.verdict == verdict for claim in claims) for verdict in (HOLDS, FAILS)}
    said = [f"{count} {VERBS[verdict][count != 1]}" for verdict, count in counts.items()]
    said += [f"{sum(claim.verdict == verdict for claim in claims)} {verdict}" for verdict in (UNDECIDED, UNTESTED)]
    one = "one seed: training's own noise is in no interval" if seeds == 1 else f"{seeds} seeds"
    return f"Of the {len(claims)} claims of the paper that this page decides: {', '.join(said)} ({one})."


def found(claim: Claim) -> str:
    """What the comparisons of a claim came to, in a sentence."""
    tested = [part for part in claim.comparisons if part.estimate is not None]
    if not tested:
        return f"Nothing to compare: {claim.comparisons[0].why_not}."
    if len(tested) == 1:
        part = tested[0]
        paper = f"; the paper {part.printed}" if part.printed else ""
        return f"{part.text}: {_interval(part.estimate, part.unit)} {part.unit}{paper}."
    above = sum(part.estimate.low > 0 for part in tested if part.estimate)
    below = sum(part.estimate.high < 0 for part in tested if part.estimate)
    least, most = (pick(tested, key=lambda part: part.mean or 0.0) for pick in (min, max))
    return (
        f"Of {len(tested)} comparisons {above} above zero, {below} below: "
        f"{_interval(least.estimate, least.unit)} to {_interval(most.estimate, most.unit)} {most.unit}."
    )


def _interval(estimate: object, unit: str) -> str:
    mean, low, high = (signed(getattr(estimate, name), unit) for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def findings(claims: Sequence[Claim]) -> list[Finding]:
    """The paper's argument in its own order (MAIN), as far as the page decides it."""
    known = {claim.id: claim for claim in claims}
    return [Finding(known[name], found(known[name])) for name in MAIN if name in known]


def weights(results: Results, shown: Sequence[str]) -> list[str]:
    """How much the demonstrations weigh in the runs that have a φ, from metrics.jsonl: a sentence a method.

    Of the methods of the main tables that are among the experiments ``shown``.
    """
    decl = results.decl
    parts: dict[str, list[str]] = {}
    for domain in results.scale.domains:
        main = decl.main_table(domain)
        if main is None or main[0] not in shown:
            continue
        for method in map(decl.method, main[1].methods):
            if domain in method.domains and method.trains and method.phi.name != "none":
                log = results.metrics(domain, method.name)
                mu, phi = log["mu"], log["phi_mean"]
                parts.setdefault(method.label, []).append(
                    f"{phi.mean():.3f} in {decl.domains[domain].label.lower()} (μ·φ = {(mu * phi).mean():.4f} beside "
                    f"1 − μ = {1 - mu.mean():.2f} of RL)"
                )
    return [f"Mean φ of an expert's token in {label}: {'; '.join(said)}." for label, said in parts.items()]
