"""Forgetting: captures and corrections after their route's days, conversations of /v1/responses after thirty, ledger rows after the installation's.

Deletes in chunks, so that nobody waits for the write lock. Ledger rows go by whole UTC days, after their hours and days have been rolled up for good.

Here: what is too old. Not here: the deleting itself, which is each table's own writer's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Engine

from gateway.store import captures, decisions, exchanges, feedback, gpu, gpu_days, responses, rollups, shadow_pairs
from serving.database import reading, writing

# For captures of routes that are not (or no longer) in the configuration.
DEFAULT_CAPTURE_DAYS = 30.0
CHUNK = 1000
# After so many days the shares that single exchanges have of a minute's GPU bill are folded into the day: the exchanges themselves say what they carry.
ALLOCATION_DAYS = 30.0
_DAY_S = 86400.0
_DAY = 1440  # minutes
# What ran across midnight keeps its shares of the last hour before the horizon (calls.LONGEST_S).
_MARGIN = 60


@dataclass(frozen=True, slots=True)
class Swept:
    """How many rows of each kind were deleted; of `responses` whole conversations, of `shares` folded into days."""

    captures: int
    exchanges: int
    decisions: int
    responses: int = 0
    shares: int = 0


def sweep(engine: Engine, now: float, capture_days: Mapping[str, float], ledger_days: float | None = None, chunk: int = CHUNK) -> Swept:
    """Delete what is too old at `now`. `capture_days` by route; `ledger_days` None keeps exchanges and decisions for ever."""
    with reading(engine) as conn:
        routes = captures.routes(conn)
    swept = 0
    for route in routes:
        days = DEFAULT_CAPTURE_DAYS if route is None else capture_days.get(route, DEFAULT_CAPTURE_DAYS)
        swept += _all(engine, chunk, partial(captures.delete_before, route=route, before=now - days * _DAY_S))
    with reading(engine) as conn:
        corrected = feedback.routes(conn)
    for route in corrected:
        days = DEFAULT_CAPTURE_DAYS if route is None else capture_days.get(route, DEFAULT_CAPTURE_DAYS)
        _all(engine, chunk, partial(feedback.forget_corrections, route=route, before=now - days * _DAY_S))
    talks = _all(engine, chunk, partial(responses.delete_before, before=now - responses.KEEP_DAYS * _DAY_S))
    with writing(engine) as conn:
        talks += responses.delete_beyond(conn)
    shares = _shares(engine, now, _whole_days(now, min(ALLOCATION_DAYS, ledger_days or ALLOCATION_DAYS)), chunk)
    if ledger_days is None:
        return Swept(swept, 0, 0, talks, shares)
    return Swept(swept, *_ledger(engine, now, _whole_days(now, ledger_days), chunk), talks, shares)


def _whole_days(now: float, days: float) -> int:
    """The minute before which everything is older than so many days, a whole UTC day."""
    return int((now - days * _DAY_S) // _DAY_S) * _DAY


def _shares(engine: Engine, now: float, before: int, chunk: int) -> int:
    """Fold shares of minutes before `before`; how many. None while something of then is not closed or not summed."""
    while not gpu_days.freeze(engine, before):
        if not gpu_days.refresh(engine, now):
            return 0
    return _all(engine, chunk, partial(gpu.fold, before=before - _MARGIN))


def _ledger(engine: Engine, now: float, before: int, chunk: int) -> tuple[int, int]:
    """Delete exchanges and decisions from before a minute; how many. None while something of then is not rolled up."""
    while not rollups.freeze(engine, before):
        if not rollups.refresh(engine, now):
            return 0, 0
    _all(engine, chunk, partial(rollups.drop_minutes, before=before))
    gone = _all(engine, chunk, partial(exchanges.delete_before, before=before * 60.0))
    _all(engine, chunk, partial(feedback.delete_before, before=before * 60.0))
    _all(engine, chunk, partial(shadow_pairs.delete_before, before=before * 60.0))
    return gone, _all(engine, chunk, partial(decisions.delete_before, before=before * 60.0))


def _all(engine: Engine, chunk: int, delete: Callable[..., int]) -> int:
    total = 0
    while True:
        with writing(engine) as conn:
            deleted = delete(conn, limit=chunk)
        total += deleted
        if not deleted:
            return total
