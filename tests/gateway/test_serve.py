"""The arbiter and its children as real processes: start, stop, crash, reload."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.config.load import load
from gateway.listen import listen
from gateway.serve import serve
from router.errors import ConfigError
from tests.gateway.conftest import price, provider
from tests.gateway.live_gateway import config_of
from tests.gateway.upstream_server import DONE, ROLE, STOP, UpstreamServer, Wire, answers, words

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from gateway.config.load import load
from gateway.serve import serve

def controller(config):
    mark = Path(config.server.data_dir) / "controller"
    with mark.open("a") as file:
        file.write(f"start {os.getpid()} {','.join(config.routes)}\\n")
    def on_hup(*_):
        with mark.open("a") as file:
            file.write("hup\\n")
    def on_term(*_):
        with mark.open("a") as file:
            file.write("term\\n")
        sys.exit(0)
    signal.signal(signal.SIGHUP, on_hup)
    signal.signal(signal.SIGTERM, on_term)
    while True:
        time.sleep(60)

sys.exit(serve(load(Path(sys.argv[1]), os.environ), controller, drain_s=float(sys.argv[2])))
"""


class Served:
    """A `serve` process with a stand-in controller."""

    def __init__(self, directory: Path, drain_s: float, before: Sequence[str] = ()) -> None:
        self.directory = directory
        words = [*before, sys.executable, "-c", PROGRAM, str(directory / "breakeven.yaml"), str(drain_s)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.errors: list[str] = []
        self.lines: list[str] = []
        self._ready = threading.Event()
        self._threads = [
            threading.Thread(target=self._read, args=pair, daemon=True) for pair in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, stream: Any, into: list[str]) -> None:
        with stream:
            for line in stream:
                into.append(line)
                if "dashboard:" in line:
                    self._ready.set()
        self._ready.set()

    def wait_ready(self) -> Served:
        assert self._ready.wait(30)
        assert self.lines, self.errors
        return self

    @property
    def url(self) -> str:
        return self.lines[0].rsplit(" ", 1)[1].strip()

    def children(self) -> list[int]:
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    def controller_log(self) -> list[str]:
        path = self.directory / "data" / "controller"
        return path.read_text().splitlines() if path.exists() else []

    def workers(self) -> list[int]:
        started = {int(line.split()[1]) for line in self.controller_log() if line.startswith("start")}
        return [pid for pid in self.children() if pid not in started]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.end()

    def end(self) -> int:
        code = self.process.wait(30)
        for thread in self._threads:
            thread.join(10)
        return code


def until(true: Callable[[], object], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def begin(tmp_path: Path, upstream: UpstreamServer) -> Iterator[Callable[..., Served]]:
    """Start `serve` with a configuration over `upstream`."""
    with ExitStack() as stack:

        def made(drain_s: float = 5.0, before: Sequence[str] = (), **more: Any) -> Served:
            body = {
                "providers": {"one": provider(upstream)},
                "prices": [price("one", "m")],
                "routes": {"r": {"candidates": [{"provider": "one", "model": "m"}]}},
                **more,
                "server": {"default_provider": "one", **more.get("server", {})},
            }
            config_of(tmp_path, body)
            served = Served(tmp_path, drain_s, before)
            stack.callback(lambda: (served.process.kill(), served.end()))
            return served

        yield made


def chat(url: str, **more: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/chat/completions", json={"model": "r", "messages": [{"role": "user", "content": "hi"}], **more}, timeout=20)


def test_it_serves_and_stops(begin: Callable[..., Served]) -> None:
    """A ready line that says where, answers, and exit code 0 on SIGTERM with the controller told last."""
    served = begin().wait_ready()
    assert served.lines[0].startswith("breakeven 0.1.0 listening on http://127.0.0.1:")
    assert served.lines[1] == f"dashboard: {served.url}/dashboard\n"
    assert chat(served.url).status_code == 200
    assert served.stop() == 0
    assert served.controller_log()[-1] == "term"
    assert not any("Traceback" in line for line in served.errors)


@pytest.mark.parametrize(("hard", "said"), [(900, True), (5000, False)])
def test_as_many_files_as_there_may_be(begin: Callable[..., Served], hard: int, said: bool) -> None:
    """Every process has the hard limit of open files as its soft one; where that is low, the log says so and what to change."""
    served = begin(before=["sh", "-c", f'ulimit -Sn 512 && ulimit -Hn {hard} && exec "$@"', "sh"]).wait_ready()
    for pid in (served.process.pid, *served.workers()):
        (line,) = [each for each in Path(f"/proc/{pid}/limits").read_text().splitlines() if each.startswith("Max open files")]
        assert line.split()[3:5] == [str(hard)] * 2
    until(lambda: chat(served.url).status_code == 200)
    assert served.stop() == 0
    lines = [each for each in served.errors if "LimitNOFILE" in each]
    assert len(lines) == said
    assert all("about 450 streams" in each for each in lines)


def test_a_stream_is_finished_before_it_stops(begin: Callable[..., Served], upstream: UpstreamServer) -> None:
    """SIGTERM drains: no new connections, but what is under way gets its whole answer."""

    async def paced(wire: Wire) -> None:
        await wire.events(ROLE, *words("a", "b", "c", "d"), STOP, DONE, pause=0.15)

    upstream.script(paced)
    served = begin().wait_ready()
    with httpx.stream(
        "POST", f"{served.url}/v1/chat/completions", json={"model": "r", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    ) as answer:
        chunks = answer.iter_raw()
        first = next(chunks)
        served.process.send_signal(signal.SIGTERM)
        rest = b"".join(chunks)
    assert (first + rest).endswith(DONE)
    assert served.end() == 0


def test_the_drain_is_bounded(begin: Callable[..., Served], upstream: UpstreamServer) -> None:
    """A request that would outlive the drain is cut, and the process ends."""

    async def endless(wire: Wire) -> None:
        await wire.head(200, {"content-type": "text/event-stream"})
        await wire.chunk(ROLE + words("a")[0])
        await wire.until_closed(20)

    upstream.script(endless)
    served = begin(drain_s=3.0).wait_ready()
    with httpx.stream(
        "POST", f"{served.url}/v1/chat/completions", json={"model": "r", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    ) as answer:
        chunks = answer.iter_raw()
        next(chunks)
        began = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - began < 6


def test_ctrl_c_twice_does_not_wait(begin: Callable[..., Served], upstream: UpstreamServer) -> None:
    """SIGINT ends it with exit code 130; asked twice, the arbiter kills what has not ended within a second."""

    async def endless(wire: Wire) -> None:
        await wire.head(200, {"content-type": "text/event-stream"})
        await wire.chunk(ROLE + words("a")[0])
        await wire.until_closed(20)

    upstream.script(endless)
    served = begin(drain_s=25.0).wait_ready()
    with httpx.stream(
        "POST", f"{served.url}/v1/chat/completions", json={"model": "r", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    ) as answer:
        chunks = answer.iter_raw()  # kept: the client stays
        next(chunks)
        served.process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        began = time.monotonic()
        assert served.stop(signal.SIGINT) == 130
        assert time.monotonic() - began < 5


def test_what_dies_is_replaced(begin: Callable[..., Served]) -> None:
    """kill -9 of the worker, then of the controller: each is started again, and no connection is refused meanwhile."""
    served = begin().wait_ready()
    (worker,) = served.workers()
    os.kill(worker, signal.SIGKILL)
    assert chat(served.url).status_code == 200
    assert served.workers() != [worker]
    assert any("was killed by signal 9" in line for line in served.errors)
    until(lambda: len(served.controller_log()) == 1)
    os.kill(int(served.controller_log()[0].split()[1]), signal.SIGKILL)
    until(lambda: len(served.controller_log()) == 2)
    assert chat(served.url).status_code == 200
    assert served.stop() == 0


def test_a_worker_that_is_asked_to_leave_is_replaced(begin: Callable[..., Served]) -> None:
    """SIGTERM to one worker alone ends it as softly as all of them, and closes nothing that the next one listens on."""
    served = begin().wait_ready()
    (worker,) = served.workers()
    os.kill(worker, signal.SIGTERM)
    until(lambda: served.workers() not in ([], [worker]))
    assert chat(served.url).status_code == 200
    assert any("ended with code 0" in line for line in served.errors)
    assert served.stop() == 0


def test_nobody_outlives_the_arbiter(begin: Callable[..., Served]) -> None:
    """kill -9 of the arbiter takes every child with it."""
    served = begin().wait_ready()
    until(served.controller_log)
    children = served.children()
    assert len(children) == 2
    served.process.kill()
    until(lambda: not any(Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text() for pid in children))


def test_reload(begin: Callable[..., Served], tmp_path: Path) -> None:
    """SIGHUP: an invalid file changes nothing, a valid one is in force in every process; what needs a restart stays."""
    served = begin().wait_ready()
    path = tmp_path / "breakeven.yaml"
    good = json.loads(path.read_text())
    path.write_text(json.dumps({**good, "routes": {"s": {"candidates": []}}}))
    served.process.send_signal(signal.SIGHUP)
    until(lambda: any("not valid" in line for line in served.errors))
    assert chat(served.url).status_code == 200
    path.write_text(json.dumps({**good, "routes": {**good["routes"], "s": good["routes"]["r"]}, "server": {**good["server"], "port": 1234}}))
    served.process.send_signal(signal.SIGHUP)
    until(lambda: "s" in [model["id"] for model in httpx.get(f"{served.url}/v1/models").json()["data"]])
    assert "hup" in served.controller_log()
    assert any("server.port" in line for line in served.errors)
    assert served.stop() == 0


def test_reload_by_http_reaches_every_worker(begin: Callable[..., Served], tmp_path: Path) -> None:
    """POST /admin/reload answers for one worker; the arbiter tells the others. Metrics are those of all workers."""
    served = begin(server={"workers": 2}, redis="redis://127.0.0.1:1/0").wait_ready()
    path = tmp_path / "breakeven.yaml"
    good = json.loads(path.read_text())
    path.write_text(json.dumps({**good, "routes": {**good["routes"], "s": good["routes"]["r"]}}))
    assert len(served.workers()) == 2
    assert httpx.post(f"{served.url}/admin/reload").status_code == 200

    def everywhere() -> bool:
        seen = [httpx.get(f"{served.url}/v1/models").json()["data"] for _ in range(12)]
        return all("s" in [model["id"] for model in each] for each in seen)

    until(everywhere)
    for _ in range(6):
        assert chat(served.url).status_code == 200
    counted = 'breakeven_requests_total{backend="one/m",outcome="ok",route="r"} 6.0'
    until(lambda: counted in httpx.get(f"{served.url}/metrics", timeout=20).text, 30)
    path.write_text("{")
    assert httpx.post(f"{served.url}/admin/reload").status_code == 422
    assert served.stop() == 0


def test_two_ports(begin: Callable[..., Served]) -> None:
    """With an admin port, each port serves its own half; health is on both."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    served = begin(server={"admin_port": port}).wait_ready()
    admin = f"http://127.0.0.1:{port}"
    assert served.lines[1] == f"dashboard: {admin}/dashboard\n"
    assert [httpx.get(f"{base}/healthz").status_code for base in (served.url, admin)] == [200, 200]
    assert [httpx.get(f"{base}/v1/models").status_code for base in (served.url, admin)] == [200, 404]
    assert [httpx.get(f"{base}/admin/routes").status_code for base in (served.url, admin)] == [404, 200]
    assert served.stop() == 0


def test_a_worker_that_never_worked_ends_it(begin: Callable[..., Served], tmp_path: Path) -> None:
    """What cannot start is not started again for ever: the reason is in the log, the exit code is 1."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "spool").write_text("in the way")
    served = begin()
    assert served.end() == 1
    assert any("ledger cannot write" in line for line in served.errors)


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    """Exit code 2 material: the key and the way out."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = config_of(tmp_path, {"server": {"port": taken.getsockname()[1]}})
        with pytest.raises(ConfigError, match=r"server\.port: .* is in use .*--port"):
            serve(config)


@pytest.mark.parametrize(("host", "port", "said"), [("203.0.113.7", 0, "cannot listen"), ("no.such.host.invalid", 0, "is no address")])
def test_an_address_that_is_not_ours(tmp_path: Path, host: str, port: int, said: str) -> None:
    """The message names the key."""
    config = config_of(tmp_path, {"server": {"host": host, "port": port}})
    with pytest.raises(ConfigError, match=rf"server\.host: .*{said}"):
        listen(config.server)


def test_a_data_dir_that_cannot_be_made(tmp_path: Path) -> None:
    """A configuration problem, not a traceback."""
    (tmp_path / "file").write_text("")
    config = config_of(tmp_path, {"server": {"data_dir": str(tmp_path / "file" / "below")}})
    with pytest.raises(ConfigError, match=r"server\.data_dir"):
        serve(config)


def test_the_file_is_read_as_written(tmp_path: Path) -> None:
    """The configuration that `serve` gets is the one in the file."""
    config = config_of(tmp_path, {})
    assert load(tmp_path / "breakeven.yaml", {}).server == config.server


def test_draining_is_said_at_once(begin: Callable[..., Served], upstream: UpstreamServer) -> None:
    """From SIGTERM on answers on kept connections say that they are the last, /readyz says 503, and what is under way or waits for a place is finished."""

    async def slow(wire: Wire) -> None:
        await asyncio.sleep(0.7)
        await answers(wire)

    upstream.script(slow)
    served = begin(drain_s=25.0, server={"max_in_flight": 1}).wait_ready()
    with ThreadPoolExecutor(3) as pool, httpx.Client(base_url=served.url, timeout=20) as kept, httpx.Client(base_url=served.url, timeout=20) as probe:
        assert (kept.get("/v1/models").status_code, probe.get("/readyz").status_code) == (200, 200)
        asked = [pool.submit(chat, served.url) for _ in range(3)]
        until(lambda: upstream.seen)
        served.process.send_signal(signal.SIGTERM)
        until(lambda: kept.get("/v1/models").headers.get("connection") == "close")
        ready = probe.get("/readyz")
        assert (ready.status_code, ready.json()["status"], ready.headers["connection"]) == (503, "draining", "close")
        last = [one.result() for one in asked]
    assert [(answer.status_code, answer.headers["connection"]) for answer in last] == [(200, "close")] * 3
    assert served.end() == 0


def test_what_outlives_the_drain_is_told_so(begin: Callable[..., Served], upstream: UpstreamServer) -> None:
    """A request that has no answer yet gets a clean 503 instead of a cut."""

    async def never(wire: Wire) -> None:
        await wire.until_closed(30)

    upstream.script(never)
    served = begin(drain_s=3.0).wait_ready()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(chat, served.url)
        until(lambda: upstream.seen)
        assert served.stop() == 0
        assert (asked.result().status_code, asked.result().json()["error"]["code"]) == (503, "overloaded")


class Load:
    """Clients that ask without end, each over a connection that it keeps as long as the gateway does. A refused connection ends one; nothing else may."""

    def __init__(self, url: str, clients: int) -> None:
        self.address = (urlsplit(url).hostname or "", urlsplit(url).port or 0)
        self.answered = 0
        self.wrong: list[object] = []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def _run(self) -> None:
        body = json.dumps({"model": "r", "messages": [{"role": "user", "content": "hi"}]})
        connection: http.client.HTTPConnection | None = None
        while not self.stopped.is_set():
            if connection is None:
                connection = http.client.HTTPConnection(*self.address, timeout=30)
                try:
                    connection.connect()
                except ConnectionError:
                    return
            try:
                connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
                answer = connection.getresponse()
                said = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(error)
                return
            self.answered += 1
            if answer.status != 200:
                self.wrong.append(said)
            if answer.getheader("connection") == "close":
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def end(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join(30)


def test_twenty_reloads_under_load(begin: Callable[..., Served], tmp_path: Path) -> None:
    """Each takes another configuration into force, by turns valid and not, while clients ask without end: no request is dropped or refused."""
    served = begin().wait_ready()
    path = tmp_path / "breakeven.yaml"
    good = json.loads(path.read_text())
    load = Load(served.url, 4)
    until(lambda: load.answered > 20)
    for turn in range(20):
        before = load.answered
        if turn % 5 == 4:
            path.write_text("routes: [")
            count = sum("not valid" in line for line in served.errors)
            served.process.send_signal(signal.SIGHUP)
            until(lambda count=count: sum("not valid" in line for line in served.errors) > count)  # type: ignore[misc]
        else:
            name = f"s{turn}"
            server = {**good["server"], "max_in_flight": 1 + turn % 3}
            path.write_text(json.dumps({**good, "server": server, "routes": {**good["routes"], name: good["routes"]["r"]}}))
            served.process.send_signal(signal.SIGHUP)
            until(lambda name=name: name in [model["id"] for model in httpx.get(f"{served.url}/v1/models").json()["data"]])  # type: ignore[misc]
        until(lambda before=before: load.answered > before)  # type: ignore[misc]
    load.end()
    assert load.wrong == []
    assert served.stop() == 0


def test_a_stop_under_load_drops_nothing(begin: Callable[..., Served]) -> None:
    """Two workers, clients that keep their connections: each request that was taken is answered, later ones find nobody listening."""
    served = begin(drain_s=25.0, server={"workers": 2}, redis="redis://127.0.0.1:1/0").wait_ready()
    load = Load(served.url, 6)
    until(lambda: load.answered > 50)
    assert served.stop() == 0
    load.end()
    assert load.wrong == []
    assert load.answered > 50
