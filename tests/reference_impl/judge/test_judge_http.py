"""The language-model judge against a real local server that misbehaves."""

import gzip
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from reference_impl.judge.cache import VerdictCache
from reference_impl.judge.client import GIVE_UP_AFTER, LONGEST_WAIT_S, MAX_REPLY_BYTES, Endpoint, seconds_to_wait
from reference_impl.judge.http_judge import HttpJudge
from reference_impl.judge.rubric import JUDGE_FAILED
from tests.support.judge_server import (
    Bench,
    Handler,
    Script,
    after,
    answer_of,
    broken,
    code_of,
    good,
    serve,
    verdicts,
)


def test_a_verdict(tmp_path: Path) -> None:
    with serve(good) as server:
        judgement = Bench(server, tmp_path).ask()
    assert judgement.score == 1.0
    assert [(item.satisfied, item.explanation) for item in judgement.items] == [(True, "so it is"), (False, "so it is")]
    (payload,) = server.payloads
    assert server.paths == ["/v1/chat/completions"]
    assert (payload["model"], payload["temperature"], payload["seed"]) == ("judge-1", 0.0, 5)
    assert answer_of(payload) == "CT"
    assert "Authorization" not in server.headers[0]


def test_rating(tmp_path: Path) -> None:
    def rate(handler: Handler, number: int, payload: Any) -> None:
        handler.complete(json.dumps({"code": code_of(payload), "explanation": "fine", "rating": 7}))

    with serve(rate) as server:
        judgement = Bench(server, tmp_path, aggregation="implicit").ask()
    assert judgement.score == pytest.approx(2 / 3)  # (7 - 1) / 9
    assert judgement.detail == "fine"


def content(text: Any) -> Script:
    """A server whose model writes this."""
    return lambda handler, number, payload: handler.complete(text)


def body(data: bytes, **headers: str) -> Script:
    """A server that sends these bytes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, number, payload: handler.answer(200, data, named)


def cut_short(handler: Handler, number: int, payload: Any) -> None:
    """Announces more than it sends."""
    handler.answer(200, b'{"choices": [{"mess', {"Content-Length": "5000"})
    handler.close_connection = True


def endless(handler: Handler, number: int, payload: Any) -> None:
    """Sends without end and without saying how much."""
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    try:
        while not handler.server.released.is_set():
            handler.wfile.write(b" " * 65536)
    except OSError:
        pass


def raw(data: bytes) -> Script:
    """A server that sends these bytes instead of a response."""

    def send(handler: Handler, number: int, payload: Any) -> None:
        handler.wfile.write(data)
        handler.close_connection = True

    return send


MISBEHAVIOUR: dict[str, Script] = {
    "429": broken(429, Retry_After="0"),
    "503": broken(503),
    "408": broken(408),
    "garbage": content("Full marks!"),
    "no text": content(None),
    "partial verdict": lambda handler, number, payload: handler.complete(verdicts(payload, True, False)[:-20]),
    "not JSON": body(b"<html>busy</html>"),
    "no choices": body(b'{"choices": []}'),
    "a list": body(b"[1]"),
    "not UTF-8": body(b"\xff\xfe"),
    "deep": body(b"[" * 200_000),
    "cut short": cut_short,
    "not HTTP": raw(b"\x00\xff\r\n\r\n"),
    "broken chunks": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx\r\n"),
    "thousand headers": raw(b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 1000 + b"\r\n"),
    "huge": body(b" " * (MAX_REPLY_BYTES + 1)),
    "endless": endless,
    "compressed": body(gzip.compress(b"x" * 1000), Content_Encoding="gzip"),
    "reset": lambda handler, number, payload: handler.reset(),
}
UNREADABLE = ("garbage", "partial verdict")


@pytest.mark.parametrize("name", MISBEHAVIOUR)
def test_trouble_that_stays_and_trouble_that_passes(tmp_path: Path, name: str) -> None:
    with serve(MISBEHAVIOUR[name]) as server:
        bench = Bench(server, tmp_path, attempts=3)
        judgement = bench.ask()
        assert (judgement.score, judgement.reason, judgement.items) == (None, JUDGE_FAILED, ())
        assert judgement.detail.endswith("(attempt 3)") and "\n" not in judgement.detail
        assert bench.judge.stopped is None
        assert bench.judge.report()["failures"] == 1
        # A failure is not remembered: a server that recovers is asked again.
        server.script = after(5, MISBEHAVIOUR[name])
        assert bench.ask().score == 1.0
    if name in ("huge", "endless"):
        assert judgement.detail == f"a reply of more than {MAX_REPLY_BYTES} bytes (attempt 3)"
    # A random half of 1 and 2 seconds may be left out.
    assert all(most / 2 <= pause <= most for pause, most in zip(bench.pauses, [1, 2, 1, 2], strict=True))
    # An unreadable verdict would come again at temperature 0 with the same seed; the same request may do otherwise.
    again = [5, 6, 7] if name in UNREADABLE else [5, 5, 5]
    assert [payload["seed"] for payload in server.payloads] == again * 2


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("soon", 0.0),
        ("inf", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_retry_after(header: str, seconds: float) -> None:
    assert seconds_to_wait(header) == seconds


def test_pauses_grow_to_a_limit_and_honour_retry_after(tmp_path: Path) -> None:
    def busy(handler: Handler, number: int, payload: Any) -> None:
        date = "Fri, 01 Jan 2100 00:00:00 GMT"
        broken(429, Retry_After={0: "17", 1: date, 2: "1"}.get(number, "0"))(handler, number, payload)

    with serve(busy) as server:
        bench = Bench(server, tmp_path, attempts=9)
        assert bench.ask().detail == "status 429: no luck (attempt 9)"
    assert bench.pauses[:2] == [17.0, LONGEST_WAIT_S]
    assert all(most / 2 <= pause <= most for pause, most in zip(bench.pauses[2:], [4, 8, 16, 32, 60, 60], strict=True))


@pytest.mark.parametrize(
    "start", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"]
)
def test_a_request_as_a_whole_is_limited(tmp_path: Path, start: bytes) -> None:
    """Nothing, a header or a body without end: each byte arrives in time for the socket, the whole does not."""

    def drip(handler: Handler, number: int, payload: Any) -> None:
        handler.wfile.write(start)
        while not handler.server.released.wait(0.01) and start:
            handler.wfile.write(b" ")

    with serve(after(1, drip)) as server:
        bench = Bench(server, tmp_path, timeout_s=0.5)
        assert bench.ask().score == 1.0
        server.script = drip
        bench = Bench(server, tmp_path, timeout_s=0.5, attempts=1)
        assert bench.ask("another").detail == "the reply took longer than 0.5 s (attempt 1)"
    assert bench.judge.report()["estimated_calls"] == 1  # it may have been paid for


def test_no_server(tmp_path: Path) -> None:
    with serve(good) as server:
        bench = Bench(server, tmp_path, attempts=2)
    judgement = bench.ask()
    assert judgement.reason == JUDGE_FAILED
    assert "no connection" in judgement.detail
    assert len(bench.pauses) == 1
    assert bench.judge.report()["estimated_calls"] == 0


def test_a_proxy_of_the_environment_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serve(good) as server:
        assert Bench(server, tmp_path, attempts=1).ask().score == 1.0


@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_hopeless_answers_stop_the_judge(tmp_path: Path, status: int) -> None:
    with serve(broken(status, Location="http://127.0.0.1:9/v1")) as server:
        bench = Bench(server, tmp_path)
        first, second = bench.ask("a"), bench.ask("b")
        assert len(server.payloads) == 1
    assert first.reason == second.reason == JUDGE_FAILED
    assert bench.judge.stopped == first.detail == second.detail == f"the judge stopped: status {status}: no luck"
    assert bench.pauses == []


def test_a_refused_request_is_not_repeated(tmp_path: Path) -> None:
    with serve(after(1, broken(400))) as server:
        bench = Bench(server, tmp_path)
        assert bench.ask("too long").detail == "status 400: no luck (attempt 1)"
        assert bench.ask("short").score == 1.0


def test_a_judge_that_is_out_of_order_is_given_up(tmp_path: Path) -> None:
    with serve(broken(500)) as server:
        bench = Bench(server, tmp_path, attempts=1)
        details = [bench.ask(f"answer {n}").detail for n in range(GIVE_UP_AFTER + 5)]
        assert len(server.payloads) == GIVE_UP_AFTER
    assert "requests in a row failed" in details[-1]


def test_concurrency_limit(tmp_path: Path) -> None:
    lock, count, most = threading.Lock(), 0, 0
    full = threading.Event()

    def busy(handler: Handler, number: int, payload: Any) -> None:
        nonlocal count, most
        with lock:
            count += 1
            most = max(most, count)
            if count == 3:
                full.set()
        full.wait(10)  # until as many are under way as may be
        handler.server.released.wait(0.01)
        with lock:
            count -= 1
        good(handler, number, payload)

    with serve(busy) as server:
        bench = Bench(server, tmp_path, concurrency=3)
        assert bench.judge.concurrency == 3
        with ThreadPoolExecutor(12) as pool:
            scores = [judgement.score for judgement in pool.map(bench.ask, [f"CT {n}" for n in range(24)])]
    assert scores == [1.0] * 24
    assert most == 3


def test_judge_errors(tmp_path: Path) -> None:
    cache = VerdictCache(tmp_path / "verdicts.sqlite")
    endpoint = Endpoint("http://localhost/v1", "m")
    with pytest.raises(ValueError, match=r"'implict'; did you mean 'implicit'\? \(a judge over HTTP has: exp"):
        HttpJudge(endpoint, cache=cache, aggregation="implict")
    with pytest.raises(ValueError, match="concurrency must be at least 1, got 0"):
        HttpJudge(endpoint, cache=cache, concurrency=0)
