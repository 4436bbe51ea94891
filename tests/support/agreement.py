"""Verdicts beside published ones, and verdicts per CPU second, of this checkout's graders or another's.

    PYTHONPATH=. python tests/support/agreement.py DATA [--repeat 5]
    PYTHONPATH=/path/to/another python tests/support/agreement.py DATA

DATA is the folder of public sample files that CHORD_REFERENCE_DATA names. Each line: set, rows, rows that agree,
verdicts per CPU second (median; math-verify's processes count).
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from evaluation.bfcl import CATEGORIES
from evaluation.graders import CallsReference, MathReference, Sample, grade
from evaluation.mmlu_pro import read_choice
from reference_impl.files import read_jsonl
from reference_impl.rewards import grade_math, grade_tool
from reference_impl.text.answers import equality

Set = tuple[Callable[[], Sequence[Any]], Sequence[Any] | None]
"""What gives the verdicts, and the published ones."""


def sets(data: Path) -> dict[str, Set]:
    """Name → verdicts and published ones."""
    found: dict[str, Set] = {}
    for name in ("qwen_math_cot_100x8", "aime24_deepscaler_1p5b_4x32_trimmed"):
        rows = read_jsonl(data / "graded_responses" / f"{name}.jsonl")
        asked = [(Sample(text), MathReference(row["gold"])) for row in rows for text in row["responses"]]
        found[name] = _graded(asked), [verdict for row in rows for verdict in row["verdicts"]]
        if name.startswith("qwen"):
            whole = [index for index, (_, reference) in enumerate(asked) if reference.gold.lstrip("-").isdigit()]
            integers = [asked[index] for index in whole]
            found[f"{name}, integer golds"] = _graded(integers), [found[name][1][index] for index in whole]  # type: ignore[index]
    described, accepted = {}, {}
    for category in CATEGORIES:
        for row in read_jsonl(data / "bfcl" / f"BFCL_v4_{category}.json"):
            described[row["id"]] = category, row["function"]
        for row in read_jsonl(data / "bfcl" / "possible_answer" / f"BFCL_v4_{category}.json"):
            accepted[row["id"]] = row["ground_truth"]
    for path in sorted((data / "bfcl_replay").glob("*.jsonl")):
        rows = read_jsonl(path)
        calls = [(Sample(row["result"]), CallsReference(*described[row["id"]], accepted[row["id"]])) for row in rows]
        found[path.stem] = _graded(calls), [row["v4_valid"] for row in rows]
    gsm8k = [row["answer"] for row in read_jsonl(data / "math_benchmarks" / "gsm8k_test.jsonl")]
    ends = [(Sample(text), MathReference(text.rpartition("####")[2].strip().replace(",", ""))) for text in gsm8k]
    found["GSM8K solutions"] = _graded(ends), [True] * len(ends)
    math500 = read_jsonl(data / "math_benchmarks" / "math500.jsonl")
    solved = [(Sample(row["solution"]), MathReference(row["answer"])) for row in math500]
    found["MATH-500 solutions"] = _graded(solved), [True] * len(solved)
    golds = [row["answer"] for row in math500]
    pairs = list(zip(golds, golds[1:] + golds[:1], strict=True))
    found["MATH-500 golds, the next problem's"] = lambda: [equality(*pair) for pair in pairs], None
    respelt = [(gold, gold.replace("\\frac", "\\dfrac").replace(",", ", ")) for gold in golds]
    found["MATH-500 golds, rewritten"] = lambda: [equality(*pair) == "equal" for pair in respelt], [True] * len(golds)
    boxed = [rf"<think>t</think> \boxed{{{n % 997}}}" for n in range(4000)]
    found["integers, reward"] = lambda: [grade_math(text, "7") for text in boxed], None
    call = '<think>t</think>\n<tool_call>[{"name": "f", "arguments": {"a": %d}}]</tool_call>'
    called = [call % n for n in range(2000)]
    gold_call = [{"name": "f", "arguments": {"a": 7}}]
    found["tool calls, reward"] = lambda: [grade_tool(text, gold_call) for text in called], None
    rows = read_jsonl(data / "mmlu_pro" / "mmlu_pro_sample_100_per_category.jsonl")
    texts = [row["response_llama31_8b_instruct_5shot"] for row in rows]
    # The harness guessed G where it read no letter.
    letters = ["ABCDEFGHIJ".index(row["pred_llama31_8b_instruct"]) for row in rows]
    for answer_format, otherwise in (("letter", 6), ("any", None)):
        found[f"MMLU-Pro, {answer_format}"] = _choices(texts, answer_format, otherwise), letters
    return found


def _graded(asked: Sequence[tuple[Sample, Any]]) -> Callable[[], list[bool]]:
    return lambda: [grade(sample, reference).correct for sample, reference in asked]


def _choices(texts: Sequence[str], answer_format: str, otherwise: int | None) -> Callable[[], list[int | None]]:
    def read() -> list[int | None]:
        choices = [read_choice(text, answer_format) for text in texts]
        return [otherwise if choice is None else choice for choice in choices]

    return read


def _forget() -> None:
    """Empty the caches of the graders' modules."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("reference_impl.text", "evaluation")):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


def _cpu_s() -> float:
    children = psutil.Process().children(recursive=True)
    return time.process_time() + sum(sum(child.cpu_times()[:2]) for child in children)


def main() -> None:
    """Print a line for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    equality(r"\frac{x}{2}", "y + 3")  # starts a worker
    for name, (verdicts, published) in sets(arguments.data).items():
        rates = []
        for _ in range(arguments.repeat):
            _forget()
            start = _cpu_s()
            given = verdicts()
            rates.append(len(given) / (_cpu_s() - start))
        agree = "–" if published is None else sum(map(lambda a, b: a == b, given, published))
        print(json.dumps([name, len(given), agree, round(statistics.median(rates))], ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
