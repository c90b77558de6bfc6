"""The seam to upstreams: every error of the HTTP library becomes one of ours, and no address shows."""

from __future__ import annotations

import asyncio
import inspect
import ssl

import aiohttp
import pytest

from gateway.upstream import Upstreams, translated
from router.errors import UpstreamError, UpstreamTimeout
from tests.gateway.upstream_server import UpstreamServer, Wire, completion


def example(kind: type[BaseException]) -> BaseException | None:
    """An instance, where one can be made from simple parts."""
    key = aiohttp.client_reqrep.ConnectionKey("10.9.8.7", 443, True, None, None, None, None)
    for arguments in ((), ("x",), (key, OSError(1, "x")), (None, ()), (key, ssl.CertificateError()), ("h", 1), (b"a", b"b", "10.9.8.7", 1)):
        try:
            return kind(*arguments)
        except TypeError:
            continue
    return None


FOREIGN = [kind for _, kind in inspect.getmembers(aiohttp, inspect.isclass) if issubclass(kind, aiohttp.ClientError)]


@pytest.mark.parametrize("kind", [*FOREIGN, ConnectionResetError, TimeoutError, OSError], ids=lambda kind: kind.__name__)
def test_every_foreign_error_is_translated(kind: type[Exception]) -> None:
    """The whole family of the library's errors, and the system's."""
    error = example(kind)
    if error is None:
        pytest.skip("cannot be made from simple parts")
    with pytest.raises(UpstreamError) as caught, translated("one/m"):
        raise error
    assert caught.value.message.startswith("one/m")
    assert "10.9.8.7" not in caught.value.message


def test_most_of_the_family_is_covered() -> None:
    """The test above is not a list of skips."""
    assert sum(example(kind) is not None for kind in FOREIGN) >= len(FOREIGN) - 2


async def test_a_connection_that_does_not_come_about() -> None:
    """The connect timeout is the connection's own. A full backlog never answers."""
    import socket

    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        await asyncio.sleep(0.05)
        upstreams = Upstreams()
        try:
            with pytest.raises(UpstreamTimeout) as caught:
                await upstreams.post("one/m", f"http://127.0.0.1:{port}/v1/x", {}, b"{}", 100.0)
            assert caught.value.phase == "connect"
        finally:
            await upstreams.close()
            for filler in fillers:
                filler.close()


async def test_an_answer_that_is_too_large(upstream: UpstreamServer) -> None:
    """A bound on what is kept in memory."""

    async def large(wire: Wire) -> None:
        await wire.json(b"x" * 100_000)

    upstream.script(large)
    upstreams = Upstreams()
    answer = await upstreams.post("one/m", f"{upstream.url}/v1/x", {}, b"{}", 1000.0)
    with pytest.raises(UpstreamError, match="more than 1000 bytes"):
        await answer.body(1000)
    answer.close()
    answer.close()
    await upstreams.close()


async def test_compressed_answers_are_read(upstream: UpstreamServer) -> None:
    """We ask for none, but a server that compresses anyway is understood."""
    import gzip

    import orjson

    async def compressed(wire: Wire) -> None:
        await wire.json(gzip.compress(orjson.dumps(completion())), headers={"content-encoding": "gzip"})

    upstream.script(compressed)
    upstreams = Upstreams()
    answer = await upstreams.post("one/m", f"{upstream.url}/v1/x", {}, b"{}", 1000.0)
    assert orjson.loads(await answer.body(10_000)) == completion()
    answer.close()
    await upstreams.close()


async def test_an_answer_that_is_not_read_is_cut(upstream: UpstreamServer) -> None:
    """Closing early ends the work upstream."""

    async def endless(wire: Wire) -> None:
        await wire.head(200, {"content-type": "text/event-stream"})
        await wire.chunk(b": x\n\n")
        await wire.until_closed()

    upstream.script(endless)
    upstreams = Upstreams()
    answer = await upstreams.post("one/m", f"{upstream.url}/v1/x", {}, b"{}", 1000.0)
    assert await answer.read() == b": x\n\n"
    answer.close()
    assert await asyncio.to_thread(upstream.seen[0].closed.wait, 2)
    await upstreams.close()
