"""From an exchange as the spool packs it (shape.py) to the rows of `exchanges` and `attempts`, without building the exchange in between. Pure.

This is the controller's work for each request, so it is done by position: which value goes into which column is found once for the names a spool file has, and
what an older file does not have gets the default of its field. A column that is named as a field of Exchange or Attempt needs no line here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import Table

from gateway.store.shape import Names
from gateway.store.tables import attempts, exchanges
from router.types import Attempt, Exchange, Outcome

# (engine, start, end) of a call, epoch seconds.
Run = tuple[str, float, float]
_dumps = orjson.dumps
_OUTCOMES = {outcome.value: outcome.value for outcome in Outcome}
_INTERRUPTED = Outcome.INTERRUPTED.value
_NOT_FAILED = frozenset({None, "hedge_lost"})
_DERIVED = ("minute", "kind", "tags", "outcome", "amortised_nanousd", "total_ms", "failed_attempts")
_OF_ATTEMPT = ("exchange_id", "position", "owner", "ended")
_WRONG = "an exchange has %d values where its file promises %d"


@dataclass(slots=True)
class Rows:
    """Exchanges as rows, in the column order of their tables. `local`: (engine, start, end) of each attempt that ran on an engine, epoch seconds."""

    ids: list[str] = field(default_factory=list)
    minutes: set[int] = field(default_factory=set)
    exchanges: list[tuple[Any, ...]] = field(default_factory=list)
    attempts: list[tuple[Any, ...]] = field(default_factory=list)
    local: list[Run] = field(default_factory=list)


class Layout:
    """How exchanges packed under `names` become rows. Make one per piece of a spool file; `read` takes no state from one exchange to the next."""

    def __init__(self, names: Names) -> None:
        self._wide = (len(names["exchange"]), len(names["attempt"]), len(names["usage"]))
        self._unknown = [None] * len(names["usage"])
        tokens = [f"{name}_tokens" for name in names["usage"]]
        self._exchange, self._exchange_rest = _picker(exchanges, Exchange, [*names["exchange"], *tokens, *_DERIVED])
        self._attempt, self._attempt_rest = _picker(attempts, Attempt, [*names["attempt"], *tokens, *_OF_ATTEMPT])
        self._of_exchange = itemgetter(*map(names["exchange"].index, ("id", "time", "backend", "tags", "outcome", "total_ms", "usage_state")))
        wanted = ("backend", "error", "started", "total_ms", "usage_state")
        self._of_attempt = itemgetter(*map(names["attempt"].index, wanted))
        self._kind = names["attempt"].index("kind") if "kind" in names["attempt"] else None
        self._owners: dict[str, str] = {}

    def read(self, packed: Sequence[Any], into: Rows) -> None:
        """Add the rows of an exchange that `shape.pack_exchange` packed. Raises ValueError, TypeError or IndexError when it is none; then nothing is added."""
        values, usage, calls = packed
        if len(values) != self._wide[0] or len(usage) != self._wide[2]:
            raise ValueError(_WRONG % (len(values) + len(usage), self._wide[0] + self._wide[2]))
        identity, time, backend, tags, outcome, total_ms, state = self._of_exchange(values)
        outcome, minute = _OUTCOMES[outcome], int(time // 60)
        rows, local, failed, last_local = self._calls(identity, calls)
        kind = None
        if rows and backend is not None:
            kind = "local" if last_local else "hosted"
        cut = outcome == _INTERRUPTED
        amortised = None if cut or local else 0
        tags = _dumps(tags).decode() if tags else "{}"
        tokens = self._unknown if state == "unknown" else usage
        into.exchanges.append(
            self._exchange((*values, *tokens, minute, kind, tags, outcome, amortised, None if cut else total_ms, failed, *self._exchange_rest))
        )
        into.ids.append(identity)
        into.minutes.add(minute)
        into.attempts += rows
        into.local += local

    def _calls(self, identity: str, calls: Sequence[Any]) -> tuple[list[tuple[Any, ...]], list[Run], int, bool]:
        """The rows of attempts, which of them were local, how many failed before the last, whether the last was local. Who lost a race has not failed."""
        rows: list[tuple[Any, ...]] = []
        local: list[Run] = []
        failed, last, last_local = 0, len(calls) - 1, False
        wide, wide_usage, at = self._wide[1], self._wide[2], self._kind
        for position, (call, usage) in enumerate(calls):
            if len(call) != wide or len(usage) != wide_usage:
                raise ValueError(_WRONG % (len(call) + len(usage), wide + wide_usage))
            backend, error, started, total_ms, state = self._of_attempt(call)
            owner = self._owners.get(backend)
            if owner is None:
                owner = self._owners[backend] = backend.split("/", 1)[0]
            tokens = self._unknown if state == "unknown" else usage
            ended = started + total_ms / 1000
            rows.append(self._attempt((*call, *tokens, identity, position, owner, ended, *self._attempt_rest)))
            last_local = at is not None and call[at] == "local"
            if last_local:
                local.append((owner, started, ended))
            if position != last and error not in _NOT_FAILED:
                failed += 1
        return rows, local, failed, last_local


def _picker(table: Table, kind: type[Any], names: Sequence[str]) -> tuple[Callable[[Sequence[Any]], tuple[Any, ...]], tuple[Any, ...]]:
    """From values under `names`, followed by the defaults that are given back too, to a row of `table`. Of two values of one name the later counts."""
    places = {name: place for place, name in enumerate(names)}
    defaults = {each.name: each.default for each in fields(kind) if each.default is not MISSING}
    rest = [column.name for column in table.columns if column.name not in places]
    places |= {name: len(names) + place for place, name in enumerate(rest)}
    return itemgetter(*(places[column.name] for column in table.columns)), tuple(defaults.get(name) for name in rest)
