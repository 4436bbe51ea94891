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
        ("the answer is (D). The answer is (E).", None, 3, 4),  # the official harness takes the first
        ("Answer: B and Answer: D\nAnswer: E", None, 3, 4),  # and the last of the first line
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


ANY = [
    ("I don't know.", None, "a pronoun"),
    ("I think so.", None, "a pronoun"),
    ("Well, I am not sure", None, "a pronoun"),
    ("I'm lost.", None, "a pronoun"),
    ("A cat sat there.", None, "an article"),
    ("A: it depends", 0, "a head"),
    ("\\boxed{A, C}", None, "two options"),
    ("\\boxed{A and C}", None, "two options"),
    ("\\boxed{A or C}", None, "two options"),
    ("\\boxed{\\text{A and C}}", None, "two options"),
    ("\\boxed{2, 3}", None, "two options"),
    ("\\boxed{2/3}", None, "two options"),
    ("\\boxed{A}, no: \\boxed{C}", 2, "the last box"),
    ("\\boxed{A} \\boxed{B} \\boxed{C, D}", None, "the last box has two"),
    ("The answer is Beryllium.", None, "a word"),
    ("The answer is Argon.", None, "a word"),
    ("The answer is Iron", None, "a word"),
    ("The answer is a metal.", None, "an article"),
    ("The answer is A good one.", None, "an article"),
    ("The answer is I'm not sure.", None, "a pronoun"),
    ("The answer is I think hard.", None, "a pronoun"),
    ("The answer is I.", 8, "a letter at the end"),
    ("The answer is (I) since", 8, "a letter in brackets"),
    ("The answer is A.", 0, "a letter at the end"),
    ("The answer is A because", 0, "a letter and its reason"),
    ("The answer is **D**.", 3, "bold"),
    ("The answer is: D", 3, "colon"),
    ('The answer is "D"', 3, "quoted"),
    ("The answer is $\\boxed{D}$", 3, "boxed"),
    ("The answer is \\text{D}", 3, "a command"),
    ("The answer is option F.", 5, "option"),
    ("The answer is option 5.", 5, "option, number"),
    ("The correct option is G.", 6, "option"),
    ("The correct choice is (b).", 1, "lower case in brackets"),
    ("the answer is (c)", 2, "lower case in brackets"),
    ("Answer:\n\nAnswer: C", 2, "the head twice"),
    ("Answer: **C**", 2, "bold"),
    ("**Answer:** C", 2, "bold head"),
    ("**Answer: C**", 2, "bold"),
    ("**Answer: 3**", 3, "bold number"),
    ("**Final Answer**: 7", 7, "bold head, number"),
    ("Answer:\nD", 3, "next line"),
    ("Answer: B. Beryllium", 1, "the option's text after it"),
    ("Answer: Argon", None, "a word"),
    ("Answer: 12 m", None, "a quantity"),
    ("Answer: 3.5", None, "a decimal"),
    ("Answer: 3: sodium", 3, "the option's text after it"),
    ("The answer is (B). Wait, the answer is (D).", 3, "corrected"),
    ("The answer is (B). No: Answer: C", 2, "corrected"),
    ("Answer: B\nAnswer: D", 3, "corrected"),
    ("The answer is 2. No, the answer is 4.", 4, "corrected"),
    ("\\boxed{2} Wait, the answer is (E).", 4, "corrected after the box"),
    ("The answer is (E). Wait, \\boxed{2}", 2, "corrected by the box"),
    ("The answer is A or C.", None, "two options"),
    ("The answer is (A) or (C).", None, "two options"),
    ("The answer is A, C.", None, "two options"),
    ("The answer is (A) and (C).", None, "two options"),
    ("The answer is (C). The answer is (A) and (B).", None, "the last has two"),
    ("The answer is D, I think.", 3, "a pronoun after it"),
    ("The answer is not C.", None, "denied"),
    ("It is not (C).", None, "denied"),
    ("It isn't C", None, "denied"),
    ("It is D, not C.", 3, "denied after it"),
    ("The answer is (D). It is not (E).", 3, "denied after it"),
    ("I choose B.", 1, "chosen"),
    ("I would pick option C", 2, "chosen"),
    ("So I go with (D).", 3, "chosen"),
    ("So it must be F", 5, "the last letter"),
    ("C", 2, "nothing else"),
    ("(C)", 2, "nothing else"),
    ("**C**", 2, "nothing else"),
    ("7", 7, "nothing else"),
    ("K", None, "no letter of an option"),
    ("", None, "nothing"),
    ("<think>the answer is (A)</think> the answer is (B)", 1, "after the thoughts"),
    ("<think>\\boxed{3}</think>", 3, "the last box of what ended its turn"),
    ("\\boxed{}", None, "the prompt's own words"),
    ("\\boxed{3.}", 3, "a full stop in the box"),
    ("\\boxed{C. Carbon}", 2, "the option's text in the box"),
    ("\\boxed{Carbon}", None, "a word in the box"),
    ("\\boxed{I don't know}", None, "a pronoun in the box"),
    ("The answer is (B). No, C.", 2, "corrected without a head"),
    ("The answer is B. Actually, it is (D).", 3, "corrected without a head"),
    ("The answer is (B). I mean E.", 4, "corrected without a head"),
    ("The answer is (B). No, it is a gas.", 1, "no correction"),
    ("The answer is A? No, B.", 1, "a question, corrected"),
    ("The answer is either A or B", None, "two options"),
    ("A or B", None, "two options"),
    ("(A) or (B)", None, "two options"),
    ("A, B, C, D", None, "all options"),
    ("A B C D E F G H I J", None, "all options"),
    ("The answer is F = ma", None, "a formula"),
    ("E = mc^2", None, "a formula"),
    ("It takes 3 J.", None, "a unit"),
    ("Answer: DNA", None, "a word in capitals"),
    ("Plan A fails.", None, "a name"),
]


@pytest.mark.parametrize(("response", "index", "why"), ANY, ids=[row[2] for row in ANY])
def test_whatever_states_the_choice(response: str, index: int | None, why: str) -> None:
    assert read_choice(response, "any") == index, why


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
    # A pronoun, an article or a symbol of a formula in a response that was cut, and one "The answer is (C) and (B)".
    differing = [(x, y) for x, y in zip(either, read, strict=True) if x != y]
    assert len(differing) == 13
    assert [pair for pair in differing if pair[0] is not None] == [(7, 6)]  # the P^{0} of a formula, the G of another
    assert [x for x in letters if x] == [y for x, y in zip(letters, given, strict=True) if x]
