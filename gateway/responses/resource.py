"""`/v1/responses/{id}` for translated answers: fetching, deleting, listing their input. Everything else below `/v1/responses/` is the default provider's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import orjson
from sqlalchemy.exc import SQLAlchemyError

from gateway import auth, passthrough
from gateway.asgi import Request, answer
from gateway.responses.ids import is_ours
from gateway.store import responses
from router.errors import LimitError, RequestError
from serving.database import writing

if TYPE_CHECKING:
    from gateway.context import Gateway
    from gateway.store.responses import Stored

PREFIX = "/v1/responses/"
_MOST_LISTED = 100
_LISTED = 20
_WRITE_S = 15.0


async def serve(gateway: Gateway, request: Request) -> None:
    """Answer one request below `/v1/responses/`."""
    response_id, _, rest = request.scope["path"].removeprefix(PREFIX).partition("/")
    if not is_ours(response_id):
        await passthrough.serve(gateway, request)
        return
    view = gateway.fleet.view
    key = auth.authenticate(request.header(b"authorization"), view.keys, open_access=view.open_access, now=gateway.clock())
    auth.check_endpoint(key, "responses")
    method, query = request.scope["method"], parse_qs(request.scope.get("query_string", b"").decode("latin-1"))
    stored = await gateway.responses.one(gateway.database, response_id, key.id if key is not None else None)
    if stored is None:
        raise RequestError(f"Response with id '{response_id[:200]}' not found.", status=404)
    if (method, rest) == ("GET", ""):
        if query.get("stream", [""])[-1] == "true":
            raise RequestError("Only responses made with background=true can be streamed again; leave `stream` out.", param="stream")
        await _send(request, stored.response)
    elif (method, rest) == ("DELETE", ""):
        await _delete(gateway, stored)
        await _send(request, {"id": response_id, "object": "response", "deleted": True})
    elif (method, rest) == ("GET", "input_items"):
        await _send(request, listed(stored, query))
    elif (method, rest) == ("POST", "cancel"):
        raise RequestError("Cannot cancel a synchronous response.", param="response_id")
    else:
        raise RequestError(f"Unknown request URL: {method} {request.scope['path']}.", status=404, code="unknown_url")


def listed(stored: Stored, query: dict[str, list[str]]) -> dict[str, Any]:
    """A page of an answer's own input items. RequestError for a limit, order or position that is none."""
    text, order, after = (query.get(name, [default])[-1] for name, default in (("limit", str(_LISTED)), ("order", "desc"), ("after", "")))
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0
    if not 1 <= limit <= _MOST_LISTED:
        raise RequestError(f"Invalid 'limit': expected an integer between 1 and {_MOST_LISTED}.", param="limit", code="invalid_value")
    if order not in {"asc", "desc"}:
        raise RequestError("Invalid value for 'order': supported values are 'asc' and 'desc'.", param="order", code="invalid_value")
    items = stored.input if order == "asc" else stored.input[::-1]
    if after:
        position = next((index for index, item in enumerate(items) if item["id"] == after), None)
        if position is None:
            raise RequestError(f"No item with id '{after[:200]}' found.", status=404, param="after")
        items = items[position + 1 :]
    page = items[:limit]
    ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
    return {"object": "list", "data": page, **ends, "has_more": len(items) > limit}


async def _delete(gateway: Gateway, stored: Stored) -> None:
    def write() -> None:
        with writing(gateway.database) as conn:
            responses.insert(conn, [stored])  # it may still be on its way from the spool, and must not come back with that
            responses.remove(conn, stored.id, stored.key_id)

    try:
        async with asyncio.timeout(_WRITE_S):
            await asyncio.to_thread(write)
    except (SQLAlchemyError, TimeoutError) as error:
        raise LimitError("The response cannot be deleted right now; try again shortly.", retry_after_s=1.0, status=503, code="overloaded") from error


async def _send(request: Request, body: object) -> None:
    await answer(request.send, 200, [(b"content-type", b"application/json"), (b"x-request-id", request.id.encode())], orjson.dumps(body))
