"""How much a key may ask, and how many hosted dollars keys, routes and tags may spend by day and month: reserved before a call, settled after it.

The numbers are in a `Source` (gateway.lease) that the workers of a host share, so all of this holds for them together. Money is nano-dollars, days and months
are UTC; what is settled counts for the period the request began in, as in the ledger. `now` is an argument throughout.

A call is let in when what it is expected to cost is there, and when it would not be too much if it and all others under way cost what they can at most:
beyond the budget by no more than `Source.overspend`. A call that is alone is always let in. So what is spent is never beyond the budget by more than
that, or by more than the most that a single call can cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway import quotas
from gateway.lease import Places, Purse, Rate, Source
from gateway.pool import Pool
from gateway.quotas import Budget, Budgets
from gateway.store.keys import Key
from router.errors import LimitError

Headers = list[tuple[bytes, bytes]]
_MINUTE_S = 60.0
_NO_TAGS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Account:
    """A budget and the place its money is counted."""

    budget: Budget
    purse: Purse

    def left(self, now: float) -> int:
        """Neither spent nor reserved; negative where more was spent."""
        return self.budget.nanousd - self.purse.spent(quotas.since(self.budget.period, now)) - self.purse.reserved()[0]


@dataclass(frozen=True, slots=True)
class _KeyLimits:
    """A key as it was when this was made, with its accounts."""

    key: Key
    requests: Rate | None
    tokens: Rate | None
    places: Places | None
    accounts: tuple[Account, ...]

    @property
    def free(self) -> bool:
        return self.requests is None and self.tokens is None and self.places is None


@dataclass(slots=True)
class Hold:
    """What one request has reserved. Settle it exactly once. `at` is when it began."""

    key: Key | None
    at: float = 0.0
    accounts: tuple[Account, ...] = ()
    limits: _KeyLimits | None = None
    tokens: int = 0
    expected: int = 0
    most: int = 0
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Exhausted:
    """A budget that has nothing left. `spent`: by what is settled; else what is under way holds the rest. `until`: when its next period begins."""

    budget: Budget
    spent: bool
    until: int


class Limits:
    """Every limit of one process; `source` is what it shares with others (default: nothing)."""

    def __init__(self, budgets: Budgets | None = None, source: Source | None = None) -> None:
        self.source: Source = source or Pool()
        self._by_key: dict[str, _KeyLimits] = {}
        self._by_name: dict[str, tuple[Account, ...]] = {}
        self.budgets = budgets or Budgets()

    def configure(self, budgets: Budgets) -> None:
        """Take other budgets of routes and tags into force; requests under way keep theirs."""
        self.budgets = budgets
        self._by_name = {}

    def reserve(self, key: Key | None, route: str | None, tokens: int, now: float, tags: Mapping[str, str] = _NO_TAGS) -> Hold:
        """Let a request in, or LimitError 429 with the wait. `tokens` is what it is expected to use."""
        accounts = self._accounts(route, tags)
        if key is None:
            return Hold(None, now, accounts)
        limits = self._limits(key)
        accounts = limits.accounts + accounts
        if limits.free:
            return Hold(key, now, accounts)
        with self.source.alone():
            _check(limits, tokens, now)
            if limits.requests is not None:
                limits.requests.take(1.0, now)
            if limits.tokens is not None:
                limits.tokens.take(tokens, now)
            if limits.places is not None:
                limits.places.take(1)
        return Hold(key, now, accounts, limits, tokens)

    def look(self, route: str, now: float) -> Hold:
        """What a request without a key would hold of a route, to ask about it. Nothing is reserved, so there is nothing to settle."""
        return Hold(None, now, self._accounts(route, _NO_TAGS))

    def hosted_left(self, hold: Hold, now: float) -> bool:
        """Whether hosted dollars may still be spent for a request."""
        return all(account.left(now) > 0 for account in hold.accounts)

    def exhausted(self, hold: Hold, now: float) -> Exhausted | None:
        """Which of a request's budgets has nothing left: one that is spent for longest, else one whose rest is reserved."""
        found = []
        for account in hold.accounts:
            budget = account.budget
            spent = account.purse.spent(quotas.since(budget.period, now)) >= budget.nanousd
            if spent or account.left(now) <= 0:
                found.append(Exhausted(budget, spent, quotas.until(budget.period, now)))
        return max(found, key=lambda each: (each.spent, each.until), default=None)

    def commit(self, hold: Hold, expected: int, most: int, now: float) -> bool:
        """Reserve what a request's calls are expected to cost in all, and can cost at most. False: it is not there, and nothing changes."""
        if not hold.accounts:
            return True
        more, most_more = expected - hold.expected, most - hold.most
        with self.source.alone():
            if (more > 0 or most_more > 0) and not all(self._fits(account, hold, more, most, now) for account in hold.accounts):
                return False
            for account in hold.accounts:
                account.purse.reserve(more, most_more)
        hold.expected, hold.most = expected, most
        return True

    def settle(self, hold: Hold, tokens: int, nanousd: int, now: float) -> None:
        """Replace what was reserved by what it came to. A second call does nothing."""
        if hold.settled:
            return
        hold.settled = True
        limits = hold.limits
        if limits is None and not (nanousd or hold.expected or hold.most):
            return
        with self.source.alone():
            for account in hold.accounts:
                if nanousd:
                    account.purse.spend(quotas.since(account.budget.period, hold.at), nanousd)
                if hold.expected or hold.most:
                    account.purse.reserve(-hold.expected, -hold.most)
            if limits is not None and limits.tokens is not None:
                limits.tokens.take(tokens - hold.tokens, now)
            if limits is not None and limits.places is not None:
                limits.places.take(-1)

    def account(self, budget: Budget) -> Account:
        """Where a budget's money is counted."""
        return Account(budget, self.source.purse(f"{budget.scope}:{budget.id}:{budget.period}"))

    def raise_to(self, budget: Budget, nanousd: int, now: float) -> None:
        """At least so much of a budget was spent in the period of `now`, says the ledger (an earlier process, another host). Never lowers what is known."""
        account = self.account(budget)
        with self.source.alone():
            account.purse.raise_to(quotas.since(budget.period, now), nanousd)

    def spent_today(self, route: str, now: float) -> int:
        """Nano-dollars a route's settled requests have cost this UTC day; 0 where the route has no budget."""
        budget = next((each for each in self.budgets.routes.get(route, ()) if each.period == "day"), None)
        return 0 if budget is None else self.account(budget).purse.spent(quotas.since("day", now))

    def headers(self, key: Key | None, now: float) -> Headers:
        """`x-ratelimit-*` of a key, in OpenAI's format; empty for a key without such limits."""
        limits = self._limits(key) if key is not None else None
        if limits is None or (limits.requests is None and limits.tokens is None):
            return []
        found: Headers = []
        with self.source.alone():
            for name, rate, limit in ((b"requests", limits.requests, limits.key.rpm), (b"tokens", limits.tokens, limits.key.tpm)):
                if rate is not None and limit is not None:
                    level = rate.level(limit, now)
                    found += [
                        (b"x-ratelimit-limit-" + name, b"%d" % limit),
                        (b"x-ratelimit-remaining-" + name, b"%d" % max(0, int(level))),
                        (b"x-ratelimit-reset-" + name, _duration(_wait_s(limit, level, limit))),
                    ]
        return found

    def _fits(self, account: Account, hold: Hold, more: int, most: int, now: float) -> bool:
        """Whether `more` is left, and whether nothing too bad can come of it should all calls cost what they can at most."""
        purse, limit = account.purse, account.budget.nanousd
        spent = purse.spent(quotas.since(account.budget.period, now))
        expected, at_most = purse.reserved()
        if more > 0 and limit - spent - expected < more:
            return False
        others = at_most - hold.most
        return others == 0 or spent + others + most <= limit + self.source.overspend(limit)

    def _accounts(self, route: str | None, tags: Mapping[str, str]) -> tuple[Account, ...]:
        budgets = self.budgets
        found: tuple[Account, ...] = ()
        if route is not None and route in budgets.routes:
            found = self._named(f"route:{route}", budgets.routes[route])
        if tags and budgets.tags:
            for name, value in tags.items():
                if (tag := f"{name}={value}") in budgets.tags:
                    found += self._named(f"tag:{tag}", budgets.tags[tag])
        return found

    def _named(self, name: str, budgets: tuple[Budget, ...]) -> tuple[Account, ...]:
        found = self._by_name.get(name)
        if found is None:
            found = self._by_name[name] = tuple(map(self.account, budgets))
        return found

    def _limits(self, key: Key) -> _KeyLimits:
        known = self._by_key.get(key.id)
        if known is not None and known.key is key:
            return known
        source = self.source
        made = _KeyLimits(
            key,
            requests=None if key.rpm is None else source.rate(f"key:{key.id}:rpm"),
            tokens=None if key.tpm is None else source.rate(f"key:{key.id}:tpm"),
            places=None if key.concurrency is None else source.places(f"key:{key.id}:concurrency"),
            accounts=tuple(map(self.account, quotas.of_key(key))),
        )
        self._by_key[key.id] = made
        return made


def _check(limits: _KeyLimits, tokens: int, now: float) -> None:
    key = limits.key
    if limits.places is not None and key.concurrency is not None and limits.places.taken() >= key.concurrency:
        raise _too_many(key, "concurrency", f"{key.concurrency} requests at a time", 1.0)
    asks = ((limits.requests, key.rpm, 1.0, "requests per min (RPM)"), (limits.tokens, key.tpm, float(tokens), "tokens per min (TPM)"))
    for rate, limit, amount, what in asks:
        if rate is None or limit is None:
            continue
        level = rate.level(limit, now)
        # a request that is larger than a whole minute's allowance is let in when the allowance is untouched, otherwise it could never be
        if level < min(amount, limit):
            asked = f"Limit {limit}, Used {limit - max(level, 0.0):.0f}, Requested {amount:.0f}"
            raise _too_many(key, what, asked, _wait_s(amount, level, limit))


def _wait_s(amount: float, level: float, per_minute: int) -> float:
    return max(0.0, min(amount, per_minute) - level) * _MINUTE_S / per_minute


def _too_many(key: Key, what: str, detail: str, wait_s: float) -> LimitError:
    return LimitError(f"Rate limit reached for key {key.name!r} on {what}: {detail}. Please try again in {wait_s:.3g}s.", retry_after_s=wait_s)


def _duration(seconds: float) -> bytes:
    """OpenAI writes `8.64s`, `6m0s`, `20ms`."""
    if seconds < 1.0:
        return b"%dms" % round(seconds * 1000)
    minutes, rest = divmod(seconds, 60.0)
    return f"{int(minutes)}m{rest:.3g}s".encode() if minutes else f"{rest:.3g}s".encode()
