"""The keys of methods.yaml and domains.yaml: what the paper says of its methods and of their domains."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from reference_impl.config.fields import (
    Count,
    Fraction,
    GroupSize,
    NotNegative,
    Number,
    OrRl,
    Positive,
    Roles,
    Several,
    Share,
)
from reference_impl.config.model import Declared, choose
from reference_impl.config.schedules import Schedule
from reference_impl.text.prompts import PROMPTS

PromptName = Annotated[str, AfterValidator(lambda name: choose("prompt", name, PROMPTS, "reference_impl.text.prompts"))]
"""A prompt that a task or a data row can have."""


class PlainPhi(Declared):
    """Without parameters."""

    name: Literal["none", "p_one_minus_p", "importance", "entropy_norm"]
    """Plain SFT (Eq. 1), CHORD-φ (Eq. 5), importance sampling (Eq. 4), entropy over its mean (B.2)."""


class EntropyTop(Declared):
    """1 on the tokens of highest entropy, else 0 (B.2)."""

    name: Literal["entropy_top"]
    share: Fraction = 0.05
    """Of the expert's tokens."""


class IsClip(Declared):
    """The probability, clipped (B.2)."""

    name: Literal["is_clip"]
    threshold: Share = 0.4
    """Of the probability; a token exactly at it is not clipped."""
    variant: Literal["zero", "cap"] = "zero"
    """Above the threshold: 0, or the threshold."""


class Focal(Declared):
    """(1 - p) to the power of γ (B.2)."""

    name: Literal["focal"]
    gamma: NotNegative = 2.0
    """0 is plain SFT."""


class Power(Declared):
    """p to the power of a, times (1 - p) to the power of b; not of the paper."""

    name: Literal["power"]
    a: NotNegative = 0.5
    """0: likely tokens weigh no more than others."""
    b: NotNegative = 0.5
    """0: unlikely tokens weigh no more than others."""


class OwnPhi(Declared):
    """A function of the user's, in a Python file beside my_methods.yaml, with keyword parameters of its own."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, bool | int | float | str]

    name: str
    """FILE.py:FUNCTION."""

    @field_validator("name")
    @classmethod
    def _names_a_function(cls, name: str) -> str:
        if not re.fullmatch(r"[^:]+\.py:[A-Za-z_]\w*", name):
            raise ValueError(f"unknown value {name!r}: a φ of yours is FILE.py:FUNCTION")
        return name

    @property
    def file(self) -> str:
        """The Python file, as seen from my_methods.yaml."""
        return self.name.rpartition(":")[0]

    @property
    def function(self) -> str:
        """The function in it."""
        return self.name.rpartition(":")[2]

    @property
    def params(self) -> dict[str, Any]:
        """What the function gets by keyword."""
        return dict(self.__pydantic_extra__)


def _declared_or_own(value: Any, declared: ValidatorFunctionWrapHandler) -> Any:
    value = {"name": value} if isinstance(value, str) else value
    if isinstance(value, dict) and ":" in str(value.get("name")):
        return OwnPhi.model_validate(value, strict=True)
    return declared(value)


Phi = Annotated[
    Annotated[PlainPhi | EntropyTop | IsClip | Focal | Power, Field(discriminator="name")],
    WrapValidator(_declared_or_own),
]
"""A name, or {name, its parameters}; in my_methods.yaml also an `OwnPhi`."""


class Budget(Declared):
    """How long it trains: one of the two."""

    steps: OrRl[Annotated[int, Field(ge=0)]] | None = None
    """`rl`: the domain's RL steps; a number of the paper's steps; 0 trains nothing."""
    epochs: Count | None = None
    """Passes over the demonstrations."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("allowed: {steps: rl}, {steps: n} or {epochs: n}")
        return self


class Grid(Declared):
    """The learning rates that a method is tuned within; an entry of role grid is a run of each."""

    learning_rate: Several[Positive]
    """The paper's; a scale multiplies them."""


class Select(Declared):
    """It trains nothing and takes the checkpoint with the best validation score among a grid's."""

    grid: str = Field(alias="from")
    """The method whose runs are chosen among."""
    epochs: Several[Count] | None = None
    """Only checkpoints of these epochs; left out: all."""


class Mixed(Declared):
    """Demonstrations inside each group of K rollouts (LUFFY, SRFT); needs `expert: aligned`."""

    demonstrations: Literal[1]
    """In each group: a prompt has one."""
    shaping: Positive | None
    """γ of the shaped ratio x / (x + γ); null: the ratio itself."""


class ResponseWeight(Declared):
    """coefficient × exp(exponent × H), H the mean entropy of a response."""

    coefficient: Positive
    """The weight at H = 0."""
    exponent: Number
    """Below 0, certain responses weigh more; above 0, uncertain ones."""


class Auxiliary(Declared):
    """Further losses with weights of entire responses (SRFT)."""

    demonstrations: ResponseWeight | None = None
    """Of the demonstrations in mixed groups."""
    rollouts: ResponseWeight | None = None
    """Of the policy's own rollouts, in the place of Eq. 2's advantages."""

    @model_validator(mode="after")
    def _any(self) -> Self:
        if self.demonstrations is None and self.rollouts is None:
            raise ValueError("give demonstrations, rollouts or both")
        return self


class RewardReading(Declared):
    """Another reading of A.2's rewards; each key is for one kind of reward and without effect for the others."""

    correct_badly_formatted: Number = 1.0
    """math: of a right answer in the wrong format."""
    no_answer_in_time: Number | None = -1.0
    """math: of a response that the limit cut before it answered; null: as of any other wrong answer."""
    format: Literal["boxed", "think"] = "boxed"
    """math: what is tested: one think block and then a box, or the think block alone."""
    calls: Literal["all", "last"] = "all"
    """tool: which `<tool_call>` blocks are read."""

    def of(self, reward: str) -> dict[str, Any]:
        """What is not the usual value, of the keys that a kind of reward has."""
        usual = type(self)()
        keys = {"math": ("correct_badly_formatted", "no_answer_in_time", "format"), "tool": ("calls",)}.get(reward, ())
        return {key: getattr(self, key) for key in keys if getattr(self, key) != getattr(usual, key)}


class Method(Declared):
    """An entry of methods.yaml, in the paper's units: steps are the paper's steps."""

    name: SkipJsonSchema[str] = Field(exclude=True)
    label: str
    """How tables and figures name it."""
    like: str | None = None
    """Another entry: every key but label, like and paper is taken from there unless given here."""
    paper: str
    """The sentence of the paper that it comes from."""
    role: Literal["method", "grid", "curve"] = "method"
    """A row of the tables, runs that a `select` chooses among, or a curve of a figure, which is not evaluated."""
    domains: Several[str] = ("math", "tool")
    """Where it is trained."""
    policy: str = "main"
    """Which of the domain's policies it starts from: a role of domains.yaml."""
    expert: str = "main"
    """Which of the domain's demonstrations it learns from: a role of domains.yaml."""
    init: str = "policy"
    """`policy`, or a method whose best checkpoint of the same seed it starts from."""
    budget: Budget | None = None
    mu: Schedule | None = None
    """μ of Eq. 3, the share of the expert's loss, as a schedule; its parameters are a value, or one for each domain."""
    phi: Phi = PlainPhi(name="none")
    """Token weights of the expert's loss (Eq. 6): a name, or {name, parameters}. In `my_methods.yaml` the name may be
    `FILE.py:FUNCTION`, a function of your own.
    """
    group_size: GroupSize | None = None
    """K, rollouts per prompt; left out: the domain's."""
    sync_every: Count = 1
    """Updates between two weight syncs to the sampler; 1 is strictly on-policy."""
    old_logprobs: Literal["policy", "sampler"] = "policy"
    """Denominator of Eq. 2's ratio in the first update after a weight sync: the policy's own log-probabilities, which
    make it 1, or what the sampler said of its tokens. In a later update it is always the sampler's.
    """
    dual_clip: Annotated[float, Field(gt=1)] | None = None
    """Limit of the ratio where the advantage is negative (Ye et al. 2020); needs a ratio that is not always 1."""
    tis_cap: Positive | None = None
    """Cap of truncated importance sampling; left out: the scale's."""
    reward: RewardReading | None = None
    """How the domain's reward is read; left out: as docs/fidelity.md says."""
    mixed: Mixed | None = None
    auxiliary: Auxiliary | None = None
    normalise: bool = True
    """Whether advantages are divided by the group's standard deviation."""
    learning_rate: Positive | None = None
    """The paper's, where nothing was tuned; a scale multiplies it."""
    grid: Grid | None = None
    tuned_as: str | None = None
    """The method whose tuned learning rate it takes, at a scale that has tuned rates: itself, if it is tuned within its
    `grid` (or chooses among a grid's runs), or the method that it varies.
    """
    select: Select | None = None
    keep: Literal["best", "epoch"] = "best"
    """Which checkpoints a run keeps: its best on validation, or that of every epoch."""

    prompts: dict[PromptName, PromptName] = Field(default_factory=dict)
    """Prompt of a task → the one that it is evaluated with instead."""
    second_of: str | None = None
    """The method with the same checkpoint of which this is the evaluation with other `prompts`: in a column where those
    have an effect, tables and claims take whichever of the two has the higher score (A.3).
    """

    @property
    def trains(self) -> bool:
        """Whether runs of its own belong to this entry (neither a selection nor the untouched policy)."""
        return self.select is None and (self.budget is None or self.budget.steps != 0)

    @property
    def builds_on(self) -> tuple[str, ...]:
        """The methods whose checkpoints it starts from or chooses among."""
        named = (self.init, self.select.grid if self.select else "policy")
        return tuple(name for name in named if name != "policy")

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.mixed and self.expert != "aligned":
            raise ValueError("mixed groups need a demonstration of every prompt: expert: aligned")
        if self.auxiliary and self.auxiliary.demonstrations and not self.mixed:
            raise ValueError("auxiliary demonstrations are those of mixed groups: give `mixed`")
        if self.dual_clip is not None and self.sync_every == 1 and self.old_logprobs == "policy":
            raise ValueError("dual_clip: the ratio is always 1 here: give old_logprobs: sampler, or sync_every above 1")
        if self.second_of is not None and not self.prompts:
            raise ValueError("second_of needs prompts: with the same ones it would be the same evaluation")
        if self.trains:
            missing = [key for key in ("budget", "mu") if getattr(self, key) is None]
            if missing:
                raise ValueError(f"a method that trains needs {' and '.join(missing)}")
            if (self.learning_rate is None) == (self.role != "grid" or self.grid is None):
                raise ValueError("needs a learning_rate; with role: grid, a grid of them instead")
            if self.tuned_as == self.name and self.grid is None:
                raise ValueError("tuned_as itself: needs a grid to be tuned within")
        return self


class Expert(Declared):
    """A set of demonstrations."""

    source: str
    """Who wrote them."""
    rows: OrRl[Count]
    """How many there are; `rl`: one to every RL prompt."""


class Domain(Declared):
    """An entry of domains.yaml: the paper's values for one domain, of which a scale may replace the sizes."""

    name: SkipJsonSchema[str] = Field(exclude=True)
    label: str
    """How tables and figures name it."""
    reward: Literal["math", "tool", "judge"]
    """How a response is graded (A.2, B.4)."""
    policies: Roles[str]
    """Role → the paper's model."""
    experts: Roles[Expert]
    """Role → demonstrations."""
    prompt_rows: Count
    """Prompts for RL."""
    sft_batch: Count
    """Demonstrations of an update."""
    rl_prompts: Count
    """Prompts of an update."""
    group_size: GroupSize
    """K, rollouts per prompt."""
    rl_steps: Count
    """Updates of a run with the budget `rl`."""
    max_response_tokens: Count
    """Longest response of the policy, in tokens."""
    validate_every: Count
    """Updates between two validations."""
