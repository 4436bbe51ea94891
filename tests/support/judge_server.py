"""A real HTTP server on 127.0.0.1 that answers like a chat-completions server, or misbehaves as a test tells it."""

import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import tenacity

from reference_impl.judge.cache import VerdictCache
from reference_impl.judge.client import RETRYING, Endpoint
from reference_impl.judge.http_judge import HttpJudge
from reference_impl.judge.rubric import Judgement, RubricItem


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the server's script."""

    protocol_version = "HTTP/1.1"
    server: "JudgeServer"

    def do_POST(self) -> None:
        """One chat completion."""
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = len(self.server.payloads)
            self.server.payloads.append(payload)
            self.server.headers.append(dict(self.headers))
            self.server.paths.append(self.path)
        self.server.script(self, number, payload)

    def answer(
        self, status: int, body: bytes, headers: Mapping[str, str] | None = None, reason: str | None = None
    ) -> None:
        """A complete response."""
        self.send_response(status, reason)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def complete(self, content: Any, usage: Any = None) -> None:
        """A chat completion with this content."""
        document = {"choices": [{"message": {"role": "assistant", "content": content}}]}
        if usage is not None:
            document["usage"] = usage
        self.answer(200, json.dumps(document).encode())

    def reset(self) -> None:
        """Close the connection so that the client sees a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


Script = Callable[[Handler, int, Any], None]


class JudgeServer(ThreadingHTTPServer):
    """Records requests; `script(handler, number, payload)` answers them."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = script
        self.lock = threading.Lock()
        self.payloads: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.released = threading.Event()
        """Set at the end: what a script that never answers waits for."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are what these tests are about."""

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def serve(script: Script) -> Iterator[JudgeServer]:
    """A server for the length of a with block."""
    server = JudgeServer(script)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def code_of(payload: Any) -> str:
    """The code that a request asks for."""
    found = re.search(
        r'"code": "([0-9a-f]{16})"', payload["messages"][-1]["content"].rpartition("Your instructions")[2]
    )
    assert found is not None
    return found[1]


def answer_of(payload: Any) -> str:
    """The quoted response of a request."""
    code, text = code_of(payload), payload["messages"][-1]["content"]
    return str(text.partition(f"\n<answer-{code}>\n")[2].partition(f"\n</answer-{code}>\n")[0])


def verdicts(payload: Any, *satisfied: bool, **changes: Any) -> str:
    """A valid reply."""
    entries = [{"item": n, "explanation": "so it is", "satisfied": holds} for n, holds in enumerate(satisfied, 1)]
    return json.dumps({"code": code_of(payload), "verdicts": entries, **changes})


RUBRIC = (RubricItem("Names CT", 3), RubricItem("Recommends an X-ray", -1))
USAGE = {"prompt_tokens": 100, "completion_tokens": 10}


def retrying(pauses: list[float], attempts: int = 6) -> tenacity.Retrying:
    """Retries that record their pauses instead of making them."""
    return RETRYING.copy(sleep=pauses.append, stop=tenacity.stop_after_attempt(attempts))


class Bench:
    """A judge at a server, with a record of its pauses."""

    def __init__(self, server: JudgeServer, folder: Path, **options: Any) -> None:
        self.pauses: list[float] = []
        self.cache = VerdictCache(folder / "verdicts.sqlite")
        key, timeout_s = options.pop("api_key", None), options.pop("timeout_s", 30.0)
        retries = retrying(self.pauses, options.pop("attempts", 6))
        endpoint = Endpoint(server.url, "judge-1", key, timeout_s=timeout_s)
        self.judge = HttpJudge(endpoint, cache=self.cache, retrying=retries, **options)

    def ask(self, response: str = "CT", rubric: Sequence[RubricItem] = RUBRIC) -> Judgement:
        """One judgement."""
        return self.judge.score("Which scan?", response, tuple(rubric), seed=5)


def good(handler: Handler, number: int, payload: Any) -> None:
    """A server that behaves."""
    handler.complete(verdicts(payload, True, False), USAGE)


def after(failures: int, misbehave: Script) -> Script:
    """Misbehaves a few times, then answers."""
    return lambda handler, number, payload: (misbehave if number < failures else good)(handler, number, payload)


def broken(status: int, **headers: str) -> Script:
    """A server that answers with an error."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, number, payload: handler.answer(status, b'{"error": {"message": "no\\nluck"}}', named)
