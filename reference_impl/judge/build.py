"""A judge from its settings, which are a scale's or a command line's."""

import os
from pathlib import Path

from reference_impl.config import HttpJudgeSettings, LocalJudgeSettings
from reference_impl.config.judges import KEY_VARIABLE
from reference_impl.judge.cache import VerdictCache
from reference_impl.judge.client import Endpoint
from reference_impl.judge.cost import Prices
from reference_impl.judge.http_judge import HttpJudge
from reference_impl.judge.rubric import Judge, LocalJudge


def build_judge(settings: LocalJudgeSettings | HttpJudgeSettings, *, aggregation: str | None = None) -> Judge:
    """The judge that `settings` describe. Nothing is sent yet.

    aggregation: how a model's verdicts become a score, one of judge.prompt.AGGREGATIONS; None: as the settings say.
    Raises ValueError for one that the judge cannot do, and for an address and an API key that do not go together.
    """
    if isinstance(settings, LocalJudgeSettings):
        if aggregation not in (None, "explicit"):
            raise ValueError("a local judge gives a verdict on each criterion; one rating needs kind http")
        return LocalJudge(settings.noise)
    endpoint = Endpoint(settings.url, settings.model, os.environ.get(KEY_VARIABLE), timeout_s=settings.timeout_s)
    return HttpJudge(
        endpoint,
        cache=VerdictCache(Path(settings.cache)),
        prices=Prices(*settings.prices, settings.budget),
        aggregation=settings.aggregation if aggregation is None else aggregation,
        concurrency=settings.concurrency,
    )
