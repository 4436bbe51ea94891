"""Demonstrations by a model behind an OpenAI-compatible endpoint, or from a file of its answers.

Every answer is stored as soon as it arrives (one JSON line, flushed to disk), so an interrupted run resumes where it
stopped and nothing is paid for twice. Answers that are not accepted (wrong calls) stay in the file and are not asked
for again; the question is asked again with another seed, a limited number of times.
"""

import fcntl
import json
import os
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import tenacity
from pydantic import BaseModel, ValidationError

from reference_impl.files import json_line, read_jsonl
from reference_impl.judge.client import RETRYING, AttemptError, ChatClient, Endpoint, Reply, StoppedError
from reference_impl.judge.cost import NO_USAGE, Prices, Usage
from reference_impl.seeds import sample_seed
from reference_impl.text.answers import after_think
from reference_impl.text.prompts import render

TEMPERATURE = 0.6  # DeepSeek's recommendation for R1 is 0.5 to 0.7
Row = Mapping[str, Any]
Accept = Callable[[Row, str], bool]
"""Whether a response is a demonstration of a row."""


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


class Answer(BaseModel):
    """A line of an answers file. One from elsewhere may have `id` and `response` alone.

    sample: its number among the answers to a question. prompt_tokens, completion_tokens: what it cost.
    """

    id: str
    sample: int | None = None
    model: str | None = None
    response: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Answers:
    """The answers of one model, in a JSON Lines file of `Answer`s.

    Safe in several threads; of several processes only one may have it at a time (`locked`).
    """

    def __init__(self, path: Path, model: str | None) -> None:
        """Read the file, if there is one. Raises ValueError naming the row that is no answer, or another model's.

        model: the one that is asked; None where none is, and the rows may be any model's.
        """
        self.path = path
        self.spent = NO_USAGE
        """Tokens of all answers in the file when it was read."""
        self._lock = threading.Lock()
        self._texts: dict[str, dict[int, str]] = defaultdict(dict)
        if path.is_file():
            _drop_torn_line(path)
            for number, row in enumerate(read_jsonl(path), 1):
                where = f"{path}, row {number}"
                try:
                    answer = Answer.model_validate(row)
                except ValidationError as error:
                    wrong = "; ".join(f"{one['loc'][0]}: {one['msg']}" for one in error.errors())
                    raise ValueError(f"{where}: no answer of an expert ({wrong})") from None
                if model is not None and answer.model not in (None, model):
                    raise ValueError(
                        f"{where}: an answer of {answer.model!r}, but {model!r} is asked: use another folder"
                    )
                self._remember(answer)
                self.spent += Usage(answer.prompt_tokens or 0, answer.completion_tokens or 0)

    def of(self, identity: str) -> dict[int, str]:
        """Sample number → response, of one question."""
        return dict(self._texts.get(identity, {}))

    def add(self, answer: Answer) -> None:
        """Store an answer; it is on disk when this returns."""
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json_line(answer.model_dump(exclude_none=True)))
                file.flush()
                os.fsync(file.fileno())
            self._remember(answer)

    def _remember(self, answer: Answer) -> None:
        texts = self._texts[answer.id]
        texts[len(texts) if answer.sample is None else answer.sample] = answer.response


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


class Expert:
    """Asks the endpoint and stores its answers. Safe in several threads."""

    def __init__(
        self,
        endpoint: Endpoint,
        answers: Answers,
        *,
        concurrency: int = 8,
        prices: Prices | None = None,
        retrying: tenacity.Retrying = RETRYING,
    ) -> None:
        """Nothing is sent yet. The budget of `prices` is that of the answers file: what earlier runs spent counts."""
        self._answers, spent = answers, answers.spent
        self.client = ChatClient(endpoint, prices=prices, spent=spent, concurrency=concurrency, retrying=retrying)

    def ask(self, row: Row, sample: int) -> str | None:
        """One answer, stored; None where this question failed. Raises StoppedError where the next one would too."""
        endpoint, seed = self.client.endpoint, sample_seed("expert", row["id"], sample)
        payload = endpoint.payload(render(row), temperature=TEMPERATURE, seed=seed)
        try:
            reply = self.client.ask(payload, lambda reply: reply)
        except AttemptError:
            return None
        text = endpoint.redact(whole_text(reply))
        tokens = {} if reply.usage is None else asdict(reply.usage)
        self._answers.add(Answer(id=row["id"], sample=sample, model=endpoint.model, response=text, **tokens))
        return text


def whole_text(reply: Reply) -> str:
    """A reply with its train of thought in front, as a policy writes it.

    Reasoning that the server parts from the content takes the place of a think block in the content.
    """
    reasoning = (reply.reasoning_content or "").strip() or (reply.reasoning or "").strip()
    if not reasoning:
        return reply.content
    return f"<think>\n{reasoning}\n</think>\n\n{(after_think(reply.content) or '').strip()}"


def demonstrate(
    rows: Sequence[Row], wanted: int, accept: Accept, answers: Answers, expert: Expert | None, tries: int
) -> list[dict[str, Any]]:
    """The first `wanted` of the rows, in their order, that have an accepted answer, with `response` and the sample.

    Stored answers are tried first; where none is accepted, the expert is asked up to `tries` samples of a question.
    Rows are taken in rounds of as many as are missing, so no more questions are asked than needed. Raises ValueError
    with the counts where too few are accepted, or the expert had to stop.
    """
    found: list[dict[str, Any]] = []
    read = 0
    with ThreadPoolExecutor(expert.client.concurrency if expert is not None else 1) as pool:
        while len(found) < wanted and read < len(rows):
            batch = rows[read : read + wanted - len(found)]
            read += len(batch)
            try:
                results = list(pool.map(lambda row: _first_accepted(row, accept, answers, expert, tries), batch))
            except StoppedError as error:
                raise ValueError(
                    f"the expert stopped: {error}. What it answered is in {answers.path}; run again to continue"
                ) from None
            found += [
                {**row, "response": result[1], "meta": {**row["meta"], "expert_sample": result[0]}}
                for row, result in zip(batch, results, strict=True)
                if result is not None
            ]
    if len(found) < wanted:
        counted = f"{wanted} demonstrations are needed; of {read} questions {len(found)} have an accepted answer"
        if expert is not None:
            raise ValueError(f"{counted} in {answers.path} within {tries} tries")
        unanswered = [row["id"] for row in rows[:read] if not answers.of(row["id"])]
        first = f", the first of them {unanswered[0]}" if unanswered else ""
        raise ValueError(
            f"{counted} in {answers.path} and {len(unanswered)} have no answer there{first}; no endpoint is given "
            f"that serves {answers.path.stem} (--ask {answers.path.stem}, --url, --model)"
        )
    return found


def _first_accepted(
    row: Row, accept: Accept, answers: Answers, expert: Expert | None, tries: int
) -> tuple[int, str] | None:
    """Number and text of the first accepted sample: of the stored ones, then of those that are asked for."""
    stored = answers.of(row["id"])
    asked: Iterable[tuple[int, str | None]] = ()
    if expert is not None:
        asked = ((sample, expert.ask(row, sample)) for sample in range(tries) if sample not in stored)
    responses = chain(sorted(stored.items()), asked)
    return next(((sample, text) for sample, text in responses if text is not None and accept(row, text)), None)
