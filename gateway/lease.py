"""The seam behind limits: where the numbers are kept that several processes share. `gateway.limits` asks, a `Source` answers.

Every method is synchronous and waits for nothing but, at most, a lock of this host that is held for microseconds: the hot path asks no database and no
network. A source that has to ask one (Redis, for several hosts) answers from leases that a task of its own draws beforehand, and says in `overspend` what
that may cost; the one there is, `gateway.pool`, keeps the numbers in memory that the workers of a host share, and needs none.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class Rate(Protocol):
    """An allowance per minute that refills all the time. `per_minute` is the limit in force; `now` epoch seconds."""

    def level(self, per_minute: int, now: float) -> float:
        """What is left; negative after a request that used more than it had reserved."""
        ...

    def take(self, amount: float, now: float) -> None:
        """Use some; a negative amount gives back."""
        ...


class Places(Protocol):
    """How many requests are under way."""

    def taken(self) -> int:
        """Of all processes together."""
        ...

    def take(self, more: int) -> None:
        """This process begins one more (1) or has ended one (-1)."""
        ...


class Purse(Protocol):
    """Nano-dollars of one budget in one period. `since` is the period's first instant: what was spent before it does not count, what is under way does."""

    def spent(self, since: int) -> int:
        """Settled in this period."""
        ...

    def reserved(self) -> tuple[int, int]:
        """What the calls under way are expected to cost, and what they can cost at most."""
        ...

    def reserve(self, expected: int, most: int) -> None:
        """Add to both; negative amounts give back."""
        ...

    def spend(self, since: int, nanousd: int) -> None:
        """Add to what was spent in a period; nothing where that period is over."""
        ...

    def raise_to(self, since: int, nanousd: int) -> None:
        """At least this much was spent, says the ledger."""
        ...


class Source(Protocol):
    """Gives out accounts by name: the same account for the same name in every process that shares it."""

    def rate(self, name: str) -> Rate:
        """An allowance per minute."""
        ...

    def places(self, name: str) -> Places:
        """A number of requests at a time."""
        ...

    def purse(self, name: str) -> Purse:
        """A budget."""
        ...

    def alone(self) -> AbstractContextManager[object]:
        """While this is held, no other process looks at or changes an account: what was read is still so when it is acted upon."""
        ...

    def overspend(self, nanousd: int) -> int:
        """What calls may come to beyond a budget of so many nano-dollars, all processes together, one call alone aside (`gateway.limits`)."""
        ...

    def close(self) -> None:
        """Let go of it. What this process had reserved is given back."""
        ...
