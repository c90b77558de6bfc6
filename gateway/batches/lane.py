"""A worker's end of the lane: lines of batches come in here, go the way of every request, and leave room for the clients who wait.

A request of the lane says whose it is in its ASGI scope, where nothing from the network can write; key, scope, limits, budget, decision and ledger row are
then the same as for a client's own request. Not here: which lines are sent and when (runner.py).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gateway import http_errors
from gateway.asgi import App, Message
from gateway.auth import CALLER, Caller
from gateway.batches.frames import Asked, Said, read_asked, send_said
from gateway.batches.lines import ENDPOINTS

if TYPE_CHECKING:
    from gateway.context import Gateway
    from gateway.store.keys import Key

log = logging.getLogger("breakeven.batches")

# Lines a worker answers at a time while nobody else asks; each request of a client takes one of these places, down to one.
WIDTH = 16
_LOOK_S = 0.02
_PAUSE_S = 0.1
_JSON = (b"content-type", b"application/json")
# Nobody waits for a batch: where places are short it is the first to step back.
_LOW = (b"x-breakeven-priority", b"low")


class Lane:
    """One per worker: `start`, then `refuse` when it drains, then `close`."""

    def __init__(self, app: App, gateway: Gateway, listening: socket.socket) -> None:
        self.running = 0
        self._app, self._gateway, self._listening = app, gateway, listening
        self._accepting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._look: asyncio.TimerHandle | None = None
        self._end_at: float | None = None
        self._by_id: tuple[Mapping[str, Key], dict[str, Key]] = ({}, {})

    async def start(self) -> None:
        """Take lines from the socket that all workers share."""
        self._accepting = asyncio.create_task(self._accept(), name="lane")

    def refuse(self, patience_s: float) -> None:
        """Take no more lines: those that wait are sent back, those under way have so many seconds."""
        if self._end_at is None:
            self._end_at = asyncio.get_running_loop().time() + patience_s
        if self._accepting is not None:
            self._accepting.cancel()
        self._listening.close()
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(False)

    async def close(self) -> None:
        """Wait for the lines under way, as long as `refuse` gave them (no time, if it was not called); what is not done by then is ended and booked."""
        self.refuse(0.0)
        if self._tasks and self._end_at is not None:
            await asyncio.wait(self._tasks, timeout=max(0.0, self._end_at - asyncio.get_running_loop().time()))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self) -> None:
        """As `start_unix_server` would, which on some versions removes the socket's name when one of the workers that share it stops."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                taken, _ = await loop.sock_accept(self._listening)
            except OSError as error:
                log.warning("the lane cannot take a line now: %s", error)
                await asyncio.sleep(_PAUSE_S)
                continue
            protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._take)
            await loop.connect_accepted_socket(lambda protocol=protocol: protocol, taken)  # type: ignore[misc]

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A task of our own: Python 3.11 logs a traceback for each of its own that was cancelled."""
        task = asyncio.create_task(self._handle(reader, writer), name="line of a batch")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            said = await self._answer(await read_asked(reader), reader)
            if said is not None:
                await send_said(writer, said)
        except (EOFError, ConnectionError):
            return  # the controller left; it will ask again
        except (ValueError, KeyError, TypeError) as error:
            log.error("something that is no request came over the lane: %s", error)  # noqa: TRY400  one of this user's processes wrote it
        finally:
            writer.close()

    async def _answer(self, asked: Asked, reader: asyncio.StreamReader) -> Said | None:
        """The answer, or None when the controller left."""
        if asked.path not in ENDPOINTS:
            return _refusal(404, f"{asked.path} is no endpoint of batches.", "unknown_url")
        if not await self._room():
            return _refusal(503, "This worker is being stopped.", "overloaded", {"retry-after-ms": "500"})
        try:
            caller = self._caller(asked.key_id)
            if reader.at_eof():
                return None
            if caller is None:
                return _refusal(401, "The key that made this batch was revoked or has expired.", "invalid_api_key")
            return await self._ask(asked, caller, reader)
        finally:
            self.running -= 1
            self._pump()

    async def _ask(self, asked: Asked, caller: Caller, reader: asyncio.StreamReader) -> Said | None:
        begun: list[Message] = []
        body: list[bytes] = []
        given = False

        async def receive() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": asked.body, "more_body": False}
            await reader.read(1)
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                begun.append(message)
            else:
                body.append(message.get("body", b""))

        await self._app(_scope(asked, caller), receive, send)
        if not begun:
            return None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in begun[0]["headers"]}
        return Said(begun[0]["status"], headers, b"".join(body))

    def _caller(self, key_id: str | None) -> Caller | None:
        """Whose the request is; None when that key opens nothing (any more)."""
        view = self._gateway.fleet.view
        if key_id is None:
            return Caller(None) if view.open_access else None
        if self._by_id[0] is not view.keys:
            self._by_id = (view.keys, {key.id: key for key in view.keys.values()})
        key = self._by_id[1].get(key_id)
        return Caller(key) if key is not None and key.usable(self._gateway.clock()) else None

    async def _room(self) -> bool:
        """Wait for a place, first come first served, and take it. False: the worker is being stopped."""
        if self._end_at is not None:
            return False
        place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._pump()
        return await place

    def _pump(self) -> None:
        """Give away the places there are. Clients come and go without telling, so while lines wait this looks again and again."""
        others = self._gateway.admission.running - self.running
        places = max(1, WIDTH - max(0, others))
        while self._waiting and self.running < places:
            place = self._waiting.popleft()
            if not place.done():
                self.running += 1
                place.set_result(True)
        if self._waiting and self._look is None:
            self._look = asyncio.get_running_loop().call_later(_LOOK_S, self._again)

    def _again(self) -> None:
        self._look = None
        self._pump()


def _scope(asked: Asked, caller: Caller) -> dict[str, object]:
    headers = [_JSON, _LOW, *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in asked.headers.items())]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "lane",
        "path": asked.path,
        "raw_path": asked.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": None,
        "server": None,
        CALLER: caller,
    }


def _refusal(status: int, message: str, code: str, headers: dict[str, str] | None = None) -> Said:
    return Said(status, headers or {}, http_errors.body(message, "invalid_request_error" if status < 500 else "server_error", code=code))
