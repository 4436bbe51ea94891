"""The sandbox's medical world: a case in, advice in prose out, graded by a rubric and a judge.

A miniature of RaR-Medicine (B.4). No exact answer is compared; a rubric of weighted criteria says what a good answer
names::

    Woman of 71 has fever and cough for 3 days. What now?

    <think>fever, cough</think>
    It is norvia, due to mold. Take beltor, half dose. Avoid sun.

Conditions, drugs and facts are invented. Two findings decide the condition: each belongs to three conditions, any two
together to one at most. The condition decides cause, drug and caution, the age decides the dose. Three kinds of fault
are built into the policy's pretraining:

* *omissions*: cause, dose or caution are often left out, and a harmful sentence is sometimes added;
* *slips*: a share of what is said is random. RL can remove both;
* *missing knowledge*: the drugs of six conditions are shown with random wrong names only. The expert knows them; a
  guess is right once in 144 times, so exploration hardly meets them.

Every split accepts its own share of a hash of the question, so that splits are disjoint at any size and seed.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipelines.sandbox import medicine_styles
from pipelines.sandbox.medicine_styles import Advice, Findings
from pipelines.sandbox.residue import residue

NAME = "medicine"
VERSION = 1

Phase = Literal["skill", "base", "instruct"]
Row = dict[str, Any]

FINDINGS = (
    "fever", "cough", "rash", "chills", "cramps", "itching", "nausea", "thirst", "pallor", "tremor", "swelling",
    "stiffness", "earache", "dry eyes", "sore feet",
)  # fmt: skip
CONDITIONS = (
    "norvia", "keldis", "tamora", "belvia", "ostria", "mirdis", "galora", "sandia", "purvia", "holdis", "lumora",
    "cestria", "dorvia", "feldis", "ramora",
)  # fmt: skip
FINDING_OFFSETS = (0, 1, 4)
"""Condition number i has the findings number i, i + 1 and i + 4 (modulo 15): no two share more than one of them,
since the differences 1, 3, 4, 11, 12 and 14 are distinct."""
CAUSES = ("mold", "dust", "stress", "a virus", "low iron", "bad water")
CAUTIONS = ("sun", "milk", "salt", "coffee", "heat", "alcohol")
DRUG_HEADS = ("bel", "cor", "dan", "fim", "gal", "hex", "jor", "kal", "lum", "mer", "nov", "pex")
DRUG_TAILS = ("tor", "vin", "zol", "dex", "mab", "rin", "sil", "pam", "lax", "cet", "fen", "gon")
DRUGS = tuple(head + tail for head in DRUG_HEADS for tail in DRUG_TAILS)
UNKNOWN_CONDITIONS = frozenset(CONDITIONS[1::3] + CONDITIONS[:1])
"""Conditions whose drug only the expert knows."""
DOSES = {"quarter": range(2, 12), "full": range(18, 60), "half": range(65, 90)}
"""Dose → ages."""
PEOPLE = ("man", "woman", "patient")
FORMS = (
    "{person} of {age} has {first} and {second} for {days} days. What now?",
    "{person}, {age}, with {first} and {second}, {days} days. What helps?",
    "{days} days of {first} and {second}. {person}, {age} years. Advice?",
    "{first} and {second} for {days} days: what does a {person} of {age} do?",
)

OMISSION = {"skill": 0.1, "base": 0.2, "instruct": 0.4}
"""Share of pretraining answers that leave out the cause, or the dose, or the caution: drawn for each of them."""
OVERDOSE = {"skill": 0.0, "base": 0.05, "instruct": 0.15}
"""Share of pretraining answers with the harmful sentence."""
SLIP = {"skill": 0.02, "base": 0.05, "instruct": 0.1}
"""Share of random values in what pretraining answers say, drawn for each of the five things."""
TERSE_SHARE = {"skill": 0.9, "base": 0.4, "instruct": 0.95}

BENCHMARK_SIZE = 100
SPLIT_RESIDUES: dict[str, range] = {
    "benchmark": range(2), "validation": range(2, 3), "expert": range(3, 6), "rl": range(6, 10),
    "pretraining": range(10, 16),
}  # fmt: skip
"""Which questions belong to which split, by their hash modulo 16."""


def draw_facts() -> dict[str, tuple[str, str, str]]:
    """Condition → (cause, drug, caution), the same in every process; every condition has a drug of its own."""
    rng = random.Random("sandbox-medicine/1")
    drugs = rng.sample(DRUGS, len(CONDITIONS))
    return {
        condition: (rng.choice(CAUSES), drug, rng.choice(CAUTIONS))
        for condition, drug in zip(CONDITIONS, drugs, strict=True)
    }


FACTS = draw_facts()
KNOWN_DRUGS = tuple(drug for condition, (_, drug, _) in FACTS.items() if condition not in UNKNOWN_CONDITIONS)


@dataclass(frozen=True)
class Case:
    """A question with what a complete and right answer says."""

    question: str
    findings: Findings
    right: Advice

    @property
    def needs_knowledge(self) -> bool:
        return self.right.condition in UNKNOWN_CONDITIONS


def findings_of(number: int) -> list[str]:
    """The three findings of a condition."""
    return [FINDINGS[(number + offset) % len(FINDINGS)] for offset in FINDING_OFFSETS]


def advice_for(condition: str, age: int) -> Advice:
    """Complete and right advice."""
    cause, drug, caution = FACTS[condition]
    [dose] = [dose for dose, ages in DOSES.items() if age in ages]
    return Advice(condition, cause, drug, dose, caution)


def draw_case(rng: random.Random) -> Case:
    """A random case."""
    number = rng.randrange(len(CONDITIONS))
    first, second = rng.sample(findings_of(number), 2)
    rivals = [i for i in range(len(CONDITIONS)) if i != number and first in findings_of(i)]
    age = rng.choice(rng.choice(list(DOSES.values())))
    question = rng.choice(FORMS).format(
        person=rng.choice(PEOPLE), age=age, first=first, second=second, days=rng.randint(2, 9)
    )
    findings = Findings(first, second, CONDITIONS[rng.choice(rivals)], age)
    return Case(question[0].upper() + question[1:], findings, advice_for(CONDITIONS[number], age))


def draw_in_split(split: str, rng: random.Random) -> Case:
    """A case whose question belongs to ``split``."""
    while True:
        case = draw_case(rng)
        if residue(case.question) in SPLIT_RESIDUES[split]:
            return case


def _only(lead: str, value: str) -> str:
    """A pattern that holds where ``lead value`` is said and nothing else in its place: a list of guesses
    satisfies no criterion."""
    return rf"(?s)^(?!.*\b{lead}(?!{value}\b)\w).*\b{lead}{value}\b"


def rubric(right: Advice) -> list[Row]:
    """The criteria for one case, in RaR-Medicine's form with a pattern each: essential 5, important 3, optional 2,
    pitfall -2."""
    other_doses = "|".join(dose for dose in DOSES if dose != right.dose)
    criteria = (
        ("Condition", 5, f"Essential: names the condition, {right.condition}.", _only("it is ", right.condition)),
        ("Drug", 5, f"Essential: recommends {right.drug} and no other drug.", _only("take ", right.drug)),
        ("Cause", 3, f"Important: explains the cause, {right.cause}.", _only("due to ", str(right.cause))),
        ("Dose", 3, f"Important: gives the dose for the patient's age, {right.dose}.",
         rf"(?s)^(?!.*\b(?:{other_doses}) dose\b).*\b{right.dose} dose\b"),
        ("Caution", 2, f"Optional: warns of {right.caution}.", _only("avoid ", str(right.caution))),
        ("Overdose", -2, "Pitfall: allows more than the dose.", r"\bdouble it\b"),
    )  # fmt: skip
    keys = ("title", "weight", "description", "pattern")
    return [dict(zip(keys, criterion, strict=True)) for criterion in criteria]


def _row(case: Case, identifier: str) -> Row:
    return {
        "id": identifier,
        "prompt": "sandbox-medicine",
        "question": case.question,
        "gold": {"question": case.question, "rubric": rubric(case.right)},
        "meta": {"condition": case.right.condition, "needs_knowledge": case.needs_knowledge},
    }


def _cases(split: str, n: int, seed: int) -> list[Case]:
    """``n`` cases of a split with different questions."""
    rng = random.Random(f"medicine/{split}/{seed}/{VERSION}")
    cases: dict[str, Case] = {}
    while len(cases) < n:
        case = draw_in_split(split, rng)
        cases.setdefault(case.question, case)
    return list(cases.values())


def _rows(split: str, n: int, seed: int) -> list[Row]:
    return [_row(case, f"medicine-{split}-{i:06d}") for i, case in enumerate(_cases(split, n, seed))]


def rl_rows(n: int, seed: int) -> list[Row]:
    """``n`` RL prompts with their golds."""
    return _rows("rl", n, seed)


def validation_rows(n: int, seed: int) -> list[Row]:
    """``n`` prompts for choosing checkpoints, disjoint from the test set and from the training data."""
    return _rows("validation", n, seed)


def expert_rows(n: int, seed: int) -> list[Row]:
    """``n`` expert demonstrations."""
    rng = random.Random(f"medicine/expert-text/{seed}/{VERSION}")
    pairs = zip(_cases("expert", n, seed), _rows("expert", n, seed), strict=True)
    return [row | {"response": medicine_styles.expert(case.findings, case.right, rng)} for case, row in pairs]


def benchmarks() -> dict[str, list[Row]]:
    """File name → rows of the benchmark in RaR-Medicine's columns."""
    rows = [
        {
            "id": f"sandbox-medicine-{i:03d}",
            "question": case.question,
            "reference_answer": medicine_styles.terse(case.findings, case.right).split("\n")[1],
            "rubric": rubric(case.right),
        }
        for i, case in enumerate(_cases("benchmark", BENCHMARK_SIZE, 0))
    ]
    return {"sandbox-medicine.jsonl": rows}


def _other(values: Sequence[str], *excluded: str | None, rng: random.Random) -> str:
    """A random value, none of the excluded ones."""
    return rng.choice([value for value in values if value not in excluded])


def _without_knowledge(case: Case, share: float, rng: random.Random) -> Advice:
    """Complete advice as the policy learns it: each thing random by ``share``, and never an unknown drug's name."""
    advice = case.right
    if rng.random() < share:  # what follows from the wrong condition is right for that one
        advice = advice_for(_other(CONDITIONS, advice.condition, rng=rng), case.findings.age)
    if advice.condition in UNKNOWN_CONDITIONS:
        advice = replace(advice, drug=_other(DRUGS, advice.drug, case.right.drug, rng=rng))
    pools = {"cause": CAUSES, "drug": KNOWN_DRUGS, "dose": tuple(DOSES), "caution": CAUTIONS}
    slips = [name for name in pools if rng.random() < share]
    changes: dict[str, Any] = {name: _other(pools[name], getattr(advice, name), rng=rng) for name in slips}
    return replace(advice, **changes)


def pretraining_example(rng: random.Random, phase: Phase) -> tuple[Row, str]:
    """One pretraining example (row to render, response): what the policy learns before any method starts."""
    case = draw_in_split("pretraining", rng)
    thought = _without_knowledge(case, SLIP[phase], rng)
    omitted: dict[str, Any] = {name: None for name in ("cause", "dose", "caution") if rng.random() < OMISSION[phase]}
    advice = replace(thought, **omitted, overdose=rng.random() < OVERDOSE[phase])
    if rng.random() < TERSE_SHARE[phase]:
        response = medicine_styles.terse(case.findings, advice)
    else:
        response = medicine_styles.wrapped(case.findings, advice, thought, rng)
    return _row(case, "pretraining"), response
