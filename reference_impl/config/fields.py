"""Types that several declared keys share: names, numbers with their limits, and what may be given in two forms."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Discriminator, Field, Tag, WrapValidator

T = TypeVar("T")


def _as_written(value: Any, check: Callable[[Any], float]) -> Any:
    check(value)
    return value


_AS_WRITTEN = WrapValidator(_as_written)
"""Keep 1 as 1 and 1.0 as 1.0, since a run's hash is of the values as they are written."""

Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]
Count = Annotated[int, Field(ge=1)]
LocalPath = Annotated[str, Field(min_length=1)]
GroupSize = Annotated[int, Field(ge=2)]
Number = Annotated[float, _AS_WRITTEN]
Positive = Annotated[float, Field(gt=0), _AS_WRITTEN]
NotNegative = Annotated[float, Field(ge=0), _AS_WRITTEN]
FromOne = Annotated[float, Field(ge=1), _AS_WRITTEN]
Fraction = Annotated[float, Field(gt=0, le=1), _AS_WRITTEN]
Share = Annotated[float, Field(ge=0, le=1), _AS_WRITTEN]


def no_repetition(values: tuple[T, ...]) -> tuple[T, ...]:
    """The values. Raises ValueError where one of them stands twice."""
    repeated = [value for i, value in enumerate(values) if value in values[:i]]
    if repeated:
        raise ValueError(f"{repeated[0]!r} stands twice")
    return values


def _at_least_one(values: tuple[T, ...]) -> tuple[T, ...]:
    if not values:
        raise ValueError("at least one must be given")
    return values


Several = Annotated[tuple[T, ...], AfterValidator(_at_least_one), AfterValidator(no_repetition)]
"""At least one value, none of them twice."""


def _with_main(roles: dict[str, T]) -> dict[str, T]:
    if "main" not in roles:
        raise ValueError(f"missing key main, the role of most methods (given: {', '.join(roles) or 'none'})")
    return roles


Roles = Annotated[dict[Name, T], AfterValidator(_with_main)]
"""Role → value; `main` is the role of most methods."""

PerDomain = Annotated[
    Annotated[T, Tag("one")] | Annotated[dict[Name, T], Tag("domains")],
    Discriminator(lambda value: "domains" if isinstance(value, dict) else "one"),
]
"""One value, or one for each domain."""

OrRl = Annotated[
    Annotated[Literal["rl"], Tag("rl")] | Annotated[T, Tag("number")],
    Discriminator(lambda value: "rl" if isinstance(value, str) else "number"),
]
"""A number, or `rl` for that of the domain's RL."""


def _option(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float | tuple | dict):
        raise ValueError(f"allowed are text, numbers, lists of them and NAME: VALUE, found {value!r:.80}")
    return value


DataOptions = dict[Annotated[str, Field(pattern="^[a-z][a-z-]*$")], Annotated[Any, AfterValidator(_option)]]
"""Options of a data stage, by name without dashes; a mapping becomes one NAME=VALUE option per entry."""
