"""Answers of applications, good ones and such as break the rules, as they reach a client over a real socket."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import uvicorn

from gateway.asgi import LINE, App, Message, Receive, Scope, Send
from gateway.http_edge import Bounds, Edge
from gateway.http_server import protocol

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def start(status: int = 200, **headers: str) -> Message:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()],
    }


def piece(body: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def plays(*messages: Message | Exception) -> App:
    """An application that sends these."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for message in messages:
                if isinstance(message, Exception):
                    raise message
                await send(message)

    return app


@asynccontextmanager
async def serving(app: App, *, draining: bool = False, stops: asyncio.Event | None = None) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server of `app`, which is asked to stop when `stops` is set."""
    edge = Edge(Bounds(), lambda: draining, lambda _: None)
    config = uvicorn.Config(
        cast("Any", app),
        http=cast("Any", protocol(edge)),
        ws="none",
        lifespan="off",
        log_config=None,
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        running = asyncio.create_task(server.serve(sockets=[listening]))
        async with asyncio.timeout(30):
            while not server.started:
                await asyncio.sleep(0.005)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        asked = asyncio.create_task(stop_at(stops, server)) if stops is not None else None
        try:
            yield reader, writer
        finally:
            writer.close()
            if asked is not None:
                asked.cancel()
            server.should_exit = True
            await running


async def stop_at(stops: asyncio.Event, server: uvicorn.Server) -> None:
    await stops.wait()
    server.should_exit = True


async def said(app: App, request: bytes = LAST) -> bytes:
    """Everything an application's answer is on the wire."""
    async with serving(app) as (reader, writer):
        writer.write(request)
        return await asyncio.wait_for(reader.read(), 20)


@pytest.mark.parametrize(
    ("messages", "wire"),
    [
        ((start(content_length="2"), piece(b"ok")), b"content-length: 2\r\nconnection: close\r\n\r\nok"),
        ((start(), piece(b"ok")), b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ((start(), piece(b"a", more=True), piece(b"", more=True), piece(b"b")), b"\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
        ((start(transfer_encoding="chunked"), piece(b"ok")), b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ((start(204), piece()), b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"),
        ((start(599, content_length="0"), piece()), b"HTTP/1.1 599 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
    ],
)
async def test_answers(messages: tuple[Message, ...], wire: bytes) -> None:
    """With a length, in chunks, without a body, with a status that has no name."""
    assert (await said(plays(*messages))).endswith(wire)


@pytest.mark.parametrize("headers", [{"content_length": "300000"}, {}])
async def test_large_pieces(headers: dict[str, str]) -> None:
    """What is not copied together with its head or frame is whole all the same."""
    wire = await said(plays(start(**headers), piece(b"x" * 100_000, more=True), piece(b"y" * 200_000)))
    assert wire.count(b"x") == 100_000
    assert wire.count(b"y") >= 200_000
    assert b"x" * 100_000 in wire


async def test_a_head_does_not_wait_for_its_body() -> None:
    """A client sees the headers of a stream whose first event takes its time."""
    go = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await go.wait()
        await send(piece(b"late"))

    async with serving(app) as (reader, writer):
        writer.write(LAST)
        assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        go.set()
        assert b"late" in await asyncio.wait_for(reader.read(), 20)


async def test_what_is_pushed() -> None:
    """It is written as if it had been sent: in chunks, with a head that still waits, in one piece where it is large, or counted against a length."""

    def pushes(head: Message, *bodies: bytes) -> App:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(head)
            assert all(scope[LINE].push(body) for body in bodies)
            await send(piece(b"."))

        return app

    assert (await said(pushes(start(), b"ab", b"c"))).endswith(b"close\r\n\r\n2\r\nab\r\n1\r\nc\r\n1\r\n.\r\n0\r\n\r\n")
    assert (await said(pushes(start(content_length="4"), b"ab", b"c"))).endswith(b"\r\n\r\nabc.")
    assert b"x" * 100_000 in await said(pushes(start(), b"a", b"x" * 100_000))


async def test_nothing_is_pushed_to_who_does_not_take_it() -> None:
    """A client that reads nothing stops it after a bound, one that left at once; who watches is told once that it left, also when that was before."""
    left, again = asyncio.Event(), asyncio.Event()
    pushed = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal pushed
        line = scope[LINE]
        await receive()
        line.watch(left.set)
        await send(start())
        while line.push(b"z" * 100_000):
            pushed += 1
        await left.wait()
        assert not line.push(b"z")
        line.watch(again.set)
        await again.wait()
        line.watch(None)

    async with serving(app) as (_, writer):
        writer.write(LAST)
        async with asyncio.timeout(20):
            while not pushed:
                await asyncio.sleep(0.01)
        writer.transport.abort()
        await asyncio.wait_for(again.wait(), 20)
    assert 0 < pushed < 500


async def test_a_slow_reader_slows_the_sender() -> None:
    """What a client does not take is not collected in memory; when it takes it, it gets all of it."""
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(start())
        for _ in range(500):
            await send(piece(b"z" * 100_000, more=True))
            sent += 1
        await send(piece())

    async with serving(app) as (reader, writer):
        writer.write(LAST)
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 500
        assert (await asyncio.wait_for(reader.read(), 60)).count(b"z") == 50_000_000


async def test_a_slow_reader_that_leaves_lets_the_sender_go() -> None:
    """It is not waited for."""
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        for _ in range(500):
            await send(piece(b"z" * 100_000, more=True))
        ended.set()

    async with serving(app) as (_, writer):
        writer.write(LAST)
        await asyncio.sleep(0.1)
        writer.transport.abort()
        await asyncio.wait_for(ended.wait(), 20)


@pytest.mark.parametrize(
    "messages",
    [
        (ValueError("a bug"),),
        (piece(b"too soon"),),
        (start(x="a\r\nset-cookie: b"), piece()),
        (start(x="a\nb"), piece()),
        (start(x="a\0b"), piece()),
    ],
    ids=["bug", "body-first", "crlf", "lf", "nul"],
)
async def test_what_breaks_before_it_begins(messages: tuple[Any, ...], caplog: pytest.LogCaptureFixture) -> None:
    """The client gets a 500 in OpenAI's shape, the log the cause; a header is never somebody else's."""
    with caplog.at_level(logging.ERROR):
        wire = await said(plays(*messages))
    assert wire.startswith(b"HTTP/1.1 500 ")
    assert b'"code":"internal_error"' in wire
    assert b"set-cookie" not in wire
    assert "failed" in caplog.text


@pytest.mark.parametrize(
    "messages",
    [
        (start(), piece(b"ok", more=True), ValueError("a bug")),
        (start(content_length="5"), piece(b"no")),
        (start(content_length="1"), piece(b"long")),
        (start(), start(), piece()),
        (start(), piece(b"ok", more=True)),
        (),
    ],
    ids=["bug", "short", "long", "twice", "unfinished", "nothing"],
)
async def test_what_breaks_later_is_cut(messages: tuple[Any, ...], caplog: pytest.LogCaptureFixture) -> None:
    """No client takes it for a whole answer."""
    wire = await said(plays(*messages))
    assert not wire.endswith(b"0\r\n\r\n")
    head, _, body = wire.partition(b"\r\n\r\n")
    assert b"content-length" not in head or len(body) < 5


async def test_a_body_after_the_end_is_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    """It goes nowhere, and the connection serves on."""
    async with serving(plays(start(content_length="2"), piece(b"ok"), piece(b"more"))) as (reader, writer):
        for _ in range(2):
            writer.write(GET)
            assert await asyncio.wait_for(reader.readuntil(b"ok"), 20)
    assert "has no place here" in caplog.text


async def test_what_an_application_receives() -> None:
    """The body in one piece or several, then nothing until the client leaves or the answer is out."""
    got: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while not got or got[-1].get("more_body"):
            got.append(await receive())
        watching = asyncio.ensure_future(receive())
        await asyncio.sleep(0.01)
        assert not watching.done()
        await send(start(content_length="0"))
        await send(piece())
        got.append(await watching)

    async with serving(app) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc")
        await asyncio.sleep(0.05)
        writer.write(b"def")
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        while got[-1]["type"] != "http.disconnect":
            await asyncio.sleep(0.005)
    assert b"".join(message["body"] for message in got[:-1]) == b"abcdef"
    assert got[-1] == {"type": "http.disconnect", "late": False}


async def test_a_draining_server_keeps_no_connection() -> None:
    """Each answer says that it is the connection's last."""
    async with serving(plays(start(content_length="0"), piece()), draining=True) as (reader, writer):
        writer.write(GET)
        assert b"connection: close" in await asyncio.wait_for(reader.read(), 20)


async def test_a_server_that_stops_finishes_what_it_has() -> None:
    """What is being answered is finished, and the connection with it; one that is idle is closed."""
    go, begun, stops = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        begun.set()
        await go.wait()
        await send(piece(b"whole"))

    async with serving(app, stops=stops) as (reader, writer), asyncio.timeout(20):
        other, closing = await asyncio.open_connection(*writer.get_extra_info("peername"))
        writer.write(GET)
        await begun.wait()
        stops.set()
        assert await other.read() == b""
        go.set()
        assert (await reader.read()).endswith(b"5\r\nwhole\r\n0\r\n\r\n")
        closing.close()


async def test_what_outlives_a_stop_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    """A cancelled request without an answer is a 503, one within its answer is cut."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/begun":
            await send(start())
            await send(piece(b"part", more=True))
        await asyncio.Event().wait()

    for path, expected in ((b"/", b"503 Service Unavailable"), (b"/begun", b"part")):
        async with serving(app) as (reader, writer):
            writer.write(b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % path)
            await asyncio.sleep(0.1)
            for task in asyncio.all_tasks():
                if "run_asgi" in str(task.get_coro()):
                    task.cancel()
            wire = await asyncio.wait_for(reader.read(), 20)
        assert expected in wire
        assert not wire.endswith(b"0\r\n\r\n")


def finishes(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> App:
    """An application that gives its whole answer to the line, and says on a second line of the answer's body whether it was taken."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope[LINE].finish(status, headers, body):
            await send(start(200, content_length="4"))
            await send(piece(b"else"))

    return app


async def test_a_whole_answer_is_one_write() -> None:
    """Status line, headers, length and body, and the connection serves the next request."""
    async with serving(finishes(201, [(b"x-a", b"1")], b"{}")) as (reader, writer):
        writer.write(GET + GET)
        for _ in range(2):
            assert await reader.readuntil(b"\r\n\r\n{}") == b"HTTP/1.1 201 Created\r\nx-a: 1\r\ncontent-length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (LAST, b"{}"),
        (b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n", b"{}"),
        (b"GET / HTTP/1.0\r\nhost: x\r\nconnection: keep-alive\r\n\r\n", b"{}"),
        (b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n", b"{}"),
        (GET, b"x" * 70_000),
    ],
)
async def test_what_is_not_as_usual_is_sent_the_usual_way(request_: bytes, body: bytes) -> None:
    """A connection that ends, a HEAD, an old client, one that waits to be told to go on, a large body: nothing is written, the application sends it itself."""
    async with serving(finishes(200, [], body)) as (reader, writer):
        writer.write(request_)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"content-length: 4\r\n" in head


async def test_a_whole_answer_with_a_line_break_in_a_header_is_none(caplog: pytest.LogCaptureFixture) -> None:
    """It would be a header of somebody else's making: the client gets a plain 500."""
    with caplog.at_level(logging.CRITICAL, "breakeven.http"):
        async with serving(finishes(200, [(b"x-a", b"1\r\nx-b: 2")], b"{}")) as (reader, writer):
            writer.write(GET)
            head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"x-b" not in head
