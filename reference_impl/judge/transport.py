"""One request to an OpenAI-compatible chat-completions server: bounded in time and size, failures sorted by kind."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import urllib3

from reference_impl.judge.cost import Ledger, Usage
from reference_impl.judge.prompt import ReplyError, check_schema, strict_json

MAX_REPLY_BYTES = 1 << 20
CONNECT_LIMIT_S = 10.0
_READ_BYTES = 1 << 16
_CHAT_FORMAT_TOKENS = 64
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Timeouts and conflicts that the next attempt may not meet; and what no attempt with these settings can change.
_TRANSIENT = (408, 409, 425, 429)
_HOPELESS = (401, 403, 404, 405)

_COMPLETION = {
    "type": "object",
    "properties": {
        "choices": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "message": {
                        "type": "object",
                        "properties": {"content": {"type": "string"}},
                        "required": ["content"],
                    }
                },
                "required": ["message"],
            },
        },
    },
    "required": ["choices"],
}
_USAGE = {
    "type": "object",
    "properties": {
        "prompt_tokens": {"type": "integer", "minimum": 0},
        "completion_tokens": {"type": "integer", "minimum": 0},
    },
    "required": ["prompt_tokens", "completion_tokens"],
}


class AttemptError(Exception):
    """A request that gave no reply.

    retry: whether another attempt may do better. wait: seconds that the server asked to wait, None if it did not.
    billed: whether the server may have done the work, and charged for it.
    """

    def __init__(self, message: str, *, retry: bool, wait: float | None = None, billed: bool = False) -> None:
        super().__init__(message)
        self.retry, self.wait, self.billed = retry, wait, billed


class HopelessError(Exception):
    """An answer that every further request would get too: wrong credentials, address or model."""


@dataclass(frozen=True)
class Endpoint:
    """Where the judge is and how it is asked.

    base_url: up to and without `/chat/completions`. timeout_s: for one request as a whole. max_tokens: of a reply.
    """

    base_url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 120.0
    max_tokens: int = 2048

    def __post_init__(self) -> None:
        try:
            url = urllib3.util.parse_url(self.base_url)
        except urllib3.exceptions.LocationParseError:
            raise ValueError(f"the judge's address is no URL: {self.base_url!r}") from None
        if url.auth:
            raise ValueError("the judge's address must not contain credentials; the key has an environment variable")
        if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
            raise ValueError(f"the judge's address must be like https://host/v1, got {self.base_url!r}")
        key = self.api_key
        if key is not None and not (key.isascii() and key.isprintable() and key.strip() == key != ""):
            # The value stays out of the message; an HTTP library would print the header it refuses.
            raise ValueError("the judge's API key is empty or has blanks or characters that a header cannot carry")
        if key is not None and url.scheme == "http" and url.host.strip("[]") not in _LOOPBACK:
            raise ValueError(f"an API key would go unencrypted to {self.base_url!r}; use https, or unset the key")
        if not (math.isfinite(self.timeout_s) and self.timeout_s > 0 and self.max_tokens > 0):
            raise ValueError(f"timeout_s and max_tokens must be positive, got {self.timeout_s}, {self.max_tokens}")

    def redact(self, text: str) -> str:
        """`text` without the API key, which a server may echo."""
        return text.replace(self.api_key, "[key]") if self.api_key else text


@dataclass(frozen=True)
class Reply:
    """What the model wrote, and its tokens where the server says.

    reasoning: its train of thought, where the server parts it from the content; "" where it does not.
    """

    content: str
    usage: Usage | None
    reasoning: str = ""


class Transport:
    """Sends requests to one endpoint. Safe in several threads."""

    def __init__(self, endpoint: Endpoint, connections: int, clock: Callable[[], float]) -> None:
        self._endpoint, self._clock = endpoint, clock
        self._url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
        # No retries and no redirects here: both are decided above, and a redirect would carry the key elsewhere.
        self._pool = urllib3.PoolManager(maxsize=connections, retries=False)

    def post(self, payload: Mapping[str, Any]) -> Reply:
        """One attempt. Raises AttemptError or HopelessError."""
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._endpoint.api_key is not None:
            headers["Authorization"] = f"Bearer {self._endpoint.api_key}"
        limit = self._endpoint.timeout_s
        deadline = self._clock() + limit
        try:
            response = self._pool.request(
                "POST",
                self._url,
                body=json.dumps(payload).encode(),
                headers=headers,
                timeout=urllib3.Timeout(connect=min(CONNECT_LIMIT_S, limit), read=limit),
                redirect=False,
                preload_content=False,
            )
            body = _read(response, lambda: self._clock() > deadline)
        except (urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.NewConnectionError) as error:
            raise AttemptError(f"no connection: {_name(error)}", retry=True) from None
        except urllib3.exceptions.HTTPError as error:
            # Written, maybe worked on, but not answered in full.
            raise AttemptError(f"the connection broke: {_name(error)}", retry=True, billed=True) from None
        if response.status != 200:
            _raise_for(response.status, response.headers.get("Retry-After"), self._excerpt(body))
        return _parse(body)

    def _excerpt(self, body: bytes) -> str:
        """The start of an error's text, on one line and without the key."""
        text = body.decode("utf-8", "replace")
        try:
            message = strict_json(text)["error"]["message"]
        except (ReplyError, KeyError, TypeError):
            message = text
        line = "".join(char if char.isprintable() else " " for char in self._endpoint.redact(str(message)))
        return line[:200]


def post_within(ledger: Ledger, transport: Transport, payload: Mapping[str, Any]) -> Reply:
    """One attempt, for which the ledger reserves what it may cost at most, and is told what it did cost.

    payload: with `messages` and `max_tokens`. Raises BudgetError, AttemptError or HopelessError.
    """
    # A token stands for a byte at least, so the prompt's bytes bound its tokens; the chat format adds a few.
    size = sum(len(message["content"].encode("utf-8", "replace")) for message in payload["messages"])
    most = Usage(size + _CHAT_FORMAT_TOKENS, payload["max_tokens"])
    ledger.reserve(most)
    used, billed = None, True
    try:
        reply = transport.post(payload)
        used = reply.usage
    except AttemptError as error:
        billed = error.billed
        raise
    except HopelessError:
        billed = False
        raise
    finally:
        ledger.settle(most, used, billed=billed)
    return reply


def _name(error: Exception) -> str:
    return type(error).__name__


def _read(response: urllib3.BaseHTTPResponse, late: Callable[[], bool]) -> bytes:
    """The body as it comes, so that a slow or an endless one is noticed. Raises AttemptError."""
    body = bytearray()
    try:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise AttemptError("a compressed reply, which was not asked for", retry=True, billed=True)
        while chunk := response.read1(_READ_BYTES, decode_content=False):
            body += chunk
            if len(body) > MAX_REPLY_BYTES:
                raise AttemptError(f"a reply of more than {MAX_REPLY_BYTES} bytes", retry=True, billed=True)
            if late():
                raise AttemptError("the reply took too long", retry=True, billed=True)
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return bytes(body)


def _raise_for(status: int, retry_after: str | None, excerpt: str) -> None:
    message = f"status {status}: {excerpt}"
    if status in _HOPELESS or status < 400:
        raise HopelessError(message)
    raise AttemptError(message, retry=status in _TRANSIENT or status >= 500, wait=seconds_to_wait(retry_after))


def seconds_to_wait(retry_after: str | None) -> float | None:
    """Seconds of a Retry-After header: a number, or a date. None without one that can be read."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _parse(body: bytes) -> Reply:
    try:
        document = strict_json(body)
        check_schema(document, _COMPLETION)
    except ReplyError as error:
        raise AttemptError(f"no chat completion: {error}", retry=True, billed=True) from None
    try:
        check_schema(document.get("usage"), _USAGE)
        usage = Usage(document["usage"]["prompt_tokens"], document["usage"]["completion_tokens"])
    except ReplyError:
        usage = None
    message = document["choices"][0]["message"]
    return Reply(message["content"], usage, _reasoning(message))


def _reasoning(message: Mapping[str, Any]) -> str:
    """`reasoning_content` (DeepSeek, older vLLM) or `reasoning` (vLLM), which are no part of the original protocol."""
    texts = (message.get(key) for key in ("reasoning_content", "reasoning"))
    return next((text for text in texts if isinstance(text, str) and text.strip()), "")
