"""Running a sandbox: in this process until it is stopped (`serve`), or beside a test in a thread (`running`)."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from gateway.sandbox.app import Sandbox, create_sandbox
from gateway.sandbox.options import SandboxOptions

_START_S = 10.0


@dataclass(frozen=True, slots=True)
class Running:
    """A sandbox that answers. `base_url` is what an OpenAI client wants (it ends in /v1); `url` is its root."""

    app: Sandbox
    url: str

    @property
    def base_url(self) -> str:
        """For `OpenAI(base_url=…)` and `providers.*.base_url`."""
        return f"{self.url}/v1"


def serve(options: SandboxOptions, host: str = "127.0.0.1", port: int = 0, ready: Callable[[Running], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM. `ready` is called once connections are accepted; port 0 lets the system choose."""
    app = create_sandbox(options)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises the signal again when it has stopped: being asked to stop is not a failure
    with _bound(host, port) as sock:
        if ready is not None:
            ready(Running(app, _url(sock)))
        _server(app).run(sockets=[sock])


@contextmanager
def running(options: SandboxOptions | None = None, host: str = "127.0.0.1", port: int = 0) -> Iterator[Running]:
    """A sandbox in a thread of this process for as long as the block lasts. Its `app.log` and `app.faults` may be used directly."""
    app = create_sandbox(options)
    with _bound(host, port) as sock:
        server = _server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, name="sandbox", daemon=True)
        thread.start()
        try:
            yield Running(app, _url(sock))
        finally:
            server.should_exit = True
            server.force_exit = True
            thread.join(_START_S)


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket: connections queue in it until the server has started, so nobody needs to wait for that."""
    with socket.create_server((host, port), backlog=2048, family=socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        yield sock


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server(app: Sandbox) -> uvicorn.Server:
    return uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=1, lifespan="off", server_header=False))
