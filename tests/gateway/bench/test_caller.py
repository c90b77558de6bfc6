"""Clients that load: what counts as an answer, and what as a failure of which kind. Over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bench import load, messages
from gateway.bench.caller import Events, Job
from gateway.bench.upstream import Upstream

Speaks = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BODY = b"".join(b'data: {"delta":{"content":"%d "}}\n\n' % n for n in range(messages.CHUNKS)) + messages.DONE


def job(port: int, stream: str = "", **more: Any) -> Job:
    request = messages.request(("127.0.0.1", port), "m", "k", stream).decode()
    return Job("127.0.0.1", port, request, **{"clients": 2, "seconds": 0.05, "stream": bool(stream), **more})


async def answered(stream: str = "", **more: Any) -> dict[str, Any]:
    """A job against the benchmark's own upstream."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    async with server:
        return await load.run(job(server.sockets[0].getsockname()[1], stream, **more))


async def failed(speaks: Speaks, stream: str = "", **more: Any) -> dict[str, int]:
    """How the answers of a server that goes wrong are counted."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}]")
        await speaks(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        found = await load.run(job(server.sockets[0].getsockname()[1], stream, **more))
    assert found["done"] == 0
    return dict(found["failed"])


@given(st.lists(st.integers(0, len(BODY)), max_size=8))
def test_events_are_counted_however_they_are_cut(cuts: list[int]) -> None:
    """Any split of a stream gives the same events and delays as the whole."""
    places = [0, *sorted(cuts), len(BODY)]
    events = Events()
    late = [each for start, end in pairwise(places) for each in events.add(BODY[start:end], 1000)]
    assert late == [1000 - n for n in range(messages.CHUNKS)]
    assert events.whole


def test_a_stream_without_its_end_is_not_whole() -> None:
    """[DONE] and all fifty events, or it is broken."""
    unfinished, short = Events(), Events()
    unfinished.add(BODY.removesuffix(messages.DONE), 0)
    short.add(BODY.partition(b"\n\n")[2], 0)
    assert not unfinished.whole
    assert not short.whole


async def test_chats_go_round() -> None:
    """Each client asks again when it has its answer; every answer has a latency."""
    found = await answered()
    assert found["failed"] == {}
    assert found["done"] == len(found["latency_us"]) >= 2
    assert found["delay_us"] == []


@pytest.mark.parametrize("stream", ["instant", "paced"])
async def test_streams_come_whole(stream: str) -> None:
    """Fifty events a stream, each with its delay; a paced one takes its time although time is up."""
    found = await answered(stream, stagger_s=0.01)
    assert found["failed"] == {}
    assert found["done"] >= 2
    assert len(found["delay_us"]) == found["done"] * messages.CHUNKS
    if stream == "paced":
        assert min(found["latency_us"]) >= 0.9e6


async def test_a_soak_keeps_no_single_figures() -> None:
    """Counts only."""
    found = await answered("instant", keep=False)
    assert found["done"] >= 2
    assert (found["latency_us"], found["delay_us"]) == ([], [])


async def test_a_cut_is_a_failure() -> None:
    """The connection closed in front of the answer."""

    async def speaks(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")

    assert set(await failed(speaks)) == {"cut"}


async def test_an_error_is_a_failure() -> None:
    """By its status."""

    async def speaks(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    assert set(await failed(speaks)) == {"status 503"}


async def test_a_short_stream_is_a_failure() -> None:
    """A 200 with too few events."""

    async def speaks(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(messages.stream_head() + messages.stamped(1) + messages.stream_end())

    assert set(await failed(speaks, "instant")) == {"short"}


async def test_what_is_not_http_is_a_failure() -> None:
    """Whatever it is."""

    async def speaks(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-hello\r\n\r\n")

    assert set(await failed(speaks)) == {"malformed"}


async def test_silence_is_a_failure() -> None:
    """A stream that stops is stalled; what has not ended after the grace is unfinished."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(messages.stream_head())
        await reader.read(100_000)
        await reader.read()

    assert await failed(silent, "instant", stall_s=0.1) == {"stalled": 2}
    assert await failed(silent, "instant", grace_s=0.1) == {"unfinished": 2}


async def test_nobody_there_is_a_failure() -> None:
    """A port that nobody listens on."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    found = await load.run(job(port))
    assert set(found["failed"]) == {"connect"}


async def test_the_upstream_survives_nonsense() -> None:
    """It closes the connection and serves the next."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"nonsense\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        assert (await load.run(job(port)))["failed"] == {}


async def test_a_rate_is_kept() -> None:
    """A client that is told a pace asks no more often, and its waiting is no stall."""
    found = await answered(clients=2, seconds=0.5, every_s=0.2, stall_s=0.1, stagger_s=0.1)
    assert found["failed"] == {}
    assert 2 <= found["done"] <= 6
