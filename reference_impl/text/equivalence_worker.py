"""Child process that decides whether two LaTeX answers are equal, one JSON line in, one out.

It runs as a script of its own, so that math-verify and sympy never enter the parent (a trainer holding
torch), and so
that it can be stopped: math-verify's own time limit works only in a main thread and does not bound memory.
This process imports sympy once and forks a server; the kernel ends the server where a verdict takes more time
or memory than the limits here, and the next one is forked within milliseconds.

It first says "ready". Request: ["gold", "answer"]. Reply: true; false, also for what math-verify cannot read;
null where the server was ended.
"""

import json
import logging
import os
import resource
import signal
import sys

from math_verify import grader, parse, verify
from sympy import Basic, Expr, Float, Integer, MatrixBase, N, Rational

STDOUT = 1
# A decimal beside an irrational number stands for it if they agree to this much of it: 3.141593 and \\pi. Two exact
# numbers that agree to EXACT are equal (evaluated to DIGITS).
APPROXIMATE, EXACT, DIGITS = 1e-6, 1e-25, 40
# Ordinary verdicts take milliseconds, the slowest of MATH-500 about 0.3 s. CPU time decides, so that a
# verdict does not depend on how busy the machine is; the wall limit is for a server that is starved.
CPU_LIMIT_S = 2.0
WALL_LIMIT_S = 3.5
# Address space, not resident memory: sympy needs about 250 MB of it, a power tower asks for all there is.
MEMORY_LIMIT_BYTES = 768 << 20
# Deep nesting is filtered before; this only keeps the C stack far from its limit.
RECURSION_LIMIT = 3000


def equal(gold: str, answer: str) -> bool:
    """math-verify's verdict, both sides given as the content of a box. Its own time limits are off."""
    gold_parsed = parse(f"\\boxed{{{gold}}}", parsing_timeout=None)
    answer_parsed = parse(f"\\boxed{{{answer}}}", parsing_timeout=None)
    return bool(verify(gold_parsed, answer_parsed, timeout_seconds=None))


def _exact(number: Expr) -> Expr:
    """The number with its decimals as fractions."""
    return number.xreplace({decimal: Rational(str(decimal)) for decimal in number.atoms(Float)}).doit()


def numerically_equal(a: Basic, b: Basic, float_rounding: int, numeric_precision: int) -> bool:
    """In the place of math-verify's comparison of numbers, which rounds both to six decimals: 1/20! is not 1/21!.

    Rational numbers, decimals among them, exactly; others relatively; polynomials with symbols exactly. The last two
    arguments are those of the function that it replaces, and unused.
    """
    if isinstance(a, MatrixBase) and isinstance(b, MatrixBase):
        pairs = zip(a.flat(), b.flat(), strict=True) if a.shape == b.shape else [(Integer(0), Integer(1))]
        return all(numerically_equal(x, y, float_rounding, numeric_precision) for x, y in pairs)
    if not (isinstance(a, Expr) and isinstance(b, Expr)):
        return False
    if a.free_symbols or b.free_symbols:
        return bool(_exact(a - b).expand() == 0)
    decimal = isinstance(a, Float) != isinstance(b, Float)
    a, b = _exact(a), _exact(b)
    if a == b or (isinstance(a, Rational) and isinstance(b, Rational)):
        return bool(a == b)
    tolerance = APPROXIMATE if decimal and not (isinstance(a, Integer) or isinstance(b, Integer)) else EXACT
    return bool(abs(N(a - b, DIGITS)) <= tolerance * max(abs(N(a, DIGITS)), abs(N(b, DIGITS))))


grader.sympy_numeric_eq = numerically_equal


def _set_limits(cpu_s: float, wall_s: float) -> None:
    # Without handlers these signals end the process, even inside a C function that never returns to Python.
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, wall_s)


def _reply(text: str) -> None:
    os.write(STDOUT, f"{text}\n".encode())


def serve() -> None:
    """Answer requests until standard input ends."""
    for line in sys.stdin:
        gold, answer = json.loads(line)
        _set_limits(CPU_LIMIT_S, WALL_LIMIT_S)
        try:
            verdict = equal(gold, answer)
        except Exception:  # noqa: BLE001 - hostile text finds every error that two parsers and sympy can raise
            verdict = False
        _set_limits(0, 0)
        _reply(json.dumps(verdict))


def main() -> None:
    """Keep a server running until it has seen the end of standard input."""
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.setrecursionlimit(RECURSION_LIMIT)
    sys.stdout = sys.stderr  # a library's print must not look like a reply
    _reply("ready")
    while True:
        server = os.fork()
        if server == 0:
            serve()
            os._exit(0)
        if os.waitpid(server, 0)[1] == 0:
            return
        _reply("null")


if __name__ == "__main__":
    main()
