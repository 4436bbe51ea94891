"""Models repeat names that functions have, since a plan is made without importing torch: they must agree."""

import inspect
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from reference_impl.config import Domain, Scale
from reference_impl.config.methods import Phi, ResponseWeight, RewardReading
from reference_impl.config.schedules import Schedule
from reference_impl.mu import MU_SCHEDULES
from reference_impl.response_weights import entropy_weights_BT
from reference_impl.rewards import JUDGED_REWARD, READ_REWARDS, REWARDS
from reference_impl.rollout import ENGINES
from reference_impl.token_weights import TOKEN_WEIGHTS


def members(union: Any, tag: str) -> dict[str, type[BaseModel]]:
    """Name → model of a union that a key tells apart."""
    while not isinstance(get_args(union)[0], type):
        union = get_args(union)[0]
    return {name: model for model in get_args(union) for name in get_args(model.model_fields[tag].annotation)}


def parameters(function: Any) -> dict[str, Any]:
    """Keyword-only parameters of a function with their defaults."""
    own = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in own if p.kind is p.KEYWORD_ONLY}


def fields(model: type[BaseModel], tag: str) -> dict[str, Any]:
    """The same of a model's fields."""
    return {
        name: inspect.Parameter.empty if field.is_required() else field.default
        for name, field in model.model_fields.items()
        if name != tag
    }


@pytest.mark.parametrize(
    ("union", "tag", "functions"), [(Schedule, "schedule", MU_SCHEDULES), (Phi, "name", TOKEN_WEIGHTS)]
)
def test_schedules_and_token_weights(union: Any, tag: str, functions: dict[str, Any]) -> None:
    models = members(union, tag)
    assert set(models) == set(functions)
    assert {name: fields(model, tag) for name, model in models.items()} == {
        name: parameters(function) for name, function in functions.items()
    }


def test_weights_of_responses() -> None:
    assert fields(ResponseWeight, "") == parameters(entropy_weights_BT)


def test_readings_of_rewards() -> None:
    declared = fields(RewardReading, "")
    assert declared == {key: value for function in READ_REWARDS.values() for key, value in parameters(function).items()}
    other = RewardReading(correct_badly_formatted=0.5, no_answer_in_time=None, format="think", calls="last")
    for reward, function in READ_REWARDS.items():
        assert set(other.of(reward)) == set(parameters(function)) and not RewardReading().of(reward)
    assert not other.of(JUDGED_REWARD)


def test_engines_and_rewards() -> None:
    assert get_args(Scale.model_fields["engine"].annotation) == tuple(ENGINES)
    assert get_args(Domain.model_fields["reward"].annotation) == (*REWARDS, JUDGED_REWARD)
