"""Reading a choice."""

from pathlib import Path

import pytest

from evaluation.mmlu_pro import index_of, random_choice, read_choice
from reference_impl.files import read_jsonl


@pytest.mark.parametrize(
    ("response", "index", "letter", "either"),
    [
        (r"\boxed{3}", 3, None, 3),
        (r"\boxed{03}", 3, None, 3),
        (r"<think>\boxed{1}</think>\boxed{3}", 3, None, 3),
        (r"\boxed{3. the text}", 3, None, 3),
        (r"\boxed{(3)}", 3, None, 3),
        (r"\boxed{\text{3}}", 3, None, 3),
        (r"\boxed{\text{3: so}}", 3, None, 3),
        (r"\boxed{$3$}", 3, None, 3),
        (r"\boxed{12}", 12, None, 12),
        (r"\boxed{3.5}", None, None, None),
        (r"\boxed{3, 4}", None, None, None),
        (r"\boxed{" + "9" * 5000 + "}", None, None, None),
        (r"\boxed{D}", None, 3, 3),
        (r"\boxed{(D)}", None, 3, 3),
        (r"\boxed{\text{D}}", None, 3, 3),
        (r"\boxed{D. the text}", None, 3, 3),
        (r"\boxed{K}", None, None, None),
        ("The answer is (D).", None, 3, 3),
        ("The answer is D", None, 3, 3),
        ("the answer is (D). The answer is (E).", None, 3, 3),  # the official harness takes the first
        ("Answer: B and Answer: D\nAnswer: E", None, 3, 3),  # and the last of the first line
        ("I take A, or rather D because", None, 3, 3),
        ("<think>The answer is (A)</think>The answer is (D)", None, 3, 3),
        (r"The answer is (D). \boxed{4}", 4, 3, 4),
        ("9", None, None, 9),
        ("(9).", None, None, 9),
        ("c", None, None, 2),
        ("The answer is (3)", None, None, 3),
        ("I think the answer is 3.", None, 8, 3),
        ("The answer is 3.5", None, None, None),
        ("The answer is 12 m. So B", None, 1, 1),
        ("The answer is 12. Answer: B", None, 1, 1),
        (r"x=\boxed{25}. The answer is (D).", 25, 3, 3),
        (r"The answer is (A)? No. \boxed{2}. The answer is (D).", 2, 0, 3),
        (r"\boxed{c}", None, None, 2),
        (r"\boxed{\text{c}}", None, None, 2),
        (r"\boxed{ion}", None, None, None),
        ("", None, None, None),
        ("none", None, None, None),
    ],
)
def test_read_choice(response: str, index: int | None, letter: int | None, either: int | None) -> None:
    assert read_choice(response, "index") == index
    assert read_choice(response, "letter") == letter
    assert read_choice(response, "any") == either


def test_a_response_cut_while_thinking_chose_nothing() -> None:
    for answer_format in ("index", "letter", "any"):
        assert read_choice(r"<think>the answer is (D) \boxed{3}", answer_format, truncated=True) is None


@pytest.mark.parametrize("text", ["a" * 1_000_000, "Answer: " * 100_000, "A " * 300_000, "\x00" * 1000])
def test_long_texts_are_read(text: str) -> None:
    assert read_choice(text, "any") in {None, 0}


@pytest.mark.parametrize(
    ("answer", "index"),
    [(0, 0), ("0", 0), ("A", 0), ("j", 9), (" D ", 3), (5.0, 5), ("5.0", 5), ("(F)", 5), ("(5)", 5)],
)
def test_index_of(answer: str | int | float, index: int) -> None:
    assert index_of(answer, 10) == index


@pytest.mark.parametrize("answer", [10, -1, "K", "", "AB", "3.5", 3.5, True, "9" * 5000])
def test_index_of_what_is_no_option(answer: str | int) -> None:
    with pytest.raises(ValueError, match="not one of 10 options"):
        index_of(answer, 10)


def test_random_choice_is_even_and_fixed() -> None:
    draws = [random_choice(4, str(seed)) for seed in range(4000)]
    assert draws == [random_choice(4, str(seed)) for seed in range(4000)]
    # 1,000 each expected, standard deviation 27.
    assert all(890 < draws.count(option) < 1110 for option in range(4))


def test_official_letters(reference_data: Path) -> None:
    """The harness's own letters on 1,400 responses; G, its fixed guess, stands where it read none."""
    rows = read_jsonl(reference_data / "mmlu_pro" / "mmlu_pro_sample_100_per_category.jsonl")
    read = [read_choice(row["response_llama31_8b_instruct_5shot"], "letter") for row in rows]
    given = [row["pred_llama31_8b_instruct"] for row in rows]
    letters = [None if index is None else "ABCDEFGHIJ"[index] for index in read]
    unread = [letter for mine, letter in zip(letters, given, strict=True) if mine is None]
    assert unread == ["G"] * 70
    either = [read_choice(row["response_llama31_8b_instruct_5shot"], "any") for row in rows]
    assert either == read
    assert [x for x in letters if x] == [y for x, y in zip(letters, given, strict=True) if x]
