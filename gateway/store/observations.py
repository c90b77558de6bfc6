"""What was recently seen of each backend on each route: the warm start of the router's estimators. Reads only."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, case, func, select

from gateway.store.tables import exchanges
from router.types import Outcome

WINDOW_S = 7 * 86400.0
# The newest answers say enough, and a start must not read a year of rows.
NEWEST = 5000


@dataclass(frozen=True, slots=True)
class Observation:
    """Means over the recent answers of one backend on one route; None where nothing was seen. `tpot_ms` is the time per token after the first."""

    route: str
    backend: str
    answers: int
    output_tokens: float | None
    bytes_per_token: float | None
    cached_share: float | None
    ttft_ms: float | None
    tpot_ms: float | None
    total_ms: float | None


def recent(conn: Connection, now: float, *, window_s: float = WINDOW_S, newest: int = NEWEST) -> list[Observation]:
    """The newest answers that succeeded with the provider's own token counts, no older than `window_s`, by route and backend."""
    e = exchanges.c
    rows = (
        select(e.route, e.backend, e.input_tokens, e.cached_tokens, e.output_tokens, e.prompt_bytes, e.ttft_ms, e.total_ms, e.stream)
        .where(e.time >= now - window_s, e.route.is_not(None), e.backend.is_not(None), e.outcome == Outcome.OK.value, e.usage_state == "provider")
        .order_by(e.time.desc())
        .limit(newest)
        .subquery()
    )
    r = rows.c
    paced = r.stream & r.ttft_ms.is_not(None) & (r.output_tokens > 1)
    sized = (r.input_tokens > 0) & (r.prompt_bytes > 0)
    query = select(
        r.route,
        r.backend,
        func.count().label("answers"),
        func.avg(r.output_tokens).label("output_tokens"),
        func.sum(case((sized, r.prompt_bytes))).label("bytes"),
        func.sum(case((sized, r.input_tokens))).label("sized_tokens"),
        func.sum(r.input_tokens).label("input"),
        func.sum(r.cached_tokens).label("cached"),
        func.avg(r.ttft_ms).label("ttft_ms"),
        func.sum(case((paced, r.total_ms - r.ttft_ms))).label("pace_ms"),
        func.sum(case((paced, r.output_tokens - 1))).label("pace_tokens"),
        func.avg(r.total_ms).label("total_ms"),
    ).group_by(r.route, r.backend)
    return [
        Observation(
            route=row.route,
            backend=row.backend,
            answers=row.answers,
            output_tokens=_float(row.output_tokens),
            bytes_per_token=_ratio(row.bytes, row.sized_tokens),
            cached_share=_ratio(row.cached, row.input),
            ttft_ms=_float(row.ttft_ms),
            tpot_ms=_ratio(row.pace_ms, row.pace_tokens),
            total_ms=_float(row.total_ms),
        )
        for row in conn.execute(query.order_by(r.route, r.backend))
    ]


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _ratio(over: float | None, under: float | None) -> float | None:
    return float(over) / float(under) if over is not None and under else None
