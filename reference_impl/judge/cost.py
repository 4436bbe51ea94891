"""What judging costs: a counter of calls, tokens and money with a limit that is checked before each call."""

import threading
from dataclasses import dataclass
from typing import Any

MILLION = 1_000_000


class BudgetError(RuntimeError):
    """The next call could exceed the budget."""


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


@dataclass(frozen=True)
class Usage:
    """Tokens of one call."""

    prompt_tokens: int
    completion_tokens: int


class Ledger:
    """Counts usage, safely from several threads.

    A call first reserves what it can cost at most, so that calls made at once cannot exceed the budget together.
    """

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._lock = threading.Condition()
        self._calls = self._estimated = self._prompt_tokens = self._completion_tokens = 0
        self._reserved: list[float] = []

    def reserve(self, most: Usage) -> None:
        """Make room for a call that uses at most `most`.

        Waits for calls under way, which mostly use less than they reserved. Raises BudgetError where the budget
        has no room even then.
        """
        cost, budget = self._cost(most), self._prices.budget
        with self._lock:
            while budget is not None and self._spent() + sum(self._reserved) + cost > budget:
                if not self._reserved:
                    raise BudgetError(
                        f"the next call may cost {cost:.6g} and {self._spent():.6g} of the judge's budget of "
                        f"{budget:g} are spent"
                    )
                self._lock.wait()
            self._reserved.append(cost)

    def settle(self, most: Usage, used: Usage | None, *, billed: bool) -> None:
        """Replace a reservation by what the call used; by the reservation itself where a billed call did not say."""
        with self._lock:
            self._reserved.remove(self._cost(most))
            self._lock.notify_all()
            self._calls += 1
            if billed:
                self._estimated += used is None
                counted = most if used is None else used
                self._prompt_tokens += counted.prompt_tokens
                self._completion_tokens += counted.completion_tokens

    def _cost(self, usage: Usage) -> float:
        prices = self._prices
        return (usage.prompt_tokens * prices.prompt + usage.completion_tokens * prices.completion) / MILLION

    def _spent(self) -> float:
        return self._cost(Usage(self._prompt_tokens, self._completion_tokens))

    def report(self) -> dict[str, Any]:
        """Calls and tokens so far, and their cost. `estimated_calls`: billed ones that did not say their usage."""
        with self._lock:
            return {
                "calls": self._calls,
                "estimated_calls": self._estimated,
                "prompt_tokens": self._prompt_tokens,
                "completion_tokens": self._completion_tokens,
                "cost": self._spent(),
            }
