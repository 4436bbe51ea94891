"""Symbolic equality of two LaTeX answers by math-verify, in child processes that can be killed.

Each verdict is bounded in time and memory; a worker that exceeds either dies and is replaced, and the others
keep working. Workers start at the first question that needs one (about a second) and end with this process.
"""

import atexit
import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal

Equality = Literal["equal", "different", "timeout"]

# The worker bounds every verdict itself (equivalence_worker); this is for a worker that is gone altogether.
REPLY_LIMIT_S = 8.0
START_LIMIT_S = 60.0  # importing sympy on a busy machine; not part of a verdict's time
WORKERS = 2
ATTEMPTS = 2  # a worker found dead is replaced once a question
_EQUALITY: dict[bytes, Equality] = {b"true\n": "equal", b"false\n": "different", b"null\n": "timeout"}

# Answers beyond these bounds are different without asking: no gold of a supported benchmark comes near, and
# the parsers need exponential time or stack for some of them.
MAX_CHARACTERS = 500
MAX_NESTING = 20
MAX_DIGIT_RUN = 60
_DIGIT_RUN = re.compile(rf"\d{{{MAX_DIGIT_RUN + 1}}}")
# An exponent in an exponent in an exponent, a factorial of five digits, an exponent of seven.
_EXPLOSIVE = re.compile(r"\^\s*\{[^{}^]*\^\s*\{[^{}^]*\^|\d{5}\s*!|\^\s*\{?\s*\d{7}")

_WORKER = Path(__file__).with_name("equivalence_worker.py")


@lru_cache(maxsize=1 << 16)
def symbolic_equality(gold: str, answer: str) -> Equality:
    """math-verify's verdict on `answer`, or "timeout" where its worker had to be killed. Verdicts are
    cached."""
    if not is_reasonable(answer):
        return "different"
    with _POOL.borrow() as worker:
        return worker.ask(gold, answer)


def is_reasonable(answer: str) -> bool:
    """Whether `answer` is short and shallow enough to be worth a symbolic comparison."""
    if not answer or len(answer) > MAX_CHARACTERS or "\0" in answer:
        return False
    return _nesting(answer) <= MAX_NESTING and not _DIGIT_RUN.search(answer) and not _EXPLOSIVE.search(answer)


def _nesting(text: str) -> int:
    depth = deepest = 0
    for character in text:
        if character in "{([":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "})]":
            depth -= 1
    return deepest


class _Worker:
    """One child process. Not shared between threads: the pool lends it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False

    def ask(self, gold: str, answer: str) -> Equality:
        """One verdict; "timeout" where computing it took more time or memory than the worker allows, or where the
        worker and its successor died of it.

        Whatever goes wrong ends the process, so that no reply of this question is taken for the next one's.
        """
        for _ in range(ATTEMPTS):
            try:
                return _EQUALITY[self._exchange(json.dumps([gold, answer]).encode())]
            except TimeoutError:
                self.stop()
                break
            except (OSError, EOFError, KeyError):
                self.stop()
            except BaseException:
                self.stop()
                raise
        return "timeout"

    def _exchange(self, request: bytes) -> bytes:
        process = self._process or self._start()
        assert process.stdin is not None
        process.stdin.write(request + b"\n")
        process.stdin.flush()
        return _read_line(process, REPLY_LIMIT_S)

    def stop(self) -> None:
        """End the worker and its server."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def _start(self) -> subprocess.Popen[bytes]:
        # -P keeps this package's folder off the child's path, so that its module names shadow nobody's.
        process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self._process = process
        try:
            _read_line(process, START_LIMIT_S)
        except (TimeoutError, EOFError):
            command = f"{sys.executable} -P {_WORKER}"
            raise RuntimeError(f"the answer checker did not start: {command} (is math-verify installed?)") from None
        return process


def _read_line(process: subprocess.Popen[bytes], limit_s: float) -> bytes:
    """One line of the child's output. Raises EOFError if it ends, TimeoutError if it stays silent for `limit_s`
    seconds."""
    assert process.stdout is not None
    deadline = time.monotonic() + limit_s
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            chunk = os.read(process.stdout.fileno(), 4096)
            if not chunk:
                raise EOFError
            line += chunk
    return line


class _Pool:
    """WORKERS children, lent one at a time; threads beyond that wait their turn."""

    def __init__(self) -> None:
        self._free = [_Worker() for _ in range(WORKERS)]
        self._condition = threading.Condition()
        atexit.register(self.close)

    @contextlib.contextmanager
    def borrow(self) -> Iterator[_Worker]:
        """A worker for the length of the block. Last in, first out: a second child starts only when both are
        needed."""
        with self._condition:
            self._condition.wait_for(lambda: bool(self._free))
            worker = self._free.pop()
        try:
            yield worker
        finally:
            with self._condition:
                self._free.append(worker)
                self._condition.notify()

    def close(self) -> None:
        """End the children."""
        for worker in self._free:
            worker.stop()


_POOL = _Pool()
