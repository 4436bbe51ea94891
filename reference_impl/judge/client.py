"""The client of a model behind an OpenAI-compatible endpoint: bounded in time, size, attempts and money.

Failures are sorted by kind. What may pass is tried again (time-outs, broken connections, 408, 409, 425, 429, 5xx,
replies that cannot be read); what the server refuses fails one request; what every further request would meet too
(credentials, address, a redirect, the budget, many failures in a row) stops the client.
"""

import asyncio
import json
import logging
import math
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, TypeVar

import httpx
import tenacity
from pydantic import AliasChoices, AliasPath, BaseModel, Field, HttpUrl, TypeAdapter, ValidationError, WrapValidator

from reference_impl.config.judges import LOOPBACK
from reference_impl.judge.cost import NO_USAGE, BudgetError, Ledger, Prices, Usage

T = TypeVar("T")
SEEDS = 2**31  # servers read 32 bits with a sign
MAX_REPLY_BYTES = 1 << 20
CONNECT_LIMIT_S = 10.0
LONGEST_WAIT_S = 300.0
"""Most that a Retry-After header is followed."""
GIVE_UP_AFTER = 20
"""Requests that fail one after the other, retries included, before the endpoint is taken to be out of order."""
_CHAT_FORMAT_TOKENS = 64
# Timeouts and conflicts that the next attempt may not meet; and what no request with these settings can change.
_TRANSIENT = (408, 409, 425, 429)
_FATAL = (401, 403, 404, 405)

# Both log what a server sends besides its reply (reason, headers), where it may echo the key.
for _library in ("httpx", "httpcore"):
    logging.getLogger(_library).setLevel(logging.WARNING)


class AttemptError(Exception):
    """A request that gave no usable reply.

    retry: whether another attempt may do better. wait: seconds that the server asked to wait. billed: whether it may
    have done the work, and charged for it.
    """

    def __init__(self, message: str, *, retry: bool = True, wait: float = 0.0, billed: bool = True) -> None:
        super().__init__(message)
        self.retry, self.wait, self.billed = retry, wait, billed


class ReplyError(ValueError):
    """What the model wrote is not what was asked for."""


class StoppedError(Exception):
    """What every further request would meet too."""


_BACKOFF = tenacity.wait_exponential(0.5, max=30.0) + tenacity.wait_random_exponential(0.5, max=30.0)


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds before the next attempt: 1, 2, 4, … 60, or what the server asked for where that is longer.

    Up to half of a pause is left out at random so that concurrent jobs do not return together.
    """
    error = state.outcome.exception() if state.outcome is not None else None
    return max(_BACKOFF(state), min(getattr(error, "wait", 0.0), LONGEST_WAIT_S))


RETRYING = tenacity.Retrying(
    stop=tenacity.stop_after_attempt(6),
    wait=_pause,
    retry=tenacity.retry_if_exception(lambda error: isinstance(error, AttemptError) and error.retry),
    reraise=True,
)
_ADDRESS = TypeAdapter(HttpUrl)


@dataclass(frozen=True)
class Endpoint:
    """Where a model is and how it is asked.

    base_url: up to and without `/chat/completions`. timeout_s: for one request as a whole. max_tokens: of a reply.
    """

    base_url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 120.0
    max_tokens: int = 2048

    def __post_init__(self) -> None:
        shown = self.base_url.rpartition("@")[2]  # without credentials
        try:
            url = _ADDRESS.validate_python(self.base_url)
        except ValidationError:
            url = None
        if url is None or any(part is not None for part in (url.username, url.password, url.query, url.fragment)):
            raise ValueError(
                "the endpoint's address must be like https://host/v1, without credentials (the key has an environment "
                f"variable), got {shown!r}"
            )
        key = self.api_key
        if key is not None and not (key.isascii() and key.isprintable() and key.strip() == key != ""):
            # The value stays out of the message; an HTTP library would print the header it refuses.
            raise ValueError("the endpoint's API key is empty or has blanks or characters that a header cannot carry")
        if key is not None and url.scheme == "http" and str(url.host).strip("[]") not in LOOPBACK:
            raise ValueError(f"an API key would go unencrypted to {shown!r}; use https, or unset the key")
        if not (math.isfinite(self.timeout_s) and self.timeout_s > 0 and self.max_tokens > 0):
            raise ValueError(f"timeout_s and max_tokens must be positive, got {self.timeout_s}, {self.max_tokens}")

    def payload(self, messages: list[dict[str, str]], *, temperature: float, seed: int) -> dict[str, Any]:
        """The body of a request."""
        return {
            "model": self.model,
            "messages": messages,
            "temperature": temperature,
            "max_tokens": self.max_tokens,
            "seed": seed % SEEDS,
        }

    def redact(self, text: str) -> str:
        """`text` without the API key, which a server may echo."""
        return text.replace(self.api_key, "[key]") if self.api_key else text


def _none_if_invalid(value: Any, validate: Callable[[Any], Any]) -> Any:
    try:
        return validate(value)
    except ValidationError:
        return None


_OPTIONAL = WrapValidator(_none_if_invalid)
_MESSAGE = ("choices", 0, "message")


class Reply(BaseModel, strict=True, frozen=True):
    """What the model wrote, and its tokens where the server says.

    A train of thought that the server parts from the content is no part of the original protocol: DeepSeek and older
    vLLM call it `reasoning_content`, vLLM `reasoning`.
    """

    content: str = Field(validation_alias=AliasPath(*_MESSAGE, "content"))
    reasoning_content: Annotated[str | None, _OPTIONAL] = Field(
        None, validation_alias=AliasPath(*_MESSAGE, "reasoning_content")
    )
    reasoning: Annotated[str | None, _OPTIONAL] = Field(None, validation_alias=AliasPath(*_MESSAGE, "reasoning"))
    usage: Annotated[Usage | None, _OPTIONAL] = None


class _Refusal(BaseModel):
    message: str = Field(validation_alias=AliasChoices(AliasPath("error", "message"), "message", "detail"))


class ChatClient:
    """Asks one endpoint, from as many threads as there are; at most `concurrency` requests are under way at once."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        prices: Prices | None = None,
        spent: Usage = NO_USAGE,
        concurrency: int = 8,
        retrying: tenacity.Retrying = RETRYING,
    ) -> None:
        """Nothing is sent yet. spent: tokens of earlier runs that count towards the budget of `prices`."""
        if concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, got {concurrency}")
        self.endpoint, self.concurrency, self._retrying = endpoint, concurrency, retrying
        self.stopped: str | None = None
        """Why no more requests are made."""
        self._ledger = Ledger(prices or Prices(), spent)
        self._slots = threading.BoundedSemaphore(concurrency)
        self._lock = threading.Lock()
        self._failures_in_a_row = 0
        self._tls = ssl.create_default_context()  # the system's certificates

    def ask(self, payload: Mapping[str, Any], read: Callable[[Reply], T]) -> T:
        """What `read` makes of the reply to a payload of the endpoint.

        A reply for which it raises ReplyError is asked for again with the next seed: at temperature 0 it would come
        again with the same one. Raises AttemptError where this request failed, retries included, and StoppedError
        where every further one would; neither shows the API key.
        """
        payload = dict(payload)

        def attempt() -> T:
            if self.stopped is not None:
                raise StoppedError(self.stopped)
            with self._slots:
                reply = self._send(payload)
            try:
                return read(reply)
            except ReplyError as error:
                payload["seed"] = (payload["seed"] + 1) % SEEDS
                raise AttemptError(f"an unreadable reply: {self._line(str(error))}") from None

        try:
            result = self._retrying(attempt)
        except (BudgetError, StoppedError) as error:
            raise self._stop(str(error)) from None
        except AttemptError as error:
            trouble = self.endpoint.redact(f"{error} (attempt {self._retrying.statistics['attempt_number']})")
            with self._lock:
                self._failures_in_a_row += 1
                give_up = self._failures_in_a_row >= GIVE_UP_AFTER
            if give_up:
                raise self._stop(f"{GIVE_UP_AFTER} requests in a row failed, the last with: {trouble}") from None
            raise AttemptError(trouble) from None
        with self._lock:
            self._failures_in_a_row = 0
        return result

    def _stop(self, why: str) -> StoppedError:
        with self._lock:
            self.stopped = self.stopped or self.endpoint.redact(why)
            return StoppedError(self.stopped)

    def _send(self, payload: Mapping[str, Any]) -> Reply:
        """One attempt, for which the ledger reserves what it may cost at most, and is told what it did cost."""
        # A token stands for a byte at least, so the prompt's bytes bound its tokens; the chat format adds a few.
        size = sum(len(message["content"].encode("utf-8", "replace")) for message in payload["messages"])
        most = Usage(size + _CHAT_FORMAT_TOKENS, payload["max_tokens"])
        self._ledger.reserve(most)
        used: Usage | None = NO_USAGE
        try:
            # An event loop for a single request: only asyncio bounds its time as a whole, headers included.
            status, headers, body = asyncio.run(self._post(json.dumps(payload)))
            if status != 200:
                raise self._refused(status, headers, body)
            reply = _parse(body)
            used = reply.usage
        except AttemptError as error:
            used = None if error.billed else NO_USAGE
            raise
        finally:
            self._ledger.settle(most, used)
        return reply

    async def _post(self, content: str) -> tuple[int, httpx.Headers, bytes]:
        """Status, headers and body of a response. Raises AttemptError."""
        # As the check has read it: two readings of an odd address may disagree about its host.
        url = f"{str(_ADDRESS.validate_python(self.endpoint.base_url)).rstrip('/')}/chat/completions"
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self.endpoint.api_key is not None:
            headers["Authorization"] = f"Bearer {self.endpoint.api_key}"
        limit, body = self.endpoint.timeout_s, bytearray()
        # No proxy or .netrc of the environment, and no redirect, which would carry the key elsewhere.
        client = httpx.AsyncClient(
            verify=self._tls,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(None, connect=min(CONNECT_LIMIT_S, limit)),
        )
        try:
            async with (
                asyncio.timeout(limit),
                client,
                client.stream("POST", url, content=content, headers=headers) as response,
            ):
                async for chunk in response.aiter_raw():  # never decompressed: that was not asked for
                    body += chunk
                    if len(body) > MAX_REPLY_BYTES:
                        raise AttemptError(f"a reply of more than {MAX_REPLY_BYTES} bytes")
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise AttemptError(f"no connection: {type(error).__name__}", billed=False) from None
        except TimeoutError:
            raise AttemptError(f"the reply took longer than {limit:g} s") from None
        except (httpx.HTTPError, OSError) as error:
            # Written, maybe worked on, but not answered in full.
            raise AttemptError(f"the connection broke: {type(error).__name__}") from None
        return response.status_code, response.headers, bytes(body)

    def _refused(self, status: int, headers: httpx.Headers, body: bytes) -> AttemptError | StoppedError:
        try:
            text = _Refusal.model_validate_json(body).message
        except ValidationError:
            text = body.decode("utf-8", "replace")
        message = f"status {status}: {self._line(text)}"
        if status in _FATAL or status < 400:
            return StoppedError(message)
        wait = seconds_to_wait(headers.get("Retry-After", "0"))
        return AttemptError(message, retry=status in _TRANSIENT or status >= 500, wait=wait, billed=False)

    def _line(self, text: str) -> str:
        """A text of the server's making, fit to be shown."""
        return "".join(char if char.isprintable() else " " for char in self.endpoint.redact(text))[:200]

    def report(self) -> dict[str, Any]:
        """Calls of this client; tokens and cost, those of earlier runs included."""
        return self._ledger.report()


def _parse(body: bytes) -> Reply:
    try:
        return Reply.model_validate_json(body)
    except ValidationError as error:
        raise AttemptError(f"no chat completion: {first_problem(error)}") from None


def first_problem(error: ValidationError) -> str:
    """Where a reply first differs from what was asked for, and how; without its values."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the reply'}: {first['msg']}"


def seconds_to_wait(retry_after: str) -> float:
    """Seconds of a Retry-After header, a number or a date; 0 for one that cannot be read."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0
