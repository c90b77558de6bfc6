"""Too much of everything, from clients that mean no good: clean refusals while others are served, and afterwards the process is as large as before."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from gateway.http_edge import Bounds
from tests.gateway.conftest import two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.test_http_server import CHAT, HEALTH, connected, post, refused, until
from tests.gateway.upstream_server import UpstreamServer

MB = 1024 * 1024
SENDERS = 150


def memory() -> int:
    """Bytes this process holds, its gateway's and this test's."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.fixture
def hasty(tmp_path: Path, upstream: UpstreamServer, fallback: UpstreamServer) -> Iterator[LiveGateway]:
    """Gives slow senders two seconds, and those it refuses a minute to read why."""
    with LiveGateway(tmp_path, two_providers(upstream, fallback), bounds=Bounds(head_s=2.0, body_s=2.0, sweep_s=0.1, linger_s=60.0)) as gateway:
        yield gateway


@pytest.fixture
def patient(tmp_path: Path, upstream: UpstreamServer, fallback: UpstreamServer) -> Iterator[LiveGateway]:
    """Gives those it refuses a minute to read why, however slow the machine."""
    with LiveGateway(tmp_path, two_providers(upstream, fallback), bounds=Bounds(linger_s=60.0)) as gateway:
        yield gateway


def test_a_hundred_megabytes_in_chunks(patient: LiveGateway) -> None:
    """A body that does not say how large it is: refused at the bound, again and again, and what it took is given back."""
    piece = b"100000\r\n" + b"x" * MB + b"\r\n"
    held = []
    for _ in range(3):
        with connected(patient) as client:
            client.send(post(b"", b"transfer-encoding: chunked", length=-1))
            for _ in range(100):
                client.send(piece)
            client.socket.shutdown(socket.SHUT_WR)
            refused(client, 413, "request_too_large")
        until(lambda: patient.app.gateway.admission.bodies.total == 0)
        held.append(memory())
    assert held[2] - held[0] < 20 * MB


def test_headers_without_end(patient: LiveGateway) -> None:
    """Fifty megabytes of header lines in one request, and a head in one line that never ends: 431 each, and nothing is kept of them."""
    before = memory()
    for line in (b"x-a: b\r\n" * 10_000, b"y" * 80_000):
        with connected(patient) as client:
            client.send(b"GET /healthz HTTP/1.1\r\nx-z: 1")
            client.send(b"\r\n" if line.endswith(b"\n") else b"")
            for _ in range(50 * MB // len(line)):
                client.send(line)
            client.socket.shutdown(socket.SHUT_WR)
            refused(client, 431, "headers_too_large")
    assert memory() - before < 20 * MB
    with connected(patient) as client:
        client.send(HEALTH)
        assert client.answer()[0] == 200


@pytest.mark.parametrize("begun", [b"GET /healthz HTTP/1.1\r\nx-a:", post(b"{", length=5000)], ids=["heads", "bodies"])
def test_many_slow_senders(hasty: LiveGateway, begun: bytes) -> None:
    """Slow-loris: all of them are sent away in time, with 408; meanwhile everybody else is answered, and no place is taken."""
    with httpx.Client(base_url=hasty.url, timeout=20) as other, ExitStack() as stack:
        assert other.post("/v1/chat/completions", content=CHAT, headers={"content-type": "application/json"}).status_code == 200
        before = memory()
        slow = [stack.enter_context(connected(hasty)) for _ in range(SENDERS)]
        for client in slow:
            client.send(begun)
        until_then = time.monotonic() + 1.0
        while time.monotonic() < until_then:
            assert other.post("/v1/chat/completions", content=CHAT, headers={"content-type": "application/json"}).status_code == 200
            for client in slow:
                trickle(client.send)
            time.sleep(0.05)
        assert hasty.app.gateway.admission.running == 0
        assert memory() - before < 20 * MB
        for client in slow:
            refused(client, 408, "request_timeout")
    assert {row.outcome for row in hasty.rows()} == {"ok"}


def trickle(send: Callable[[bytes], None]) -> None:
    """One byte more, if it is still wanted."""
    try:
        send(b"b")
    except ConnectionError:
        return


def test_ten_thousand_answers_many_times(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer) -> None:
    """`n` beyond the bound costs nothing: nobody is asked, nothing is held."""
    body = {**json.loads(CHAT), "n": 10_000}
    assert client.post("/v1/chat/completions", json=body).status_code == 400
    before = memory()
    for _ in range(200):
        answer = client.post("/v1/chat/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "n")
    assert memory() - before < 10 * MB
    assert (upstream.seen, pair.rows()) == ([], [])


def test_paths_nobody_has_many_times(client: httpx.Client, pair: LiveGateway) -> None:
    """A thousand addresses that are not there leave nothing behind: no cache, no metric each."""
    for number in range(50):
        client.get(f"/nowhere/{number}")
    before, series = memory(), client.get("/metrics").text.count("\n")
    for number in range(600):
        answer = client.get(f"/nowhere/{number}/{'x' * 500}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")
    assert memory() - before < 10 * MB
    assert client.get("/metrics").text.count("\n") <= series + 5
