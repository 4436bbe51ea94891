"""Mathematics from OpenR1-Math-220k (4.1, A.2): problems with integer answers and DeepSeek-R1's verified solutions.

    python -m pipelines.data.openr1_math --domain math --scale paper --benchmarks results/paper/benchmarks \\
        --tokenizer results/paper/policies/Qwen2.5-7B-Instruct --out results/paper/data/math

Columns as on the hub: `generations` are two to four solutions; `correctness_math_verify`, `correctness_llama`,
`is_reasoning_complete` and `finish_reasons` say something of each, and the last three may be null as a whole.
A demonstration is the first generation that is complete, was verified by the data set's authors, gets the full reward
in the right format here, and is within the token limit: `<think>…</think>` and a final text with the box, as it is.
"""

from collections.abc import Mapping
from typing import Any

from pipelines.data.quarantine import FilteredError, MalformedError, list_column, text_column
from pipelines.data.sources import Source
from pipelines.data.stage import Limits, Pool, Row, Stage, arguments, run, split_one_pool
from reference_impl.rewards import grade_math
from reference_impl.text.answers import as_integer

OPENR1 = Source(
    # Configuration `default`, 93,733 rows in ten files. The commit is the one that copies of the set name.
    repository="open-r1/OpenR1-Math-220k",
    revision="e4e141ec9dea9f8326f4d347be56105859b2bd68",
    pattern="data/train-*.parquet",
    columns=(
        "problem",
        "answer",
        "source",
        "problem_type",
        "uuid",
        "generations",
        "correctness_math_verify",
        "correctness_llama",
        "is_reasoning_complete",
        "finish_reasons",
    ),
)


def candidate(row: Mapping[str, Any], limits: Limits) -> Row:
    """A problem with its integer answer and one verified solution."""
    question = text_column(row, "problem").strip()
    gold = as_integer(text_column(row, "answer"))
    solutions = complete_verified(row)
    if gold is None:
        raise FilteredError("without an integer answer")
    if not solutions:
        raise FilteredError("without a complete verified generation")
    right = [text for text in solutions if _is_right(text, gold)]
    if not right:
        raise FilteredError("without a generation that our grader finds right and well formatted")
    measured = ((text, limits.tokens(text)) for text in right)
    response, tokens = next((found for found in measured if limits.allow(found[1])), ("", None))
    if not response:
        raise FilteredError("with responses beyond the token limit only")
    meta = {key: row.get(key) for key in ("uuid", "source", "problem_type")}
    return {
        "prompt": "math",
        "question": question,
        "gold": gold,
        "response": response,
        "meta": {**meta, "response_tokens": tokens},
    }


def complete_verified(row: Mapping[str, Any]) -> list[str]:
    """The generations that reached their end and were found right by Math-Verify or by the Llama judge."""
    texts = list_column(row, "generations", str)
    by_rule, by_judge = _flags(row, "correctness_math_verify", len(texts)), _flags(row, "correctness_llama", len(texts))
    if by_rule is None and by_judge is None:
        raise MalformedError("no verdicts", "correctness_math_verify and correctness_llama are null")
    complete = _flags(row, "is_reasoning_complete", len(texts)) or [True] * len(texts)
    ends = row.get("finish_reasons") or ["stop"] * len(texts)
    if not isinstance(ends, list) or len(ends) != len(texts):
        raise MalformedError("finish_reasons of another length", repr(ends)[:200])
    right = [any(flags[i] for flags in (by_rule, by_judge) if flags) for i in range(len(texts))]
    return [
        text.strip()
        for text, verified, whole, end in zip(texts, right, complete, ends, strict=True)
        if verified and whole and end in ("stop", None)
    ]


def _flags(row: Mapping[str, Any], name: str, length: int) -> list[bool] | None:
    return None if row.get(name) is None else list_column(row, name, bool, length)


def _is_right(text: str, gold: str) -> bool:
    graded = grade_math(text, gold)
    return graded.correct and graded.well_formatted


STAGE = Stage("openr1-math-220k", 2, ("math",), {"openr1": Pool(OPENR1, candidate)}, split_one_pool)


def main(argv: list[str] | None = None) -> None:
    """Write the data of the math domain."""
    run(STAGE, arguments(STAGE, __doc__).parse_args(argv))


if __name__ == "__main__":
    main()
