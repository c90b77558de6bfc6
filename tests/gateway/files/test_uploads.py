"""`/v1/uploads`: parts become a file, or nothing."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import httpx
import openai
import pytest

from gateway.app import Options
from gateway.store import content
from tests.gateway.files.conftest import NOBODY
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer, Wire

DATA = b'{"a": 1}\n{"b": 2}\n'


def stored(gateway: LiveGateway) -> list[str]:
    return sorted(path.name for path in content.directory(gateway.config.server.data_dir).rglob("*") if path.is_file())


def opened(sdk: openai.OpenAI, size: int = len(DATA), purpose: str = "fine-tune") -> str:
    return sdk.uploads.create(bytes=size, filename="a.jsonl", mime_type="application/jsonl", purpose=purpose).id  # type: ignore[arg-type]


def test_parts_become_a_file(sdk: openai.OpenAI, alone: LiveGateway) -> None:
    """In the order that `complete` names, whatever order they came in; the parts are gone afterwards."""
    upload = sdk.uploads.create(
        bytes=len(DATA), filename="a.jsonl", mime_type="application/jsonl", purpose="fine-tune", expires_after={"anchor": "created_at", "seconds": 7200}
    )
    assert (upload.object, upload.status, upload.file, upload.expires_at) == ("upload", "pending", None, upload.created_at + 3600)
    late = sdk.uploads.parts.create(upload.id, data=DATA[5:])
    early = sdk.uploads.parts.create(upload.id, data=DATA[:5])
    assert (late.object, late.upload_id) == ("upload.part", upload.id)
    done = sdk.uploads.complete(upload.id, part_ids=[early.id, late.id], md5=hashlib.md5(DATA).hexdigest())
    assert done.status == "completed"
    assert done.file is not None
    assert sdk.files.retrieve(done.file.id) == done.file
    assert (done.file.purpose, done.file.bytes, done.file.expires_at) == ("fine-tune", len(DATA), done.file.created_at + 7200)
    assert sdk.files.content(done.file.id).read() == DATA
    assert stored(alone) == [done.file.id]
    with pytest.raises(openai.BadRequestError, match="is completed"):
        sdk.uploads.parts.create(upload.id, data=b"x")


def test_the_clients_own_chunking(sdk: openai.OpenAI) -> None:
    """`upload_file_chunked` works."""
    data = b'{"text": "xxxxxxxxxxxxxxxxxxx"}\n' * 50_000
    done = sdk.uploads.upload_file_chunked(file=data, filename="b.jsonl", bytes=len(data), mime_type="application/jsonl", purpose="batch", part_size=700_000)
    assert done.file is not None
    assert sdk.files.content(done.file.id).read() == data


def test_cancelled(sdk: openai.OpenAI, alone: LiveGateway) -> None:
    """The parts are deleted, and it stays cancelled."""
    upload = opened(sdk)
    sdk.uploads.parts.create(upload, data=DATA)
    assert len(stored(alone)) == 1
    assert sdk.uploads.cancel(upload).status == "cancelled"
    assert stored(alone) == []
    with pytest.raises(openai.BadRequestError, match="is cancelled"):
        sdk.uploads.complete(upload, part_ids=[])


def test_what_does_not_add_up(sdk: openai.OpenAI, alone: LiveGateway) -> None:
    """Too many bytes, too few, a part twice, a part of nobody, a wrong digest, lines that are no JSON: 400, and it can still be put right."""
    upload = opened(sdk)
    part = sdk.uploads.parts.create(upload, data=DATA[:5]).id
    with pytest.raises(openai.BadRequestError, match="more than the"):
        sdk.uploads.parts.create(upload, data=DATA)
    for order, said in (([part], "come to 5 bytes"), ([part, part], "named twice"), (["part_x"], "No such part"), ("x", "part_ids")):
        with pytest.raises(openai.BadRequestError, match=said):
            sdk.uploads.complete(upload, part_ids=order)  # type: ignore[arg-type]
    rest = sdk.uploads.parts.create(upload, data=DATA[5:]).id
    with pytest.raises(openai.BadRequestError, match="md5"):
        sdk.uploads.complete(upload, part_ids=[part, rest], md5="0" * 32)
    with pytest.raises(openai.BadRequestError, match="Line 1 is not a dictionary"):
        sdk.uploads.complete(upload, part_ids=[rest, part])
    assert stored(alone) == sorted([part, rest])
    assert sdk.uploads.complete(upload, part_ids=[part, rest]).status == "completed"


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"bytes": 0}, "bytes"),
        ({"bytes": None}, "bytes"),
        ({"bytes": 9 * 1024**3}, "bytes"),
        ({"filename": None}, "filename"),
        ({"filename": "a.txt"}, "file"),
        ({"mime_type": None}, "mime_type"),
        ({"purpose": "odd"}, "purpose"),
        ({"expires_after": {"anchor": "x"}}, "expires_after.anchor"),
    ],
)
def test_wrong_openings(alone: LiveGateway, changed: dict[str, object], param: str) -> None:
    """The parameter that is wrong is named."""
    body = {"bytes": 5, "filename": "a.jsonl", "mime_type": "x/y", "purpose": "batch", **changed}
    answer = httpx.post(f"{alone.url}/v1/uploads", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_wrong_bodies(alone: LiveGateway) -> None:
    """No JSON, no object, too much of it."""
    url = f"{alone.url}/v1/uploads"
    assert httpx.post(url, content=b"{").status_code == 400
    assert httpx.post(url, content=b"[]").json()["error"]["code"] == "invalid_type"
    assert httpx.post(url, content=b" " * 2_000_000).status_code == 413
    assert httpx.post(url).json()["error"]["param"] == "purpose"


def test_it_has_an_hour(start: Callable[..., LiveGateway]) -> None:
    """Then it takes nothing more."""
    clock = [time.time()]
    gateway = start(NOBODY, Options(environ={}, clock=lambda: clock[0]))
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as sdk:
        upload = opened(sdk)
        clock[0] += 3600
        with pytest.raises(openai.BadRequestError, match="is expired"):
            sdk.uploads.parts.create(upload, data=DATA)


def test_another_keys_upload(alone: LiveGateway) -> None:
    """It does not exist."""
    first, second = ({"authorization": f"Bearer {alone.key()}"} for _ in range(2))
    body = {"bytes": 5, "filename": "a.jsonl", "mime_type": "x/y", "purpose": "batch"}
    upload = httpx.post(f"{alone.url}/v1/uploads", json=body, headers=first).json()["id"]
    assert httpx.post(f"{alone.url}/v1/uploads/{upload}/cancel", headers=second).status_code == 404
    assert httpx.post(f"{alone.url}/v1/uploads/{upload}/cancel", headers=first).json()["status"] == "cancelled"


def test_the_providers_uploads(pair: LiveGateway, upstream: UpstreamServer) -> None:
    """Purposes that only the provider can use, and its ids, go there with the body that was sent."""

    async def echoes(wire: Wire) -> None:
        await wire.json({"path": wire.seen.path})

    upstream.script(echoes)
    body = {"bytes": 5, "filename": "a.png", "mime_type": "image/png", "purpose": "vision"}
    assert httpx.post(f"{pair.url}/v1/uploads", json=body).json() == {"path": "/v1/uploads"}
    assert upstream.seen[-1].body == body
    assert httpx.post(f"{pair.url}/v1/uploads/upload_1/complete", json={"part_ids": []}).json() == {"path": "/v1/uploads/upload_1/complete"}
    assert httpx.get(f"{pair.url}/v1/uploads/upload_1").json() == {"path": "/v1/uploads/upload_1"}
