"""The lane: who may use it, what it refuses, how it ends."""

from __future__ import annotations

import asyncio
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import httpx
import orjson
import pytest

from gateway.auth import CALLER
from gateway.batches import door, sender
from gateway.batches.frames import MOST_BYTES, Asked, Said, read_said
from gateway.batches.lane import Lane
from gateway.store import keys
from router.errors import ConfigError, UpstreamError
from router.types import Outcome
from serving.database import writing
from tests.gateway.batches.conftest import CHAT, World, line, until
from tests.gateway.conftest import two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer, Wire

if TYPE_CHECKING:
    from gateway.asgi import App
    from gateway.context import Gateway

BODY = orjson.dumps(line(1)["body"])


def ask(world: World, key_id: str | None = None, path: str = CHAT, headers: dict[str, str] | None = None, body: bytes = BODY) -> Said:
    return asyncio.run(sender.ask(world.gateway.config.server.data_dir, Asked(key_id, path, headers or {}, body)))


def test_a_line_goes_the_way_of_every_request(world: World) -> None:
    """Answer, headers and row are those of a client's own request."""
    said = ask(world, headers={"x-breakeven-tags": "a=b"})
    assert said.status == 200
    assert orjson.loads(said.body)["object"] == "chat.completion"
    assert said.headers["x-breakeven-backend"] == "one/m"
    row = world.gateway.row()
    assert (row.id, row.endpoint, row.tags, row.key_id) == (said.headers["x-request-id"], CHAT, {"a": "b"}, None)


def test_it_asks_on_behalf_of_a_key(world: World) -> None:
    """The row is the key's, its scope holds; revoked, expired or unknown keys are refused, and nobody's requests too once there are keys."""
    world.gateway.key(routes=("r",))
    with writing(world.gateway.database) as conn:
        (mine,) = keys.listed(conn)
    assert ask(world, mine.id).status == 200
    assert world.gateway.row().key_id == mine.id
    pinned = orjson.dumps({**line(1)["body"], "model": "one/m"})
    assert ask(world, mine.id, body=pinned).status == 404
    for other in (None, "key_none"):
        said = ask(world, other)
        assert (said.status, orjson.loads(said.body)["error"]["code"]) == (401, "invalid_api_key")
    with writing(world.gateway.database) as conn:
        keys.revoke(conn, mine.id, time.time())
    world.gateway.run(world.gateway.app.gateway.fleet.refresh(force=True))
    assert ask(world, mine.id).status == 401


def test_no_other_path(world: World) -> None:
    """The admin API, health and pass-through are not behind it."""
    for path in ("/admin/keys", "/healthz", "/v1/models", "/v1/moderations", "/v1/files"):
        assert ask(world, path=path).status == 404
    assert not world.upstream.seen


def test_a_client_cannot_say_it_is_the_lane(world: World) -> None:
    """Neither a header nor a query makes a request somebody's."""
    world.gateway.key()
    for headers in ({CALLER: "key"}, {CALLER.replace(".", "-"): "key"}, {"authorization": "Bearer None"}):
        answer = httpx.post(f"{world.gateway.url}{CHAT}?{CALLER}=1", json=line(1)["body"], headers=headers)
        assert answer.status_code == 401


def test_only_this_user_can_knock(world: World) -> None:
    """The socket is a file that nobody else may write, and nothing listens on a network for it."""
    mode = (world.gateway.config.server.data_dir / door.NAME).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_what_is_no_request_harms_nobody(world: World) -> None:
    """Rubbish, a broken head, too much: the connection is closed, and the next line is served."""
    heads = (b"rubbish\n", b"{}\n", b"[]\n", b'{"size": -1}\n', b'{"size": %d}\n' % (MOST_BYTES + 1), b'{"size": 5, "key_id": null}\nabcde')
    for sent in (*heads, b"", b"x" * 100_000):
        with socket.socket(socket.AF_UNIX) as raw, door._short(world.gateway.config.server.data_dir) as path:
            raw.settimeout(20)
            raw.connect(path)
            raw.sendall(sent)
            raw.shutdown(socket.SHUT_WR)
            assert raw.recv(100) == b"", sent
    assert ask(world).status == 200


def test_the_controller_that_leaves_ends_its_lines(world: World) -> None:
    """As a client's: the provider's side is closed, and the row says so."""

    async def waits(wire: Wire) -> None:
        await wire.until_closed()

    world.upstream.script(waits)

    async def leave() -> None:
        task = asyncio.create_task(sender.ask(world.gateway.config.server.data_dir, Asked(None, CHAT, {}, BODY)))
        while not world.upstream.seen:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(asyncio.wait_for(leave(), 60))
    assert world.upstream.seen[0].closed.wait(20)
    assert world.gateway.row().outcome is Outcome.CLIENT_GONE


def test_draining(world: World) -> None:
    """Lines under way are finished, those that wait are sent back to come again, new ones find nobody."""
    go = asyncio.Event()

    async def held(wire: Wire) -> None:
        await go.wait()
        await wire.json({"object": "chat.completion", "choices": [], "usage": None})

    world.upstream.script(held)
    data_dir = world.gateway.config.server.data_dir
    admission = world.gateway.app.gateway.admission
    world.gateway.call(lambda: setattr(admission, "running", admission.running + 50))

    async def main() -> tuple[Said, Said]:
        asked = Asked(None, CHAT, {}, BODY)
        first = asyncio.create_task(sender.ask(data_dir, asked))
        while not world.upstream.seen:
            await asyncio.sleep(0.01)
        second = asyncio.create_task(sender.ask(data_dir, asked))
        while not world.gateway.call(lambda: len(world.lane._waiting)):
            await asyncio.sleep(0.01)
        world.gateway.call(lambda: world.lane.refuse(30.0))
        sent_back = await second
        with pytest.raises(UpstreamError) as away:
            await sender.ask(data_dir, asked)
        assert away.value.code in {sender.AWAY, sender.LOST}
        world.upstream._loop.call_soon_threadsafe(go.set)
        return await first, sent_back

    first, second = asyncio.run(asyncio.wait_for(main(), 60))
    world.gateway.call(lambda: setattr(admission, "running", admission.running - 50))
    assert first.status == 200
    assert (second.status, second.retry_after_s) == (503, 0.5)


def test_the_end_of_the_drain(world: World) -> None:
    """What takes longer than there is time is cut, booked as interrupted, and the controller learns that it is lost."""

    async def waits(wire: Wire) -> None:
        await wire.until_closed()

    world.upstream.script(waits)

    async def main() -> str:
        task = asyncio.create_task(sender.ask(world.gateway.config.server.data_dir, Asked(None, CHAT, {}, BODY)))
        while not world.upstream.seen:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(world.gateway.run, world.lane.close())
        with pytest.raises(UpstreamError) as lost:
            await task
        return lost.value.code

    assert asyncio.run(asyncio.wait_for(main(), 60)) == sender.LOST
    assert world.gateway.row().outcome is Outcome.INTERRUPTED


def test_a_deep_directory(tmp_path: Path) -> None:
    """A path longer than a socket's name may be is no hindrance, nor is what a killed process left behind."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    door.bind(deep).close()
    assert (deep / door.NAME).exists()

    async def main() -> bytes:
        with door.bind(deep) as listening:
            reader, writer = await door.connect(deep)
            taken, _ = listening.accept()
            taken.sendall(b"hello")
            taken.close()
            try:
                return await reader.read()
            finally:
                writer.close()

    assert asyncio.run(asyncio.wait_for(main(), 60)) == b"hello"


def test_a_directory_that_takes_no_socket(tmp_path: Path) -> None:
    """A configuration problem that says what to change."""
    (tmp_path / door.NAME).mkdir()
    with pytest.raises(ConfigError, match="cannot hold a socket"):
        door.bind(tmp_path)
    with pytest.raises(UpstreamError) as away:
        asyncio.run(sender.ask(tmp_path / "nowhere", Asked(None, CHAT, {}, BODY)))
    assert away.value.code == sender.AWAY


@pytest.mark.parametrize(
    ("headers", "seconds"), [({}, None), ({"retry-after": "2"}, 2.0), ({"retry-after-ms": "50", "retry-after": "2"}, 0.05), ({"retry-after": "x"}, None)]
)
def test_waits_that_are_asked_for(headers: dict[str, str], seconds: float | None) -> None:
    """The finer header wins; what is no number says nothing."""
    assert Said(429, headers, b"").retry_after_s == seconds


async def test_an_answer_that_is_cut() -> None:
    """It is no answer."""
    reader = asyncio.StreamReader()
    reader.feed_data(b'{"status": 200, "headers": {}, "size": 5}\nab')
    reader.feed_eof()
    with pytest.raises(EOFError):
        await read_said(reader)


def test_a_worker_has_a_lane_of_its_own_accord(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Without one the gateway serves as ever: batches wait."""
    gateway = start(two_providers(upstream, fallback))
    with pytest.raises(UpstreamError) as away:
        asyncio.run(sender.ask(gateway.config.server.data_dir, Asked(None, CHAT, {}, BODY)))
    assert away.value.code == sender.AWAY


def test_waiting_is_undone_when_the_controller_leaves(world: World) -> None:
    """A line that waits for a place and is then given up takes none."""
    admission = world.gateway.app.gateway.admission
    go = asyncio.Event()

    async def held(wire: Wire) -> None:
        await go.wait()
        await wire.json({"object": "chat.completion", "choices": []})

    world.upstream.script(held)
    world.gateway.call(lambda: setattr(admission, "running", admission.running + 50))
    data_dir = world.gateway.config.server.data_dir

    async def main() -> Said:
        asked = Asked(None, CHAT, {}, BODY)
        first = asyncio.create_task(sender.ask(data_dir, asked))
        while not world.upstream.seen:
            await asyncio.sleep(0.01)
        second = asyncio.create_task(sender.ask(data_dir, asked))
        while not world.gateway.call(lambda: len(world.lane._waiting)):
            await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        world.upstream._loop.call_soon_threadsafe(go.set)
        return await first

    assert asyncio.run(asyncio.wait_for(main(), 60)).status == 200
    until(lambda: world.gateway.call(lambda: world.lane.running) == 0)
    assert len(world.upstream.seen) == 1
    world.gateway.call(lambda: setattr(admission, "running", admission.running - 50))


async def test_a_socket_that_takes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Said in the log, tried again, and no reason to end the worker."""
    lane = Lane(cast("App", None), cast("Gateway", None), socket.socket(socket.AF_UNIX))
    lane._listening.setblocking(False)
    await lane.start()
    async with asyncio.timeout(30):
        while "cannot take a line" not in caplog.text:
            await asyncio.sleep(0.02)
    await lane.close()
