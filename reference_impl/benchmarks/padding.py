"""What share of a step's micro-batches is padding, with sequences sorted by length and as they come.

    python -m reference_impl.benchmarks.padding

The lengths are drawn, not measured: log-normal responses with means near those of the paper's Table 2 (the same as in
pipelines/config/estimate.yaml), cut at a scale's limit. Nothing is computed but the cut into micro-batches.
"""

import math
import random
import statistics
from collections.abc import Iterator, Sequence

from reference_impl.step.batching import cuts

SPREAD = 0.8
"""Standard deviation of a response's log-length: the middle two thirds lie within a factor of 2.2 of the median."""
CASES = {
    "math, paper: 32 × 8 rollouts, 64 demonstrations": (250, ((256, 4000), (64, 6132)), 16384, 20480),
    "math, paper, one of 8 processes": (250, ((32, 4000), (8, 6132)), 16384, 20480),
    "tool use, paper: 96 × 8 rollouts, 96 demonstrations": (1000, ((768, 200), (96, 315)), 16384, 20480),
}
"""Case → mean tokens of a prompt, (number, mean tokens) of each kind of response, limit of a response, budget."""


def lengths(prompt: int, kinds: Sequence[tuple[int, int]], limit: int, seed: int) -> list[int]:
    """Tokens of every sequence of a step, in random order. The mean of exp(N(m, s^2)) is exp(m + s^2 / 2)."""
    draw = random.Random(seed)
    responses = [
        min(limit, max(1, round(draw.lognormvariate(math.log(mean) - SPREAD**2 / 2, SPREAD))))
        for number, mean in kinds
        for _ in range(number)
    ]
    found = [round(prompt * draw.lognormvariate(-0.125, 0.5)) + response for response in responses]
    draw.shuffle(found)
    return found


def padding(tokens: Sequence[int], budget: int) -> tuple[float, int]:
    """(Share of padding in the micro-batches, their number), for sequences cut in the order given."""
    batches = [[tokens[i] for i in rows] for rows in cuts(tokens, budget)]
    padded = sum(len(batch) * max(batch) for batch in batches)
    return 1 - sum(tokens) / padded, len(batches)


def rows() -> Iterator[str]:
    """Markdown: means over 20 drawn steps."""
    yield "| step | padding, sorted | padding, as they come | micro-batches, sorted | as they come |"
    yield "|---|---|---|---|---|"
    for case, (prompt, kinds, limit, budget) in CASES.items():
        steps = [lengths(prompt, kinds, limit, seed) for seed in range(20)]
        sorted_shares, sorted_counts = zip(*(padding(sorted(step), budget) for step in steps), strict=True)
        shares, counts = zip(*(padding(step, budget) for step in steps), strict=True)
        yield (
            f"| {case} | {statistics.fmean(sorted_shares):.1%} | {statistics.fmean(shares):.1%} "
            f"| {statistics.fmean(sorted_counts):.1f} | {statistics.fmean(counts):.1f} |"
        )


if __name__ == "__main__":
    print("\n".join(rows()))
