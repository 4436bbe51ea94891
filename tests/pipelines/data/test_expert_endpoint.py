"""The expert behind an endpoint: stored answers, rejection, retries, budget, resumption, against a real HTTP server."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from pipelines.data.expert_endpoint import Answers, Expert, demonstrate
from reference_impl.files import read_jsonl, write_jsonl
from reference_impl.judge import client
from reference_impl.judge.client import Endpoint, StoppedError
from reference_impl.judge.cost import Prices
from tests.support.judge_server import Handler, JudgeServer, broken, retrying, serve

ROWS: list[dict[str, Any]] = [
    {"id": f"q-{n}", "prompt": "tool-n1", "question": f"Question {n}?", "functions": [], "gold": [], "meta": {}}
    for n in range(6)
]
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100}


def right(row: Any, response: str) -> bool:
    return response == f"right {row['id']}"


def number_of(payload: Any) -> str:
    return str(payload["messages"][-1]["content"].removeprefix("Question ").removesuffix("?"))


def correct(handler: Handler, number: int, payload: Any) -> None:
    handler.complete(f"right q-{number_of(payload)}", USAGE)


class Bench:
    """An expert at a server, with the pauses that it made."""

    def __init__(self, server: JudgeServer, folder: Path, **options: Any) -> None:
        self.pauses: list[float] = []
        self.answers = Answers(folder / "R1.jsonl", "r1")
        key, max_tokens = options.pop("api_key", None), options.pop("max_tokens", 50)
        endpoint = Endpoint(server.url, "r1", key, timeout_s=20.0, max_tokens=max_tokens)
        self.expert = Expert(endpoint, self.answers, retrying=retrying(self.pauses), **options)

    def demonstrate(self, wanted: int, rows: Any = ROWS, tries: int = 2) -> list[dict[str, Any]]:
        return demonstrate(rows, wanted, right, self.answers, self.expert, tries)


def test_accepted_answers_in_the_order_of_the_questions(tmp_path: Path) -> None:
    def wrong_for_odd(handler: Handler, number: int, payload: Any) -> None:
        odd = int(number_of(payload)) % 2
        handler.complete("wrong" if odd else f"right q-{number_of(payload)}", USAGE)

    with serve(wrong_for_odd) as server:
        bench = Bench(server, tmp_path, concurrency=3)
        found = bench.demonstrate(3)
    assert [row["id"] for row in found] == ["q-0", "q-2", "q-4"]
    assert found[0] == ROWS[0] | {"response": "right q-0", "meta": {"expert_sample": 0}}
    # A wrong answer is asked for again with another seed (`tries`), then the question is passed over.
    asked = [number_of(payload) for payload in server.payloads]
    assert sorted(asked) == ["0", "1", "1", "2", "3", "3", "4"] and "5" not in asked
    seeds = {payload["seed"] for payload in server.payloads}
    assert len(seeds) == len(server.payloads) and all(0 <= seed < 2**31 for seed in seeds)
    assert {payload["temperature"] for payload in server.payloads} == {0.6}
    assert server.payloads[0]["messages"][0]["content"].startswith("# Tool")
    assert len(read_jsonl(tmp_path / "R1.jsonl")) == 7 and bench.expert.client.report()["calls"] == 7


def test_too_few_accepted(tmp_path: Path) -> None:
    message = r"5 demonstrations are needed; of 6 questions 0 have .* within 2 tries$"
    with serve(lambda h, n, p: h.complete("wrong")) as server, pytest.raises(ValueError, match=message):
        Bench(server, tmp_path).demonstrate(5)
    assert len(server.payloads) == 12


def test_stored_answers_are_not_asked_for_again(tmp_path: Path) -> None:
    with serve(correct) as server:
        first = Bench(server, tmp_path).demonstrate(4)
        assert len(server.payloads) == 4
        # A run that was killed while it wrote: the torn line is dropped, its question asked again.
        path = tmp_path / "R1.jsonl"
        path.write_bytes(path.read_bytes()[:-20])
        kept = Answers(path, "r1")
        assert sum(len(kept.of(str(row["id"]))) for row in ROWS) == 3
        again = Bench(server, tmp_path).demonstrate(4)
        assert again == first and len(server.payloads) == 5
        assert len(read_jsonl(path)) == 4
        with pytest.raises(ValueError, match="an answer of 'r1', but 'other' is asked"):
            Answers(path, "other")


def test_every_answer_is_on_disk_before_the_next_one(tmp_path: Path) -> None:
    seen: list[int] = []

    def count(handler: Handler, number: int, payload: Any) -> None:
        seen.append(len(read_jsonl(tmp_path / "R1.jsonl")) if number else 0)
        correct(handler, number, payload)

    with serve(count) as server:
        Bench(server, tmp_path, concurrency=1).demonstrate(4)
    assert seen == [0, 1, 2, 3]


def test_answers_generated_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "R1.jsonl"
    write_jsonl(path, [{"id": "q-1", "response": "no"}, {"id": "q-1", "response": "right q-1"}])
    (found,) = demonstrate(ROWS[:2], 1, right, Answers(path, None), None, 4)
    assert found["meta"] == {"expert_sample": 1}
    with pytest.raises(
        ValueError,
        match=r"2 demonstrations are needed; of 2 questions 1 .* and 1 have no answer there, the first of them q-0; no",
    ):
        demonstrate(ROWS[:2], 2, right, Answers(path, None), None, 4)
    write_jsonl(path, [{"id": "q-1", "text": "?"}])
    with pytest.raises(ValueError, match=r"R1\.jsonl, row 1: no answer of an expert \(response: Field required\)"):
        Answers(path, None)
    path.write_text('{"id": "q-1", "response": "right q-1"}', encoding="utf-8")  # whole, but for its line's end
    assert Answers(path, None).of("q-1") == {0: "right q-1"}


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_that_the_server_parts_from_the_content(tmp_path: Path, key: str) -> None:
    def apart(handler: Handler, number: int, payload: Any) -> None:
        content = "<tool_call>[]</tool_call>" if number else "<think>in short</think><tool_call>[]</tool_call>"
        message = {"role": "assistant", "content": content, key: " So be it.\n"}
        handler.answer(200, json.dumps({"choices": [{"message": message}]}).encode())

    with serve(apart) as server:
        bench = Bench(server, tmp_path)
        texts = {bench.expert.ask(ROWS[0], sample) for sample in range(2)}
    assert texts == {"<think>\nSo be it.\n</think>\n\n<tool_call>[]</tool_call>"}


def test_a_retry_is_the_same_request(tmp_path: Path) -> None:
    def busy_once(handler: Handler, number: int, payload: Any) -> None:
        (correct if number else broken(503))(handler, number, payload)

    with serve(busy_once) as server:
        bench = Bench(server, tmp_path)
        assert len(bench.demonstrate(1)) == 1
    assert len(bench.pauses) == 1 and server.payloads[0] == server.payloads[1]


def test_a_question_that_fails_is_passed_over_and_not_stored(tmp_path: Path) -> None:
    def refuse_first(handler: Handler, number: int, payload: Any) -> None:
        (broken(400) if number_of(payload) == "0" else correct)(handler, number, payload)

    with serve(refuse_first) as server:
        found = Bench(server, tmp_path, concurrency=1).demonstrate(2)
    assert [row["id"] for row in found] == ["q-1", "q-2"]
    assert {row["id"] for row in read_jsonl(tmp_path / "R1.jsonl")} == {"q-1", "q-2"}


def test_hopeless_answers_and_many_failures_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(broken(401)) as server:
        with pytest.raises(ValueError, match=r"the expert stopped: status 401.*run again to continue"):
            Bench(server, tmp_path, concurrency=2).demonstrate(6)
        assert len(server.payloads) <= 2
    monkeypatch.setattr(client, "GIVE_UP_AFTER", 3)
    with serve(broken(400)) as server:
        with pytest.raises(ValueError, match="3 requests in a row failed, the last with: status 400"):
            Bench(server, tmp_path, concurrency=1).demonstrate(6)
        assert len(server.payloads) == 3


def test_the_budget_holds_over_runs_and_threads(tmp_path: Path) -> None:
    """1,000 tokens in and 100 out at 1 and 10 a million: 0.002 an answer; a call reserves up to 0.0125 and more."""
    prices = Prices(1.0, 10.0, 0.02)
    with serve(correct) as server:
        with pytest.raises(ValueError, match=r"0\.0\d+ of the budget of 0\.02 are spent"):
            # The prompt's 1,400 bytes and 1,000 tokens out may cost 0.0114: room for few at a time.
            Bench(server, tmp_path, concurrency=4, max_tokens=1000, prices=prices).demonstrate(6)
        stored = len(read_jsonl(tmp_path / "R1.jsonl"))
        assert 1 <= stored < 6 and stored * 0.002 <= 0.02
        # What is spent counts in the next run too; with a larger budget it resumes with the questions left.
        with pytest.raises(ValueError, match=f"{stored * 0.002:.6g} of the budget of 0.02 are spent"):
            Bench(server, tmp_path, max_tokens=1000, prices=prices).demonstrate(6)
        with pytest.raises(ValueError, match=rf"{stored * 0.002:.6g} of the budget of 0\.001 are spent"):
            Bench(server, tmp_path, prices=Prices(1.0, 10.0, 0.001)).demonstrate(6)
        assert len(server.payloads) == stored
        bench = Bench(server, tmp_path, max_tokens=1000, prices=Prices(1.0, 10.0, 1.0))
        assert len(bench.demonstrate(6)) == 6 and len(server.payloads) == 6
        assert bench.expert.client.report()["cost"] == pytest.approx(6 * 0.002)


def test_the_key_is_never_stored(tmp_path: Path) -> None:
    with serve(lambda handler, number, payload: handler.complete("echo sk-secret")) as server:
        bench = Bench(server, tmp_path, api_key="sk-secret")
        assert bench.expert.ask(ROWS[0], 0) == "echo [key]"
        assert server.headers[0]["Authorization"] == "Bearer sk-secret"
        assert "sk-secret" not in (tmp_path / "R1.jsonl").read_text()
        server.script = lambda h, n, p: h.answer(403, b"sk-secret is no key")
        with pytest.raises(StoppedError, match=r"status 403: \[key\] is no key"):
            bench.expert.ask(ROWS[0], 1)


def test_requests_run_side_by_side_up_to_the_limit(tmp_path: Path) -> None:
    together = threading.Barrier(3, timeout=20)

    def wait_for_the_others(handler: Handler, number: int, payload: Any) -> None:
        together.wait()
        correct(handler, number, payload)

    with serve(wait_for_the_others) as server:
        assert len(Bench(server, tmp_path, concurrency=3).demonstrate(6)) == 6
    assert json.dumps(server.payloads).count("Question") == 6
