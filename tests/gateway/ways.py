"""The ways a provider's fault travels: plain; over TLS under an authority of our own; to a client that reads slowly through a small window."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import httptools
import httpx
import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Way = Literal["plain", "tls", "slow"]
WAYS: tuple[Way, ...] = ("plain", "tls", "slow")
# What an answer to a slow client is filled up with: more than the buffers on its way take at once.
FILLING = 4_000_000
_WINDOW = 4096
_STEP = 65_536
_IDLE_S = 0.3
_PAUSE_S = 0.002


@dataclass(frozen=True, slots=True)
class Authority:
    """`ca` is what a gateway must trust; `server_side` what a provider named localhost shows."""

    ca: Path
    server_side: ssl.SSLContext

    @classmethod
    def made(cls, directory: Path) -> Authority:
        """A fresh one, its files in `directory`."""
        key, name = ec.generate_private_key(ec.SECP256R1()), _named("an authority of this test")
        ca = _signed(name, key.public_key(), name, key, x509.BasicConstraints(ca=True, path_length=0))
        own = ec.generate_private_key(ec.SECP256R1())
        leaf = _signed(_named("localhost"), own.public_key(), name, key, x509.SubjectAlternativeName([x509.DNSName("localhost")]))
        (directory / "ca.pem").write_bytes(ca)
        (directory / "chain.pem").write_bytes(leaf + ca)
        secret = own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (directory / "key.pem").write_bytes(secret)
        server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_side.load_cert_chain(directory / "chain.pem", directory / "key.pem")
        return cls(directory / "ca.pem", server_side)


def _named(what: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, what)])


def _signed(name: x509.Name, public: ec.EllipticCurvePublicKey, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> bytes:
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


@dataclass
class _Message:
    """What httptools found."""

    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.whole = True


class SlowClient:
    """Asks, does nothing for a while, and then reads a little at a time. `post` is httpx's, as far as these tests need it; filling is taken out again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.filled = 0

    def post(self, path: str, json: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        body = orjson.dumps(json)
        lines = [f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        found = _Message()
        parser = httptools.HttpResponseParser(found)
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW)  # before the handshake, which tells it
            raw.settimeout(30)
            raw.connect(("127.0.0.1", self._port))
            raw.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            time.sleep(_IDLE_S)
            since = 0
            while not found.whole and (data := raw.recv(2048)):
                parser.feed_data(data)
                since += len(data)
                if since >= _STEP:
                    since = 0
                    time.sleep(_PAUSE_S)
        assert found.whole, "the answer was cut"
        content = bytes(found.body)
        self.filled += content.count(b"~")
        content = content.replace((b": " + b"~" * 16_000 + b"\n\n") * (FILLING // 16_000), b"").replace(b"~" * FILLING, b"")
        return httpx.Response(parser.get_status_code(), headers=found.headers, content=content)
