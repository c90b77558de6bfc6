"""Evidence about versions, read from the ledger and its neighbours: which calls failed, what clients said, how far shadow calls agreed.

Sums are all that is read, so nothing is lost by a restart. What is older than any call can still be settled is summed once and remembered. Not here: what it
means (router/stage.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, func, select

from gateway.store import feedback, shadow_pairs
from gateway.store.tables import attempts, exchanges
from router.evidence import NOTHING, Tally

# A request settles within its route's `timeouts.total_ms` (600 s, unless a route waits longer): rows older than this are all there, and summed now and then.
SETTLED_S = 900.0
_AGAIN_S = 300.0
# Evidence begins anew after so long in one stage: each span has its own alpha, and what is true today is asked of this week.
SPAN_S = 7 * 86_400.0
# What a model can be blamed for. Overload, dead connections and slow starts are the circuit breaker's business, and hit all versions of an engine alike.
_FAULTS = frozenset({"upstream_cut", "upstream_malformed", "upstream_stream_error", "upstream_timeout:idle"})
_NOT_FAULTS = frozenset({"http_502", "http_503", "http_504"})


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls that a backend answered or failed by its own fault, and how many of them failed."""

    answers: int = 0
    failed: int = 0


NO_CALLS = Calls()


@dataclass(frozen=True, slots=True)
class Sums:
    """Everything that is known of a route since an instant, by backend; `agreed` by (adapter, version)."""

    calls: dict[str, Calls]
    feedback: dict[str, Tally]
    agreed: dict[tuple[str, int], Tally]

    def said(self, backend: str) -> Tally:
        """What clients said of a backend."""
        return self.feedback.get(backend, NOTHING)


@dataclass(slots=True)
class _Known:
    until: float
    calls: dict[str, Calls]


@dataclass(slots=True)
class Gatherer:
    """Reads sums. `forget` what was not asked for since the last time."""

    _known: dict[tuple[str, float], _Known] = field(default_factory=dict)
    _used: set[tuple[str, float]] = field(default_factory=set)

    def sums(self, conn: Connection, route: str, since: float, now: float) -> Sums:
        """All sums of a route from `since` on."""
        return Sums(
            calls=self._calls(conn, route, since, now),
            feedback={backend: Tally(n, total) for backend, (n, total) in feedback.sums(conn, route, since).items()},
            agreed={place: Tally(n, total) for place, (n, total) in shadow_pairs.sums(conn, route, since).items()},
        )

    def forget(self) -> None:
        """Drop what nobody asked for since the last call of this."""
        self._known = {key: known for key, known in self._known.items() if key in self._used}
        self._used = set()

    def _calls(self, conn: Connection, route: str, since: float, now: float) -> dict[str, Calls]:
        key = (route, since)
        self._used.add(key)
        known = self._known.setdefault(key, _Known(since, {}))
        settled = now - SETTLED_S
        if settled - known.until >= _AGAIN_S:
            known.calls = _added(known.calls, _counted(conn, route, known.until, settled))
            known.until = settled
        return _added(known.calls, _counted(conn, route, known.until, None))


def span_of(entered: float, now: float) -> float:
    """The beginning of the span of evidence that `now` is in, for a stage entered then."""
    return entered + max(0.0, (now - entered) // SPAN_S) * SPAN_S


def _counted(conn: Connection, route: str, since: float, until: float | None) -> dict[str, Calls]:
    e, a = exchanges.c, attempts.c
    query = (
        select(a.backend, a.error, func.count())
        .select_from(exchanges.join(attempts, a.exchange_id == e.id))
        .where(e.route == route, e.time >= since)
        .group_by(a.backend, a.error)
    )
    if until is not None:
        query = query.where(e.time < until)
    found: dict[str, Calls] = {}
    for backend, error, count in conn.execute(query):
        if error is None or is_fault(error):
            before = found.get(backend, NO_CALLS)
            found[backend] = Calls(before.answers + count, before.failed + (0 if error is None else count))
    return found


def is_fault(error: str) -> bool:
    """Whether a call's error says something about the model that was asked."""
    return error in _FAULTS or (error.startswith("http_5") and error not in _NOT_FAULTS)


def _added(one: dict[str, Calls], other: dict[str, Calls]) -> dict[str, Calls]:
    empty = NO_CALLS
    return {
        name: Calls(one.get(name, empty).answers + other.get(name, empty).answers, one.get(name, empty).failed + other.get(name, empty).failed)
        for name in one.keys() | other.keys()
    }
