"""Log-probs in chunks against all logits at once, at the paper's vocabulary and a response of 4,096 tokens."""

from reference_impl.benchmarks.logprob_memory import WAYS, measure_apart
from reference_impl.benchmarks.pairs import REPETITIONS, Line, medians, ratios
from reference_impl.benchmarks.setting import Setting

TOKENS, VOCABULARY, DTYPE = 4096, 151_936, "float32"


def lines(setting: Setting, repetitions: int = REPETITIONS) -> list[Line]:
    """Every line of this part; each repetition of each way is a process of its own.

    Raises MemoryError where the system ends one of them.
    """
    alone = measure_apart(1, VOCABULARY, DTYPE, WAYS["in chunks"])
    memory: dict[str, list[float]] = {way: [] for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(repetitions):
        for way, budget in WAYS.items():
            found = measure_apart(TOKENS, VOCABULARY, DTYPE, budget)
            if found is None or alone is None:
                raise MemoryError(f"{way}: the process was ended; {TOKENS} tokens at {VOCABULARY} words need 16 GiB")
            memory[way].append(found["peak_bytes"] - alone["peak_bytes"])
            seconds[way].append(found["seconds"])
    once, chunked = WAYS
    name = f"log-probs of {TOKENS} tokens, vocabulary {VOCABULARY}"
    return [
        Line(f"{name}: memory", f"{chunked} / {once}", ratios(memory[chunked], memory[once]), 0.2, "below"),
        Line(
            f"{name}: time",
            f"{chunked} / {once}",
            ratios(seconds[chunked], seconds[once]),
            1.2,
            "below",
            medians(seconds),
        ),
    ]
