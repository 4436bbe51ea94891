"""Judges from their settings: what may be set, and what is refused."""

import re
from pathlib import Path

import pytest

from reference_impl.config import HttpJudgeSettings
from reference_impl.config.judges import KEY_VARIABLE, PAPER_MODEL, parse_judge
from reference_impl.judge.build import build_judge
from reference_impl.judge.rubric import LocalJudge

URL = "http://localhost:1/v1"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches go to a folder of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def test_local() -> None:
    assert build_judge(parse_judge("{kind: local}", "test")) == LocalJudge(0.0)
    assert build_judge(parse_judge("{kind: local, noise: 0.05}", "test")) == LocalJudge(0.05)


def test_http() -> None:
    judge = build_judge(parse_judge(f"{{kind: http, url: {URL}}}", "test"))
    assert (judge.name.split(", ")[:2], judge.concurrency) == ([PAPER_MODEL, "explicit"], 8)
    assert Path("judge-verdicts.sqlite").is_file()
    settings = "model: m, concurrency: 3, cache: c.sqlite, timeout_s: 5, prices: [1, 2.5], budget: 0"
    judge = build_judge(parse_judge(f"{{kind: http, url: {URL}, {settings}}}", "test"), aggregation="implicit")
    assert (judge.name.split(", ")[:2], judge.concurrency) == (["m", "implicit"], 3)
    assert Path("c.sqlite").is_file()


def test_a_task_says_its_own_aggregation_and_else_the_settings_do() -> None:
    settings = parse_judge(f"{{kind: http, url: {URL}, aggregation: implicit}}", "test")
    named = [build_judge(settings, aggregation=given).name for given in (None, "explicit")]
    assert [name.split(", ")[1] for name in named] == ["implicit", "explicit"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "--judge: missing key 'kind'"),
        ("local", "--judge: expected keys with values, found 'local'"),
        ("{kind: loca}", "--judge: unknown value 'loca'; did you mean 'local'? (allowed: local, http)"),
        ("{kind: local, nois: 0.1}", "--judge: nois: unknown key; did you mean 'noise'?"),
        ("{kind: local, kind: http}", "--judge: line 1: key 'kind' stands twice"),
        ("{kind: local, url: 'http://x'}", "--judge: url: unknown key (allowed: kind, noise)"),
        ("{kind: local, noise: '0.1'}", "--judge: noise: Input should be a valid number, found '0.1'"),
        ("{kind: local, noise: true}", "--judge: noise: Input should be a valid number, found True"),
        ("{kind: local, noise: 1.5}", "--judge: noise: Input should be less than or equal to 1, found 1.5"),
        ("{kind: http}", "--judge: url: missing key"),
        ("{kind: http, url: localhost}", "--judge: url: String should match pattern"),
        ("{kind: http, url: 'http://x', api_key: sk-1}", "--judge: api_key: unknown key"),
        ("{kind: http, url: 'http://x', model: ''}", "--judge: model: String should match"),
        ("{kind: http, url: 'http://x', concurrency: 2.0}", "--judge: concurrency: Input should be a valid integer"),
        (
            "{kind: http, url: 'http://x', concurrency: 0}",
            "--judge: concurrency: Input should be greater",
        ),
        ("{kind: http, url: 'http://x', timeout_s: 0}", "--judge: timeout_s: Input should be greater than 0, found 0"),
        ("{kind: http, url: 'http://x', timeout_s: .nan}", "--judge: timeout_s: Input should be a finite number"),
        ("{kind: http, url: 'http://x', prices: [1]}", "--judge: prices.1: missing key"),
        ("{kind: http, url: 'http://x', budget: 1}", "--judge: a budget of 1 needs the prices"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        parse_judge(text, "--judge")
    assert "sk-1" not in str(error.value)


def http(url: str = URL) -> HttpJudgeSettings:
    return HttpJudgeSettings(kind="http", url=url)


def test_one_rating_needs_a_model() -> None:
    with pytest.raises(ValueError, match="one rating needs kind http"):
        build_judge(parse_judge("{kind: local}", "test"), aggregation="implicit")
    with pytest.raises(ValueError, match="unknown aggregation 'mean'"):
        build_judge(http(), aggregation="mean")


def test_the_key_comes_from_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, " ")
    with pytest.raises(ValueError, match="API key is empty"):
        build_judge(http())
    monkeypatch.setenv(KEY_VARIABLE, "sk-1")
    with pytest.raises(ValueError, match="would go unencrypted") as error:
        build_judge(http("http://example.org/v1"))
    assert "sk-1" not in str(error.value)
