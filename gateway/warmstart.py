"""What a new process takes over from the ledger: how its backends did lately, by its observations. Read once at the start; nothing is written.

Not here: what was spent (spending.py).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.store import observations
from serving.database import reading

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from gateway.context import Gateway
    from gateway.store.observations import Observation


async def warm_up(gateway: Gateway) -> None:
    """Fill the estimators of a gateway that has answered nothing yet."""
    now = gateway.clock()
    for each in await asyncio.to_thread(_read, gateway.database, now):
        _take(gateway, each, now)


def _read(database: Engine, now: float) -> list[Observation]:
    with reading(database) as conn:
        return observations.recent(conn, now)


def _take(gateway: Gateway, seen: Observation, now: float) -> None:
    board = gateway.fleet.board
    ttft_ms, tpot_ms = seen.ttft_ms, seen.tpot_ms
    if seen.total_ms is not None and seen.output_tokens is not None:
        # whole answers do not show their first token: as in live.py, it is taken to be as long as any other
        ttft_ms = seen.total_ms / (seen.output_tokens + 1) if ttft_ms is None else ttft_ms
        tpot_ms = max(seen.total_ms - ttft_ms, 0.0) / seen.output_tokens if tpot_ms is None and seen.output_tokens else tpot_ms
    board.preset(seen.backend, ttft_ms, tpot_ms, seen.total_ms, now)
    board.preset_route(seen.route, seen.backend, seen.output_tokens, seen.bytes_per_token, now)
