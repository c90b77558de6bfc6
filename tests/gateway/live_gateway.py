"""A real gateway for tests: the application on a real socket, served by uvicorn in a thread, with a database of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from gateway.app import App, Options, create_app
from gateway.config.load import loads
from gateway.config.models import Config
from gateway.http_edge import Bounds
from gateway.store import exchanges, keys
from gateway.store.ingest import Ingester
from gateway.worker import settings
from router.types import Exchange
from serving.database import connect, reading, writing
from tests.databases import prepare


def config_of(directory: Path, body: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Config:
    """A checked configuration from plain values (JSON is YAML), with its data below `directory`."""
    full = {**body, "server": {"port": 0, "data_dir": str(directory / "data"), **body.get("server", {})}}
    full.setdefault("database", f"sqlite:///{directory / 'breakeven.db'}")
    path = directory / "breakeven.yaml"
    text = json.dumps(full, indent=1)
    path.write_text(text)
    return loads(text, path, environ or {})


class LiveGateway:
    """Use it as a context manager."""

    def __init__(self, directory: Path, body: Mapping[str, Any], options: Options | None = None, bounds: Bounds | None = None) -> None:
        self.directory = directory
        self.config = config_of(directory, body)
        self.database = connect(self.config.database, directory)
        prepare(self.database)
        self.options = options or Options(environ={})
        self.bounds = bounds
        self.app: App
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._loop: asyncio.AbstractEventLoop
        self._server: uvicorn.Server
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failure: BaseException | None = None
        self._ingester: Ingester | None = None

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> LiveGateway:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not (hasattr(self, "_server") and self._server.started):
            if self._failure is not None:
                self._socket.close()
                self.database.dispose()
                raise self._failure
            assert time.monotonic() < deadline, "the gateway did not start"
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        self._socket.close()
        if self._ingester is not None:
            self._ingester.close()
        self.database.dispose()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something in the gateway's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def call(self, function: Callable[[], Any]) -> Any:
        """Call something in the gateway's own loop."""

        async def inner() -> Any:
            return function()

        return self.run(inner())

    def key(self, **limits: Any) -> str:
        """Make a key and wait until the gateway knows it."""
        with writing(self.database) as conn:
            _, secret = keys.create(conn, keys.KeySpec("test", **limits), time.time())
        self.run(self.app.gateway.fleet.refresh(force=True))
        return secret

    def rows(self, count: int | None = None) -> list[Exchange]:
        """The ledger, oldest first, once it has `count` rows."""
        deadline = time.monotonic() + 10
        while True:
            if self._ingester is None:
                self._ingester = Ingester(self.database, self.config.server.data_dir / "spool")
            self._ingester.run_once()
            with reading(self.database) as conn:
                found = [entry.exchange for entry in exchanges.page(conn, exchanges.Filter(), None, 1000).entries]
            if count is None or len(found) >= count or time.monotonic() > deadline:
                assert count is None or len(found) == count, f"{len(found)} rows, not {count}"
                return sorted(found, key=lambda row: row.time)
            time.sleep(0.02)

    def row(self) -> Exchange:
        """The ledger's only row."""
        return self.rows(1)[0]

    def _run(self) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            self.app = create_app(self.config, self.database, self.options)
            self._server = uvicorn.Server(settings(self.app, 2, self.bounds))
            await self._server.serve(sockets=[self._socket])

        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main())
        except BaseException as error:  # noqa: BLE001 - shown by the thread that waits
            self._failure = error
