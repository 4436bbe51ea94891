"""A language model as a judge: a cache of verdicts around the client of its endpoint."""

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tenacity import Retrying

from reference_impl.config import choose
from reference_impl.judge.cache import VerdictCache
from reference_impl.judge.client import RETRYING, AttemptError, ChatClient, Endpoint, Reply, StoppedError
from reference_impl.judge.cost import Prices
from reference_impl.judge.prompt import AGGREGATIONS, PROMPT_VERSION, build_inquiry, read_reply
from reference_impl.judge.rubric import Judgement, Rubric, failed

# Threads that ask the same question at once wait for one answer; this many different questions go side by side.
_STRIPES = 1024


class HttpJudge:
    """Scores responses by asking an OpenAI-compatible endpoint. Implements `reference_impl.judge.rubric.Judge`."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        cache: VerdictCache,
        prices: Prices | None = None,
        aggregation: str = "explicit",
        concurrency: int = 8,
        retrying: Retrying = RETRYING,
    ) -> None:
        """Nothing is sent yet. Raises ValueError for an unknown aggregation and for a concurrency below 1."""
        self._aggregation = choose("aggregation", aggregation, AGGREGATIONS, "a judge over HTTP")
        self._client = ChatClient(endpoint, prices=prices, concurrency=concurrency, retrying=retrying)
        self.name = f"{endpoint.model}, {aggregation}, prompt {PROMPT_VERSION}"
        self.concurrency = concurrency
        self._cache = cache
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]
        self._lock = threading.Lock()
        self._hits = self._failures = 0

    @property
    def stopped(self) -> str | None:
        """Why no more requests are made: the budget, the credentials, a server that is out of order."""
        return self._client.stopped and f"the judge stopped: {self._client.stopped}"

    def score(self, question: str, response: str, rubric: Rubric, *, seed: int) -> Judgement:
        """The judgement of one response, from the cache if it was asked before.

        Failures, also those of a judge that has stopped, are judgements with reason `judge_failed`; they are not
        cached.
        """
        inquiry = build_inquiry(question, response, rubric, self._aggregation)
        payload = self._client.endpoint.payload(inquiry.messages, temperature=0.0, seed=seed)
        key = self._key(payload, rubric)

        def read(reply: Reply) -> Judgement:
            return self._redact(read_reply(reply.content, inquiry, rubric, self._aggregation))

        with self._stripes[int(key[:8], 16) % _STRIPES]:
            cached = self._cache.get(key)
            if cached is not None:
                with self._lock:
                    self._hits += 1
                return cached
            try:
                return self._cache.put(key, self._client.ask(payload, read))
            except (AttemptError, StoppedError) as error:
                with self._lock:
                    self._failures += 1
                return failed(str(self.stopped if isinstance(error, StoppedError) else error))

    def _key(self, payload: Mapping[str, Any], rubric: Rubric) -> str:
        """Model, prompt, rubric, response and prompt version as one hash; neither address nor key is part of it."""
        content = [PROMPT_VERSION, self._aggregation, payload, [item.weight for item in rubric]]
        return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=32).hexdigest()

    def _redact(self, judgement: Judgement) -> Judgement:
        """The judgement without the API key in its explanations, where escapes may have hidden it until now."""
        redact = self._client.endpoint.redact
        items = tuple(replace(item, explanation=redact(item.explanation)) for item in judgement.items)
        return replace(judgement, items=items, detail=redact(judgement.detail))

    def report(self) -> dict[str, Any]:
        """The name, and this process's calls, tokens, cost, cache hits and failures."""
        return {
            "judge": self.name,
            "cache_hits": self._hits,
            "cache_errors": self._cache.errors,
            "failures": self._failures,
            **self._client.report(),
        }
