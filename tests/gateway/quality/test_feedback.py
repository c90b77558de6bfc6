"""POST /v1/feedback over real sockets, with the official SDK."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from gateway.quality import feedback as endpoint
from gateway.store import feedback as store
from router.errors import RequestError
from serving.database import reading
from tests.gateway.conftest import two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer

MESSAGES = [{"role": "user", "content": "hello"}]


@pytest.fixture
def gateway(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> LiveGateway:
    """A gateway with keys, whose admin API only this machine may use."""
    return start(two_providers(upstream, fallback))


def answered(gateway: LiveGateway, secret: str) -> str:
    """The id of a request that was answered and is in the ledger."""
    with openai.OpenAI(api_key=secret, base_url=f"{gateway.url}/v1") as client:
        raw = client.chat.completions.with_raw_response.create(model="r", messages=MESSAGES)
    gateway.rows()
    return str(raw.headers["x-request-id"])


def test_the_sdk_says_what_an_answer_was_worth_and_the_last_word_counts(gateway: LiveGateway) -> None:
    """A score, then a correction of the same request: one row, redacted, under the id it first had; the admin API lists it."""
    secret = gateway.key()
    # the first is said before the row is in the database: it is waited for
    with ThreadPoolExecutor(1) as pool, openai.OpenAI(api_key=secret, base_url=f"{gateway.url}/v1", timeout=30) as client:
        request_id = str(client.chat.completions.with_raw_response.create(model="r", messages=MESSAGES).headers["x-request-id"])
        early = pool.submit(client.post, "/feedback", cast_to=object, body={"request_id": request_id, "score": 0.25})
        while not early.done():
            gateway.rows()
        first = early.result()
        body = {"request_id": request_id, "correction": {"role": "assistant", "content": "write to anna@example.com"}}
        second = client.post("/feedback", cast_to=object, body=body)
    assert first["score"] == 0.25  # type: ignore[index]
    assert second["id"] == first["id"]  # type: ignore[index]
    listed = httpx.get(f"{gateway.url}/admin/feedback?route=r", timeout=20).json()["data"]
    assert [(row["request_id"], row["score"], row["correction"], row["corrected"]) for row in listed] == [(request_id, None, "write to [email]", True)]
    assert listed[0]["backend"] == "one/m"
    assert httpx.get(f"{gateway.url}/admin/feedback?route=other", timeout=20).json()["data"] == []
    assert httpx.get(f"{gateway.url}/admin/feedback?cursor=x", timeout=20).status_code == 400
    with reading(gateway.database) as conn:
        assert store.sums(conn, "r", 0.0) == {"one/m": (1, 0.0)}


def test_a_key_speaks_of_its_own_requests_only(gateway: LiveGateway) -> None:
    """Another key's request and one that never was are the same 404; without a key it is a 401."""
    mine, other = gateway.key(), gateway.key()
    request_id = answered(gateway, mine)
    for secret, about, status in ((other, request_id, 404), (mine, "req_nothing", 404), ("sk-wrong", request_id, 401), (mine, request_id, 200)):
        said = httpx.post(f"{gateway.url}/v1/feedback", json={"request_id": about, "score": 1}, headers={"authorization": f"Bearer {secret}"}, timeout=30)
        assert said.status_code == status, said.text
        assert status == 200 or said.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({}, "request_id", "Missing"),
        ({"request_id": 7, "score": 1}, "request_id", "a string"),
        ({"request_id": "r"}, "score", "score"),
        ({"request_id": "r", "score": 1.5}, "score", "from 0"),
        ({"request_id": "r", "score": True}, "score", "a number"),
        ({"request_id": "r", "score": float("nan")}, "score", "from 0"),
        ({"request_id": "r", "stars": 5}, "stars", "Unknown"),
        ({"request_id": "r", "correction": 5}, "correction", "a message"),
        ({"request_id": "r", "correction": {"role": "assistant"}}, "correction", "content"),
        ({"request_id": "r", "correction": "ä" * endpoint.MOST_CORRECTION_BYTES}, "correction", "at most"),
    ],
)
def test_what_is_wrong_is_said(body: dict[str, object], param: str, said: str) -> None:
    """The error names the parameter and what to send instead."""
    with pytest.raises(RequestError, match=said) as error:
        endpoint.read(body)
    assert error.value.param == param


def test_a_correction_is_a_text_or_a_message() -> None:
    """A message's text is the text; one with tool calls is kept whole."""
    assert endpoint.read({"request_id": "r", "correction": "so"}).correction == "so"
    assert endpoint.read({"request_id": "r", "correction": {"content": "so"}, "score": 0}).correction == "so"
    calls = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    assert '"tool_calls"' in str(endpoint.read({"request_id": "r", "correction": calls}).correction)
