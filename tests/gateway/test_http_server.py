"""Client connections over real sockets: what is HTTP, what only resembles it, what is too large or too slow, and who keeps the connection."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway import http_target
from gateway.http_edge import Bounds
from tests.gateway.conftest import two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer, Wire, completion

CHAT = json.dumps({"model": "r", "messages": [{"role": "user", "content": "hi"}]}).encode()
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
QUICK = Bounds(head_s=0.2, body_s=0.2, least_rate=1e9, keep_alive_s=0.2, linger_s=0.2, flush_s=0.2, sweep_s=0.02)


def post(body: bytes = CHAT, *headers: bytes, length: int | None = None, version: bytes = b"1.1") -> bytes:
    lines = [b"POST /v1/chat/completions HTTP/" + version, b"host: x", *headers]
    if length is None or length >= 0:
        lines.append(b"content-length: %d" % (len(body) if length is None else length))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Client:
    """A raw connection."""

    def __init__(self, gateway: LiveGateway) -> None:
        self.socket = socket.create_connection(("127.0.0.1", gateway.port))
        self.socket.settimeout(20)
        self._rest = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers, body by its content-length."""
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self._rest) < length:
            self._more()
        body, self._rest = self._rest[:length], self._rest[length:]
        return int(first.split()[1]), headers, body

    def ended(self) -> bytes:
        """What is left until the gateway closes."""
        while data := self.socket.recv(65536):
            self._rest += data
        return self._rest

    def _more(self) -> None:
        data = self.socket.recv(65536)
        assert data, f"closed after {self._rest!r}"
        self._rest += data


@contextmanager
def connected(gateway: LiveGateway) -> Iterator[Client]:
    client = Client(gateway)
    with client.socket:
        yield client


def refused(client: Client, status: int, code: str | None) -> None:
    """OpenAI's shape, a request id, and the connection ends."""
    got, headers, body = client.answer()
    assert (got, json.loads(body)["error"]["code"]) == (status, code)
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
    assert headers["x-request-id"].startswith("req_")
    assert headers["connection"] == "close"
    assert client.ended() == b""


@pytest.fixture
def quick(tmp_path: Path, upstream: UpstreamServer, fallback: UpstreamServer) -> Iterator[LiveGateway]:
    """A gateway without patience."""
    with LiveGateway(tmp_path, two_providers(upstream, fallback), bounds=QUICK) as gateway:
        yield gateway


def test_a_connection_is_kept(pair: LiveGateway) -> None:
    """Answers, errors and answers without a body follow each other on one connection."""
    with connected(pair) as client:
        for data, status in (
            (HEALTH, 200),
            (post(b"{"), 400),
            (post(b'"text"'), 400),
            (b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n", 404),
            (b"DELETE /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc", 405),
            (post(), 200),
        ):
            client.send(data)
            got, headers, _ = client.answer()
            assert (got, headers.get("connection")) == (status, None)
        client.send(HEALTH.replace(b"host", b"connection: close\r\nhost"))
        assert client.answer()[1]["connection"] == "close"
        assert client.ended() == b""


def test_requests_sent_ahead_are_answered_in_order(pair: LiveGateway, upstream: UpstreamServer) -> None:
    """Pipelining: each gets its own answer, and only one is worked on at a time."""
    with connected(pair) as client:
        client.send(post() + HEALTH + post(b"{") + HEALTH * 40)
        assert [client.answer()[0] for _ in range(43)] == [200, 200, 400, *[200] * 40]
        client.send(HEALTH)
        assert client.answer()[0] == 200
    assert len(upstream.seen) == 1


def test_who_sends_ahead_and_leaves_is_gone(pair: LiveGateway, upstream: UpstreamServer) -> None:
    """The request in front learns that its client left although another stands behind it."""

    async def waits(wire: Wire) -> None:
        await wire.until_closed()

    upstream.script(waits)
    with connected(pair) as client:
        client.send(post() + post())
        until(lambda: upstream.seen)
    assert upstream.seen[0].closed.wait(10)
    assert pair.row().outcome == "client_gone"
    assert len(upstream.seen) == 1


def test_too_many_requests_sent_ahead(pair: LiveGateway) -> None:
    """The first are answered, then it ends."""
    with connected(pair) as client:
        client.send(HEALTH * 2000)
        rest = client.ended()
    assert 1 <= rest.count(b"HTTP/1.1 200") < 2000
    assert rest.endswith(b'{"status":"ok"}')


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not tls here\r\n\r\n", 400, "invalid_http"),
        (b"NONSENSE / HTTP/1.1\r\n\r\n", 400, "invalid_http"),
        (b"GET / HTTP/2.0\r\nhost: x\r\n\r\n", 505, "invalid_http"),
        (b"CONNECT a:443 HTTP/1.1\r\nhost: x\r\n\r\n", 400, "invalid_http"),
        (b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n", 400, "invalid_http"),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nhost: x\r\n\r\n", 400, "invalid_http"),
        (b"GET /healthz HTTP/1.1\r\nhost: x\r\na: b\nc: d\r\n\r\n", 400, "invalid_http"),
        (b"GET /healthz HTTP/1.1\r\nhost: x\r\na: \x00\r\n\r\n", 400, "invalid_http"),
        (b"GET /healthz HTTP/1.1\r\nhost: x\r\na b: c\r\n\r\n", 400, "invalid_http"),
        (post(CHAT, b"transfer-encoding: chunked"), 400, "invalid_http"),
        (post(CHAT, b"content-length: 5"), 400, "invalid_http"),
        (post(CHAT, b"content-length: -5", length=-1), 400, "invalid_http"),
        (post(b"ZZ\r\n", b"transfer-encoding: chunked", length=-1), 400, "invalid_http"),
        (b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * 3000 + b"\r\n", 431, "headers_too_large"),
        (b"GET /healthz HTTP/1.1\r\na: " + b"b" * 80_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET /healthz HTTP/1.1\r\na: " + b"b" * 1_000_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET /" + b"b" * 1_000_000 + b" HTTP/1.1\r\n\r\n", 431, "headers_too_large"),
        (post(b"0\r\n" + b"a: b\r\n" * 3000 + b"\r\n", b"transfer-encoding: chunked", length=-1), 431, "headers_too_large"),
        (post(b"1;" + b"x" * 1_000_000, b"transfer-encoding: chunked", length=-1), 400, "invalid_http"),
        (post(b"", length=100 * 1024 * 1024), 413, "request_too_large"),
        (post(b"", b"expect: 100-continue", length=100 * 1024 * 1024), 413, "request_too_large"),
    ],
    ids=map(str, range(21)),
)
def test_what_is_not_http_or_too_large(pair: LiveGateway, data: bytes, status: int, code: str) -> None:
    """A clean error that the client gets to read even where it is still sending, and the next client is served."""
    with connected(pair) as client:
        client.send(data)
        refused(client, status, code)
    with connected(pair) as client:
        client.send(HEALTH)
        assert client.answer()[0] == 200


def test_a_large_body_is_refused_while_it_is_sent(pair: LiveGateway) -> None:
    """100 MB: the client can read 413 after all it could send, and the process is as large as before."""
    before = _memory()
    with connected(pair) as client:
        client.send(post(b"", length=100 * 1024 * 1024))
        for _ in range(100):
            client.send(b"x" * 1024 * 1024)
        client.socket.shutdown(socket.SHUT_WR)
        refused(client, 413, "request_too_large")
    assert _memory() - before < 30 * 1024 * 1024


def test_garbage_after_a_request(pair: LiveGateway) -> None:
    """What was asked before is answered, whole, and then it ends."""
    with connected(pair) as client:
        client.send(post() + b"\x00\x01 not http\r\n\r\n" * 100)
        status, _, body = client.answer()
        assert (status, json.loads(body)["object"]) == (200, "chat.completion")
        assert client.ended() == b""
    assert pair.row().outcome == "ok"


def test_garbage_in_a_request_sent_ahead(pair: LiveGateway) -> None:
    """The broken one is not answered, the one before it is."""
    with connected(pair) as client:
        client.send(post() + HEALTH + post(b"ZZ\r\n", b"transfer-encoding: chunked", length=-1))
        assert [client.answer()[0], client.answer()[0]] == [200, 200]
        assert client.ended() == b""


def test_a_body_that_breaks_after_its_answer(pair: LiveGateway) -> None:
    """One answer per request: the connection just ends."""
    with connected(pair) as client:
        client.send(b"DELETE /v1/models HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        assert client.answer()[0] == 405
        client.send(b"ZZ\r\n")
        assert client.ended() == b""


def test_a_length_that_lies(pair: LiveGateway) -> None:
    """Too short: the rest is no request. Too long: the client left, and nothing was asked of a provider."""
    with connected(pair) as client:
        client.send(post(CHAT + b"and more that was not announced\r\n\r\n", length=len(CHAT)))
        assert client.answer()[0] == 200
        assert client.ended() == b""
    with connected(pair) as client:
        client.send(post(CHAT, length=len(CHAT) + 10))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.ended() == b""
    pair.rows(1)


def test_chunks_and_trailers(pair: LiveGateway, upstream: UpstreamServer) -> None:
    """A body in single bytes with extensions and a trailer is that body; the trailer is no header."""
    chunks = b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in CHAT) + b"0\r\nx-breakeven-pin: two/m\r\n\r\n"
    with connected(pair) as client:
        client.send(post(chunks, b"transfer-encoding: chunked", length=-1) + HEALTH)
        status, headers, _ = client.answer()
        assert (status, headers["x-breakeven-backend"]) == (200, "one/m")
        assert client.answer()[0] == 200


def test_continue_is_said_after_the_head_was_checked(pair: LiveGateway) -> None:
    """A key that is wrong or a body too large needs no body; otherwise it is asked for, once. Who has sent it already is not asked."""
    secret = pair.key()
    key = b"authorization: Bearer " + secret.encode()
    with connected(pair) as client:
        client.send(post(b"", b"expect: 100-continue", b"authorization: Bearer wrong", length=len(CHAT)))
        refused(client, 401, "invalid_api_key")
    with connected(pair) as client:
        client.send(post(b"", b"expect: 100-continue", b"content-type: text/plain", key, length=len(CHAT)))
        refused(client, 415, "unsupported_media_type")
    with connected(pair) as client:
        client.send(post(b"", b"Expect: 100-Continue", key, length=len(CHAT)))
        assert client.answer()[0] == 100
        client.send(CHAT)
        assert client.answer()[0] == 200
        client.send(post(CHAT, b"expect: 100-continue", key))
        assert client.answer()[0] == 200


def test_an_offered_upgrade_is_declined(pair: LiveGateway, upstream: UpstreamServer) -> None:
    """Java's client offers h2c with every first request: the body counts all the same, in one piece, in two, in chunks, or where there is none."""
    offer = (b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA")
    with connected(pair) as client:
        client.send(post(CHAT, *offer))
        assert client.answer()[0] == 200
        client.send(post(b"", *offer, length=len(CHAT)))
        time.sleep(0.05)
        client.send(CHAT[:7])
        time.sleep(0.05)
        client.send(CHAT[7:])
        assert client.answer()[0] == 200
        client.send(post(b"%x\r\n%b\r\n0\r\n\r\n" % (len(CHAT), CHAT), *offer, b"transfer-encoding: chunked", length=-1))
        assert client.answer()[0] == 200
        client.send(HEALTH.replace(b"\r\n\r\n", b"\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"))
        assert client.answer()[0] == 200
        client.send(HEALTH)
        assert client.answer()[0] == 200
    assert len(upstream.seen) == 3
    with connected(pair) as client:
        client.send(post(b"ZZ\r\n", *offer, b"transfer-encoding: chunked", length=-1))
        refused(client, 400, "invalid_http")
    with connected(pair) as client:
        client.send(post(CHAT, *offer) + HEALTH)  # nobody does, and it must not be mistaken for anything
        assert client.answer()[0] == 200
        assert client.ended() == b""


def test_http_1_0(pair: LiveGateway) -> None:
    """Closed unless it asks otherwise; a stream has no chunk frames and ends with the connection."""
    with connected(pair) as client:
        client.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        status, headers, _ = client.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert client.ended() == b""
    with connected(pair) as client:
        client.send(b"GET /healthz HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        assert client.answer()[1]["connection"] == "keep-alive"
        client.send(post(json.dumps({**json.loads(CHAT), "stream": True}).encode(), b"connection: keep-alive", version=b"1.0"))
        status, headers, _ = client.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert "transfer-encoding" not in headers
        events = client.ended()
        assert events.startswith(b"data: {")
        assert events.endswith(b"data: [DONE]\n\n")


def test_head_has_no_body(pair: LiveGateway) -> None:
    """HEAD is answered by headers alone, and the next answer is not mistaken."""
    with connected(pair) as client:
        client.send(b"HEAD /healthz HTTP/1.1\r\nhost: x\r\n\r\n" + HEALTH)
        until(lambda: client._rest.count(b"HTTP/1.1 200") == 2 or client._more())
        assert client._rest.count(b'{"status":"ok"}') == 1


@pytest.mark.parametrize(
    ("url", "found"),
    [
        (b"/v1/x?a=1&b", (b"/v1/x", "/v1/x", b"a=1&b")),
        (b"/a%20b%2F%C3%A9?x#frag", (b"/a%20b%2F%C3%A9", "/a b/\xe9", b"x")),
        (b"http://host:8080/v1/models?x=1", (b"/v1/models", "/v1/models", b"x=1")),
        (b"https://host", (b"/", "/", b"")),
        (b"host:443", None),
        (b"*", None),
        (b"", None),
    ],
)
def test_targets(url: bytes, found: object) -> None:
    """Paths and whole URLs; nothing else names a resource."""
    assert http_target.split(url) == found


def test_slow_heads(quick: LiveGateway) -> None:
    """A head that does not end is answered 408; a connection that says nothing, or nothing any more, is closed; counted under its code."""
    with connected(quick) as client, connected(quick) as silent, connected(quick) as idle:
        idle.send(HEALTH)
        assert idle.answer()[0] == 200
        client.send(b"GET /healthz HTTP/1.1\r\na:")
        for _ in range(3):
            time.sleep(0.04)
            client.send(b"b")
        refused(client, 408, "request_timeout")
        assert silent.ended() == b""
        assert idle.ended() == b""
    assert b'breakeven_refused_requests_total{code="request_timeout"} 1.0' in quick.app.gateway.metrics.render()


def test_slow_bodies(quick: LiveGateway, upstream: UpstreamServer) -> None:
    """A body that trickles is answered 408; one that nobody wants just ends. No place is held meanwhile."""
    with connected(quick) as client:
        client.send(post(b"{", length=500))
        refused(client, 408, "request_timeout")
    with connected(quick) as client:
        client.send(b"DELETE /v1/models HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{")
        assert client.answer()[0] == 405
        assert client.ended() == b""
    assert quick.app.gateway.admission.running == 0
    assert not upstream.seen


def test_who_does_not_read_is_cut(quick: LiveGateway, upstream: UpstreamServer) -> None:
    """An answer larger than the kernel takes, to a client that reads nothing: its connection does not stay for ever."""

    async def large(wire: Wire) -> None:
        await wire.json(completion("x" * 20_000_000))

    upstream.script(large)
    with connected(quick) as client:
        client.send(post(CHAT, b"connection: close"))
        assert quick.row().outcome == "ok"
        until(lambda: not quick._server.server_state.connections)


def test_who_goes_on_sending_is_cut(quick: LiveGateway) -> None:
    """After a refusal what comes is thrown away, for a while only."""
    with connected(quick) as client:
        client.send(b"nonsense\r\n\r\n")
        assert client.answer()[0] == 400
        until(lambda: not sends(client))


def sends(client: Client) -> bool:
    """Whether the other side still takes anything."""
    try:
        client.send(b"x" * 10_000)
    except ConnectionError:
        return False
    return True


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
