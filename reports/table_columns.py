"""The columns of every table: the paper's header, and the questions that stand for it here."""

from dataclasses import dataclass

from reports.inputs import Results
from reports.scores import CORRECT, LIVE, NON_LIVE, SCORE, TOKENS, Selection


@dataclass(frozen=True)
class Column:
    """One column of the paper and the questions that stand for it here."""

    header: str
    """The paper's column, as in reports/published."""
    selection: Selection
    part: str = ""
    """Which part of the task's questions, or what of them, as the column is named here: 'live', 'length'."""
    value: str = CORRECT
    """What is averaged: correct, score (a judge's, 0 to 1; both shown times 100) or tokens."""
    group: str = ""
    """The paper's header above several columns."""

    @property
    def graded(self) -> bool:
        """Whether a grader or a judge gave the values."""
        return self.value != TOKENS

    @property
    def factor(self) -> float:
        """What a mean is multiplied by to be in the paper's unit."""
        return 100 if self.graded else 1

    @property
    def unit(self) -> str:
        """The unit of a difference in this column."""
        return "points" if self.graded else "tokens"

    def name(self, results: Results) -> str:
        """What was asked: the task's name and the part of it."""
        tasks = self.selection.tasks(results)
        return " ".join(filter(None, [" + ".join(tasks), self.part])) if tasks else f"{self.header} (not asked here)"


MATH_TESTS = ("AMC", "AIME24", "AIME25")
MMLU_SUBJECTS = {
    "Business": "business", "Law": "law", "Psych.": "psychology", "Biology": "biology",
    "Chemistry": "chemistry", "History": "history", "Other": "other", "Health": "health",
    "Econ.": "economics", "Math": "math", "Physics": "physics", "Comp. Sci.": "computer science",
    "Philosophy": "philosophy", "Engineering": "engineering",
}  # fmt: skip
"""Table 11's header → MMLU-Pro's category."""
BFCL_PARTS = (
    ("Live", "Simple", "live_simple"),
    ("Live", "Multiple", "live_multiple"),
    ("Live", "Parallel", "live_parallel"),
    ("Live", "Parallel Multiple", "live_parallel_multiple"),
    ("Non-live", "Simple", "simple_python"),
    ("Non-live", "Multiple", "multiple"),
    ("Non-live", "Parallel", "parallel"),
    ("Non-live", "Parallel Multiple", "parallel_multiple"),
)
"""Table 10's two header lines → BFCL's category."""


def _math(header: str, *benchmarks: str, part: str = "", group: str = "") -> Column:
    return Column(header, Selection("math", benchmarks or (header,)), part, group=group)


def _bfcl(header: str, part: str, categories: tuple[str, ...], group: str = "") -> Column:
    return Column(header, Selection("tool", ("BFCL",), categories), part, group=group)


def _averages(live: str, non_live: str, overall: str, group: str = "") -> tuple[Column, ...]:
    """BFCL's three averages under a table's own headers."""
    return (
        _bfcl(live, "live", LIVE, group),
        _bfcl(non_live, "non-live", NON_LIVE, group),
        _bfcl(overall, "overall", LIVE + NON_LIVE, group),
    )


BFCL = _averages("Live", "Non-live", "Overall")
MATH_2023 = (_math("AMC23"), _math("AIME2024", "AIME24"), _math("AIME2025", "AIME25"))
"""The columns of Tables 5 and 8, which name AMC 2023: its 40 problems, not the 83 of Table 1's AMC."""
MEDICINE = Selection("medicine", ("RaR-Medicine",))

COLUMNS: dict[str, tuple[Column, ...]] = {
    "table1": (
        *(_math(name, group="Math & general reasoning") for name in (*MATH_TESTS, "MMLU-Pro")),
        *_averages("BFCL Live", "BFCL Non-live", "BFCL Overall", "Tool use"),
    ),
    "table2": (
        Column("Math", Selection("math", MATH_TESTS), "length", TOKENS),
        Column("Tool-use", Selection("tool", ("BFCL",)), "length", TOKENS),
    ),
    "table3": BFCL,
    "table4": BFCL,
    "table5": MATH_2023,
    "table6": BFCL,
    "table7": (Column("Score", MEDICINE, "score", SCORE), Column("Length", MEDICINE, "length", TOKENS)),
    "table8": MATH_2023,
    "table9": BFCL,
    "table10": (
        *(_bfcl(f"{group} {name}", category, (category,), group) for group, name, category in BFCL_PARTS),
        *_averages("Live Avg", "Non-live Avg", "Overall", "Average"),
    ),
    "table11": (
        *(Column(header, Selection("math", ("MMLU-Pro",), (name,)), name) for header, name in MMLU_SUBJECTS.items()),
        Column("Overall Acc.", Selection("math", ("MMLU-Pro",)), "overall"),
    ),
    "table12": BFCL,
    "scaling": (_math("AIME", "AIME24", "AIME25"), _math("AMC")),
}
"""What each table's columns ask. Averages weigh every question alike (B.8, B.9), and so every year of AIME alike."""
