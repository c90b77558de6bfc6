"""From an exchange as the spool packs it (shape.py) to the rows of `exchanges` and `attempts`, without building the exchange in between. Pure.

This is the controller's work for each request, so it is done by position: which value goes into which column is found once for the names a spool file has, and
what an older file does not have gets the default of its field. A column that is named as a field of Exchange or Attempt needs no line here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import Table

from gateway.store.shape import Names
from gateway.store.tables import attempts, exchanges
from router.types import Attempt, Exchange, Outcome, Usage

_OUTCOMES = {outcome.value: outcome.value for outcome in Outcome}
_INTERRUPTED = Outcome.INTERRUPTED.value
_NOT_FAILED = frozenset({None, "hedge_lost"})
_DERIVED = ("minute", "kind", "tags", "outcome", "amortised_nanousd", "total_ms", "failed_attempts")
_OF_ATTEMPT = ("exchange_id", "position", "owner", "ended")
# Stands in for a packed array, so that a wrong length is noticed where it is read.
_WRONG = "an exchange has %d values where its file promises %d"


@dataclass(slots=True)
class Rows:
    """One exchange, in the column order of its tables. `local` are its attempts that ran on an engine."""

    id: str
    minute: int
    exchange: tuple[Any, ...]
    attempts: list[tuple[Any, ...]]
    local: list[Attempt]


class Layout:
    """How exchanges packed under `names` become rows. Make one per spool file; `read` takes no state from one exchange to the next."""

    def __init__(self, names: Names) -> None:
        self._names = names["attempt"]
        self._wide = (len(names["exchange"]), len(names["attempt"]), len(names["usage"]))
        self._unknown = [None] * len(names["usage"])
        tokens = [f"{name}_tokens" for name in names["usage"]]
        self._exchange, self._exchange_rest = _picker(exchanges, Exchange, [*names["exchange"], *tokens, *_DERIVED])
        self._attempt, self._attempt_rest = _picker(attempts, Attempt, [*names["attempt"], *tokens, *_OF_ATTEMPT])
        self._of_exchange = itemgetter(*map(names["exchange"].index, ("id", "time", "backend", "tags", "outcome", "total_ms", "usage_state")))
        wanted = ("backend", "error", "started", "total_ms", "usage_state")
        self._of_attempt = itemgetter(*map(names["attempt"].index, wanted))
        self._kind = names["attempt"].index("kind") if "kind" in names["attempt"] else None

    def read(self, packed: Sequence[Any]) -> Rows:
        """The rows of an exchange that `shape.pack_exchange` packed. Raises ValueError, TypeError or IndexError when it is none."""
        values, usage, calls = packed
        self._check(values, usage)
        identity, time, backend, tags, outcome, total_ms, state = self._of_exchange(values)
        outcome, minute = _OUTCOMES[outcome], int(time // 60)
        rows, local, failed = self._calls(identity, calls)
        kind = None
        if rows and backend is not None:
            kind = "local" if local and local[-1][0] == len(rows) - 1 else "hosted"
        cut = outcome == _INTERRUPTED
        amortised = None if cut or local else 0
        derived = (minute, kind, orjson.dumps(tags).decode() if tags else "{}", outcome, amortised, None if cut else total_ms, failed)
        tokens = self._unknown if state == "unknown" else usage
        exchange = self._exchange((*values, *tokens, *derived, *self._exchange_rest))
        return Rows(identity, minute, exchange, rows, [attempt for _, attempt in local])

    def _calls(self, identity: str, calls: Sequence[Any]) -> tuple[list[tuple[Any, ...]], list[tuple[int, Attempt]], int]:
        """The rows of attempts, which of them were local, and how many failed before the last. One that lost a race has not failed."""
        rows: list[tuple[Any, ...]] = []
        local: list[tuple[int, Attempt]] = []
        failed, last = 0, len(calls) - 1
        for position, (call, usage) in enumerate(calls):
            self._check_call(call, usage)
            backend, error, started, total_ms, state = self._of_attempt(call)
            tokens = self._unknown if state == "unknown" else usage
            more = (identity, position, backend.split("/", 1)[0], started + total_ms / 1000)
            rows.append(self._attempt((*call, *tokens, *more, *self._attempt_rest)))
            if self._kind is not None and call[self._kind] == "local":
                local.append((position, Attempt(**dict(zip(self._names, call, strict=True)), usage=Usage())))
            if position != last and error not in _NOT_FAILED:
                failed += 1
        return rows, local, failed

    def _check(self, values: Sequence[Any], usage: Sequence[Any]) -> None:
        if len(values) != self._wide[0] or len(usage) != self._wide[2]:
            raise ValueError(_WRONG % (len(values) + len(usage), self._wide[0] + self._wide[2]))

    def _check_call(self, call: Sequence[Any], usage: Sequence[Any]) -> None:
        if len(call) != self._wide[1] or len(usage) != self._wide[2]:
            raise ValueError(_WRONG % (len(call) + len(usage), self._wide[1] + self._wide[2]))


def _picker(table: Table, kind: type[Any], names: Sequence[str]) -> tuple[Callable[[Sequence[Any]], tuple[Any, ...]], tuple[Any, ...]]:
    """From values under `names`, followed by the defaults that are given back too, to a row of `table`. Of two values of one name the later counts."""
    places = {name: place for place, name in enumerate(names)}
    defaults = {field.name: field.default for field in fields(kind) if field.default is not MISSING}
    rest = [column.name for column in table.columns if column.name not in places]
    places |= {name: len(names) + place for place, name in enumerate(rest)}
    return itemgetter(*(places[column.name] for column in table.columns)), tuple(defaults.get(name) for name in rest)
