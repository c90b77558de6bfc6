"""The provider's rate limits as OpenAI shows them in `x-ratelimit-*`: two buckets that refill continuously over a minute. Pure but for their levels."""

from __future__ import annotations

_SHOWN_REQUESTS, _SHOWN_TOKENS = 30_000, 150_000_000  # what the headers say where nothing is enforced


class Bucket:
    """Refills at `limit` per minute up to `limit`."""

    def __init__(self, limit: int, now: float) -> None:
        self.limit = limit
        self._level = float(limit)
        self._at = now

    def level(self, now: float) -> float:
        """What may be taken now."""
        # A clock that is set back refills nothing, and takes nothing away.
        self._level = min(self.limit, self._level + max(0.0, now - self._at) * self.limit / 60)
        self._at = now
        return self._level

    def take(self, amount: float, now: float) -> None:
        """Take; never below zero."""
        self._level = max(0.0, self.level(now) - amount)

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` is there; 0 when it is."""
        return max(0.0, (min(amount, self.limit) - self.level(now)) * 60 / self.limit)

    def refill(self, now: float) -> float:
        """Seconds until it is full."""
        return (self.limit - self.level(now)) * 60 / self.limit


class Quota:
    """The buckets of one model."""

    def __init__(self, requests: int | None, tokens: int | None, now: float) -> None:
        self._enforced = {"requests": requests is not None, "tokens": tokens is not None}
        self._buckets = {"requests": Bucket(requests or _SHOWN_REQUESTS, now), "tokens": Bucket(tokens or _SHOWN_TOKENS, now)}

    def take(self, tokens: int, now: float) -> tuple[str, int, float] | None:
        """Take one request of `tokens`; or what is exceeded: (requests|tokens, its limit, seconds to wait)."""
        wanted = {"requests": 1, "tokens": tokens}
        for what, amount in wanted.items():
            wait = self._buckets[what].wait(amount, now)
            if self._enforced[what] and wait > 0:
                return what, self._buckets[what].limit, wait
        for what, amount in wanted.items():
            self._buckets[what].take(amount, now)
        return None

    def headers(self, now: float) -> list[tuple[str, str]]:
        """OpenAI's six headers."""
        found: list[tuple[str, str]] = []
        for what, bucket in self._buckets.items():
            found += [
                (f"x-ratelimit-limit-{what}", str(bucket.limit)),
                (f"x-ratelimit-remaining-{what}", str(int(bucket.level(now)))),
                (f"x-ratelimit-reset-{what}", _duration(bucket.refill(now))),
            ]
        return found


def _duration(seconds: float) -> str:
    """A duration as OpenAI writes it: 12ms, 1.5s, 1m2s."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    return f"{seconds:.3g}s" if seconds < 60 else f"{int(seconds // 60)}m{int(seconds % 60)}s"
