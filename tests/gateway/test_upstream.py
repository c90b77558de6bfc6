"""The seam to upstreams: every failure is one of ours and shows no address; connections are kept, and never trusted."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway import connections
from gateway.upstream import Upstreams
from router.errors import UpstreamError, UpstreamTimeout
from tests.gateway.upstream_server import UpstreamServer, Wire, answers, completion


async def test_a_connection_that_does_not_come_about() -> None:
    """The connect timeout is the connection's own. A full backlog never answers."""
    import socket

    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        await asyncio.sleep(0.05)
        upstreams = Upstreams()
        try:
            with pytest.raises(UpstreamTimeout) as caught:
                await upstreams.post("one/m", f"http://127.0.0.1:{port}/v1/x", {}, b"{}", 100.0)
            assert caught.value.phase == "connect"
        finally:
            await upstreams.close()
            for filler in fillers:
                filler.close()


async def test_an_answer_that_is_too_large(upstream: UpstreamServer) -> None:
    """A bound on what is kept in memory."""

    async def large(wire: Wire) -> None:
        await wire.json(b"x" * 100_000)

    upstream.script(large)
    upstreams = Upstreams()
    answer = await upstreams.post("one/m", f"{upstream.url}/v1/x", {}, b"{}", 1000.0)
    with pytest.raises(UpstreamError, match="more than 1000 bytes"):
        await answer.body(1000)
    answer.close()
    answer.close()
    await upstreams.close()


async def test_compressed_answers_are_read(upstream: UpstreamServer) -> None:
    """We ask for none, but a server that compresses anyway is understood."""
    import gzip

    import orjson

    async def compressed(wire: Wire) -> None:
        await wire.json(gzip.compress(orjson.dumps(completion())), headers={"content-encoding": "gzip"})

    upstream.script(compressed)
    upstreams = Upstreams()
    answer = await upstreams.post("one/m", f"{upstream.url}/v1/x", {}, b"{}", 1000.0)
    assert orjson.loads(await answer.body(10_000)) == completion()
    answer.close()
    await upstreams.close()


async def test_an_answer_that_is_not_read_is_cut(upstream: UpstreamServer) -> None:
    """Closing early ends the work upstream."""

    async def endless(wire: Wire) -> None:
        await wire.head(200, {"content-type": "text/event-stream"})
        await wire.chunk(b": x\n\n")
        await wire.until_closed()

    upstream.script(endless)
    upstreams = Upstreams()
    answer = await upstreams.post("one/m", f"{upstream.url}/v1/x", {}, b"{}", 1000.0)
    assert await answer.read() == b": x\n\n"
    answer.close()
    assert await asyncio.to_thread(upstream.seen[0].closed.wait, 2)
    await upstreams.close()


async def ask(upstreams: Upstreams, url: str, method: str = "POST") -> bytes:
    answer = await upstreams.call(method, "one/m", url, {}, b"{}" if method == "POST" else None, 5000.0)
    body = await answer.body(10_000)
    answer.close()
    return body


async def test_connections_are_kept(upstream: UpstreamServer) -> None:
    """One after the other share a connection, side by side they do not; the one used last is taken first."""
    upstreams = Upstreams()
    await ask(upstreams, f"{upstream.url}/v1/chat/completions")
    await ask(upstreams, f"{upstream.url}/v1/chat/completions")
    await asyncio.gather(*(ask(upstreams, f"{upstream.url}/v1/chat/completions") for _ in range(3)))
    assert [seen.connection for seen in upstream.seen[:2]] == [1, 1]
    assert sorted(seen.connection for seen in upstream.seen[2:]) == [1, 2, 3]
    await upstreams.close()


async def test_old_connections_are_not_used(upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the sweep has been there or not."""
    upstreams = Upstreams()
    await ask(upstreams, f"{upstream.url}/v1/chat/completions")
    monkeypatch.setattr(connections, "KEEP_ALIVE_S", 0.0)
    await ask(upstreams, f"{upstream.url}/v1/chat/completions")
    monkeypatch.setattr(connections, "KEEP_ALIVE_S", 0.05)
    for _ in range(2):
        await ask(upstreams, f"{upstream.url}/v1/chat/completions")
    await asyncio.sleep(0.3)
    await ask(upstreams, f"{upstream.url}/v1/chat/completions")
    assert [seen.connection for seen in upstream.seen] == [1, 2, 2, 2, 3]
    await upstreams.close()


async def test_a_sweep_closes_what_nobody_uses(upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider sees the connection close, without another request."""
    monkeypatch.setattr(connections, "KEEP_ALIVE_S", 0.05)
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def watched(wire: Wire) -> None:
        await wire.json(completion())
        while await wire.reader.read(100):
            pass
        loop.call_soon_threadsafe(gone.set)
        wire.keep = False

    upstream.script(watched)
    upstreams = Upstreams()
    await ask(upstreams, f"{upstream.url}/v1/x")
    async with asyncio.timeout(20):
        await gone.wait()
    await upstreams.close()


async def test_targets_are_sent_as_they_came(upstream: UpstreamServer) -> None:
    """Nothing in a path or a query is decoded, encoded or normalised; no body and no length with a GET."""
    upstreams = Upstreams()
    await ask(upstreams, f"{upstream.url}/v1/files/a%2Fb/../c?x=%20&y=a+b", "GET")
    await ask(upstreams, upstream.url, "GET")
    assert [seen.path for seen in upstream.seen] == ["/v1/files/a%2Fb/../c?x=%20&y=a+b", "/"]
    assert "content-length" not in upstream.seen[0].headers
    assert upstream.seen[0].headers["host"] == upstream.url.removeprefix("http://")
    await upstreams.close()


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("http://127.0.0.1:1/v1/x", {"x-a": "1\r\nx-b: 2"}),
        ("http://127.0.0.1:1/v1/x", {"x-a": "1\n"}),
        ("http://127.0.0.1:1/v1/x", {"x-a\0": "1"}),
        ("http://127.0.0.1:1/v1/x HTTP/1.1\r\nx: 1\r\n", {}),
        ("http://127.0.0.1:1/v1/x", {"authorization": "Bearer \N{SNOWMAN}"}),
    ],
)
async def test_no_second_request_in_a_header(url: str, headers: dict[str, str]) -> None:
    """What would begin another line, or is no character of HTTP's, is never sent."""
    upstreams = Upstreams()
    with pytest.raises(UpstreamError, match="cannot be called"):
        await upstreams.post("one/m", url, headers, b"{}", 1000.0)
    await upstreams.close()


@pytest.mark.parametrize("url", ["http://no-such-host.invalid/v1/x", f"http://{'a' * 70}.test/v1/x"])
async def test_names_nobody_has(url: str) -> None:
    """A name that does not resolve, or is none, is a backend out of reach."""
    upstreams = Upstreams()
    with pytest.raises(UpstreamError) as caught:
        await upstreams.post("one/m", url, {}, b"{}", 20_000.0)
    assert caught.value.code in {"upstream_unreachable", "upstream_timeout"}
    assert "no-such-host" not in caught.value.message
    await upstreams.close()


async def test_a_cancelled_call_is_cut(upstream: UpstreamServer) -> None:
    """Whoever stops waiting for the head closes the connection, and the next call has a fresh one."""

    async def silent(wire: Wire) -> None:
        await wire.until_closed(20)

    upstream.script(silent, answers)
    upstreams = Upstreams()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await ask(upstreams, f"{upstream.url}/v1/chat/completions")
    assert await asyncio.to_thread(upstream.seen[0].closed.wait, 20)
    await ask(upstreams, f"{upstream.url}/v1/chat/completions")
    assert [seen.connection for seen in upstream.seen] == [1, 2]
    await upstreams.close()


async def test_closing_cuts_what_is_under_way(upstream: UpstreamServer) -> None:
    """At the end of the process nothing stays open, and a reader is told."""

    async def silent(wire: Wire) -> None:
        await wire.head(200, {"content-type": "text/event-stream"})
        await wire.until_closed(20)

    upstream.script(silent)
    upstreams = Upstreams()
    answer = await upstreams.post("one/m", f"{upstream.url}/v1/x", {}, b"{}", 5000.0)
    await upstreams.close()
    with pytest.raises(UpstreamError):
        await answer.read()
    assert await asyncio.to_thread(upstream.seen[0].closed.wait, 20)


async def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that nobody vouches for is refused with the reason; one that the machine trusts is taken."""
    chain, key = certificate(tmp_path)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(chain, key)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(2)
            assert b"host: localhost:" in head
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")

    server = await asyncio.start_server(client, "127.0.0.1", 0, ssl=server_side)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/v1/x"
    upstreams = Upstreams()
    connections.trust.cache_clear()
    with pytest.raises(UpstreamError, match="certificate is not valid") as caught:
        await ask(upstreams, url)
    assert caught.value.code == "upstream_unreachable"
    monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    connections.trust.cache_clear()
    assert [await ask(upstreams, url) for _ in range(2)] == [b"hi", b"hi"]
    await upstreams.close()
    server.close()
    connections.trust.cache_clear()


def certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, secret = directory / "chain.pem", directory / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return chain, secret
