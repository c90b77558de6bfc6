"""Taking connections: many a turn, however long a turn takes."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import cast

import pytest
import uvloop

from gateway import accept
from gateway.accept import Acceptor

CLIENTS = 200


class Counted(asyncio.Protocol):
    """A connection that greets."""

    made = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        type(self).made += 1
        cast("asyncio.Transport", transport).write(b"hello")
        transport.close()


@pytest.fixture(autouse=True)
def fresh() -> None:
    Counted.made = 0


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as made:
        made.setblocking(False)
        yield made


def connected(stack: ExitStack, listening: socket.socket, count: int) -> list[socket.socket]:
    return [stack.enter_context(socket.create_connection(listening.getsockname(), 20)) for _ in range(count)]


def test_many_in_a_turn(listening: socket.socket) -> None:
    """A loop whose turns are long has everybody in after a few of them, beside its own server; each is greeted once."""
    turns = 0

    async def main() -> None:
        nonlocal turns
        loop = asyncio.get_running_loop()

        def turn() -> None:
            nonlocal turns
            turns += 1
            time.sleep(0.01)
            loop.call_soon(turn)

        server = await loop.create_server(Counted, sock=listening)
        acceptor = Acceptor(listening, Counted)
        loop.call_soon(turn)
        async with asyncio.timeout(60):
            while Counted.made < CLIENTS:
                await asyncio.sleep(0)
        acceptor.close()
        server.close()

    with ExitStack() as stack:
        clients = connected(stack, listening, CLIENTS)
        uvloop.run(main())
        assert turns < CLIENTS / 4, "one a turn"
        assert [client.recv(10) for client in clients] == [b"hello"] * CLIENTS
    assert Counted.made == CLIENTS


def test_after_its_end_nobody_is_taken(listening: socket.socket) -> None:
    """The socket is as it was, for whoever accepts next."""

    async def main() -> None:
        Acceptor(listening, Counted).close()
        with ExitStack() as stack:
            connected(stack, listening, 1)
            await asyncio.sleep(0.05)
            taken, _ = listening.accept()
            taken.close()

    uvloop.run(main())
    assert Counted.made == 0


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ECONNABORTED])
def test_no_descriptor_left(listening: socket.socket, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A full table is waited out without turning in circles, and a client that left before it was taken is passed over."""
    monkeypatch.setattr(accept, "_FULL_S", 0.05)
    calls: list[int] = []
    real: Callable[..., object] = socket.socket.accept

    def refuses(self: socket.socket) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise OSError(number, "no")
        return real(self)

    async def main() -> None:
        monkeypatch.setattr(socket.socket, "accept", refuses)
        acceptor = Acceptor(listening, Counted)
        async with asyncio.timeout(20):
            while Counted.made < 3:
                await asyncio.sleep(0.005)
        acceptor.close()

    with ExitStack() as stack:
        connected(stack, listening, 3)
        uvloop.run(main())
    assert len(calls) < 12
