"""Reading answers: extraction, format test, integers, bounded symbolic equality."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reference_impl.text import equivalence
from reference_impl.text.answers import (
    after_think,
    as_integer,
    equality,
    is_well_formatted,
    last_boxed,
    read_response,
)

BOXES = [
    (r"\boxed{42}", "42"),
    (r"first \boxed{1}, then \boxed{2}", "2"),
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
    (r"\boxed {7}", "7"),
    (r"\boxed{ 7 }", "7"),
    (r"\boxed{\boxed{3}}", r"\boxed{3}"),  # which equals 3
    (r"\boxed{1 + \boxed{2}}", r"1 + \boxed{2}"),
    (r"\boxed{8 \boxed{7}}", r"8 \boxed{7}"),  # the inner one alone would be a second guess
    (r"\boxed{8 \boxed{7}", "7"),
    (r"\boxed{\boxed{}}", None),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"\boxed{\left\{x\right.}", r"\left\{x\right."),
    (r"\\boxed{5}", "5"),
    (r"\boxed{a \\ b}", r"a \\ b"),
    (r"\boxed{1} and the unclosed \boxed{2", "1"),
    (r"} } \boxed{8} {", "8"),
    (r"\boxed{}", None),  # an empty box is no box
    (r"\boxed{ }", None),
    (r"\boxed{\ }", None),
    (r"\boxed{\,}", None),
    (r"\boxed{{}}", None),
    (r"\boxed{...}", None),
    (r"\boxed{\ldots}", None),
    (r"\boxed{7}, as asked inside \boxed{}", "7"),
    (r"\boxed{7}, as asked inside \boxed{ }", "7"),
    (r"\boxed{", None),
    ("boxed{5}", None),
    (r"\box{5}", None),
    (r"so $\boxed 5$", "5"),
    (r"\boxed5.", "5"),
    (r"\boxed -3/4", "-3/4"),
    (r"\boxed{1}, no: \boxed 2", "2"),
    (r"\boxed 2, no: \boxed{1}", "1"),
    (r"put it in \boxed and stop", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "content"), BOXES)
def test_last_boxed(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


@pytest.mark.parametrize(
    ("text", "truncated", "rest"),
    [
        ("plain", False, "plain"),
        ("<think>a</think>b", False, "b"),
        ("a</think>b", False, "b"),  # the template had opened the block
        ("<think>a</think>b</think>c", False, "c"),
        ("<think>a", False, "<think>a"),  # ended its turn without closing: that was its answer
        ("<think>a", True, None),  # cut while thinking
        ("<think>a</think>b", True, "b"),
    ],
)
def test_after_think(text: str, truncated: bool, rest: str | None) -> None:
    assert after_think(text, truncated=truncated) == rest


@pytest.mark.parametrize(
    ("text", "truncated", "answer"),
    [
        (r"<think>\boxed{41}</think> \boxed{42}", False, "42"),
        (r"<think>\boxed{42}</think> so be it", False, "42"),  # one rule for both: the last box of what ended its turn
        (r"<think>\boxed{42} so be it", False, "42"),
        (r"<think>\boxed{42}</think> as in \boxed{}", False, "42"),
        (r"<think>\boxed{42}</think> so be", True, None),  # cut before it answered
        (r"<think>\boxed{42} so be", True, None),
        (r"<think>\boxed{41}</think> \boxed{42} and", True, "42"),
    ],
)
def test_box_inside_the_think_block(text: str, truncated: bool, answer: str | None) -> None:
    reading = read_response(text, truncated=truncated)
    assert reading.answer == answer
    assert not reading.well_formatted or text.endswith(("{42}", "and"))


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (r"<think>a</think>\boxed{1}", True),
        (r"<think></think>\boxed{1}", True),
        ("<think>\n3\n</think>\n" + r"so \boxed{1}.", True),
        (r"\boxed{1}", False),
        (r"<think>a</think> 1", False),
        (r"<think>a \boxed{1}</think>", False),
        (r"<think>a\boxed{1}", False),
        (r"a</think>\boxed{1}", False),
        (r"</think>a<think>\boxed{1}", False),
        (r"<think>a</think><think>b</think>\boxed{1}", False),
        (r"<think><think>a</think>\boxed{1}", False),
        (r"<think>a</think></think>\boxed{1}", False),
        (r"<think>a</think>\boxed{1", False),
        (r"\boxed{1}<think>a</think>", False),
        ("", False),
    ],
)
def test_format(text: str, good: bool) -> None:
    assert is_well_formatted(text) is good


@pytest.mark.parametrize(
    ("text", "integer"),
    [
        ("42", "42"),
        ("042", "42"),
        ("+5", "5"),
        ("-5", "-5"),
        ("\u22125", "-5"),
        ("-0", "0"),
        ("000", "0"),
        ("5.0", "5"),
        ("5.000", "5"),
        ("1,000", "1000"),
        ("1{,}000", "1000"),
        ("1 000", "1000"),
        (r"1\,000", "1000"),
        ("1,234,567.00", "1234567"),
        ("$42$", "42"),
        (r"\(42\)", "42"),
        (r"\text{42}", "42"),
        (r"$\mathbf{42}$", "42"),
        ("{42}", "42"),
        (" 42\n", "42"),
        ("9" * 10_000, "9" * 10_000),  # int() would refuse
        ("10,00", None),
        ("1,2", None),
        ("1,234567", None),
        ("1,000 000", None),
        ("5.", None),
        ("5.5", None),
        ("4 2", None),
        ("\u0664\u0662", None),
        ("--5", None),
        ("1e3", "1000"),
        ("1.25E+2", "125"),
        ("1.25e1", None),
        ("1e-3", None),
        ("0x2a", None),
        ("42%", None),
        (r"42^\circ", None),
        ("x=42", None),
        (r"\frac{84}{2}", None),
        ("", None),
        ("$$", None),
    ],
)
def test_as_integer(text: str, integer: str | None) -> None:
    assert as_integer(text) == integer


EQUAL = [
    ("42", "042"),
    ("0", "-0"),
    ("5", "5."),
    ("1000", "1,000"),
    ("1,000", "1000"),
    ("42", r"42 \text{ cm}"),
    ("42", r"42^\circ"),
    ("42", r"\frac{84}{2}"),
    ("42", "x = 42"),
    ("42", r"42\%"),
    (r"\frac{1}{2}", "0.5"),
    (r"\frac{1}{2}", r"\dfrac12"),
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})"),
    (r"\frac{14}{3}", r"4\frac{2}{3}"),
    ("p - q", "-q+p"),
    (r"\text{Evelyn}", r"\text{Evelyn}"),
    ("x^2y^2z^2", "z^2 x^2 y^2"),
    ("2023!", "2023!"),
    (r"6 - 5i", "-5i+6"),
    (r"\{1, 2\}", r"\{2, 1\}"),
    ("12", "x=12"),
    ("12", r"\angle ABC = 12^\circ"),
    ("12", "f(1,2) = 12"),
    ("12", "5+7=12"),
    ("12", "x = 6 + 6 = 12"),
    ("1000", "x = 1,000"),
    ("1000", r"x = 1{,}000"),
    ("12", r"\sqrt[3]{1728}"),
    ("6", r"\sum_{i=1}^3 i"),
    ("6", r"S = \sum_{i=1}^3 i = 6"),
    ("12", r"12 \mathrm{~cm}"),
    ("12", "12 dollars"),
    ("12", "12 km/h"),
    ("12", r"12\ \text{square units}"),
    ("204", r"\text{204 minutes}"),
    (r"\text{204 minutes}", "204"),
    ("1000", "1e3"),
    (r"\text{Evelyn}", "Evelyn"),
    ("Evelyn", r"\textbf{Evelyn}"),
    (r"\text{(C)}", "C"),
]
DIFFERENT = [
    ("42", "-42"),
    ("42", "43"),
    ("42", "4 2"),
    ("42", "42.00000001"),
    ("42", "41.9999999999"),
    ("12", "1,2"),
    ("1000", "10,00"),
    ("42", "forty-two"),
    ("42", ""),
    ("42", "42, 43"),
    ("42", r"42 \text{ or } 43"),
    (r"\frac{1}{2}", r"\frac{1}{3}"),
    (r"\frac{1}{2}", "0.50001"),
    ("x^2", "x^3"),
    ("(1, 2)", "(2, 1)"),
    ("12", r"\leq 12"),
    ("12", "x < 12"),
    ("12", r"\sim 12"),
    ("12", r"\approx 12"),
    ("12", r"\pm 12"),
    ("12", "|12|"),
    ("12", "[12]"),
    ("12", r"\{12\}"),
    ("3", "3,3"),
    ("5", "4=5"),
    ("12", "x=5, y=12"),
    ("12", r"x=5 \text{ or } x=12"),
    ("12", "12 million"),
    ("12", "12 x"),
    ("12", "12 or more"),
    (r"12\text{ minutes}", "13"),
    (r"$1$, $2$", r"1$, $3"),
    ("A B", "(B)"),
]


@pytest.mark.parametrize(("gold", "answer"), EQUAL)
def test_equal(gold: str, answer: str) -> None:
    assert equality(gold, answer) == "equal"


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_different(gold: str, answer: str) -> None:
    assert equality(gold, answer) == "different"


HOSTILE = {
    "many equations": "=".join(["6+6"] * 100_000),
    "number and blanks": "4" * 80 + " " * 1_000_000 + "!",
    "power tower": "9^{9^{9^9}}",
    "bare tower": "10^{10^{10}}",
    "power of a power": "(9^9999)^9999",
    "polynomial": "(a+b+c+d+e)^{999}",
    "factorial": "99999!",
    "factorial of a factorial": "((4!)!)!",
    "product": r"\prod_{i=1}^{10^8} i",
    "digits": "7" * 100_000,
    "braces": "{" * 10_000 + "42" + "}" * 10_000,
    "parentheses": "(" * 10_000 + "42" + ")" * 10_000,
    "fractions": r"\frac{" * 100 + "1" + "}{2}" * 100,
    "unbalanced": r"\frac{1}{3",
    "carets": "^" * 400,
    "megabyte": "x" * 1_000_000,
    "blanks": " " * 1_000_000,
    "NUL": "4\x002",
    "right to left": "\u202e24\u202c",
    "arabic digits": "\u0664\u0662",
    "surrogate": "\ud800",
    "python": "__import__('os').system('exit 1')",
    "newline": "4\n2",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_are_wrong(name: str) -> None:
    # Boundedness shows in the verdict: without limits most of these would never give one.
    assert equality("42", HOSTILE[name]) in {"different", "timeout"}


def test_a_stopped_comparison_does_not_harm_the_next_one() -> None:
    assert equivalence.symbolic_equality("42", "10^{10^{10}}") == "timeout"
    assert equivalence.symbolic_equality(r"\frac{1}{2}", "0.5") == "equal"


def test_a_dead_worker_is_replaced() -> None:
    assert equivalence.symbolic_equality("x+1", "1 + x") == "equal"
    for worker in equivalence._POOL._free:
        if worker._process is not None:
            os.killpg(worker._process.pid, signal.SIGKILL)
            worker._process.wait()
    # As many questions as there are workers, and one more: each would meet a dead one.
    for number in range(equivalence.WORKERS + 1):
        assert equivalence.symbolic_equality(f"x+{number}+3", f"{number} + 3 + x") == "equal"


def test_a_worker_that_talks_nonsense_is_replaced_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        "import sys\nprint('ready', flush=True)\nfor line in sys.stdin:\n    print('what?', flush=True)\n"
    )
    monkeypatch.setattr(equivalence, "_WORKER", script)
    worker = equivalence._Worker()
    starts = []
    start = worker._start

    def counted() -> "subprocess.Popen[bytes]":
        starts.append(1)
        return start()

    monkeypatch.setattr(worker, "_start", counted)
    assert worker.ask("1", "2") == "timeout"
    assert len(starts) == 2 and worker._process is None


def test_unreasonable_answers_are_not_even_compared() -> None:
    assert not equivalence.is_reasonable("9^{9^{9^9}}")
    assert not equivalence.is_reasonable("{" * 30 + "}" * 30)
    assert not equivalence.is_reasonable("1" * 100)
    assert equivalence.is_reasonable("x^2y^2z^2 + 2^{2^{n}} + 2023!")


HOSTILE_TEXTS = {
    "megabyte": "a" * 1_000_000 + r"\boxed{42}",
    "backslashes": "\\" * 1_000_000,
    "unclosed boxes": r"\boxed{" * 140_000,
    "braces before": "{" * 1_000_000 + r"\boxed{42}",
    "blanks in a box": r"\boxed" + " " * 1_000_000,
    "many boxes": r"\boxed{1}" * 100_000 + r"\boxed{42}",
    "think tags": "<think>" * 100_000,
    "closing tags": "</think>" * 100_000 + r"\boxed{42}",
    "NUL": "\x00" * 1000 + r"\boxed{42}",
}


@pytest.mark.parametrize("name", HOSTILE_TEXTS)
def test_hostile_texts_are_read(name: str) -> None:
    expected = "42" if "42" in HOSTILE_TEXTS[name] else None
    assert read_response(HOSTILE_TEXTS[name]).answer == expected


def test_integers_need_neither_sympy_nor_a_worker() -> None:
    code = (
        "import sys\n"
        "from reference_impl.rewards import math_reward\n"
        "from reference_impl.text import equivalence\n"
        "responses = ['42', '43', '-42', '1,000', 'no idea', '5.0']\n"
        "for r in responses: math_reward('<think>a</think> \\\\boxed{' + r + '}', '42')\n"
        "assert all(w._process is None for w in equivalence._POOL._free)\n"
        "assert 'sympy' not in sys.modules and 'math_verify' not in sys.modules\n"
    )
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


def test_labelled_pairs_of_public_test_suites(reference_data: Path) -> None:
    """Pairs that math-verify 0.9.0 and the labels agree on; those that need text extraction are left out."""
    path = reference_data / "equivalence" / "unit_test_pairs_half.json"
    pairs = [
        pair
        for pair in json.loads(path.read_text(encoding="utf-8"))
        if pair["kind"] == "answer" and pair["math_verify_0_9_0"] == pair["expected"]
    ]
    disagreements = [
        (pair["gold"], pair["pred"])
        for pair in pairs
        if (equality(pair["gold"], pair["pred"]) == "equal") != pair["expected"]
    ]
    # A word that is no unit may say anything.
    assert disagreements == [(r"17\text{ any text}", "17")]
    assert len(pairs) > 80
