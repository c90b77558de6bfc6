"""`/v1/batches`: make, list, show, cancel. What happens to a batch then is the controller's (runner.py); here are only rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from gateway import wishes
from gateway.asgi import Request
from gateway.batches.lines import ENDPOINTS
from gateway.batches.runner import headers
from gateway.context import Gateway
from gateway.files import http, rules
from gateway.store import batches, files
from gateway.store.batches import Batch
from router.errors import LimitError, RequestError

WINDOW = "24h"
_WISHES = ("x-breakeven-pin", "x-breakeven-slo-ms", "x-breakeven-tags", "x-breakeven-no-capture", "x-breakeven-priority")
_MOST_WISH = 4096
# A client that has so many waiting gets no answers sooner by making more.
MOST_UNFINISHED = 200
_INSTANTS = ("in_progress_at", "expires_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at")


class BatchEndpoints:
    """The handlers of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def collection(self, request: Request) -> None:
        """`GET` and `POST /v1/batches`."""
        if request.scope["method"] == "POST":
            await self._create(request)
            return
        owner, asked = http.key_id(self._gateway, request), http.query(request)
        limit = http.limit_of(asked, 20, 100)
        found, more = await http.transact(self._gateway, lambda conn: batches.page(conn, owner, limit, asked.get("after")))
        await http.send_json(request, http.listing([shown(batch) for batch in found], has_more=more))

    async def one(self, request: Request) -> None:
        """`GET /v1/batches/{id}` and `POST /v1/batches/{id}/cancel`."""
        owner = http.key_id(self._gateway, request)
        batch_id, _, verb = request.scope["path"].removeprefix("/v1/batches/").partition("/")
        if not batches.is_ours(batch_id):
            if not http.has_provider(self._gateway):
                raise batches.no_such_batch(batch_id)
            await http.hand_on(self._gateway, request)
            return
        now = self._gateway.clock()
        found = await http.transact(self._gateway, lambda conn: _cancelled(conn, batch_id, owner, now) if verb else batches.owned(conn, batch_id, owner))
        await http.send_json(request, shown(found))

    async def _create(self, request: Request) -> None:
        gateway = self._gateway
        owner = http.key_id(gateway, request)
        body, raw = await http.json_body(request)
        file_id = body.get("input_file_id")
        if not isinstance(file_id, str):
            raise rules.missing("input_file_id")
        if not files.is_ours(file_id) and http.has_provider(gateway):
            await http.hand_on(gateway, request, raw)
            return
        now = gateway.clock()
        made = Batch(
            id=batches.new_id(),
            key_id=owner,
            endpoint=_endpoint(body.get("endpoint")),
            input_file_id=file_id,
            created_at=now,
            expires_at=now + batches.WINDOW_S,
            output_seconds=rules.lifetime_s("batch", rules.expiry(body.get("output_expires_after"), "output_expires_after")) or 0,
            completion_window=_window(body.get("completion_window")),
            metadata=rules.labels(body.get("metadata")),
            headers=_wishes(request),
        )
        wishes.read([(name.encode(), value.encode("latin-1")) for name, value in headers(made).items()])  # too many tags would fail every line
        await http.transact(self._gateway, lambda conn: _add(conn, made, now))
        await http.send_json(request, shown(made))


def shown(batch: Batch) -> dict[str, Any]:
    """A `batch` object."""
    instants = {name: getattr(batch, name) for name in _INSTANTS}
    if batch.status != "expired":
        instants["expired_at"] = None
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": None if batch.errors is None else {"object": "list", "data": batch.errors},
        "input_file_id": batch.input_file_id,
        "completion_window": batch.completion_window,
        "status": batch.status,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": int(batch.created_at),
        **{name: None if value is None else int(value) for name, value in instants.items()},
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "metadata": batch.metadata,
    }


def _add(conn: Connection, batch: Batch, now: float) -> None:
    try:
        file = files.owned(conn, batch.input_file_id, batch.key_id, now)
    except RequestError as error:
        raise RequestError(error.message, status=400, param="input_file_id", code="file_not_found") from None
    if file.purpose != "batch":
        message = f"The input file's purpose is {file.purpose!r}; upload it with purpose 'batch'."
        raise RequestError(message, param="input_file_id", code="invalid_file_purpose")
    if batches.count_unfinished(conn, batch.key_id) >= MOST_UNFINISHED:
        message = f"You have {MOST_UNFINISHED} unfinished batches, which is as many as the gateway takes; wait for some to end, or put more requests into one."
        raise LimitError(message, retry_after_s=60.0)
    batches.add(conn, batch)


def _cancelled(conn: Connection, batch_id: str, owner: str | None, now: float) -> Batch:
    found = batches.owned(conn, batch_id, owner)
    if batches.move(conn, batch_id, "cancelling", now):
        return replace(found, status="cancelling", cancelling_at=now)
    if found.status != "cancelling":
        raise RequestError(f"Cannot cancel a batch with status '{found.status}'.", status=409, code="batch_not_cancellable")
    return found


def _endpoint(value: object) -> str:
    if value is None:
        raise rules.missing("endpoint")
    if not isinstance(value, str) or value not in ENDPOINTS:
        raise RequestError(f"Invalid value for 'endpoint': it must be one of {', '.join(ENDPOINTS)}.", param="endpoint", code="invalid_value")
    return value


def _window(value: object) -> str:
    if value is None:
        raise rules.missing("completion_window")
    if value != WINDOW:
        raise RequestError(f"Invalid value for 'completion_window': it must be '{WINDOW}'.", param="completion_window", code="invalid_value")
    return WINDOW


def _wishes(request: Request) -> dict[str, str]:
    """The wishes that every line shall be sent with. RequestError 400 as for a request of its own."""
    wishes.read(request.scope["headers"])
    found = {name: value.decode("latin-1") for name in _WISHES if (value := request.header(name.encode())) is not None}
    if any(len(value) > _MOST_WISH for value in found.values()):
        raise RequestError(f"Invalid header: keep x-breakeven headers within {_MOST_WISH} characters.", code="invalid_header")
    return found
