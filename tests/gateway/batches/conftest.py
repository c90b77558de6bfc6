"""A gateway with its lane and its batches: the worker's half on a real socket, the controller's half in a thread of its own that can be cut off."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from gateway.batches import door
from gateway.batches.lane import Lane
from gateway.batches.supervisor import Batches
from tests.gateway.conftest import two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer

CHAT = "/v1/chat/completions"


def line(number: int, **changes: Any) -> dict[str, Any]:
    """A request of a batch; its text names its number."""
    body = {"model": "r", "messages": [{"role": "user", "content": f"question {number}"}]}
    return {"custom_id": f"id-{number}", "method": "POST", "url": CHAT, "body": body, **changes}


def jsonl(*lines: object) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


class World:
    """One gateway, one provider. `begin` and `cut` start and stop the controller's half."""

    def __init__(self, gateway: LiveGateway, upstream: UpstreamServer) -> None:
        self.gateway, self.upstream = gateway, upstream
        self.now = time.time
        self.lane = gateway.run(self._open())
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def _open(self) -> Lane:
        data_dir = self.gateway.config.server.data_dir
        lane = Lane(self.gateway.app, self.gateway.app.gateway, door.bind(data_dir))
        await lane.start()
        return lane

    def sdk(self, key: str = "any") -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.gateway.url}/v1", api_key=key, max_retries=0, timeout=60)

    def begin(self) -> None:
        ready = threading.Event()

        async def main() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            found = Batches(self.gateway.database, self.gateway.config.server.data_dir, lambda: self.now())  # noqa: PLW0108  a test may change it
            ready.set()
            while not self._stop.is_set():
                await found.once()
                await asyncio.sleep(0.02)
            await found.close()

        self._thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
        self._thread.start()
        assert ready.wait(20)

    def cut(self) -> None:
        """What is under way ends unfinished, as when the controller dies."""
        if self._loop is not None and self._stop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(30)
            self._loop = None

    def close(self) -> None:
        self.cut()
        self.gateway.run(self.lane.close())

    def make(self, sdk: openai.OpenAI, content: bytes, **changes: Any) -> openai.types.Batch:
        file = sdk.files.create(file=("in.jsonl", content), purpose="batch")
        return sdk.batches.create(**{"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h", **changes})

    def wait(self, sdk: openai.OpenAI, batch_id: str, *states: str) -> openai.types.Batch:
        """Until it is in one of `states` (completed, failed, cancelled, expired)."""
        wanted = states or ("completed", "failed", "cancelled", "expired")
        deadline = time.monotonic() + 60
        while (batch := sdk.batches.retrieve(batch_id)).status not in wanted:
            assert time.monotonic() < deadline, batch
            time.sleep(0.03)
        return batch


def read(sdk: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    """The lines of a file."""
    assert file_id is not None
    return [json.loads(each) for each in sdk.files.content(file_id).read().splitlines()]


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def world(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> Iterator[World]:
    """The route `r` over `upstream`, then `fallback`; nothing runs batches yet."""
    made = World(start(two_providers(upstream, fallback)), upstream)
    yield made
    made.close()


@pytest.fixture
def sdk(world: World) -> Iterator[openai.OpenAI]:
    """The official client."""
    with world.sdk() as client:
        yield client
