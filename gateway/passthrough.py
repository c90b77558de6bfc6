"""Every other `/v1/*` endpoint: relayed to the default provider as it is, for keys that may. One ledger row, whose usage is not known.

Nothing is decided here and nothing fails over: there is one provider, and only it knows the endpoint.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING

from gateway import auth, body
from gateway.answer import passed
from gateway.asgi import Broken, ClientGone, Request, send_body, send_start
from gateway.guard import Guard
from gateway.plans import provider_headers
from router.errors import LedgerError, LimitError, RequestError, UpstreamError, UpstreamTimeout
from router.types import CostState, Exchange, Outcome, Usage

if TYPE_CHECKING:
    from gateway.config.models import ProviderConfig
    from gateway.context import Gateway
    from gateway.store.keys import Key

_TIMEOUT_MS = 600_000.0
# How long a request may wait for a place: as long as a route waits for a first token unless it says otherwise.
_WAIT_S = 30.0
_CONNECT_MS = 5_000.0
_SENT = frozenset({b"content-type", b"accept", b"openai-beta", b"range", b"x-client-request-id"})
_RETURNED = frozenset({"content-type", "content-disposition", "content-range", "accept-ranges", "cache-control", "etag"})


async def serve(gateway: Gateway, request: Request) -> None:
    """Relay one request. BreakevenError before anything was sent to the client, to be answered by the edge."""
    now, view, scope = gateway.clock(), gateway.fleet.view, request.scope
    key = auth.authenticate(request.header(b"authorization"), view.keys, open_access=view.open_access, now=now)
    provider = view.config.default_provider
    target = _target(scope)
    if provider is None:
        raise RequestError(
            f"Unknown request URL: {scope['method']} {scope['path']}. There is no default provider to pass it on to.", status=404, code="unknown_url"
        )
    auth.check_passthrough(key, scope["path"])
    content = await body.read(request, gateway.admission.bodies)
    await gateway.admission.enter(key.id if key is not None else "-", "normal", _WAIT_S, request.receive)
    try:
        hold = gateway.limits.reserve(key, None, 0, now)
        try:
            _admit(gateway, request, key, now)
            await _Relay(gateway, request, provider, key, now).run(target, content)
        finally:
            gateway.limits.settle(hold, 0, 0, gateway.clock())
    finally:
        gateway.admission.leave()


class _Relay:
    """One request on its way through."""

    def __init__(self, gateway: Gateway, request: Request, provider: ProviderConfig, key: Key | None, now: float) -> None:
        self.gateway = gateway
        self.request = request
        self.provider = provider
        self.key = key
        self.now = now
        self.name = gateway.fleet.view.config.server.default_provider
        self.status = 0
        self.outcome = Outcome.INTERRUPTED

    async def run(self, target: str, body: bytes) -> None:
        guard = Guard(self.request.receive, _TIMEOUT_MS)
        guard.expect("total", _TIMEOUT_MS)
        try:
            await self._pump(guard, target, body)
        except ClientGone:
            self.outcome = Outcome.CLIENT_GONE
        except asyncio.CancelledError:
            reason = guard.caught()
            if reason is None:
                raise
            self.outcome = Outcome.CLIENT_GONE if reason == "client_gone" else Outcome.TIMEOUT
            if reason != "client_gone" and not self.status:
                raise UpstreamTimeout(f"{self.name} did not answer in time", phase="total") from None
        except UpstreamError:
            self.outcome = Outcome.UPSTREAM_ERROR
            if not self.status:
                raise
            raise Broken from None
        finally:
            guard.stop()
            self.gateway.spool.settle(self._row())

    async def _pump(self, guard: Guard, target: str, body: bytes) -> None:
        request, scope = self.request, self.request.scope
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name in _SENT}
        url = str(self.provider.base_url) + target
        upstream = await self.gateway.upstream.call(scope["method"], self.name, url, headers | provider_headers(self.provider), body or None, _CONNECT_MS)
        try:
            self.status = upstream.status
            returned = [
                (name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in upstream.headers.items() if name.lower() in _RETURNED
            ]
            own = [(b"x-request-id", request.id.encode()), (b"x-breakeven-backend", self.name.encode())]
            await send_start(request.send, upstream.status, [*returned, *passed(upstream.headers), *own])
            while data := await upstream.read():
                await send_body(request.send, data, more=True)
        finally:
            upstream.close()
        guard.stop()
        self.outcome = Outcome.OK if self.status < 400 else Outcome.CLIENT_ERROR if self.status < 500 else Outcome.UPSTREAM_ERROR
        await send_body(request.send, b"", more=False)

    def _row(self) -> Exchange:
        free = self.request.scope["method"] in {"GET", "HEAD", "DELETE"} or self.status >= 400
        state: CostState = "known" if free else "unknown"
        return Exchange(
            id=self.request.id,
            time=self.now,
            route=None,
            endpoint=self.request.scope["path"],
            backend=self.name,
            adapter_version=None,
            key_id=self.key.id if self.key is not None else None,
            tags=dict(self.key.tags or {}) if self.key is not None else {},
            stream=False,
            status=self.status,
            outcome=self.outcome,
            usage=Usage(),
            usage_state="unknown",
            cost_nanousd=0 if free else None,
            cost_state=state,
            opportunity_nanousd=None,
            all_hosted_nanousd=None,
            ttft_ms=None,
            total_ms=(perf_counter() - self.request.started) * 1000.0,
            overhead_ms=None,
            reason="pinned",
            decision_id=None,
            sandbox=self.provider.sandbox,
        )


def _admit(gateway: Gateway, request: Request, key: Key | None, now: float) -> None:
    try:
        gateway.spool.admit(request.id, now, None, request.scope["path"], key.id if key is not None else None)
    except LedgerError as error:
        raise LimitError(f"The gateway cannot keep its books right now: {error.message}", retry_after_s=5.0, status=503, code="overloaded") from error


def _target(scope: object) -> str:
    """What stands behind `/v1` in the request line, encoded as it came. RequestError 400 for a path that would climb out of the API."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()  # type: ignore[attr-defined,index]
    query: bytes = scope.get("query_string", b"")  # type: ignore[attr-defined]
    path = raw.partition(b"?")[0].decode("latin-1")
    parts = path.lower().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").replace("\\", "/").split("/")
    if ".." in parts or not path.startswith("/v1/") or not scope["path"].isprintable():  # type: ignore[index]
        raise RequestError("Invalid path.", status=400, code="invalid_path")
    return path.removeprefix("/v1") + (f"?{query.decode('latin-1')}" if query else "")
