"""GET /admin/feedback: what clients said of answers, newest first, by route."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Annotated

import orjson
from fastapi import APIRouter, Query
from sqlalchemy import Engine

from gateway.admin.access import InGateway
from gateway.admin.endpoint import AdminRoute, Body
from gateway.admin.shapes import Instant, Listed
from gateway.store import feedback
from gateway.store.feedback import Feedback
from router.errors import RequestError
from serving.database import reading

router = APIRouter(route_class=AdminRoute, tags=["feedback"])


class FeedbackBody(Body):
    """One word about one answer. `correction` is redacted and null once its route's captures have expired; `corrected` stays."""

    id: str
    time: Instant
    request_id: str
    route: str | None
    backend: str | None
    adapter_version: int | None
    key_id: str | None
    score: float | None
    corrected: bool
    correction: str | None


@router.get("/feedback")
async def index(
    gateway: InGateway,
    route: Annotated[str | None, Query(description="Only of this route.")] = None,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Listed[FeedbackBody]:
    """Feedback, newest first."""
    found = await asyncio.to_thread(_page, gateway.database, route, cursor, limit + 1)
    more = len(found) > limit
    shown = found[:limit]
    fields = ("id", "time", "request_id", "route", "backend", "adapter_version", "key_id", "score", "corrected", "correction")
    data = tuple(FeedbackBody(**{name: getattr(item, name) for name in fields}) for item in shown)
    return Listed[FeedbackBody](data=data, has_more=more, next_cursor=_cursor(shown[-1]) if more else None)


def _page(database: Engine, route: str | None, cursor: str | None, limit: int) -> list[Feedback]:
    with reading(database) as conn:
        return feedback.page(conn, route, None if cursor is None else _read(cursor), limit)


def _cursor(last: Feedback) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([last.time, last.id])).decode().rstrip("=")


def _read(cursor: str) -> tuple[float, str]:
    try:
        time, last = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return float(time), str(last)
    except (ValueError, TypeError, binascii.Error) as error:
        raise RequestError("`cursor` is not one of ours; pass `next_cursor` of the page before, unaltered", param="cursor") from error
