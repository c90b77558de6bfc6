"""The way of a request, over real sockets: what the client gets, what the provider saw, and the row that was written."""

from __future__ import annotations

import httpx
import orjson

from router.types import Outcome, Usage
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import DONE, ROLE, STOP, USAGE, UpstreamServer, completion, words

MESSAGES = [{"role": "user", "content": "Hi, where is my parcel?"}]


def chat(client: httpx.Client, model: str = "r", headers: dict[str, str] | None = None, **more: object) -> httpx.Response:
    return client.post("/v1/chat/completions", json={"model": model, "messages": MESSAGES, **more}, headers=headers)


def test_a_whole_answer(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer) -> None:
    """The first candidate answers; bytes pass unaltered; headers, cost and one row are right."""
    answer = chat(client, temperature=0.5, future_field={"x": [1]})
    assert answer.status_code == 200
    assert answer.content == orjson.dumps(completion(model="m"))
    sent = upstream.seen[0]
    assert sent.path == "/v1/chat/completions"
    assert sent.headers["authorization"] == "Bearer sk-upstream"
    assert sent.body == {"model": "m", "messages": MESSAGES, "temperature": 0.5, "future_field": {"x": [1]}}
    headers = answer.headers
    assert headers["x-breakeven-backend"] == "one/m"
    assert headers["x-breakeven-reason"] == "cost"
    assert headers["x-breakeven-cost-usd"] == "0.000015"
    assert float(headers["x-breakeven-overhead-ms"]) < 100
    assert headers["x-ratelimit-remaining-requests"] == "99"
    assert int(headers["openai-processing-ms"]) >= 0
    row = pair.row()
    assert row.id == headers["x-request-id"]
    assert row.decision_id == headers["x-breakeven-decision"]
    assert (row.route, row.backend, row.status, row.outcome, row.endpoint) == ("r", "one/m", 200, Outcome.OK, "/v1/chat/completions")
    assert (row.usage, row.usage_state, row.cost_nanousd, row.cost_state) == (Usage(9, 0, 3, 0), "provider", 15_000, "known")
    assert row.all_hosted_nanousd == 15_000
    assert len(row.attempts) == 1


def test_a_stream(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer) -> None:
    """Usage is asked for, taken, and hidden again; everything else passes unaltered."""
    answer = chat(client, stream=True)
    assert answer.content == ROLE + b"".join(words("Hello", " there")) + STOP + DONE
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert upstream.seen[0].body["stream_options"] == {"include_usage": True}
    row = pair.row()
    assert (row.stream, row.outcome, row.usage, row.cost_nanousd) == (True, Outcome.OK, Usage(9, 0, 3, 0), 15_000)
    assert row.ttft_ms is not None


def test_a_stream_with_usage(client: httpx.Client) -> None:
    """A client that asked for usage gets it."""
    answer = chat(client, stream=True, stream_options={"include_usage": True})
    assert answer.content == ROLE + b"".join(words("Hello", " there")) + STOP + USAGE + DONE
