"""Calls from web pages over a real socket: who may, what their pages see, and what stays closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.gateway.conftest import two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer

APP = "https://app.example.com"
CHAT = {"model": "r", "messages": [{"role": "user", "content": "hi"}]}
ASKING = {"origin": APP, "access-control-request-method": "POST", "access-control-request-headers": "authorization, content-type, x-stainless-lang"}


@pytest.fixture
def browser(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    body = two_providers(upstream, fallback)
    body["server"] |= {"cors_origins": getattr(request, "param", [APP])}
    gateway = start(body)
    gateway.key()
    with httpx.Client(base_url=gateway.url) as client:
        yield client


def test_a_browser_asks_first(browser: httpx.Client) -> None:
    """Without a key, for any path below /v1: what it may send; no body, and the origin alone is let in."""
    for path in ("/v1/chat/completions", "/v1/models", "/v1/files/x/content"):
        answer = browser.options(path, headers=ASKING)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == APP
        assert answer.headers["access-control-allow-headers"] == "authorization, content-type, x-stainless-lang"
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert answer.headers["vary"] == "Origin"
        assert "content-length" not in answer.headers
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers["x-request-id"].startswith("req_")
    strange = browser.options("/v1/models", headers=ASKING | {"access-control-request-headers": "a\tb"})
    assert strange.headers["access-control-allow-headers"] == "authorization, content-type"


def test_its_page_sees_our_headers(browser: httpx.Client) -> None:
    """On answers and on errors alike, streams included; without an origin nothing is added but that it matters."""
    for answer in (
        browser.post("/v1/chat/completions", json=CHAT, headers={"origin": APP}),
        browser.get("/v1/models", headers={"origin": APP, "authorization": "Bearer wrong"}),
    ):
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == APP
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert {"x-request-id", "x-breakeven-backend", "x-breakeven-cost-usd", "retry-after"} <= set(exposed)
    plain = browser.get("/v1/models")
    assert "access-control-allow-origin" not in plain.headers
    assert plain.headers["vary"] == "Origin"


def test_others_may_not(browser: httpx.Client) -> None:
    """The browser is told no; the answer to a request made anyway is not shown to the page."""
    no = browser.options("/v1/models", headers=ASKING | {"origin": "https://evil.example.com"})
    assert (no.status_code, no.json()["error"]["code"]) == (403, "origin_not_allowed")
    assert "access-control-allow-origin" not in no.headers
    assert "access-control-allow-origin" not in browser.get("/v1/models", headers={"origin": "https://evil.example.com"}).headers


@pytest.mark.parametrize("browser", ["*", ["*"]], indirect=True)
def test_anyone_where_it_says_so(browser: httpx.Client) -> None:
    """A star is answered by a star; a page's stream is readable."""
    assert browser.options("/v1/models", headers=ASKING).headers["access-control-allow-origin"] == "*"
    assert browser.get("/v1/models", headers={"origin": "null"}).headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("browser", ["*"], indirect=True)
def test_admin_and_dashboard_stay_closed(browser: httpx.Client) -> None:
    """Whatever the configuration: no other origin reads or asks there."""
    for path in ("/admin/routes", "/dashboard", "/metrics", "/healthz", "/v1"):
        for answer in (browser.get(path, headers={"origin": APP}), browser.options(path, headers=ASKING)):
            assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_without_origins_nothing_changes(client: httpx.Client) -> None:
    """OPTIONS is a method like any other that an endpoint does not take."""
    answer = client.options("/v1/chat/completions", headers=ASKING)
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_supported")
    assert "vary" not in answer.headers
