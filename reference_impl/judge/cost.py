"""What requests cost: a counter of calls, tokens and money with a limit that is checked before each call."""

import threading
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

MILLION = 1_000_000
# What no call has; it keeps the numbers of a broken server out of the sums.
_Tokens = Annotated[int, Field(ge=0, le=1_000_000_000)]


class BudgetError(RuntimeError):
    """The next call could exceed the budget."""


@dataclass(frozen=True)
class Usage:
    """Tokens of one call, or of several together."""

    prompt_tokens: _Tokens
    completion_tokens: _Tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.prompt_tokens + other.prompt_tokens, self.completion_tokens + other.completion_tokens)


NO_USAGE = Usage(0, 0)


@dataclass(frozen=True)
class Prices:
    """Declared prices, in money for a million tokens, and the limit on their sum (None: no limit)."""

    prompt: float = 0.0
    completion: float = 0.0
    budget: float | None = None

    def __post_init__(self) -> None:
        if not (self.prompt >= 0 and self.completion >= 0 and (self.budget is None or self.budget >= 0)):
            raise ValueError(f"prices and budget must be 0 or more, got {self}")
        if self.budget is not None and self.prompt == self.completion == 0:
            raise ValueError(f"a budget of {self.budget:g} needs the prices of prompt and completion tokens")

    def cost(self, usage: Usage) -> float:
        """Money for so many tokens."""
        return (usage.prompt_tokens * self.prompt + usage.completion_tokens * self.completion) / MILLION


class Ledger:
    """Counts usage, safely from several threads.

    A call first reserves what it can cost at most, so that calls made at once cannot exceed the budget together.
    """

    def __init__(self, prices: Prices, spent: Usage = NO_USAGE) -> None:
        """spent: tokens of earlier runs that count towards the budget."""
        self._prices, self._used = prices, spent
        self._changed = threading.Condition()
        self._reserved: list[Usage] = []
        self._calls = self._estimated = 0

    def reserve(self, most: Usage) -> None:
        """Make room for a call that uses at most `most`.

        Waits for calls under way, which mostly use less than they reserved. Raises BudgetError where the budget
        has no room even then.
        """
        cost, budget = self._prices.cost, self._prices.budget
        with self._changed:
            while budget is not None and cost(sum(self._reserved, self._used + most)) > budget:
                if not self._reserved:
                    raise BudgetError(
                        f"the next call may cost {cost(most):.6g} and {cost(self._used):.6g} of the budget of "
                        f"{budget:g} are spent"
                    )
                self._changed.wait()
            self._reserved.append(most)

    def settle(self, most: Usage, used: Usage | None) -> None:
        """Replace a reservation by what the call used; None where it did not say: the reservation counts."""
        with self._changed:
            self._reserved.remove(most)
            self._calls += 1
            self._estimated += used is None
            self._used += most if used is None else used
            self._changed.notify_all()

    def report(self) -> dict[str, Any]:
        """Calls and tokens so far, and their cost. `estimated_calls`: billed ones that did not say their usage."""
        with self._changed:
            return {
                "calls": self._calls,
                "estimated_calls": self._estimated,
                "prompt_tokens": self._used.prompt_tokens,
                "completion_tokens": self._used.completion_tokens,
                "cost": self._prices.cost(self._used),
            }
