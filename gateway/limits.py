"""How much a key may ask and how many hosted dollars a key or a route may spend a day: reserved before the call, settled after it.

In this process only: with several workers each holds the limits by itself. Money is nano-dollars, days are UTC days. `now` is an argument throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.store.keys import Key
from router.errors import LimitError

Headers = list[tuple[bytes, bytes]]
_DAY_S = 86_400.0
_MINUTE_S = 60.0


@dataclass(slots=True)
class _Bucket:
    """A token bucket of one minute's allowance. `level` may be negative: a request that used more than it reserved is a debt."""

    per_minute: float
    level: float
    at: float

    def refill(self, now: float) -> float:
        self.level = min(self.per_minute, self.level + max(now - self.at, 0.0) * self.per_minute / _MINUTE_S)
        self.at = max(now, self.at)
        return self.level

    def wait_s(self, amount: float) -> float:
        return max(0.0, min(amount, self.per_minute) - self.level) * _MINUTE_S / self.per_minute


@dataclass(slots=True)
class _Spend:
    """Nano-dollars of one UTC day: `spent` is settled, `reserved` belongs to requests under way."""

    day: int = 0
    spent: int = 0
    reserved: int = 0

    def today(self, now: float) -> _Spend:
        day = int(now // _DAY_S)
        if day > self.day:
            self.day, self.spent = day, 0
        return self


@dataclass(slots=True)
class _KeyState:
    requests: _Bucket | None = None
    tokens: _Bucket | None = None
    running: int = 0


@dataclass(slots=True)
class Hold:
    """What one request has reserved. Settle it exactly once."""

    key: Key | None
    route: str | None
    tokens: int = 0
    nanousd: int = 0
    settled: bool = False


@dataclass(slots=True)
class Limits:
    """Every limit of one process. `budgets` maps a route to its nano-dollars a day; set it whole when the configuration changes."""

    budgets: Mapping[str, int] = field(default_factory=dict)
    _keys: dict[str, _KeyState] = field(default_factory=dict)
    _routes: dict[str, _Spend] = field(default_factory=dict)
    _key_spend: dict[str, _Spend] = field(default_factory=dict)

    def reserve(self, key: Key | None, route: str | None, tokens: int, now: float) -> Hold:
        """Let a request in, or LimitError 429 with the wait. `tokens` is what it is expected to use."""
        if key is None or (key.rpm is None and key.tpm is None and key.concurrency is None):
            return Hold(key, route)
        state = self._state(key, now)
        if key.concurrency is not None and state.running >= key.concurrency:
            raise _too_many(key, "concurrency", f"{key.concurrency} requests at a time", 1.0)
        for bucket, amount, what in ((state.requests, 1.0, "requests per min (RPM)"), (state.tokens, float(tokens), "tokens per min (TPM)")):
            # a request that is larger than a whole minute's allowance is let in when the allowance is untouched, otherwise it could never be
            if bucket is not None and bucket.refill(now) < min(amount, bucket.per_minute):
                used = bucket.per_minute - max(bucket.level, 0.0)
                asked = f"Limit {bucket.per_minute:.0f}, Used {used:.0f}, Requested {amount:.0f}"
                raise _too_many(key, what, asked, bucket.wait_s(amount))
        if state.requests is not None:
            state.requests.level -= 1.0
        if state.tokens is not None:
            state.tokens.level -= tokens
        state.running += 1
        return Hold(key, route, tokens)

    def hosted_left(self, key: Key | None, route: str | None, now: float) -> bool:
        """Whether hosted dollars may still be spent for this request."""
        return self._room(key, route, now) > 0

    def commit(self, hold: Hold, nanousd: int, now: float) -> bool:
        """Reserve the dollars a call is expected to cost. False: they are not there, and nothing is reserved."""
        more = nanousd - hold.nanousd
        if more > 0 and self._room(hold.key, hold.route, now) < more:
            return False
        for spend in self._spends(hold, now):
            spend.reserved += more
        hold.nanousd = nanousd
        return True

    def settle(self, hold: Hold, tokens: int, nanousd: int, now: float) -> None:
        """Replace what was reserved by what it came to. A second call does nothing."""
        if hold.settled:
            return
        hold.settled = True
        for spend in self._spends(hold, now):
            spend.reserved -= hold.nanousd
            spend.spent += nanousd
        state = self._keys.get(hold.key.id) if hold.key is not None else None
        if state is not None and state.running > 0:
            state.running -= 1
            if state.tokens is not None:
                state.tokens.level -= tokens - hold.tokens

    def spent_today(self, route: str, now: float) -> int:
        """Nano-dollars a route's settled requests have cost this UTC day."""
        spend = self._routes.get(route)
        return spend.today(now).spent if spend else 0

    def preset(self, routes: Mapping[str, int], keys: Mapping[str, int], now: float) -> None:
        """Start from what the ledger says was spent today (an earlier process, or others): never lowers what this process knows."""
        for spends, known in ((self._routes, routes), (self._key_spend, keys)):
            for name, nanousd in known.items():
                spend = spends.setdefault(name, _Spend()).today(now)
                spend.spent = max(spend.spent, nanousd)

    def headers(self, key: Key | None, now: float) -> Headers:
        """`x-ratelimit-*` of a key, in OpenAI's format; empty for a key without such limits."""
        state = self._keys.get(key.id) if key is not None else None
        if state is None:
            return []
        found: Headers = []
        for name, bucket in ((b"requests", state.requests), (b"tokens", state.tokens)):
            if bucket is not None:
                level = bucket.refill(now)
                found += [
                    (b"x-ratelimit-limit-" + name, b"%d" % int(bucket.per_minute)),
                    (b"x-ratelimit-remaining-" + name, b"%d" % max(0, int(level))),
                    (b"x-ratelimit-reset-" + name, _duration(bucket.wait_s(bucket.per_minute))),
                ]
        return found

    def _room(self, key: Key | None, route: str | None, now: float) -> int:
        """Nano-dollars left under both budgets; a large number without any."""
        room = 2**62
        limit = self.budgets.get(route) if route is not None else None
        if limit is not None and route is not None:
            spend = self._routes.setdefault(route, _Spend()).today(now)
            room = limit - spend.spent - spend.reserved
        if key is not None and key.nanousd_per_day is not None:
            spend = self._key_spend.setdefault(key.id, _Spend()).today(now)
            room = min(room, key.nanousd_per_day - spend.spent - spend.reserved)
        return room

    def _spends(self, hold: Hold, now: float) -> list[_Spend]:
        found = []
        if hold.route is not None:
            found.append(self._routes.setdefault(hold.route, _Spend()).today(now))
        if hold.key is not None and hold.key.nanousd_per_day is not None:
            found.append(self._key_spend.setdefault(hold.key.id, _Spend()).today(now))
        return found

    def _state(self, key: Key, now: float) -> _KeyState:
        state = self._keys.get(key.id)
        if state is None:
            state = self._keys[key.id] = _KeyState(
                requests=None if key.rpm is None else _Bucket(key.rpm, key.rpm, now),
                tokens=None if key.tpm is None else _Bucket(key.tpm, key.tpm, now),
            )
        return state


def _too_many(key: Key, what: str, detail: str, wait_s: float) -> LimitError:
    return LimitError(f"Rate limit reached for key {key.name!r} on {what}: {detail}. Please try again in {wait_s:.3g}s.", retry_after_s=wait_s)


def _duration(seconds: float) -> bytes:
    """OpenAI writes `8.64s`, `6m0s`, `20ms`."""
    if seconds < 1.0:
        return b"%dms" % round(seconds * 1000)
    minutes, rest = divmod(seconds, 60.0)
    return f"{int(minutes)}m{rest:.3g}s".encode() if minutes else f"{rest:.3g}s".encode()
