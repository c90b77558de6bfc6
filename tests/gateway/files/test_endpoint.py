"""`/v1/files` as the official client and as bare HTTP see it."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import openai
import pytest

from gateway.app import Options
from gateway.store import content
from tests.gateway.files.conftest import NOBODY
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer, Wire

LINE = b'{"custom_id": "a", "method": "POST"}\n'


def stored(gateway: LiveGateway) -> list[str]:
    """The names of everything below data_dir/files."""
    return [path.name for path in content.directory(gateway.config.server.data_dir).rglob("*") if path.is_file()]


def test_the_life_of_a_file(sdk: openai.OpenAI, alone: LiveGateway) -> None:
    """Created, retrieved, read back byte for byte, listed, deleted; then it is gone from the disk too."""
    made = sdk.files.create(file=("in.jsonl", LINE), purpose="batch")
    assert (made.object, made.bytes, made.filename, made.purpose, made.status) == ("file", len(LINE), "in.jsonl", "batch", "processed")
    assert made.expires_at == pytest.approx(made.created_at + 30 * 86_400, abs=1)
    assert sdk.files.retrieve(made.id) == made
    answer = sdk.files.content(made.id)
    assert answer.read() == LINE
    assert answer.response.headers["content-disposition"] == 'attachment; filename="in.jsonl"'
    assert [file.id for file in sdk.files.list()] == [made.id]
    assert stored(alone) == [made.id]
    assert sdk.files.delete(made.id).model_dump() == {"id": made.id, "object": "file", "deleted": True}
    assert stored(alone) == []
    with pytest.raises(openai.NotFoundError, match=f"No such File object: {made.id}"):
        sdk.files.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        sdk.files.content(made.id)
    assert alone.rows() == [], "no model was asked: there is nothing for the ledger"


def test_a_large_file_goes_through_whole(sdk: openai.OpenAI) -> None:
    """Many pieces, and content that looks like a boundary."""
    data = b"".join(b'{"n": %d, "t": "\\r\\n--boundary"}\n' % number for number in range(200_000)) + b"\r\n--x\r\n"
    made = sdk.files.create(file=("big.bin", io.BytesIO(data)), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600})
    assert made.bytes == len(data)
    assert made.expires_at == made.created_at + 3600
    assert sdk.files.content(made.id).read() == data


def test_pages(sdk: openai.OpenAI) -> None:
    """The client walks all pages, in both orders, of one purpose or all."""
    ids = [sdk.files.create(file=("t.jsonl", b"{}\n"), purpose="fine-tune" if number % 2 else "batch").id for number in range(5)]
    assert [file.id for file in sdk.files.list(limit=2)] == ids[::-1]
    assert [file.id for file in sdk.files.list(limit=2, order="asc")] == ids
    assert [file.id for file in sdk.files.list(purpose="fine-tune")] == [ids[3], ids[1]]
    assert [file.id for file in sdk.files.list(purpose="batch_output")] == []
    for wrong in ({"limit": 0}, {"limit": 10_001}, {"order": "up"}, {"purpose": "odd"}):
        with pytest.raises(openai.BadRequestError):
            sdk.files.list(**wrong)


def test_a_key_sees_its_own_files_only(alone: LiveGateway) -> None:
    """Files of another key, and those from before there were keys, do not exist: not to show, read, delete or list."""
    url = f"{alone.url}/v1/files"
    send = {"file": ("a.jsonl", LINE)}, {"purpose": "batch"}
    before = httpx.post(url, files=send[0], data=send[1]).json()["id"]
    first, second = ({"authorization": f"Bearer {alone.key()}"} for _ in range(2))
    mine = httpx.post(url, files=send[0], data=send[1], headers=first).json()["id"]
    for headers, file_id in ((second, mine), (first, before)):
        for call in (
            httpx.get(f"{url}/{file_id}", headers=headers),
            httpx.get(f"{url}/{file_id}/content", headers=headers),
            httpx.delete(f"{url}/{file_id}", headers=headers),
        ):
            assert call.status_code == 404
            assert call.json()["error"] == {"message": f"No such File object: {file_id}", "type": "invalid_request_error", "param": "id", "code": None}
    assert httpx.get(url, headers=second).json() == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}
    assert httpx.get(url).status_code == httpx.post(url, files=send[0], data=send[1]).status_code == 401
    assert httpx.get(f"{url}/{mine}", headers=first).status_code == 200


@pytest.mark.parametrize(
    ("files", "data", "said"),
    [
        ({"file": ("a.jsonl", b"")}, {"purpose": "batch"}, "The file is empty."),
        ({"file": ("a.txt", LINE)}, {"purpose": "batch"}, "Invalid file format for Batch API. Must be .jsonl"),
        ({"file": ("a.jsonl", b"hello\n")}, {"purpose": "fine-tune"}, 'Line 1 is not a dictionary (HINT: line starts with: "hell...").'),
        ({"file": ("a.jsonl", LINE)}, {"purpose": "what"}, "'what' is not one of"),
        ({"file": ("a.jsonl", LINE)}, {}, "Missing required parameter: 'purpose'."),
        ({"other": ("a.jsonl", LINE)}, {"purpose": "batch"}, "Missing required parameter: 'file'."),
        ({"file": ("a.jsonl", LINE)}, {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "5"}, "expires_after.seconds"),
        ({"file": ("a.jsonl", LINE)}, {"purpose": "b" * 70_000}, "is longer than 64 KiB"),
        ({"file": ("a.jsonl", LINE)}, {f"f{number}": "x" for number in range(70)}, "more than 64 parts"),
    ],
)
def test_what_is_refused(alone: LiveGateway, files: dict[str, object], data: dict[str, str], said: str) -> None:
    """400 in OpenAI's words, and nothing stays on the disk."""
    answer = httpx.post(f"{alone.url}/v1/files", files=files, data=data)  # type: ignore[arg-type]
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]
    assert stored(alone) == []


@pytest.mark.parametrize(
    ("kind", "body", "status", "said"),
    [
        ("application/json", b"{}", 415, "multipart/form-data"),
        ("multipart/form-data", b"x", 415, "multipart/form-data"),
        ("multipart/form-data; boundary=b", b"garbage", 400, "could not read the multipart form"),
        ("multipart/form-data; boundary=" + "b" * 400, b"garbage", 400, "Boundary length"),
        ("multipart/form-data; boundary=b", b'--b\r\ncontent-disposition: form-data; name="file"\r\n\r\nhalf', 400, "last boundary is missing"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\ncontent-disposition: form-data; name="file"\r\n\r\nx\r\n--b\r\ncontent-disposition: form-data; name="file"\r\n\r\ny\r\n--b--\r\n',
            400,
            "is there twice",
        ),
    ],
)
def test_what_is_no_form(alone: LiveGateway, kind: str, body: bytes, status: int, said: str) -> None:
    """Clean errors, and nothing stays on the disk."""
    answer = httpx.post(f"{alone.url}/v1/files", content=body, headers={"content-type": kind})
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]
    assert stored(alone) == []


def test_too_large_is_said_at_once(alone: LiveGateway) -> None:
    """A length beyond the bound is refused before anything of the file is sent."""
    with socket.create_connection(("127.0.0.1", alone.port), 30) as raw:
        raw.sendall(b"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 600000000\r\n\r\n")
        assert raw.recv(65536).startswith(b"HTTP/1.1 413")


def test_a_sender_that_leaves(alone: LiveGateway) -> None:
    """What had arrived is deleted."""
    with socket.create_connection(("127.0.0.1", alone.port), 30) as raw:
        raw.sendall(b"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 100000\r\n\r\n")
        raw.sendall(b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"x" * 1000)
        _until(lambda: len(stored(alone)) == 1)
    _until(lambda: stored(alone) == [])


def test_only_so_many_arrive_at_a_time(alone: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is told to come again, and may when another is through."""
    monkeypatch.setattr("gateway.files.arrivals.MOST", 1)
    send = {"file": ("a.jsonl", LINE)}, {"purpose": "batch"}
    with socket.create_connection(("127.0.0.1", alone.port), 30) as raw:
        raw.sendall(b"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 100000\r\n\r\n--b\r\n")
        _until(lambda: len(stored(alone)) == 1)
        answer = httpx.post(f"{alone.url}/v1/files", files=send[0], data=send[1])
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    _until(lambda: httpx.post(f"{alone.url}/v1/files", files=send[0], data=send[1]).status_code == 200)


def test_a_disk_that_refuses(alone: LiveGateway) -> None:
    """507 that says whom to ask, and uploads work again when the disk does."""
    place = content.directory(alone.config.server.data_dir)
    place.write_text("in the way")
    send = {"file": ("a.jsonl", LINE)}, {"purpose": "batch"}
    answer = httpx.post(f"{alone.url}/v1/files", files=send[0], data=send[1])
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "insufficient_storage")
    place.unlink()
    assert httpx.post(f"{alone.url}/v1/files", files=send[0], data=send[1]).status_code == 200


def test_all_files_together_are_bounded(start: Callable[..., LiveGateway], monkeypatch: pytest.MonkeyPatch) -> None:
    """The quota of the configuration: the file that does not fit is not kept."""
    gateway = start({**NOBODY, "server": {"files_gib": 1}})
    from gateway.store import files
    from serving.database import writing

    with writing(gateway.database) as conn:
        files.add(conn, files.File(files.new_id(), None, "a", "batch", 1024**3 - 10, 1.0))
    small, large = ({"file": ("a.jsonl", b"{}" + b" " * size)} for size in (0, 50))
    assert httpx.post(f"{gateway.url}/v1/files", files=large, data={"purpose": "batch"}).json()["error"]["code"] == "storage_quota_exceeded"
    assert stored(gateway) == []
    assert httpx.post(f"{gateway.url}/v1/files", files=small, data={"purpose": "batch"}).status_code == 200


def test_a_file_expires(start: Callable[..., LiveGateway]) -> None:
    """From its moment on it is neither shown nor sent."""
    clock = [time.time()]
    gateway = start(NOBODY, Options(environ={}, clock=lambda: clock[0]))
    made = httpx.post(f"{gateway.url}/v1/files", files={"file": ("a.jsonl", LINE)}, data={"purpose": "batch"}).json()
    assert httpx.get(f"{gateway.url}/v1/files/{made['id']}").status_code == 200
    clock[0] += 30 * 86_400
    assert httpx.get(f"{gateway.url}/v1/files/{made['id']}").status_code == 404
    assert httpx.get(f"{gateway.url}/v1/files/{made['id']}/content").status_code == 404
    assert httpx.get(f"{gateway.url}/v1/files").json()["data"] == []


def test_a_lost_content_is_404(sdk: openai.OpenAI, alone: LiveGateway) -> None:
    """A row whose content lies elsewhere is no internal error."""
    made = sdk.files.create(file=("in.jsonl", LINE), purpose="batch")
    content.remove(alone.config.server.data_dir, [made.id])
    with pytest.raises(openai.NotFoundError):
        sdk.files.content(made.id)


def test_a_download_that_is_broken_off(sdk: openai.OpenAI, alone: LiveGateway) -> None:
    """The gateway goes on answering, and lets go of the file."""
    made = sdk.files.create(file=("big.bin", b"x" * 30_000_000), purpose="user_data")
    with socket.create_connection(("127.0.0.1", alone.port), 30) as raw:
        raw.sendall(f"GET /v1/files/{made.id}/content HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 200")
    place = content.path(alone.config.server.data_dir, made.id)
    _until(lambda: not _is_open(place))
    assert httpx.head(f"{alone.url}/v1/files/{made.id}/content").headers["content-length"] == "30000000"


def test_other_ids_and_purposes_are_the_providers(pair: LiveGateway, upstream: UpstreamServer) -> None:
    """What only the provider can use goes there as the client sent it; so do its own ids. What is ours is never asked for there."""

    async def echoes(wire: Wire) -> None:
        await wire.json({"id": "file-native", "path": wire.seen.path, "method": wire.seen.method})

    upstream.script(echoes)
    url = f"{pair.url}/v1/files"
    data = {"purpose": "vision", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    assert httpx.post(url, files={"file": ('p"ic.png', b"\x89PNG\r\n--")}, data=data).json()["id"] == "file-native"
    sent = upstream.seen[-1]
    assert sent.headers["content-type"].startswith("multipart/form-data; boundary=")
    for piece in (
        b'name="purpose"\r\n\r\nvision\r\n',
        b'name="expires_after[seconds]"\r\n\r\n3600\r\n',
        b'filename="p%22ic.png"',
        b"\r\n\r\n\x89PNG\r\n--\r\n",
    ):
        assert piece in sent.raw
    assert httpx.get(f"{url}/file-native/content").json()["path"] == "/v1/files/file-native/content"
    assert httpx.delete(f"{url}/file-native").json()["method"] == "DELETE"
    assert httpx.get(f"{url}?purpose=vision").json()["path"] == "/v1/files?purpose=vision"
    asked = len(upstream.seen)
    made = httpx.post(url, files={"file": ("a.jsonl", LINE)}, data={"purpose": "batch"}).json()["id"]
    assert httpx.get(f"{url}/{made}").status_code == 200
    assert httpx.get(f"{url}/file-bk-000000").status_code == 404
    assert [file["id"] for file in httpx.get(url).json()["data"]] == [made]
    assert len(upstream.seen) == asked
    assert stored(pair) == [made]
    assert httpx.get(f"{url}/file-native/odd").json()["path"] == "/v1/files/file-native/odd"


def test_a_providers_id_without_a_provider(sdk: openai.OpenAI) -> None:
    """OpenAI's 404, not an unknown URL."""
    with pytest.raises(openai.NotFoundError, match="No such File object: file-abc"):
        sdk.files.retrieve("file-abc")


def test_a_bare_client(alone: LiveGateway, tmp_path: Path) -> None:
    """The purpose may come after the file, and methods that are not there are 405."""
    body = (
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="C:\\\\d\\\\a.jsonl"\r\ncontent-type: x/y\r\n\r\n{"a": 1}\r\n'
        b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--b--\r\n'
    )
    made = httpx.post(f"{alone.url}/v1/files", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert made.status_code == 200
    assert json.loads(made.text)["filename"] == "a.jsonl"
    assert made.json()["expires_at"] is None
    assert httpx.put(f"{alone.url}/v1/files").status_code == 405


def _is_open(place: Path) -> bool:
    inode = place.stat().st_ino
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            if descriptor.stat().st_ino == inode:
                return True
        except OSError:
            continue
    return False


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
