"""Verdicts that are kept, calls that are counted, budgets that hold."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reference_impl.judge.cache import VerdictCache
from reference_impl.judge.client import Endpoint
from reference_impl.judge.cost import Prices
from reference_impl.judge.http_judge import HttpJudge
from reference_impl.judge.rubric import ItemVerdict, Judgement, RubricItem
from tests.support.judge_server import RUBRIC, Bench, after, broken, good, serve, verdicts


def test_cached_verdicts_make_no_request(tmp_path: Path) -> None:
    with serve(good) as server:
        first = Bench(server, tmp_path).ask()
    again = Bench(server, tmp_path)  # the server is gone
    assert again.ask() == first
    assert again.judge.report()["cache_hits"] == 1
    assert again.judge.report()["calls"] == 0
    assert again.pauses == []


def test_what_a_cached_verdict_depends_on(tmp_path: Path) -> None:
    with serve(good) as server:
        judge = Bench(server, tmp_path).judge
        reweighted = (RubricItem("Names CT", 3.0000001), RUBRIC[1])  # reads the same in the prompt
        for question, response, rubric, seed in (
            ("q", "a", RUBRIC, 0),
            ("r", "a", RUBRIC, 0),
            ("q", "b", RUBRIC, 0),
            ("q", "a", reweighted, 0),
            ("q", "a", RUBRIC, 1),
        ):
            judge.score(question, response, rubric, seed=seed)
            judge.score(question, response, rubric, seed=seed)
        assert len(server.payloads) == 5
        other = HttpJudge(Endpoint(server.url, "judge-2"), cache=VerdictCache(tmp_path / "verdicts.sqlite"))
        other.score("q", "a", RUBRIC, seed=0)
        assert len(server.payloads) == 6


def test_verdicts_of_earlier_versions_are_found(tmp_path: Path) -> None:
    """Key and stored form of a verdict as they have been since prompt version 1: what was paid for stays valid."""
    row = (
        "05c4c99164e24cfdac4226a447f621e2e0acbbc638819498d16bb10d8af4852b",
        '{"score": 0.5, "items": [{"satisfied": true, "explanation": "\\ud800"}, '
        '{"satisfied": false, "explanation": ""}], "reason": "judged", "detail": ""}',
    )
    with serve(good) as server:
        bench = Bench(server, tmp_path)
        with closing(sqlite3.connect(bench.cache.path)) as connection, connection:
            connection.execute("INSERT INTO verdicts VALUES (?, ?)", row)
        stored = Judgement(0.5, (ItemVerdict(True, "\ud800"), ItemVerdict(False)))
        assert bench.ask("CT") == stored and not server.payloads
        bench.cache.put("new", stored)
        with closing(sqlite3.connect(bench.cache.path)) as connection:
            assert connection.execute("SELECT judgement FROM verdicts WHERE key = 'new'").fetchone() == row[1:]


def test_prompt_version_parts_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(good) as server:
        Bench(server, tmp_path).ask()
        monkeypatch.setattr("reference_impl.judge.http_judge.PROMPT_VERSION", 2)
        Bench(server, tmp_path).ask()
        assert len(server.payloads) == 2


def test_the_same_question_at_once_is_asked_once(tmp_path: Path) -> None:
    with serve(good) as server:
        bench = Bench(server, tmp_path)
        with ThreadPoolExecutor(8) as pool:
            judgements = list(pool.map(bench.ask, ["CT"] * 16))
        assert len(server.payloads) == 1
    assert {judgement.score for judgement in judgements} == {1.0}


def test_concurrent_jobs_share_a_cache(tmp_path: Path) -> None:
    judgements = [Judgement(0.25), Judgement(0.75)]
    caches = [VerdictCache(tmp_path / "shared.sqlite") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda n: caches[n % 8].put(f"key{n // 16}", judgements[n % 2]), range(160)))
    for start in range(0, 160, 16):
        assert len({judgement.score for judgement in stored[start : start + 16]}) == 1  # the first one holds for all
    assert all(cache.errors == 0 for cache in caches)


def test_a_broken_cache(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.sqlite"
    path.write_bytes(b"not a database, " * 100)
    with pytest.raises(ValueError, match=r"verdicts\.sqlite: cannot be used as a cache"):
        VerdictCache(path)
    path.unlink()
    with serve(good) as server:
        bench = Bench(server, tmp_path)
        path.write_bytes(b"not a database, " * 100)  # while the job runs
        assert bench.ask().score == 1.0
    assert bench.judge.report()["cache_errors"] == 2  # one read, one write


def test_costs_are_counted(tmp_path: Path) -> None:
    with serve(after(2, broken(500))) as server:
        bench = Bench(server, tmp_path, prices=Prices(prompt=2.0, completion=10.0))
        bench.ask("one")
        bench.ask("two")
        bench.ask("two")
    report = bench.judge.report()
    assert (report["calls"], report["estimated_calls"], report["cache_hits"]) == (4, 0, 1)
    assert (report["prompt_tokens"], report["completion_tokens"]) == (200, 20)
    assert report["cost"] == pytest.approx(200 * 2e-6 + 20 * 10e-6)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [1],
        {"prompt_tokens": -5, "completion_tokens": 1},
        {"prompt_tokens": "1", "completion_tokens": 1},
        {"prompt_tokens": 10**400, "completion_tokens": 1},
    ],
)
def test_unknown_usage_counts_as_the_most_there_can_be(tmp_path: Path, usage: Any) -> None:
    with serve(lambda handler, number, payload: handler.complete(verdicts(payload, True, False), usage)) as server:
        bench = Bench(server, tmp_path)
        assert bench.ask().score == 1.0
    report = bench.judge.report()
    size = sum(len(message["content"].encode()) for message in server.payloads[0]["messages"])
    assert (report["estimated_calls"], report["completion_tokens"]) == (1, 2048)
    assert report["prompt_tokens"] == size + 64


def test_work_lost_on_the_way_is_counted_as_paid(tmp_path: Path) -> None:
    with serve(after(1, lambda handler, number, payload: handler.reset())) as server:
        bench = Bench(server, tmp_path)
        assert bench.ask().score == 1.0
    assert bench.judge.report()["estimated_calls"] == 1


def test_the_budget_stops_before_the_next_call(tmp_path: Path) -> None:
    # One money unit a token. A call may use up to about 1,300 bytes of prompt and 2,048 tokens of reply, and uses
    # 100 + 10: 3,700 leave room until some 300 are spent, that is after a few calls.
    prices = Prices(prompt=1e6, completion=1e6, budget=3700.0)
    with serve(good) as server:
        bench = Bench(server, tmp_path, prices=prices)
        judgements = [bench.ask(f"CT {n}") for n in range(40)]
        asked = len(server.payloads)
    assert 1 <= asked < 40
    assert [judgement.score for judgement in judgements] == [1.0] * asked + [None] * (40 - asked)
    assert bench.judge.report()["cost"] == 110 * asked <= 3700
    assert bench.judge.stopped is not None
    assert "of the budget of 3700 are spent" in bench.judge.stopped
    # What was paid for is kept: with the cache, another run resumes from there.
    with serve(good) as server:
        again = Bench(server, tmp_path)
        assert [again.ask(f"CT {n}").score for n in range(40)] == [1.0] * 40
        assert len(server.payloads) == 40 - asked


def test_the_budget_holds_for_calls_at_once(tmp_path: Path) -> None:
    prices = Prices(prompt=1e6, completion=1e6, budget=6000.0)
    with serve(good) as server:
        bench = Bench(server, tmp_path, prices=prices, concurrency=8)
        with ThreadPoolExecutor(8) as pool:
            judgements = list(pool.map(bench.ask, [f"CT {n}" for n in range(60)]))
    done = sum(judgement.score is not None for judgement in judgements)
    # A call under way blocks the others only until it is settled: spending ends near the budget, never above.
    assert 20 <= done < 60
    assert bench.judge.report()["cost"] == 110 * done <= 6000


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        ({"prompt": -1.0}, "0 or more"),
        ({"budget": -1.0}, "0 or more"),
        ({"prompt": float("nan")}, "0 or more"),
        ({"budget": 5.0}, "a budget of 5 needs the prices"),
    ],
)
def test_price_errors(prices: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Prices(**prices)
