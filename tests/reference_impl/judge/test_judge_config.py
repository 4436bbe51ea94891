"""Judges from a mapping: what may be set, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from reference_impl.judge.build import KEY_VARIABLE, PAPER_MODEL, build_judge
from reference_impl.judge.rubric import LocalJudge

HTTP = {"kind": "http", "url": "http://localhost:1/v1"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches go to a folder of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def test_local() -> None:
    assert build_judge({"kind": "local"}) == LocalJudge(0.0)
    assert build_judge({"kind": "local", "noise": 0.05}) == LocalJudge(0.05)


def test_http() -> None:
    judge = build_judge(HTTP)
    assert (judge.name.split(", ")[:2], judge.concurrency) == ([PAPER_MODEL, "explicit"], 8)
    assert Path("judge-verdicts.sqlite").is_file()
    settings = {"model": "m", "concurrency": 3, "cache": "c.sqlite", "timeout_s": 5, "prices": [1, 2.5], "budget": 0}
    judge = build_judge(HTTP | settings, aggregation="implicit")
    assert (judge.name.split(", ")[:2], judge.concurrency) == (["m", "implicit"], 3)
    assert Path("c.sqlite").is_file()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "unknown kind None; allowed: local, http"),
        ({"kind": "loca"}, "unknown kind 'loca'; allowed: local, http"),
        ({"kind": "local", "nois": 0.1}, "unknown setting 'nois'; did you mean 'noise'"),
        ({"kind": "local", "url": "http://x"}, r"unknown setting 'url' \(a judge of kind local has: noise\)"),
        ({"kind": "local", "noise": "0.1"}, "noise must be a number, got '0.1'"),
        ({"kind": "local", "noise": True}, "noise must be a number, got True"),
        ({"kind": "local", "noise": 1.5}, r"probability in \[0, 1\], got 1.5"),
        ({"kind": "http"}, "needs a url"),
        (HTTP | {"url": "localhost"}, "must be like https://host/v1"),
        (HTTP | {"api_key": "sk"}, "unknown setting 'api_key'"),
        (HTTP | {"model": ""}, "model must be text, got ''"),
        (HTTP | {"concurrency": 2.0}, "concurrency must be a whole number, got 2.0"),
        (HTTP | {"concurrency": 0}, "concurrency must be at least 1"),
        (HTTP | {"timeout_s": 0}, "timeout_s and max_tokens must be positive"),
        (HTTP | {"timeout_s": float("nan")}, "timeout_s must be a number, got nan"),
        (HTTP | {"prices": [1]}, "prices must be two numbers"),
        (HTTP | {"budget": 1}, "a budget of 1 needs the prices"),
    ],
)
def test_errors(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_judge(settings)


def test_one_rating_needs_a_model() -> None:
    with pytest.raises(ValueError, match="one rating needs kind http"):
        build_judge({"kind": "local"}, aggregation="implicit")
    with pytest.raises(ValueError, match="unknown aggregation 'mean'"):
        build_judge(HTTP, aggregation="mean")


def test_the_key_comes_from_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, " ")
    with pytest.raises(ValueError, match="API key is empty"):
        build_judge(HTTP)
    monkeypatch.setenv(KEY_VARIABLE, "sk-1")
    with pytest.raises(ValueError, match="would go unencrypted") as error:
        build_judge(HTTP | {"url": "http://example.org/v1"})
    assert "sk-1" not in str(error.value)
