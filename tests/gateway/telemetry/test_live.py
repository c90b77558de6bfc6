"""Traces of a live gateway: from a caller's traceparent through the ledger to a receiver."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx

from gateway.controller import Controller
from gateway.telemetry import context
from tests.gateway.conftest import two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.telemetry.collector import Collector
from tests.gateway.upstream_server import UpstreamServer, Wire

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SECRET = "nobody but the provider may read this"


async def busy(wire: Wire) -> None:
    await wire.json({"error": {"message": "busy"}}, 503)


def ask(gateway: LiveGateway, **headers: str) -> httpx.Response:
    body = {"model": "r", "messages": [{"role": "user", "content": SECRET}], "stream": True}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=30)


def test_from_the_caller_to_the_receiver(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """One exchange with a failed attempt is three spans of the caller's trace; the providers' own spans would hang below ours; no text is in any."""
    with Collector() as collector:
        gateway = start({**two_providers(upstream, fallback), "telemetry": {"otlp_endpoint": collector.url, "forward_traceparent": True}})
        upstream.script(busy)
        answer = ask(gateway, traceparent=CALLER)
        assert answer.status_code == 200
        assert ask(gateway).status_code == 200

        async def controlled() -> None:
            controller = Controller(gateway.config, time.time, {})
            stop = asyncio.Event()
            task = asyncio.ensure_future(controller.run(stop))
            try:
                deadline = time.monotonic() + 30
                while len(collector.spans) < 6 and time.monotonic() < deadline:
                    await asyncio.sleep(0.02)
            finally:
                stop.set()
                await asyncio.wait_for(task, 30)

        asyncio.run(controlled())
        rows = {row.id: row for row in gateway.rows(2)}
    row = rows[answer.headers["x-request-id"]]
    assert (row.trace, row.finish_reason) == (CALLER, "stop")
    mine = [span for span in collector.spans if span["trace"] == CALLER[3:35]]
    assert len(mine) == 3
    assert len(collector.spans) == 6
    whole = next(span for span in mine if span["parent"] == CALLER[36:52])
    assert whole["attributes"]["breakeven.decision_id"] == answer.headers["x-breakeven-decision"]
    assert whole["attributes"]["gen_ai.response.finish_reasons"] == ["stop"]
    calls = {span["attributes"]["breakeven.backend"]: span for span in mine if span["parent"] == whole["id"]}
    assert set(calls) == {"one/m", "two/m"}
    assert calls["one/m"]["attributes"]["error.type"] == "http_503"
    for server, name in ((upstream, "one/m"), (fallback, "two/m")):
        assert server.seen[0].headers["traceparent"] == f"00-{CALLER[3:35]}-{calls[name]['id']}-01"
    assert SECRET not in str(collector.spans)
    others = {span["trace"] for span in collector.spans} - {CALLER[3:35]}
    assert others == {context.trace_id(other, None) for other in rows if other != row.id}


def test_nothing_is_kept_or_sent_unless_asked(pair: LiveGateway, upstream: UpstreamServer) -> None:
    """Without telemetry a traceparent goes neither into the ledger nor to a provider."""
    ask(pair, traceparent=CALLER)
    assert pair.row().trace is None
    assert "traceparent" not in upstream.seen[0].headers
