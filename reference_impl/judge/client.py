"""A language model as a judge: retries, concurrency limit, cache and cost around one request."""

import hashlib
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from reference_impl.judge.cache import VerdictCache
from reference_impl.judge.cost import BudgetError, Ledger, Prices
from reference_impl.judge.prompt import AGGREGATIONS, PROMPT_VERSION, Inquiry, ReplyError, build_inquiry, read_reply
from reference_impl.judge.rubric import Judgement, Rubric, failed
from reference_impl.judge.transport import AttemptError, Endpoint, HopelessError, Transport, post_within

# Verdicts that fail one after the other, retries included, before the judge is taken to be out of order.
GIVE_UP_AFTER = 20
# Threads that ask the same question at once wait for one answer; this many different questions go side by side.
_STRIPES = 1024


@dataclass(frozen=True)
class Retries:
    """How often and after which pauses a request is repeated.

    Before attempt n + 1 comes a pause of `base_s` * 2^(n - 1), at most `longest_s`, of which a random half may be
    left out so that concurrent jobs do not return together; or the server's Retry-After where that is longer, at
    most `longest_wait_s`.
    """

    attempts: int = 6
    base_s: float = 1.0
    longest_s: float = 60.0
    longest_wait_s: float = 300.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"a judge needs at least 1 attempt, got {self.attempts}")

    def pause(self, attempt: int, asked: float | None, share: float) -> float:
        """Seconds after failed attempt number `attempt` (from 1). `share`, in [0, 1), is the random part."""
        backoff = min(self.longest_s, self.base_s * 2.0 ** (attempt - 1)) * (1.0 - share / 2)
        return max(backoff, min(asked or 0.0, self.longest_wait_s))


class HttpJudge:
    """Scores responses by asking an OpenAI-compatible endpoint. Implements `reference_impl.judge.rubric.Judge`."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        cache: VerdictCache,
        prices: Prices | None = None,
        retries: Retries | None = None,
        aggregation: str = "explicit",
        concurrency: int = 8,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Nothing is sent yet. Raises ValueError for an unknown aggregation and for a concurrency below 1.

        Args:
            concurrency: most requests under way at once, however many threads call `score`.
            sleep: what pauses between attempts. clock: seconds, for the time limit of a request. jitter: random
                numbers in [0, 1) for the length of pauses.
        """
        if aggregation not in AGGREGATIONS:
            raise ValueError(f"unknown aggregation {aggregation!r}; known: {', '.join(AGGREGATIONS)}")
        if concurrency < 1:
            raise ValueError(f"the judge's concurrency must be at least 1, got {concurrency}")
        self._endpoint, self._cache, self._aggregation = endpoint, cache, aggregation
        self._retries = retries or Retries()
        self._sleep, self._jitter = sleep, jitter
        self._concurrency = concurrency
        self._transport = Transport(endpoint, concurrency, clock)
        self._ledger = Ledger(prices or Prices())
        self._slots = threading.BoundedSemaphore(concurrency)
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]
        self._state = threading.Lock()
        self._stopped: str | None = None
        self._hits = self._failures = self._failures_in_a_row = 0

    @property
    def name(self) -> str:
        """Model, aggregation and prompt version."""
        return f"{self._endpoint.model}, {self._aggregation}, prompt {PROMPT_VERSION}"

    @property
    def concurrency(self) -> int:
        """Most requests under way at once."""
        return self._concurrency

    @property
    def stopped(self) -> str | None:
        """Why no more requests are made: the budget, the credentials, a server that is out of order."""
        return self._stopped

    def score(self, question: str, response: str, rubric: Rubric, *, seed: int) -> Judgement:
        """The judgement of one response, from the cache if it was asked before.

        Failures, also those of a judge that has stopped, are judgements with reason `judge_failed`; they are not
        cached.
        """
        inquiry = build_inquiry(question, response, rubric, self._aggregation)
        payload = self._payload(inquiry, seed)
        key = self._key(payload, rubric)
        with self._stripes[int(key[:8], 16) % _STRIPES]:
            cached = self._cache.get(key)
            if cached is not None:
                with self._state:
                    self._hits += 1
                return cached
            judgement = self._ask(inquiry, payload, rubric)
            self._count(judgement)
            return judgement if judgement.score is None else self._cache.put(key, judgement)

    def _payload(self, inquiry: Inquiry, seed: int) -> dict[str, Any]:
        return {
            "model": self._endpoint.model,
            "messages": inquiry.messages,
            "temperature": 0.0,
            "max_tokens": self._endpoint.max_tokens,
            "seed": seed % 2**31,  # servers read 32 bits with a sign
        }

    def _key(self, payload: dict[str, Any], rubric: Rubric) -> str:
        """Model, prompt, rubric, response and prompt version as one hash; neither address nor key is part of it."""
        content = [PROMPT_VERSION, self._aggregation, payload, [item.weight for item in rubric]]
        return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=32).hexdigest()

    def _ask(self, inquiry: Inquiry, payload: dict[str, Any], rubric: Rubric) -> Judgement:
        trouble = ""
        for attempt in range(1, self._retries.attempts + 1):
            if self._stopped is not None:
                return failed(self._stopped)
            try:
                # At temperature 0 an unreadable reply would come again with the same seed.
                content = self._send({**payload, "seed": (payload["seed"] + attempt - 1) % 2**31})
                return self._clean(read_reply(content, inquiry, rubric, self._aggregation))
            except (BudgetError, HopelessError) as error:
                return failed(self._stop(str(error)))
            except ReplyError as error:
                trouble, retry, wait = f"an unreadable verdict: {error}", True, None
            except AttemptError as error:
                trouble, retry, wait = str(error), error.retry, error.wait
            trouble = self._endpoint.redact(f"{trouble} (attempt {attempt})")
            if not retry:
                break
            if attempt < self._retries.attempts:
                self._sleep(self._retries.pause(attempt, wait, self._jitter()))
        return failed(trouble)

    def _send(self, payload: dict[str, Any]) -> str:
        with self._slots:
            return post_within(self._ledger, self._transport, payload).content

    def _clean(self, judgement: Judgement) -> Judgement:
        """The judgement without the API key in its explanations."""
        redact = self._endpoint.redact
        items = tuple(replace(item, explanation=redact(item.explanation)) for item in judgement.items)
        return replace(judgement, items=items, detail=redact(judgement.detail))

    def _stop(self, why: str) -> str:
        with self._state:
            if self._stopped is None:
                self._stopped = f"the judge stopped: {self._endpoint.redact(why)}"
            return self._stopped

    def _count(self, judgement: Judgement) -> None:
        with self._state:
            bad = judgement.score is None
            self._failures += bad
            self._failures_in_a_row = self._failures_in_a_row + 1 if bad else 0
            give_up = self._failures_in_a_row >= GIVE_UP_AFTER
        if give_up:
            self._stop(f"{GIVE_UP_AFTER} verdicts in a row failed, the last with: {judgement.detail}")

    def report(self) -> dict[str, Any]:
        """The name, and this process's calls, tokens, cost, cache hits and failures."""
        return {
            "judge": self.name,
            "cache_hits": self._hits,
            "cache_errors": self._cache.errors,
            "failures": self._failures,
            **self._ledger.report(),
        }
