"""Demonstrations by a model behind an OpenAI-compatible endpoint, or from a file of its answers.

Every answer is stored as soon as it arrives (one JSON line, flushed to disk), so an interrupted run continues where it
stopped and nothing is paid for twice. Answers that are not accepted (wrong calls) stay in the file and are not asked
for again; the question is asked again with another seed, a limited number of times.
"""

import fcntl
import json
import os
import random
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reference_impl.files import json_line, read_jsonl
from reference_impl.judge.client import Retries
from reference_impl.judge.cost import BudgetError, Ledger, Prices, Usage
from reference_impl.judge.transport import AttemptError, Endpoint, HopelessError, Reply, Transport, post_within
from reference_impl.seeds import sample_seed
from reference_impl.text.answers import after_think
from reference_impl.text.prompts import render

KEY_VARIABLE = "CHORD_EXPERT_API_KEY"
"""The environment variable with the API key; there is no other way to give one."""
GIVE_UP_AFTER = 20
"""Questions that fail one after the other, retries included, before the endpoint is taken to be out of order."""

Row = Mapping[str, Any]
Accept = Callable[[Row, str], bool]
"""Whether a response is a demonstration of a row."""


class StoppedError(Exception):
    """No further question can be asked; what has been answered is stored."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from an answers file while it is read and added to; wait, and say so, until they let go.

    Two sets of demonstrations may be of one expert, so of one file, and made at once: each process would count only its
    own spending against the budget, and could take a line that the other is writing for a torn one. The lock is on a
    file beside it, which stays; the kernel lets go when the process ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for {path}, which another process uses", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Answers:
    """The answers of one model, in a JSON Lines file: `id` of the question, `response`, `sample`, tokens.

    The same file may come from elsewhere: `id` and `response` are enough, `sample` then counts the rows of an id.
    Safe in several threads; of several processes only one may have it at a time (`locked`).
    """

    def __init__(self, path: Path, model: str | None) -> None:
        """Read the file, if there is one. Raises ValueError naming the row that is no answer, or another model's.

        model: the one that is asked; None where none is, and the rows may be any model's.
        """
        self.path = path
        self._lock = threading.Lock()
        self._texts: dict[str, dict[int, str]] = defaultdict(dict)
        self.prompt_tokens = self.completion_tokens = 0
        if path.is_file():
            _drop_torn_line(path)
            for number, row in enumerate(read_jsonl(path), 1):
                self._read(row, model, f"{path}, row {number}")

    def _read(self, row: Row, model: str | None, where: str) -> None:
        if not isinstance(row.get("id"), str) or not isinstance(row.get("response"), str):
            raise ValueError(f"{where}: expected id and response, got {', '.join(row)}")
        if model is not None and row.get("model") not in (None, model):
            raise ValueError(f"{where}: an answer of {row['model']!r}, but {model!r} is asked: use another folder")
        texts = self._texts[row["id"]]
        texts[int(row.get("sample", len(texts)))] = row["response"]
        self.prompt_tokens += int(row.get("prompt_tokens") or 0)
        self.completion_tokens += int(row.get("completion_tokens") or 0)

    def of(self, identity: str) -> dict[int, str]:
        """Sample number → response, of one question."""
        return dict(self._texts.get(identity, {}))

    def add(self, identity: str, sample: int, model: str, response: str, usage: Usage | None) -> None:
        """Store an answer; it is on disk when this returns."""
        record = {"id": identity, "sample": sample, "model": model, "response": response}
        if usage is not None:
            record |= {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json_line(record))
                file.flush()
                os.fsync(file.fileno())
            self._texts[identity][sample] = response


def _drop_torn_line(path: Path) -> None:
    """Cut a last line without an end, which a killed run may have left."""
    with path.open("rb+") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            last = content.rpartition(b"\n")[2]
            try:
                json.loads(last)
            except ValueError:
                file.truncate(len(content) - len(last))
            else:
                file.write(b"\n")


@dataclass(frozen=True)
class Asking:
    """How the expert is asked. temperature: DeepSeek's recommendation for R1 is 0.5 to 0.7."""

    url: str
    model: str
    max_tokens: int
    temperature: float = 0.6
    concurrency: int = 8
    timeout_s: float = 1800.0
    prices: Prices = field(default_factory=Prices)
    retries: Retries = field(default_factory=Retries)


class Expert:
    """Asks the endpoint. Safe in several threads."""

    def __init__(
        self,
        asking: Asking,
        answers: Answers,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Nothing is sent yet. Raises ValueError for an address or a key that cannot be used."""
        try:
            self._endpoint = Endpoint(
                asking.url,
                asking.model,
                os.environ.get(KEY_VARIABLE),
                timeout_s=asking.timeout_s,
                max_tokens=asking.max_tokens,
            )
        except ValueError as error:
            raise ValueError(f"the expert's endpoint: {error}") from None
        self.asking, self._answers, self._sleep, self._jitter = asking, answers, sleep, jitter
        self._transport = Transport(self._endpoint, asking.concurrency, clock)
        self._ledger = Ledger(asking.prices)
        self._state = threading.Lock()
        self._stopped: str | None = None
        self._failures_in_a_row = 0
        # The budget is that of the answers file: what earlier runs spent counts.
        spent = Usage(answers.prompt_tokens, answers.completion_tokens)
        try:
            self._ledger.reserve(spent)
        except BudgetError:
            self._stopped = f"the answers in {answers.path} have cost the budget of {asking.prices.budget:g} already"
        else:
            self._ledger.settle(spent, spent, billed=True)

    def ask(self, row: Row, sample: int) -> str | None:
        """One answer, stored; None where this question failed. Raises StoppedError where the next one would too."""
        payload = {
            "model": self._endpoint.model,
            "messages": render(row),
            "temperature": self.asking.temperature,
            "max_tokens": self._endpoint.max_tokens,
            "seed": sample_seed("expert", row["id"], sample) % 2**31,  # servers read 32 bits with a sign
        }
        for attempt in range(1, self.asking.retries.attempts + 1):
            if self._stopped is not None:
                raise StoppedError(self._stopped)
            try:
                reply = post_within(self._ledger, self._transport, payload)
            except HopelessError as error:
                raise self._stop(str(error)) from None
            except BudgetError:
                spent, budget = self._ledger.report()["cost"], self.asking.prices.budget
                raise self._stop(f"{spent:.6g} of the budget of {budget:g} are spent, no room for another") from None
            except AttemptError as error:
                trouble = f"{error} (attempt {attempt})"
                if not error.retry or attempt == self.asking.retries.attempts:
                    self._failed(trouble)
                    return None
                self._sleep(self.asking.retries.pause(attempt, error.wait, self._jitter()))
            else:
                text = self._endpoint.redact(whole_text(reply))
                self._answers.add(row["id"], sample, self._endpoint.model, text, reply.usage)
                with self._state:
                    self._failures_in_a_row = 0
                return text
        raise AssertionError("unreachable")

    def _failed(self, trouble: str) -> None:
        with self._state:
            self._failures_in_a_row += 1
            give_up = self._failures_in_a_row >= GIVE_UP_AFTER
        if give_up:
            raise self._stop(f"{GIVE_UP_AFTER} questions in a row failed, the last with: {trouble}")

    def _stop(self, why: str) -> StoppedError:
        with self._state:
            if self._stopped is None:
                self._stopped = self._endpoint.redact(why)
            return StoppedError(self._stopped)

    def report(self) -> dict[str, Any]:
        """Calls, tokens and cost, those of earlier runs included."""
        return self._ledger.report()


def whole_text(reply: Reply) -> str:
    """A reply with its train of thought in front, as a policy writes it.

    Reasoning that the server parts from the content takes the place of a think block in the content.
    """
    if not reply.reasoning:
        return reply.content
    return f"<think>\n{reply.reasoning.strip()}\n</think>\n\n{(after_think(reply.content) or '').strip()}"


def demonstrate(
    rows: Sequence[Row], wanted: int, accept: Accept, answers: Answers, expert: Expert | None, tries: int
) -> list[dict[str, Any]]:
    """The first `wanted` of the rows, in their order, that have an accepted answer, with `response` and the sample.

    Stored answers are looked at first; where none is accepted, the expert is asked up to `tries` samples of a
    question. Rows are taken in rounds of as many as are missing, so no more questions are asked than needed. Raises
    ValueError with the counts where too few are accepted, or the expert had to stop.
    """
    found: list[dict[str, Any]] = []
    looked_at = 0
    with ThreadPoolExecutor(expert.asking.concurrency if expert is not None else 1) as pool:
        while len(found) < wanted and looked_at < len(rows):
            round_rows = rows[looked_at : looked_at + wanted - len(found)]
            looked_at += len(round_rows)
            try:
                results = list(pool.map(lambda row: _first_accepted(row, accept, answers, expert, tries), round_rows))
            except StoppedError as error:
                raise ValueError(
                    f"the expert stopped: {error}. What it answered is in {answers.path}; run again to continue"
                ) from None
            found += [
                {**row, "response": result[1], "meta": {**row["meta"], "expert_sample": result[0]}}
                for row, result in zip(round_rows, results, strict=True)
                if result is not None
            ]
    if len(found) < wanted:
        counted = f"{wanted} demonstrations are needed; of {looked_at} questions {len(found)} have an accepted answer"
        if expert is not None:
            raise ValueError(f"{counted} in {answers.path} within {tries} tries")
        unanswered = [row["id"] for row in rows[:looked_at] if not answers.of(row["id"])]
        first = f", the first of them {unanswered[0]}" if unanswered else ""
        raise ValueError(
            f"{counted} in {answers.path} and {len(unanswered)} have no answer there{first}; no endpoint is given "
            f"that serves {answers.path.stem} (--ask {answers.path.stem}, --url, --model)"
        )
    return found


def _first_accepted(
    row: Row, accept: Accept, answers: Answers, expert: Expert | None, tries: int
) -> tuple[int, str] | None:
    for sample, response in _responses(row, answers, expert, tries):
        if accept(row, response):
            return sample, response
    return None


def _responses(row: Row, answers: Answers, expert: Expert | None, tries: int) -> Iterator[tuple[int, str]]:
    stored = answers.of(row["id"])
    yield from sorted(stored.items())
    for sample in range(tries if expert is not None else 0):
        if sample not in stored:
            assert expert is not None
            response = expert.ask(row, sample)
            if response is not None:
                yield sample, response
