"""The public paths over a real socket: operational endpoints, models, pass-through, and the edge where errors become answers."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

import httpx
import openai
import pytest
from sqlalchemy import insert

from gateway.endpoints import Endpoints
from router.types import Outcome
from serving import replica_table
from serving.database import writing
from serving.tables import adapters
from serving.views import ReplicaView
from tests.gateway.conftest import price, provider, two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer, Wire

MESSAGES = [{"role": "user", "content": "hi"}]


def test_health_ready_and_models(client: httpx.Client) -> None:
    """Every answer has a request id; the lists have OpenAI's shape."""
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready", "problems": []}
    assert client.head("/healthz").status_code == 200
    listing = client.get("/v1/models")
    assert listing.json()["object"] == "list"
    assert [(model["id"], model["object"], model["owned_by"]) for model in listing.json()["data"]] == [
        (route, "model", "breakeven") for route in ("r", "hasty")
    ]
    assert listing.headers["x-request-id"].startswith("req_")
    assert client.get("/v1/models/r").json()["id"] == "r"
    assert client.get("/v1/models/one/m").json()["owned_by"] == "one"
    missing = client.get("/v1/models/none/at/all")
    assert missing.status_code in {200, 404}


def test_not_ready_while_the_disk_refuses(client: httpx.Client, pair: LiveGateway) -> None:
    """Settled records that wait in memory are a reason to send traffic elsewhere."""
    spool = pair.app.gateway.spool
    pair.call(lambda: spool._pending.append(b""))
    answer = client.get("/readyz")
    pair.call(spool._pending.clear)
    assert answer.status_code == 503
    assert "disk" in answer.json()["problems"][0]


def test_errors_at_the_edge(client: httpx.Client) -> None:
    """Unknown paths and wrong methods, types and sizes: OpenAI's shape everywhere, a request id on each."""
    cases = [
        (client.get("/v1/chat/completions"), 405, "method_not_supported"),
        (client.post("/v1/models"), 405, "method_not_supported"),
        (client.get("/nowhere"), 404, "unknown_url"),
        (client.post("/healthz"), 405, "method_not_supported"),
        (client.post("/v1/chat/completions", content=b"{}", headers={"content-type": "text/plain"}), 415, "unsupported_media_type"),
        (client.post("/v1/chat/completions", content=b"{"), 400, None),
    ]
    for answer, status, code in cases:
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["code"] == code
        assert set(answer.json()["error"]) >= {"message", "type", "param", "code"}
        assert answer.headers["x-request-id"].startswith("req_")
    assert cases[0][0].headers["allow"] == "POST"


def test_a_body_that_says_it_is_too_large(pair: LiveGateway) -> None:
    """Refused before any of it is read."""
    with socket.create_connection(("127.0.0.1", pair.port), 30) as raw:
        raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n")
        assert raw.recv(65536).startswith(b"HTTP/1.1 413")


def test_a_body_that_grows_too_large(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a declared length the bound holds as well."""
    monkeypatch.setattr("gateway.admit.MOST_BODY_BYTES", 1000)
    answer = client.post("/v1/chat/completions", content=(b"x" * 500 for _ in range(5)))
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"


def test_a_bug_is_a_500_with_an_id(client: httpx.Client, pair: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw is logged under the id the client gets, and its row is there."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(type(pair.app.gateway.fleet), "decide", broken)
    answer = client.post("/v1/chat/completions", json={"model": "r", "messages": MESSAGES})
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.json()["error"]["message"]
    assert pair.row().outcome is Outcome.INTERRUPTED


def test_metrics(client: httpx.Client, pair: LiveGateway) -> None:
    """Requests, cost, tokens, breakers and refusals are there; labels are bounded whatever clients ask for."""
    client.post("/v1/chat/completions", json={"model": "r", "messages": MESSAGES})
    client.post("/v1/chat/completions", json={"model": "r", "messages": MESSAGES, "stream": True})
    client.post("/v1/chat/completions", json={"model": "one/made-up", "messages": MESSAGES})
    client.post("/v1/chat/completions", content=b"{")
    pair.rows(3)
    text = client.get("/metrics").text
    assert 'breakeven_requests_total{backend="one/m",outcome="ok",route="r"} 2.0' in text
    assert 'breakeven_requests_total{backend="one/other",outcome="ok",route="-"} 1.0' in text
    assert "made-up" not in text
    assert 'breakeven_cost_usd_total{backend="one/m",cost_state="known",route="r"} 3' in text
    assert 'breakeven_unpriced_requests_total{backend="one/other",route="-"} 1.0' in text
    assert 'breakeven_decisions_total{reason="cost",route="r"} 2.0' in text
    assert 'breakeven_breaker_state{backend="one/m"} 0.0' in text
    assert 'breakeven_refused_requests_total{code="400"} 1.0' in text
    assert 'gen_ai_server_time_to_first_token_count{gen_ai_operation_name="chat",gen_ai_provider_name="one",gen_ai_request_model="m"} 1.0' in text
    assert (
        'gen_ai_client_token_usage_sum{gen_ai_operation_name="chat",gen_ai_provider_name="one",gen_ai_request_model="m",gen_ai_token_type="input"} 18.0' in text
    )


def test_beyond_loopback(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """A gateway that others can reach needs keys from the start, and the admin key for metrics."""
    body = two_providers(upstream, fallback)
    body["server"] |= {"host": "0.0.0.0", "admin_key": "admin-secret"}
    gateway = start(body)
    with httpx.Client(base_url=gateway.url) as client:
        assert client.post("/v1/chat/completions", json={"model": "r", "messages": MESSAGES}).json()["error"]["code"] == "invalid_api_key"
        assert client.get("/v1/models").status_code == 401
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"authorization": "Bearer admin-secret"}).status_code == 200
        assert client.get("/healthz").status_code == 200


def test_keys_and_scopes(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer) -> None:
    """The first key closes the door; a scope hides everything else; a revoked key is refused within a second."""
    assert client.post("/v1/chat/completions", json={"model": "r", "messages": MESSAGES}).status_code == 200
    secret = pair.key(routes=("r",))
    headers = {"authorization": f"Bearer {secret}"}
    assert client.post("/v1/chat/completions", json={"model": "r", "messages": MESSAGES}).status_code == 401
    assert client.post("/v1/chat/completions", json={"model": "r", "messages": MESSAGES}, headers=headers).status_code == 200
    assert client.post("/v1/chat/completions", json={"model": "one/m", "messages": MESSAGES}, headers=headers).status_code == 404
    pinned = client.post("/v1/chat/completions", json={"model": "r", "messages": MESSAGES}, headers=headers | {"x-breakeven-pin": "one/m"})
    assert (pinned.status_code, pinned.json()["error"]["code"]) == (403, "insufficient_permissions")
    assert client.get("/v1/moderations", headers=headers).status_code == 403
    assert client.get("/v1/models/one/m", headers=headers).status_code == 404
    from gateway.store import keys

    with writing(pair.database) as conn:
        keys.revoke(conn, keys.listed(conn)[0].id, time.time())
    deadline = time.monotonic() + 10
    while client.post("/v1/chat/completions", json={"model": "r", "messages": MESSAGES}, headers=headers).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert client.get("/v1/models").status_code == 401, "a revoked key does not open the door again"


async def files(wire: Wire) -> None:
    await wire.json(
        {"object": "file", "path": wire.seen.path, "method": wire.seen.method}, headers={"x-ratelimit-remaining-requests": "5", "set-cookie": "a=b"}
    )


def test_other_endpoints_pass_through(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer) -> None:
    """Path, query, method, body and type reach the default provider with its key; the answer comes back; one row each."""
    upstream.script(files)
    answer = client.post("/v1/moderations?x=1%2F2", content=b"raw \xff", headers={"content-type": "text/odd", "cookie": "secret=1"})
    assert answer.json() == {"object": "file", "path": "/v1/moderations?x=1%2F2", "method": "POST"}
    assert answer.headers["x-ratelimit-remaining-requests"] == "5"
    assert "set-cookie" not in answer.headers
    sent = upstream.seen[0]
    assert (sent.raw, sent.headers["content-type"], sent.headers["authorization"]) == (b"raw \xff", "text/odd", "Bearer sk-upstream")
    assert "cookie" not in sent.headers
    assert client.get("/v1/files/f-1/content").json()["path"] == "/v1/files/f-1/content"
    assert client.delete("/v1/models/ft-1").json()["method"] == "DELETE"
    rows = pair.rows(3)
    assert [(row.endpoint, row.backend, row.outcome, row.cost_nanousd, row.cost_state) for row in rows] == [
        ("/v1/moderations", "one", Outcome.OK, None, "unknown"),
        ("/v1/files/f-1/content", "one", Outcome.OK, 0, "known"),
        ("/v1/models/ft-1", "one", Outcome.OK, 0, "known"),
    ]


@pytest.mark.parametrize("path", ["/v1/../admin", "/v1/%2e%2e/x", "/v1/a/..%2f..%2fb", "/v1/a/%5c..%5cb"])
def test_paths_do_not_climb_out(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer, path: str) -> None:
    """What could leave the provider's API is refused."""
    with socket.create_connection(("127.0.0.1", pair.port), 30) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        assert raw.recv(65536).startswith(b"HTTP/1.1 4")
    assert not upstream.seen


def test_pass_through_failures(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer) -> None:
    """The provider's errors come back as they are; a provider that breaks is a 502; each has its row."""

    async def refuses(wire: Wire) -> None:
        await wire.json({"error": {"message": "no such file"}}, 404)

    async def resets(wire: Wire) -> None:
        wire.reset()

    async def cuts(wire: Wire) -> None:
        wire.keep = False
        await wire.head(200, {"content-type": "text/plain"}, length=100)
        wire.writer.write(b"half")
        await wire.writer.drain()

    upstream.script(refuses, resets, resets, cuts)
    assert client.get("/v1/files/x").json() == {"error": {"message": "no such file"}}
    assert client.get("/v1/files/x").status_code == 502
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/v1/files/x")
    assert [row.outcome for row in pair.rows(3)] == [Outcome.CLIENT_ERROR, Outcome.UPSTREAM_ERROR, Outcome.UPSTREAM_ERROR]


def test_pass_through_needs_the_ledger_too(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer) -> None:
    """No record, no call."""
    pair.call(lambda: setattr(pair.app.gateway.spool, "_max_backlog", 1))
    answer = client.get("/v1/assistants")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    assert not upstream.seen


def test_pass_through_has_an_end(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that never answers is a 504, and a stopped server books what it cuts."""

    async def waits(wire: Wire) -> None:
        await wire.until_closed()

    upstream.script(waits)
    monkeypatch.setattr("gateway.passthrough._TIMEOUT_MS", 100.0)
    assert client.get("/v1/assistants").status_code == 504
    monkeypatch.setattr("gateway.passthrough._TIMEOUT_MS", 60000.0)
    seen = len(upstream.seen)
    with socket.create_connection(("127.0.0.1", pair.port), 30) as raw:
        raw.sendall(b"GET /v1/assistants HTTP/1.1\r\nhost: x\r\n\r\n")
        # the first may have ended before the provider saw it: on a busy machine connecting alone takes as long
        deadline = time.monotonic() + 20
        while len(upstream.seen) == seen:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        pair.call(lambda: [task.cancel() for task in asyncio.all_tasks() if "run_asgi" in str(task.get_coro())])
        assert [row.outcome for row in pair.rows(2)] == [Outcome.TIMEOUT, Outcome.INTERRUPTED]


def test_metrics_of_engines(client: httpx.Client, pair: LiveGateway) -> None:
    """Replicas and live versions are gauges."""
    with writing(pair.database) as conn:
        replica_table.put(conn, ReplicaView("local", 0, "http://127.0.0.1:1", "ready", True, 0, ""), 1.0)
        conn.execute(insert(adapters).values(name="a", engine="local", live=3, canary_percent=0, want_back=False, want_percent=0, created_at=1.0))
    pair.run(pair.app.gateway.fleet.refresh(force=True))
    text = client.get("/metrics").text
    assert 'breakeven_replica_up{engine="local",replica="0"} 1.0' in text
    assert 'breakeven_adapter_live_version{adapter="a"} 3.0' in text


def test_pass_through_follows_the_client(pair: LiveGateway, upstream: UpstreamServer) -> None:
    """A client that leaves closes the provider's side here too."""

    async def waits(wire: Wire) -> None:
        await wire.until_closed()

    upstream.script(waits)
    with socket.create_connection(("127.0.0.1", pair.port), 30) as raw:
        raw.sendall(b"GET /v1/assistants HTTP/1.1\r\nhost: x\r\n\r\n")
        deadline = time.monotonic() + 20
        while not upstream.seen and time.monotonic() < deadline:
            time.sleep(0.005)
    assert upstream.seen[0].closed.wait(2)
    assert pair.row().outcome is Outcome.CLIENT_GONE


def test_without_a_default_provider(start: Callable[..., LiveGateway], upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing to pass on to: 404 in words."""
    gateway = start({"providers": {"one": provider(upstream)}, "server": {"default_provider": "one"}, "prices": [price("one", "m")], "routes": {}})
    monkeypatch.setattr("gateway.config.models.Config.default_provider", None)
    answer = httpx.get(f"{gateway.url}/v1/assistants")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")


def test_an_unknown_model(start: Callable[..., LiveGateway], upstream: UpstreamServer) -> None:
    """A name nobody offers is OpenAI's model_not_found, by any spelling; what a provider lists or a route uses is there."""
    body = {
        "server": {"default_provider": "one"},
        "providers": {"one": provider(upstream, models=["listed"])},
        "engines": {"local": {"urls": ["http://127.0.0.1:1"]}},
        "routes": {"r": {"candidates": [{"provider": "one", "model": "m"}]}},
    }
    with httpx.Client(base_url=start(body).url) as client:
        for model in ("nope", "one/nope", "two/m", "one/", "local/none", "local/none@3", "local/none@x", "@", "r@1", "x" * 300):
            answer = client.post("/v1/chat/completions", json={"model": model, "messages": MESSAGES})
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found"), model
            assert client.get(f"/v1/models/{model or 'x'}").status_code == 404
        for model in ("r", "listed", "one/listed", "one/m"):
            assert client.post("/v1/chat/completions", json={"model": model, "messages": MESSAGES}).status_code == 200, model
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["r", "listed", "local"]
    assert [seen.body["model"] for seen in upstream.seen] == ["m", "listed", "listed", "m"]


def test_the_openai_sdk(pair: LiveGateway) -> None:
    """The official client streams, does not stream, lists models, and raises its own classes."""
    secret = pair.key(models=("r", "one/m"), routes=("r",))
    with openai.OpenAI(base_url=f"{pair.url}/v1", api_key=secret, max_retries=0) as sdk:
        assert sdk.chat.completions.create(model="r", messages=MESSAGES).choices[0].message.content == "Hello there"  # type: ignore[arg-type]
        with sdk.chat.completions.create(model="r", messages=MESSAGES, stream=True) as stream:  # type: ignore[call-overload]
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hello there"
        assert "r" in [model.id for model in sdk.models.list()]
        with pytest.raises(openai.NotFoundError) as missing:
            sdk.chat.completions.create(model="none", messages=MESSAGES)  # type: ignore[arg-type]
        assert missing.value.code == "model_not_found"
        assert missing.value.request_id
        with pytest.raises(openai.BadRequestError):
            sdk.chat.completions.create(model="r", messages=[])
    with openai.OpenAI(base_url=f"{pair.url}/v1", api_key="sk-wrong", max_retries=0) as sdk, pytest.raises(openai.AuthenticationError) as wrong:
        sdk.models.list()
    assert wrong.value.code == "invalid_api_key"


def test_every_path_of_ours_is_found(pair: LiveGateway) -> None:
    """`find` says None only for what FastAPI serves."""
    endpoints = Endpoints(pair.app.gateway, pair.app.scrape)
    assert all(
        endpoints.find(path)
        for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models", "/v1/models/x/y", "/healthz", "/metrics", "/v1/x")
    )
    assert all(endpoints.find(path) is None for path in ("/", "/admin/routes", "/v1", "/v1beta/x"))
