"""The keys of a judge: of a scale's domain, and of the option --judge. The API key is none of them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from reference_impl.config.fields import Count, NotNegative, Positive, Share
from reference_impl.config.model import Declared, parse, parse_yaml

# B.4: "We use Qwen3-30B-3A-Instruct as the judge model"; its full name as in the authors' Trinity-RFT documentation.
PAPER_MODEL = "Qwen/Qwen3-30B-A3B-Instruct-2507"
KEY_VARIABLE = "CHORD_JUDGE_API_KEY"
"""The environment variable with the API key; there is no other way to give one."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Hosts to which a key may go unencrypted: it does not leave the machine."""
Text = Annotated[str, Field(pattern=r"\S")]


class LocalJudgeSettings(Declared):
    """Checks the patterns and keywords of the rubric, without a model."""

    kind: Literal["local"]
    noise: Share = 0.0
    """Probability that a verdict is inverted."""


class HttpJudgeSettings(Declared):
    """A language model behind an OpenAI-compatible endpoint."""

    kind: Literal["http"]
    url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    """Such as http://localhost:8000/v1."""
    model: Text = PAPER_MODEL
    """What to ask for."""
    aggregation: Literal["explicit", "implicit"] = "explicit"
    """How a reward comes of it: a score from verdicts on each criterion, or one rating r of 1 to 10 as (r - 1) / 9.
    A task says its own; a domain's tasks and its reward have the same.
    """
    concurrency: Count = 8
    """Most requests at once."""
    timeout_s: Positive = 120.0
    """Limit of one request, in seconds."""
    cache: Text = "judge-verdicts.sqlite"
    """File that keeps verdicts, so that none is paid for twice."""
    prices: tuple[NotNegative, NotNegative] = (0.0, 0.0)
    """Of a million tokens, in and out."""
    budget: NotNegative | None = None
    """Limit of the cost: no call is made that could pass it."""

    @model_validator(mode="after")
    def _a_budget_needs_prices(self) -> Self:
        if self.budget is not None and not any(self.prices):
            raise ValueError(f"a budget of {self.budget:g} needs the prices of tokens in and out")
        return self


JudgeSettings = Annotated[LocalJudgeSettings | HttpJudgeSettings, Field(discriminator="kind")]


def parse_judge(text: str, source: str) -> LocalJudgeSettings | HttpJudgeSettings:
    """The judge of an option's YAML text, `{kind: local}`. Raises ValueError naming every mistake, and ``source``."""
    return parse(JudgeSettings, parse_yaml(text, source), source)  # type: ignore[arg-type]
