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

from math_verify import parse, verify

STDOUT = 1
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
