"""Claims about talking to one vLLM server. The server is a stand-in with vLLM's statuses, on a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import httpx
import pytest

from router.errors import UpstreamError, UpstreamRefused, UpstreamTimeout
from serving import client as client_module
from serving.client import Card, Client
from serving.process import free_port
from serving.verify import verify
from tests.serving.making import make_adapter, probes


async def test_health_models_and_a_token(client: Client) -> None:
    """What readiness is made of."""
    assert await client.healthy()
    assert await client.models() == {"their-base": Card("their-base", "/m", None, 64)}
    await client.one_token("their-base")


async def test_loading_is_idempotent_here(client: Client, tmp_path: Path) -> None:
    """A second load of the same name and an unload of an absent one are not errors; a missing directory is."""
    path = str(make_adapter(tmp_path / "a"))
    await client.load("local/a@1", path)
    await client.load("local/a@1", path)
    assert (await client.models())["local/a@1"] == Card("local/a@1", path, "their-base", None)
    await client.unload("local/a@1")
    await client.unload("local/a@1")
    assert set(await client.models()) == {"their-base"}
    with pytest.raises(UpstreamRefused, match="404: No adapter found") as caught:
        await client.load("local/a@1", str(tmp_path / "none"))
    assert caught.value.status == 404


async def test_logprobs_leave_out_the_first_token(client: Client, tmp_path: Path) -> None:
    """Entry i is of token i + 1; an adapter has its own."""
    await client.load("x", str(make_adapter(tmp_path / "a", fake={"shift": 0.5})))
    assert await client.logprobs("their-base", [5, 9, 30]) == pytest.approx([-1.009, -1.03])
    assert await client.logprobs("x", [5, 9, 30]) == pytest.approx([-0.509, -0.53])
    assert len(await client.logprobs("their-base", "abc")) == 2


async def test_numbers_that_are_not_finite_are_refused(client: Client, tmp_path: Path) -> None:
    """vLLM answers 400 when it computed NaN; that is the adapter's fault, not ours."""
    await client.load("x", str(make_adapter(tmp_path / "a", fake={"nan": True})))
    with pytest.raises(UpstreamRefused, match="Out of range float") as caught:
        await client.logprobs("x", [1, 2])
    assert caught.value.status == 400


async def test_a_server_that_is_not_there() -> None:
    """It is unhealthy, and calls say that it cannot be reached."""
    client = Client(f"http://127.0.0.1:{free_port()}")
    assert not await client.healthy()
    with pytest.raises(UpstreamError, match="cannot be reached"):
        await client.models()
    await client.aclose()


async def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline that passes has its own error."""
    monkeypatch.setattr(client_module, "TIMEOUT_S", 0.2)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        client = Client(f"http://127.0.0.1:{deaf.getsockname()[1]}")
        with pytest.raises(UpstreamTimeout, match="in time") as caught:
            await client._call("GET", "/v1/models", timeout_s=0.2)
        assert caught.value.phase == "total"
        assert not await client.healthy(0.1)
        await client.aclose()


async def answering(reply: bytes) -> tuple[asyncio.Server, Client]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()

    made = await asyncio.start_server(handle, "127.0.0.1", 0)
    return made, Client(f"http://127.0.0.1:{made.sockets[0].getsockname()[1]}")


def http(body: bytes, status: str = "200 OK", kind: str = "application/json") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{}]}',
        b'{"choices": [{"prompt_logprobs": [null, {}]}]}',
        b'{"choices": [{"prompt_logprobs": [null, {"5": {}}]}]}',
        b"[]",
    ],
)
async def test_answers_without_numbers_are_errors(body: bytes) -> None:
    """A server that gives no log-probabilities has not verified anything."""
    made, client = await answering(http(body))
    with pytest.raises(UpstreamError, match="no prompt log-probabilities"):
        await client.logprobs("x", [1, 2])
    await client.aclose()
    made.close()
    await made.wait_closed()


async def test_infinite_numbers_in_an_answer_are_refused() -> None:
    """Python's JSON reads Infinity; we do not take it for a probability."""
    made, client = await answering(http(b'{"choices": [{"prompt_logprobs": [null, {"5": {"logprob": -Infinity}}]}]}'))
    with pytest.raises(UpstreamRefused, match="not numbers"):
        await client.logprobs("x", [1, 2])
    await client.aclose()
    made.close()
    await made.wait_closed()


@pytest.mark.parametrize(("reply", "said"), [(http(b"oops", "500 Oops", "text/plain"), "500: oops"), (http(b'{"error": 3}', "503 No"), '503: {"error": 3}')])
async def test_odd_error_bodies_are_still_told(reply: bytes, said: str) -> None:
    """An error that is not vLLM's is shown as it is."""
    made, client = await answering(reply)
    with pytest.raises(UpstreamRefused, match=said.replace("{", r"\{").replace("}", r"\}")):
        await client.models()
    await client.aclose()
    made.close()
    await made.wait_closed()


async def test_a_token_needs_a_choice() -> None:
    """Health alone is not readiness, and neither is an empty answer."""
    made, client = await answering(http(b'{"choices": []}'))
    with pytest.raises(UpstreamError, match="without a choice"):
        await client.one_token("x")
    await client.aclose()
    made.close()
    await made.wait_closed()


def test_every_httpx_error_is_translated() -> None:
    """There is no transport error that would escape as httpx's own."""
    assert {e for e in vars(httpx).values() if isinstance(e, type) and issubclass(e, httpx.TransportError)} <= {
        e for e in vars(httpx).values() if isinstance(e, type) and issubclass(e, httpx.HTTPError)
    }


async def test_verification_over_the_wire(client: Client, tmp_path: Path) -> None:
    """Against the record: the right adapter is proven, another one refused; without a record it is unproven; NaN and damage are refused."""

    def adapter(name: str, shift: float | None, recorded: float | None, **fake: object) -> Path:
        path = make_adapter(tmp_path / name, fake={"shift": shift or 0.0, **fake})
        if recorded is not None:
            (path / "probes.json").write_text(json.dumps(probes(recorded)))
        return path

    cases = [
        (adapter("right", 0.5, 0.5), "proven", set()),
        (adapter("wrong", 0.7, 0.5), "proven", {"record_differs"}),
        (adapter("foreign", 0.5, None), "unproven", set()),
        (adapter("nothing", 0.0, None), "unproven", {"no_effect"}),
        (adapter("nan", 0.0, 0.5, nan=True), "unproven", {"not_finite"}),
    ]
    for path, proof, codes in cases:
        await client.load(path.name, str(path))
        verdict = await verify(client, "their-base", path.name, path, 64)
        assert (path.name, verdict.proof, {r.code for r in verdict.reasons}) == (path.name, proof, codes)
    assert (await verify(client, "their-base", "right", tmp_path / "right", 3)).numbers["tokens"] == 2
    (tmp_path / "right" / "probes.json").write_text("{")
    assert [r.code for r in (await verify(client, "their-base", "right", tmp_path / "right")).reasons] == ["probes_damaged"]
    with pytest.raises(UpstreamRefused, match="does not exist"):
        await verify(client, "their-base", "not there", tmp_path / "wrong")


async def test_what_a_server_does_not_say(client: Client) -> None:
    """Neither counters nor usage nor tokens nor a version: an error that names the server, and no version is none."""
    httpx.post(f"{client.url}/fake/mute", json={"status": True})
    httpx.post(f"{client.url}/fake/tokenizer", json={"status": 201})
    assert await client.version() is None
    with pytest.raises(UpstreamRefused, match="404"):
        await client.metrics()
    with pytest.raises(UpstreamError, match="no usage"):
        await client.generate("their-base", [[1, 2]], 3, 10.0)
    with pytest.raises(UpstreamError, match="no tokens for a text"):
        await client.ids("their-base", "some text")
