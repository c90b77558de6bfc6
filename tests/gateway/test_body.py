"""Bodies over real sockets: compressed ones, bombs, large ones together."""

from __future__ import annotations

import gzip
import json
import zlib
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from gateway.body import MOST_BODY_BYTES, Bodies
from router.errors import LimitError
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer

CHAT = {"model": "r", "messages": [{"role": "user", "content": "hello " * 500}]}
RAW = json.dumps(CHAT).encode()
GZIPPED = gzip.compress(RAW, mtime=0)


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def post(client: httpx.Client, content: object, coding: str | None = None, path: str = "/v1/chat/completions") -> httpx.Response:
    headers = {"content-type": "application/json"} | ({"content-encoding": coding} if coding else {})
    return client.post(path, content=content, headers=headers)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("coding", "packed"),
    [("gzip", GZIPPED), ("x-gzip", GZIPPED), ("GZIP", GZIPPED), ("deflate", zlib.compress(RAW)), ("deflate", bare(RAW)), ("identity", RAW)],
    ids=["gzip", "old-name", "upper-case", "deflate", "bare-deflate", "identity"],
)
def test_a_compressed_body_is_read(client: httpx.Client, upstream: UpstreamServer, coding: str, packed: bytes) -> None:
    """In one piece and in many: the provider gets it unpacked."""
    assert post(client, packed, coding).status_code == 200
    assert post(client, (packed[at : at + 7] for at in range(0, len(packed), 7)), coding).status_code == 200
    assert [seen.body["messages"] for seen in upstream.seen] == [CHAT["messages"]] * 2
    assert "content-encoding" not in upstream.seen[0].headers


def test_what_passes_through_is_unpacked_too(client: httpx.Client, upstream: UpstreamServer) -> None:
    """The provider is told of no encoding, so there must be none."""
    assert post(client, gzip.compress(b"some text"), "gzip", "/v1/moderations").status_code in {200, 502}
    assert upstream.seen[0].raw == b"some text"


def test_a_byte_order_mark_is_no_matter(client: httpx.Client) -> None:
    """Windows tools put one in front of UTF-8."""
    assert post(client, b"\xef\xbb\xbf" + RAW).status_code == 200


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "nonsense"])
def test_other_codings_are_refused(client: httpx.Client, coding: str) -> None:
    """415 that says what may be sent instead."""
    answer = client.post("/v1/chat/completions", content=RAW, headers={"content-encoding": coding, "content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_content_encoding")
    assert answer.headers["accept-encoding"] == "gzip, deflate"
    assert "send gzip or deflate" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("packed", "said"),
    [(RAW, "is not what"), (GZIPPED[:-12], "ends in the middle"), (GZIPPED + b"more", "goes on"), (b"", "ends in the middle")],
    ids=["plain", "cut", "more", "empty"],
)
def test_what_cannot_be_unpacked(client: httpx.Client, packed: bytes, said: str) -> None:
    """A clean 400 for each way to be broken."""
    answer = post(client, packed, "gzip")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_compressed_body")
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize("size", [10_000_000, 300_000_000])
def test_a_bomb_is_refused(client: httpx.Client, pair: LiveGateway, size: int) -> None:
    """Little that becomes much is given up early, and what it held is free again."""
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    piece = b" " * 1_000_000
    packed = b"".join(packer.compress(piece) for _ in range(size // len(piece))) + packer.flush()
    answer = post(client, packed, "gzip")
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
    assert pair.app.gateway.admission.bodies.total == 0


def test_a_body_that_unpacks_beyond_the_bound(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit holds for what it becomes."""
    monkeypatch.setattr("gateway.admit.MOST_BODY_BYTES", 1000)
    answer = post(client, GZIPPED, "gzip")
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


def test_large_bodies_together_are_bounded(client: httpx.Client, pair: LiveGateway) -> None:
    """One more than there is memory for is told to come again; afterwards everything is free."""
    bodies = pair.app.gateway.admission.bodies
    bodies.most = 3_000_000
    large = json.dumps({**CHAT, "user": "x" * 2_000_000}).encode()
    assert post(client, large).status_code == 200
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: post(client, large).status_code, range(16)))
    assert set(statuses) <= {200, 503}
    assert 200 in statuses
    assert bodies.total == 0
    bodies.most = 1_000_000
    answer = post(client, large)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    assert answer.headers["retry-after"] == "2"
    assert post(client, RAW).status_code == 200


def test_the_account_of_bodies() -> None:
    """A body that grows is counted once, and released once."""
    bodies = Bodies(100)
    bodies.hold("a", 10)
    bodies.hold("a", 60)
    with pytest.raises(LimitError):
        bodies.hold("b", 50)
    bodies.release("b")
    bodies.hold("b", 40)
    bodies.release("a")
    bodies.release("a")
    assert bodies.total == 40
    assert Bodies().most > 2 * MOST_BODY_BYTES
