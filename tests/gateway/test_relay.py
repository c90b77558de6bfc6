"""Streams on their way to the client: all of it, in order, no faster than the client reads, and nothing lost at a deadline."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from gateway import relay
from gateway.call import Call
from gateway.guard import Guard
from gateway.run import Run
from gateway.sse import Meter
from router.errors import UpstreamError
from router.types import Outcome
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import DONE, ROLE, STOP, UpstreamServer, Wire, event

PIECES = 400
TEXT = "y" * 40_000


def test_a_client_that_reads_slowly_slows_the_upstream(pair: LiveGateway, upstream: UpstreamServer) -> None:
    """Sixteen megabytes wait with the provider, not in our memory, until the client reads; then every byte comes, and the row says ok."""
    sent: list[int] = []

    async def fast(wire: Wire) -> None:
        await wire.head(200, {"content-type": "text/event-stream"})
        await wire.chunk(ROLE)
        for number in range(PIECES):
            await wire.chunk(event({"content": f"{number:06d}{TEXT}"}))
            sent.append(number)
        await wire.chunk(STOP + DONE)
        await wire.end()

    upstream.script(fast)
    body = json.dumps({"model": "r", "stream": True, "messages": [{"role": "user", "content": "x"}]}).encode()
    with socket.create_connection(("127.0.0.1", pair.port), timeout=30) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n")
        client.sendall(b"content-length: %d\r\n\r\n" % len(body) + body)
        deadline, before = time.monotonic() + 30, -1
        while (not sent or before != len(sent)) and time.monotonic() < deadline:
            before = len(sent)
            time.sleep(0.3)
        assert 0 < len(sent) < PIECES
        received = b"".join(iter(lambda: client.recv(1 << 20), b""))
    places = [received.find(b'"%06dy' % number) for number in range(PIECES)]
    assert places == sorted(places)
    assert min(places) > 0
    assert received.count(b"y") >= PIECES * len(TEXT)
    assert DONE in received
    assert pair.row().outcome is Outcome.OK


async def test_what_a_deadline_finds_waiting_is_sent() -> None:
    """The client takes nothing just then, and in the same moment time is up: the bytes that came go out before the error does."""
    held = event({"content": "waited"})

    class Full:
        def watch(self, left: Callable[[], None] | None) -> None:
            pass

        def push(self, body: bytes) -> bool:
            return False

    class Upstream:
        async def pour(self, tap: Callable[[bytes], bool]) -> None:
            assert not tap(held)
            guard.interrupt("total")
            await asyncio.sleep(10)

        async def read(self) -> bytes:
            raise AssertionError("nothing is read while a piece waits")

    timeouts = SimpleNamespace(idle_ms=10_000.0, min_tokens_per_s=None)
    run = cast("Run", SimpleNamespace(plan=SimpleNamespace(timeouts=timeouts)))
    call = cast("Call", SimpleNamespace(answer=Upstream(), meter=Meter(), held=b"", error=None, name="one/m"))
    request = cast("Any", SimpleNamespace(line=Full(), send=None))
    guard = Guard(None, 60_000.0)
    try:
        out, failure = await relay._pump(run, call, guard, request)
    finally:
        guard.stop()
    assert out == held
    assert isinstance(failure, UpstreamError)
    assert failure.code == "upstream_timeout:total"
