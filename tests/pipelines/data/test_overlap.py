"""When two questions count as one: normalised text and shared n-grams."""

from pathlib import Path

import pytest

from pipelines.data.overlap import NGRAM, SHARE, QuestionIndex, benchmark_questions, normalise, words
from reference_impl.files import read_jsonl, write_jsonl

BENCHMARK = (
    "Every morning Aya goes for a 9-kilometer-long walk and stops at a coffee shop afterwards. When she walks at a "
    "constant speed of $s$ kilometers per hour, the walk takes her 4 hours, including $t$ minutes spent in the shop."
)


def test_copies_that_differ_in_looks_are_one_text() -> None:
    assert normalise("Find $\\dfrac{1}{2}+x$.") == normalise("find \\frac{1}{2} + x") == "find frac 1 2 + x"
    assert normalise("$\\left( a\\,b \\right)$") == normalise("(A b)")
    assert normalise("x + 1") != normalise("x - 1") != normalise("x - 2")
    assert words("10,000 Ünïts") == ("10", "000", "ünïts")
    assert normalise("\u2212") == "\u2212" and normalise("?!") == "?!"  # nothing left: the text itself


def test_exact_and_near_copies_are_found() -> None:
    index = QuestionIndex({"aime24": [BENCHMARK], "amc": ["Find x."]})
    assert index.find(BENCHMARK.upper().replace("$", "")) == "aime24"
    assert index.find("FIND X") == "amc"
    # One changed word breaks at most NGRAM of the n-grams; a sentence before or after the question none.
    assert len(words(BENCHMARK)) - NGRAM + 1 - NGRAM > SHARE * (len(words(BENCHMARK)) - NGRAM + 1)
    assert index.find(BENCHMARK.replace("coffee", "tea")) == "aime24"
    assert index.find(f"Read carefully and answer in one line. {BENCHMARK} Show your work, then box it.") == "aime24"
    # Half of the question is the shorter text's whole.
    assert index.find(BENCHMARK[: len(BENCHMARK) // 2]) == "aime24"


def test_shared_phrases_and_other_questions_are_not() -> None:
    phrase = "can be written as m n where m and n are relatively prime positive integers find m plus n"
    index = QuestionIndex({"aime24": [f"The area of a triangle whose sides are three four and five units {phrase}"]})
    other = "A fair die is rolled six times and the rolls are added up to a total that is then halved twice before "
    assert index.find(f"{other} it is written down, so that the chance of an even number {phrase}") is None
    assert index.find("Find y.") is None
    assert QuestionIndex({}).find(BENCHMARK) is None


def test_benchmarks_folder(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "aime24.jsonl", [{"problem": "one", "question": "not this"}])
    write_jsonl(tmp_path / "amc.jsonl", [{"question": "two"}])
    turns = [[{"role": "system", "content": "rules"}, {"role": "user", "content": "three"}]]
    write_jsonl(tmp_path / "bfcl" / "BFCL_v4_multiple.json", [{"id": "1", "question": turns}])
    write_jsonl(tmp_path / "bfcl" / "possible_answer" / "BFCL_v4_multiple.json", [{"id": "1"}])
    found = benchmark_questions(tmp_path, ["aime24", "amc", "bfcl"])
    assert found == {"aime24": ["one"], "amc": ["two"], "bfcl": ["three"]}
    with pytest.raises(ValueError, match=r"has no math500.*evaluation\.fetch --task math500"):
        benchmark_questions(tmp_path, ["math500"])
    write_jsonl(tmp_path / "math500.jsonl", [{"text": "?"}])
    with pytest.raises(ValueError, match=r"math500\.jsonl, row 1: no question"):
        benchmark_questions(tmp_path, ["math500"])


def test_real_training_prompts_against_real_benchmarks(reference_data: Path) -> None:
    """By the first 100 characters, 3 of these prompts are in MATH-500, and none in AIME and AMC."""
    folder = reference_data / "math_benchmarks"
    sets = {
        "aime24": read_jsonl(folder / "aime24_qwen.jsonl"),
        "aime25": read_jsonl(folder / "aime25_oneshot.jsonl"),
        "amc": read_jsonl(folder / "amc83_aimo_validation.jsonl"),
        "math500": read_jsonl(folder / "math500.jsonl"),
    }
    index = QuestionIndex(
        {name: [row.get("problem") or row["question"] for row in rows] for name, rows in sets.items()}
    )
    prompts = read_jsonl(reference_data / "rl_prompts" / "limr_math8k_integer.jsonl")
    found = [index.find(row["problem"]) for row in prompts]
    assert {name for name in found if name} == {"math500"}
    first_hundred = {row["problem"][:100] for row in sets["math500"]}
    missed = [
        row["problem"]
        for row, name in zip(prompts, found, strict=True)
        if row["problem"][:100] in first_hundred and not name
    ]
    assert found.count("math500") >= 3 and not missed
    for name, rows in sets.items():  # every question finds itself
        assert all(index.find(row.get("problem") or row["question"]) for row in rows), name
