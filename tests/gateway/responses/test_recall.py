"""Conversations that go on: across turns, candidates, restarts and workers; for their own key only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
import pytest
from openai import OpenAI
from sqlalchemy.exc import OperationalError

from gateway.app import Options
from gateway.responses import memory
from gateway.responses.memory import Memory
from gateway.store import responses
from gateway.store.responses import Stored
from router.errors import LimitError, RequestError
from router.types import Outcome
from serving.database import reading, writing
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.responses import strict
from tests.gateway.responses.conftest import mixed
from tests.gateway.responses.native_answers import RESPONSE, natively
from tests.gateway.upstream_server import UpstreamServer, Wire

HELLO = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello there"}]


@contextmanager
def ingesting(gateway: LiveGateway) -> Iterator[None]:
    """The controller's part, done by a thread."""
    stop = threading.Event()

    def bring_in() -> None:
        while not stop.is_set():
            gateway.rows()
            time.sleep(0.05)

    thread = threading.Thread(target=bring_in, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


def test_a_conversation_goes_on(gateway: LiveGateway, sdk: OpenAI, upstream: UpstreamServer) -> None:
    """Three turns, streamed or not: the backend sees all that was said, instructions are not carried over, and the size is the whole conversation's."""
    first = sdk.responses.create(model="r", input="Hi", instructions="Be brief")
    second = list(sdk.responses.create(model="r", input="And now?", previous_response_id=first.id, stream=True))[-1].response  # type: ignore[union-attr]
    third = sdk.responses.create(model="r", input=[{"role": "user", "content": "Bye"}], previous_response_id=second.id)
    assert (second.previous_response_id, third.previous_response_id) == (first.id, second.id)
    talk = [*HELLO, {"role": "user", "content": "And now?"}, HELLO[1], {"role": "user", "content": "Bye"}]
    assert upstream.seen[-1].body["messages"] == talk
    assert gateway.rows(3)[-1].prompt_bytes == sum(len(message["content"]) for message in talk)


def test_it_goes_on_after_a_restart(tmp_path: Path, upstream: UpstreamServer, fallback: UpstreamServer, client_of: Callable[..., OpenAI]) -> None:
    """And in another worker, whose answers may still be on their way into the database."""
    body = mixed(upstream, fallback)
    with LiveGateway(tmp_path, body) as one:
        first = client_of(one).responses.create(model="r", input="Hi")
        with LiveGateway(tmp_path, body, Options(worker="w1", environ={})) as two, ingesting(one):
            second = client_of(two).responses.create(model="r", input="And now?", previous_response_id=first.id)
        assert upstream.seen[-1].body["messages"] == [*HELLO, {"role": "user", "content": "And now?"}]
        one.rows(2)
    with LiveGateway(tmp_path, body) as three:
        assert client_of(three).responses.create(model="r", input="Bye", previous_response_id=second.id).output_text == "Hello there"
    assert len(upstream.seen[-1].body["messages"]) == 5


def test_our_conversation_can_go_on_natively(gateway: LiveGateway, sdk: OpenAI, fallback: UpstreamServer) -> None:
    """A provider with the API gets the turns as input, without our ids; its answer's id is its own."""
    fallback.script(natively)
    first = sdk.responses.create(model="r", input="Hi")
    second = sdk.responses.create(model="n", input="And now?", previous_response_id=first.id)
    assert second.id == RESPONSE["id"]
    assert fallback.seen[0].body == {
        "model": "cheap",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello there", "annotations": []}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And now?"}]},
        ],
    }


def test_a_native_conversation_stays_native(gateway: LiveGateway, sdk: OpenAI, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Even where a cheaper candidate is first, and when the native one fails: then nobody answers."""

    async def down(wire: Wire) -> None:
        await wire.json({"error": {"message": "down"}}, 503)

    fallback.script(natively, down)
    sdk.responses.create(model="r", input="Hi", previous_response_id="resp_0a1b")
    assert fallback.seen[0].body["previous_response_id"] == "resp_0a1b"
    with pytest.raises(openai.InternalServerError):
        sdk.responses.create(model="r", input="Hi", previous_response_id="resp_0a1b")
    assert upstream.seen == []


def test_an_unknown_native_conversation_is_no_failure_of_its_provider(gateway: LiveGateway, sdk: OpenAI, fallback: UpstreamServer) -> None:
    """The provider's words reach the client, and its circuit stays closed however often."""
    said = {"error": {"message": "Previous response with id 'resp_0a' not found.", "type": "invalid_request_error", "code": "previous_response_not_found"}}

    async def unknown(wire: Wire) -> None:
        await wire.json(said, 404)

    fallback.script(unknown)
    for _ in range(12):
        with pytest.raises(openai.NotFoundError, match="Previous response with id"):
            sdk.responses.create(model="n", input="Hi", previous_response_id="resp_0a")
    fallback.script(natively)
    assert sdk.responses.create(model="n", input="Hi").id == RESPONSE["id"]
    assert {row.outcome for row in gateway.rows(13)} == {Outcome.CLIENT_ERROR, Outcome.OK}


def test_a_native_conversation_finds_its_provider(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Of two providers with the API the one that knows the conversation answers; the other's circuit stays closed."""
    body = mixed(upstream, fallback)
    body["providers"]["chatty"]["kind"] = "azure"
    gateway = start(body)
    fallback.script(natively)

    async def unknown(wire: Wire) -> None:
        await wire.json({"error": {"message": "Previous response with id 'resp_0a' not found.", "code": "previous_response_not_found"}}, 400)

    upstream.script(unknown)
    for _ in range(8):
        answer = httpx.post(f"{gateway.url}/v1/responses", json={"model": "r", "input": "x", "previous_response_id": "resp_0a"}, timeout=30)
        assert (answer.status_code, answer.headers["x-breakeven-backend"]) == (200, "native/m")
    assert len(upstream.seen) == 8
    assert {row.reason for row in gateway.rows(8)} == {"failover"}


def test_nobody_elses_and_nothing_that_was_not_kept(gateway: LiveGateway, client_of: Callable[..., OpenAI], monkeypatch: pytest.MonkeyPatch) -> None:
    """400 in OpenAI's words: for another key, for an answer made with `store: false`, for an id that never was. No row: the request was not let in."""
    monkeypatch.setattr(memory, "_ARRIVES_S", 0.1)
    mine, other = (client_of(gateway, gateway.key()) for _ in range(2))
    kept, forgotten = mine.responses.create(model="r", input="Hi"), mine.responses.create(model="r", input="Hi", store=False)
    assert (kept.store if hasattr(kept, "store") else True, forgotten.to_dict()["store"]) == (True, False)
    for client, wanted in ((other, kept.id), (mine, forgotten.id), (mine, kept.id[:-1] + "x")):
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model="r", input="x", previous_response_id=wanted)
        body: Any = refused.value.body
        assert body["message"] == f"Previous response with id '{wanted}' not found."
        assert (body["code"], body["param"], body["type"]) == ("previous_response_not_found", "previous_response_id", "invalid_request_error")
    with pytest.raises(openai.NotFoundError):
        other.responses.retrieve(kept.id)
    with pytest.raises(openai.NotFoundError):
        other.responses.delete(kept.id)
    assert mine.responses.create(model="r", input="x", previous_response_id=kept.id).status == "completed"
    assert len(gateway.rows(3)) == 3


def test_fetching_listing_and_deleting(gateway: LiveGateway, sdk: OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with OpenAI; what is deleted is gone for follow-ups, for later ones of its conversation, and although its record comes late."""
    monkeypatch.setattr(memory, "_ARRIVES_S", 0.1)
    image: Any = {"type": "input_image", "image_url": "data:image/png;base64,AA"}
    asked: list[Any] = [
        {"role": "system", "content": "s"},
        {"role": "assistant", "content": "before"},
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}, image]},
        {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "rain"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
    ]
    first = sdk.responses.create(model="r", input=asked)
    raw = sdk.responses.with_raw_response.retrieve(first.id)
    assert strict.response(orjson.loads(raw.content)) == first.to_dict(mode="json") | {"created_at": int(first.created_at)} | {
        "completed_at": orjson.loads(raw.content)["completed_at"]
    }
    body = httpx.get(f"{gateway.url}/v1/responses/{first.id}/input_items", params={"limit": 2}).json()
    assert ([strict.item(each)["type"] for each in body["data"]], body["has_more"]) == (["reasoning", "function_call_output"], True)
    assert (body["first_id"], body["last_id"]) == (body["data"][0]["id"], body["data"][1]["id"])
    listed = [strict.item(each.to_dict()) for each in sdk.responses.input_items.list(first.id, limit=2, order="asc")]
    assert [each["type"] for each in listed] == ["message", "message", "message", "function_call", "function_call_output", "reasoning"]
    assert [part["type"] for part in listed[2]["content"]] == ["input_text", "input_image"]
    second = sdk.responses.create(model="r", input="And?", previous_response_id=first.id)
    deleted = httpx.delete(f"{gateway.url}/v1/responses/{first.id}")
    assert deleted.json() == {"id": first.id, "object": "response", "deleted": True}
    gateway.rows(2)
    for wanted in (first.id, second.id):
        with pytest.raises(openai.BadRequestError, match=wanted):
            sdk.responses.create(model="r", input="x", previous_response_id=wanted)
    with pytest.raises(openai.NotFoundError, match=f"Response with id '{first.id}' not found"):
        sdk.responses.retrieve(first.id)
    assert sdk.responses.retrieve(second.id).output_text == "Hello there"


@pytest.mark.parametrize(
    ("method", "rest", "status", "words"),
    [
        ("GET", "?stream=true", 400, "background=true"),
        ("POST", "/cancel", 400, "Cannot cancel a synchronous response"),
        ("GET", "/events", 404, "Unknown request URL"),
        ("POST", "", 404, "Unknown request URL"),
        ("PUT", "", 405, "Not allowed to PUT"),
        ("GET", "/input_items?limit=0", 400, "between 1 and 100"),
        ("GET", "/input_items?limit=9999", 400, "between 1 and 100"),
        ("GET", "/input_items?limit=x", 400, "between 1 and 100"),
        ("GET", "/input_items?order=up", 400, "supported values are 'asc' and 'desc'"),
        ("GET", "/input_items?after=msg_9", 404, "No item with id 'msg_9'"),
    ],
)
def test_what_cannot_be_asked_of_an_answer(gateway: LiveGateway, sdk: OpenAI, method: str, rest: str, status: int, words: str) -> None:
    """Clear errors in OpenAI's shape, with a request id."""
    first = sdk.responses.create(model="r", input="Hi")
    answer = httpx.request(method, f"{gateway.url}/v1/responses/{first.id}{rest}")
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
    assert answer.headers["x-request-id"].startswith("req_")


def test_foreign_answers_are_the_default_providers(gateway: LiveGateway, fallback: UpstreamServer) -> None:
    """Passed on as they are, with the key's scope and a row."""

    async def fetched(wire: Wire) -> None:
        await wire.json({"id": "resp_0a1b", "object": "response"})

    fallback.script(fetched)
    assert httpx.get(f"{gateway.url}/v1/responses/resp_0a1b?include[]=x").json()["id"] == "resp_0a1b"
    assert (fallback.seen[0].method, fallback.seen[0].path) == ("GET", "/v1/responses/resp_0a1b?include[]=x")
    limited = gateway.key(routes=("r",))
    assert httpx.delete(f"{gateway.url}/v1/responses/resp_0a1b", headers={"authorization": f"Bearer {limited}"}).status_code == 403
    assert httpx.delete(f"{gateway.url}/v1/responses/resp_brkvn1").status_code == 401
    assert gateway.row().endpoint == "/v1/responses/resp_0a1b"


STORED = Stored("resp_brkvn1", 1.0, None, "resp_brkvn1", None, [], {"id": "resp_brkvn1", "output": []})


def test_a_database_that_does_not_answer(gateway: LiveGateway, sdk: OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 and come back: a conversation is never answered without its beginning."""
    first = sdk.responses.create(model="r", input="Hi")

    def gone(*_: object) -> None:
        raise OperationalError("select", {}, Exception("gone"))

    monkeypatch.setattr(responses, "chain", gone)
    with pytest.raises(openai.InternalServerError, match="cannot be read right now") as refused:
        sdk.responses.create(model="r", input="x", previous_response_id=first.id)
    assert (refused.value.status_code, refused.value.response.headers["retry-after"]) == (503, "1")
    monkeypatch.undo()
    monkeypatch.setattr(responses, "remove", gone)
    with pytest.raises(openai.InternalServerError, match="cannot be deleted right now"):
        sdk.responses.delete(first.id)


def test_a_slow_database_has_its_own_timeout(gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """The read is given up, whatever the request's timeouts are."""
    release = threading.Event()
    monkeypatch.setattr(memory, "_READ_S", 0.05)
    monkeypatch.setattr(responses, "size", lambda *_: release.wait(20) and 0)
    with pytest.raises(LimitError) as refused:
        gateway.run(Memory().one(gateway.database, "resp_brkvn1", None))
    release.set()
    assert refused.value.status == 503


def test_a_conversation_has_an_end(gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """More turns than can be read are refused, not cut."""
    turns = [STORED, *(Stored(f"resp_brkvn{n}", 1.0, None, STORED.id, f"resp_brkvn{n - 1}", [], {"output": []}) for n in range(2, 12))]
    with writing(gateway.database) as conn:
        responses.insert(conn, turns)
    whole = gateway.run(Memory().conversation(gateway.database, "resp_brkvn11", None))
    assert [turn.id for turn in whole] == [turn.id for turn in turns]
    monkeypatch.setattr(memory, "MOST_TURNS", 5)
    monkeypatch.setattr(memory.Memory._rows, "__defaults__", (5,))
    with pytest.raises(RequestError, match="more than 5 turns"):
        gateway.run(Memory().conversation(gateway.database, "resp_brkvn11", None))
    monkeypatch.setattr(memory, "_MOST_READ", 50)
    with pytest.raises(RequestError, match="too long to go on with"):
        gateway.run(Memory().conversation(gateway.database, "resp_brkvn11", None))


def test_memory_is_bounded(gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What is too large is not kept and says so in the log; what waits for the database goes when there is too much of it, or when it has arrived."""
    spool, held = gateway.app.gateway.spool, Memory()
    big = [{"id": "msg_1", "content": "x" * 1000}]
    monkeypatch.setattr(memory, "MOST_BYTES", 2000)
    monkeypatch.setattr(memory, "_MOST_HELD", 3500)
    with caplog.at_level("WARNING", "breakeven.responses"):
        gateway.call(lambda: held.keep(Stored("resp_brkvnX", 1.0, None, "resp_brkvnX", None, big * 3, {}), spool))
    assert "resp_brkvnX is not kept" in caplog.text
    for n in range(5):
        gateway.call(lambda n=n: held.keep(Stored(f"resp_brkvn{n}", 1.0, None, f"resp_brkvn{n}", None, big, {}), spool))
    assert list(held._held) == ["resp_brkvn2", "resp_brkvn3", "resp_brkvn4"]
    gateway.rows()
    with reading(gateway.database) as conn:
        assert responses.get(conn, "resp_brkvn0") is not None
        assert responses.get(conn, "resp_brkvnX") is None
    assert gateway.run(held.one(gateway.database, "resp_brkvn3", None)).input == big
    assert list(held._held) == ["resp_brkvn2", "resp_brkvn4"]
    assert held._bytes == sum(size for _, size in held._held.values())
