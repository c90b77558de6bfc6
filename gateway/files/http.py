"""What the endpoints of files, uploads, batches and fine-tuning share: who asks, JSON in and out, pages, and handing a request on to the default provider."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import orjson
from sqlalchemy import Connection

from gateway import auth, passthrough
from gateway.asgi import Message, Request, answer, read_body
from gateway.context import Gateway
from router.errors import RequestError
from serving.database import writing

Handler = Callable[[Request], Awaitable[None]]
T = TypeVar("T")
_MOST_JSON_BYTES = 1024 * 1024
_JSON = (b"content-type", b"application/json")


def key_id(gateway: Gateway, request: Request) -> str | None:
    """The id of the key that asks; None while the gateway is open. AuthError 401, or 403 for a key that may not use these endpoints."""
    view = gateway.fleet.view
    key = auth.authenticate(request.header(b"authorization"), view.keys, open_access=view.open_access, now=gateway.clock())
    word = request.scope["path"].split("/", 3)[2]
    auth.check_endpoint(key, word if word in {"batches", "fine_tuning"} else "files")
    return key.id if key is not None else None


async def send_json(request: Request, body: object, status: int = 200) -> None:
    """A whole answer."""
    await answer(request.send, status, [_JSON, (b"x-request-id", request.id.encode())], orjson.dumps(body))


async def json_body(request: Request) -> tuple[dict[str, Any], bytes]:
    """The body as an object, and as it came; no body at all is an empty object. RequestError 400, 413."""
    raw = await read_body(request.scope, request.receive, _MOST_JSON_BYTES)
    try:
        body = orjson.loads(raw) if raw.strip() else {}
    except orjson.JSONDecodeError as error:
        raise RequestError(f"We could not parse the JSON body of your request: {error}. The API expects a JSON payload encoded as UTF-8.") from None
    if not isinstance(body, dict):
        raise RequestError("Invalid body: expected a JSON object.", code="invalid_type")
    return body, raw


def query(request: Request) -> dict[str, str]:
    """The query's parameters; of one that is there twice, the last."""
    return dict(parse_qsl(request.scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))


def limit_of(asked: dict[str, str], usual: int, most: int) -> int:
    """The `limit` of a listing. RequestError 400 outside 1 to `most`."""
    text = asked.get("limit")
    if text is None:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise RequestError(f"Invalid value for 'limit': it must be a whole number from 1 to {most}.", param="limit", code="invalid_value")
    return int(text)


def ascending(asked: dict[str, str]) -> bool:
    """Whether `order` says oldest first. RequestError 400 for other words than asc and desc."""
    order = asked.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise RequestError("Invalid value for 'order': it must be 'asc' or 'desc'.", param="order", code="invalid_value")
    return order == "asc"


def listing(data: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """A page in OpenAI's shape."""
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return {"object": "list", "data": data, "has_more": has_more, **ends}


def has_provider(gateway: Gateway) -> bool:
    """Whether there is a default provider that could have objects of its own."""
    return gateway.fleet.view.config.default_provider is not None


async def hand_on(gateway: Gateway, request: Request, body: bytes | None = None) -> None:
    """Let the default provider answer. `body` is what was already read of the request."""
    await passthrough.serve(gateway, request if body is None else replace(request, receive=_again(request, body)))


def _again(request: Request, body: bytes) -> Callable[[], Awaitable[Message]]:
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            return await request.receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def transact(gateway: Gateway, work: Callable[[Connection], T]) -> T:
    """`work` in a writing transaction, away from the event loop."""

    def run() -> T:
        with writing(gateway.database) as conn:
            return work(conn)

    return await asyncio.to_thread(run)
