"""A judge from configuration: a scale's declaration or a command line's options, both as one mapping."""

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reference_impl.config import choose
from reference_impl.judge.cache import VerdictCache
from reference_impl.judge.client import Endpoint
from reference_impl.judge.cost import Prices
from reference_impl.judge.http_judge import HttpJudge
from reference_impl.judge.rubric import Judge, LocalJudge

KEY_VARIABLE = "CHORD_JUDGE_API_KEY"
"""The environment variable with the API key; there is no other way to give one."""
# B.4: "We use Qwen3-30B-3A-Instruct as the judge model"; its full name as in the authors' Trinity-RFT documentation.
PAPER_MODEL = "Qwen/Qwen3-30B-A3B-Instruct-2507"
DEFAULT_CACHE = "judge-verdicts.sqlite"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


Check = tuple[str, Callable[[Any], bool]]
_TEXT: Check = ("text", lambda value: isinstance(value, str) and bool(value.strip()))
_NUMBER: Check = ("a number", _is_number)
_WHOLE: Check = ("a whole number", lambda value: _is_number(value) and isinstance(value, int))
_PRICES: Check = (
    "two numbers, the prices of a million tokens in and out",
    lambda value: isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value)),
)
SETTINGS: dict[str, dict[str, Check]] = {
    "local": {"noise": _NUMBER},
    "http": {
        "url": _TEXT,
        "model": _TEXT,
        "concurrency": _WHOLE,
        "timeout_s": _NUMBER,
        "cache": _TEXT,
        "prices": _PRICES,
        "budget": _NUMBER,
    },
}
"""Kind of judge → what may be set; `url` is the only one without a default."""


def build_judge(settings: Mapping[str, Any], *, aggregation: str = "explicit") -> Judge:
    """The judge that `settings` describe: `kind`, and that kind's SETTINGS.

    aggregation: how a model's verdicts become a score, one of judge_prompt.AGGREGATIONS. Nothing is sent yet. Raises
    ValueError naming what is missing, unknown or unusable, and what is allowed.
    """
    kind = settings.get("kind")
    if kind not in SETTINGS:
        raise ValueError(f"judge: unknown kind {kind!r}; allowed: {', '.join(SETTINGS)}")
    given = {key: value for key, value in settings.items() if key != "kind"}
    for key, value in given.items():
        choose("setting", key, SETTINGS[kind], f"a judge of kind {kind}")
        what, fits = SETTINGS[kind][key]
        if not fits(value):
            raise ValueError(f"judge: {key} must be {what}, got {value!r:.80}")
    if kind == "http":
        return _http_judge(given, aggregation)
    if aggregation != "explicit":
        raise ValueError("a local judge gives a verdict on each criterion; one rating needs kind http")
    return LocalJudge(given.get("noise", 0.0))


def _http_judge(given: Mapping[str, Any], aggregation: str) -> HttpJudge:
    if "url" not in given:
        raise ValueError("a judge of kind http needs a url, such as http://localhost:8000/v1")
    endpoint = Endpoint(
        given["url"],
        given.get("model", PAPER_MODEL),
        os.environ.get(KEY_VARIABLE),
        timeout_s=given.get("timeout_s", 120.0),
    )
    prompt, completion = given.get("prices", (0.0, 0.0))
    prices = Prices(prompt, completion, given.get("budget"))
    return HttpJudge(
        endpoint,
        cache=VerdictCache(Path(given.get("cache", DEFAULT_CACHE))),
        prices=prices,
        aggregation=aggregation,
        concurrency=given.get("concurrency", 8),
    )
