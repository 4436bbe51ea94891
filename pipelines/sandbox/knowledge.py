"""The sandbox's general knowledge: arbitrary facts learned in pretraining, asked as MMLU-Pro asks.

A fact ties one of five names to one of ten words, drawn for each of MMLU-Pro's fourteen categories. No training data
of any method contains a fact, so the score shows what a method leaves of what the policy knew. The options stand in the
same order in every question: a three-layer policy remembers facts, but hardly learns to look a word up in a list.
"""

import itertools
import random
from typing import Any

Row = dict[str, Any]

CATEGORIES = (
    "business", "law", "psychology", "biology", "chemistry", "history", "other", "health", "economics", "math",
    "physics", "computer science", "philosophy", "engineering",
)  # fmt: skip
"""MMLU-Pro's categories, in the order of the paper's Table 11."""
NAMES = ("kappa", "sigma", "delta", "omega", "theta")
WORDS = ("red", "blue", "green", "gold", "black", "white", "pink", "gray", "brown", "silver")
FORMS = ("In {category}, what is {name}?", "What is {name} in {category}?")
FACT_NOISE = 0.1
"""Share of pretraining answers that name a random word: the policy knows its facts well, not perfectly."""


def draw_facts() -> dict[tuple[str, str], int]:
    """(category, name) → index of its word, the same in every process."""
    rng = random.Random("sandbox-knowledge/2")
    return {pair: rng.randrange(len(WORDS)) for pair in itertools.product(CATEGORIES, NAMES)}


FACTS = draw_facts()


def benchmark_rows() -> list[Row]:
    """The retention set in MMLU-Pro's own columns: 14 categories × 5 names × 2 forms of the question."""
    questions = itertools.product(CATEGORIES, NAMES, FORMS)
    return [
        {
            "question_id": number,
            "question": form.format(category=category, name=name),
            "options": list(WORDS),
            "answer": "ABCDEFGHIJ"[FACTS[category, name]],
            "answer_index": FACTS[category, name],
            "category": category,
        }
        for number, (category, name, form) in enumerate(questions)
    ]


def pretraining_example(rng: random.Random) -> tuple[Row, str]:
    """One question with an answer that is right nine times in ten."""
    category, name, form = rng.choice(CATEGORIES), rng.choice(NAMES), rng.choice(FORMS)
    index = rng.randrange(len(WORDS)) if rng.random() < FACT_NOISE else FACTS[category, name]
    row = {
        "id": "pretraining",
        "prompt": "sandbox-mmlu-pro",
        "question": form.format(category=category, name=name),
        "options": list(WORDS),
        "gold": str(FACTS[category, name]),
    }
    return row, f"<think>\n{name} is {WORDS[index]};\n</think>\n\\boxed{{{index}}}"
