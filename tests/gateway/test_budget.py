"""Budgets over real sockets: many clients, one worker and several, kills and restarts; what the provider bills stays within the stated bound."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving import replica_table
from serving.database import writing
from serving.views import ReplicaView
from tests.gateway.conftest import two_providers
from tests.gateway.crowd import ENTERED, PER_INPUT, PER_OUTPUT, Provider, budget, configure, crowd, serving, until
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer, Wire, completion

MESSAGES = [{"role": "user", "content": "hi"}]
LIMIT = 4_000_000


def most_of_one(max_tokens: int) -> int:
    """What a call can cost at most: each byte a token, 1,024 beside the text, every token that is asked for."""
    return (len("hi") + 1024) * PER_INPUT + max_tokens * PER_OUTPUT + 1


@pytest.mark.parametrize("workers", [1, 3])
def test_a_crowd_does_not_overspend(tmp_path: Path, upstream: UpstreamServer, workers: int) -> None:
    """64 clients until each is told that the quota is gone: one bound however many workers there are, and all of them show the same."""
    bill = Provider()
    upstream.script(bill)
    config = configure(tmp_path, upstream, workers, "0.004")
    with serving(config) as (url, process):
        seen = crowd(url, 64, {"model": "r", "messages": MESSAGES, "max_tokens": 100})
        assert seen["insufficient_quota"] == 64
        assert bill.billed <= LIMIT + max(budget(url)["overspend_nanousd"], most_of_one(100))
        assert bill.billed >= LIMIT * 0.75
        assert seen["ok"] == bill.calls
        until(lambda: budget(url)["reserved_nanousd"] == 0)
        assert {budget(url)["spent_nanousd"] for _ in range(4 * workers)} == {bill.billed}
        process.kill()
    if workers > 1:
        again(config, bill.billed, workers)


def again(config: Path, billed: int, workers: int) -> None:
    """After a kill of everything: what was spent is known at once, and the rates of a key hold for all workers together."""
    with serving(config) as (url, _):
        assert budget(url)["spent_nanousd"] == billed
        refused = httpx.post(f"{url}/v1/chat/completions", json={"model": "r", "messages": MESSAGES, "max_tokens": 100}, timeout=30)
        assert refused.json()["error"]["code"] == "insufficient_quota"
        assert int(refused.headers["retry-after"]) <= 86_400
        key = httpx.post(f"{url}/admin/keys", json={"name": "k", "rpm": 20, "concurrency": 8}, timeout=30).json()
        # the first key closes what was open: each worker sees it within a moment
        until(lambda: all(httpx.get(f"{url}/v1/models", timeout=30).status_code == 401 for _ in range(6 * workers)))
        began = time.monotonic()
        asked = crowd(url, 32, {"model": "free", "messages": MESSAGES}, seconds=1.5, secret=key["key"])
        refilled = (time.monotonic() - began + 1.0) / 3.0
        assert asked["rate_limit_exceeded"] > 0
        assert 8 <= asked["ok"] <= 20 + refilled


def test_without_max_tokens_calls_are_let_in_one_by_one_near_the_end(tmp_path: Path, upstream: UpstreamServer) -> None:
    """What a model can make at most is dearer than the whole budget: never two at once, and the crowd is told to come again, not that the quota is gone."""
    bill = Provider()
    upstream.script(bill)
    with serving(configure(tmp_path, upstream, 2, "0.0005")) as (url, _):
        seen = crowd(url, 8, {"model": "r", "messages": MESSAGES})
        assert seen["rate_limit_exceeded"] > 0
        assert seen["insufficient_quota"] == 8
        assert bill.billed <= 500_000 + ENTERED * PER_INPUT + 100 * PER_OUTPUT


def chat(url: str, secret: str | None = None, **more: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {secret}"} if secret else {}
    tags = more.pop("tags", None)
    headers |= {"x-breakeven-tags": tags} if tags else {}
    return httpx.post(f"{url}/v1/chat/completions", json={"model": "r", "messages": MESSAGES, "max_tokens": 5, **more}, headers=headers, timeout=20)


def test_what_is_reserved_passes_and_what_is_spent_does_not(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """While one request holds the rest of a budget the next is told to come again in a second; an image can be as long as the model's context."""
    release = threading.Event()

    async def held(wire: Wire) -> None:
        while not release.is_set():
            await asyncio.sleep(0.01)
        await wire.json(completion())

    upstream.script(held)
    gateway = start(two_providers(upstream, fallback, budget={"usd_per_day": "0.1"}))
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://h/x.png"}}]}]
    limits = gateway.app.gateway.limits
    account = limits.account(limits.budgets.routes["r"][0])
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(chat, gateway.url, messages=image, service_tier="priority")
        until(lambda: account.purse.reserved()[1] >= 3 * 131_072 * 1_000)
        refused = chat(gateway.url)
        release.set()
        assert first.result().status_code == 200
    assert (refused.status_code, refused.json()["error"]["code"], refused.headers["retry-after"]) == (429, "rate_limit_exceeded", "1")
    assert chat(gateway.url).status_code == 200
    gateway.call(lambda: limits.raise_to(account.budget, 100_000_000, time.time()))
    spent = chat(gateway.url)
    assert spent.json()["error"]["code"] == "insufficient_quota"
    assert "route 'r' for this day ($0.1) is spent" in spent.json()["error"]["message"]


def test_an_engine_goes_on_when_the_dollars_are_gone(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """It costs none: the quota is gone only for as long as no engine is there."""
    body = two_providers(upstream, fallback, budget={"usd_per_day": 0})
    body["engines"] = {"local": {"urls": [fallback.url]}}
    body["routes"]["r"]["candidates"] = [{"provider": "one", "model": "m"}, {"engine": "local"}]
    gateway = start(body)
    assert chat(gateway.url).json()["error"]["code"] == "insufficient_quota"
    with writing(gateway.database) as conn:
        replica_table.put(conn, ReplicaView("local", 0, fallback.url, "ready", True, 0, "", model="local", max_model_len=4096), 1.0)
    gateway.run(gateway.app.gateway.fleet.refresh(force=True))
    answered = chat(gateway.url)
    assert (answered.status_code, answered.headers["x-breakeven-backend"]) == (200, "local")
    assert not upstream.seen


def test_a_tags_budget_counts_whoever_sends_it(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """By header, or by the key, whose tags stand where the request says nothing else; the refusal names the tag, and rows carry it."""
    body = two_providers(upstream, fallback) | {"budgets": {"tags": [{"tag": "team=search", "usd_per_month": "0.00003"}]}}
    gateway = start(body)
    secret = gateway.key(tags={"team": "search", "env": "prod"})
    assert chat(gateway.url, secret).status_code == 200
    assert chat(gateway.url, secret).status_code == 200
    refused = chat(gateway.url, secret)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
    assert "tag 'team=search' for this month" in refused.json()["error"]["message"]
    assert chat(gateway.url, secret, tags="team=ads").status_code == 200
    other = gateway.key()
    assert chat(gateway.url, other, tags="team=search").status_code == 429
    assert chat(gateway.url, other).status_code == 200
    rows = gateway.rows(6)
    assert [row.tags for row in rows[:1]] == [{"team": "search", "env": "prod"}]
    assert rows[3].tags == {"team": "ads", "env": "prod"}


def test_a_budget_that_is_set_later_knows_what_was_spent(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """The ledger says it, within a moment."""
    gateway = start(two_providers(upstream, fallback))
    secret = gateway.key()
    assert chat(gateway.url, secret).status_code == 200
    spent = gateway.row().cost_nanousd
    (key,) = gateway.app.gateway.fleet.view.keys.values()
    changed = httpx.patch(f"{gateway.url}/admin/keys/{key.id}", json={"usd_per_day": "0.00001"}, timeout=20)
    assert changed.status_code == 200
    until(lambda: budget(gateway.url, scope="key", id=key.id)["spent_nanousd"] == spent)
    until(lambda: chat(gateway.url, secret).status_code == 429)


def test_a_rotated_key_keeps_what_is_its_own(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """A file uploaded with the old secret is there with the new one; endpoints that a key may not use say so."""
    gateway = start(two_providers(upstream, fallback))
    old = gateway.key()
    (key,) = gateway.app.gateway.fleet.view.keys.values()
    sent = httpx.post(
        f"{gateway.url}/v1/files", headers={"authorization": f"Bearer {old}"}, files={"file": ("a.jsonl", b"{}\n")}, data={"purpose": "batch"}, timeout=20
    )
    assert sent.status_code == 200, sent.text
    turned = httpx.post(f"{gateway.url}/admin/keys/{key.id}/rotate", json={"grace_s": 0}, timeout=20).json()
    new = {"authorization": f"Bearer {turned['key']}"}
    assert httpx.get(f"{gateway.url}/v1/files/{sent.json()['id']}", headers=new, timeout=20).status_code == 200
    assert httpx.get(f"{gateway.url}/v1/files/{sent.json()['id']}", headers={"authorization": f"Bearer {old}"}, timeout=20).status_code == 401
    httpx.patch(f"{gateway.url}/admin/keys/{key.id}", json={"endpoints": ["files"]}, timeout=20)
    assert httpx.get(f"{gateway.url}/v1/files/{sent.json()['id']}", headers=new, timeout=20).status_code == 200
    for answer in (chat(gateway.url, turned["key"]), httpx.get(f"{gateway.url}/v1/batches", headers=new, timeout=20)):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "insufficient_permissions")
