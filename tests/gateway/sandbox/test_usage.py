"""The sandbox's account, as OpenAI's own client reads it: what its log says, by minute, hour and day."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal

import httpx
import pytest
from openai import OpenAI

from gateway.sandbox import Running, SandboxOptions, running, usage
from gateway.sandbox.log import Entry, Log

ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "ticket 3"}]}
DAY = 86_400


@pytest.fixture(scope="module")
def account() -> Iterator[Running]:
    """A sandbox that knows one key."""
    with running(SandboxOptions(api_key="admin")) as made:
        yield made


def test_the_official_client_reads_usage_and_costs(account: Running) -> None:
    """Requests and tokens by model as they were answered, embeddings apart; dollars by line item: tokens x $0.15 and $0.60 per million, to the nano-dollar."""
    account.app.log.clear()
    with OpenAI(base_url=account.base_url, api_key="admin", admin_api_key="admin", max_retries=0, timeout=60) as client:
        told = [client.chat.completions.create(**ASK).usage for _ in range(3)]  # type: ignore[call-overload]
        client.embeddings.create(model="text-embedding-3-small", input="hello")
        httpx.post(f"{account.base_url}/chat/completions", json={**ASK, "model": "gpt-99"}, headers={"authorization": "Bearer admin"}, timeout=60)
        deadline = time.monotonic() + 60
        while account.app.log.as_dict(0)["totals"]["open"] and time.monotonic() < deadline:
            time.sleep(0.02)
        start = int(time.time()) // DAY * DAY
        span = {"start_time": start, "end_time": start + 2 * DAY}
        page = client.admin.organization.usage.completions(group_by=["model"], **span)
        embedded = client.admin.organization.usage.embeddings(**span)
        costs = client.admin.organization.usage.costs(group_by=["line_item"], **span)
        whole = client.admin.organization.usage.costs(**span)
    results = [result for bucket in page.data for result in bucket.results]
    entered, made = (sum(getattr(usage, name) for usage in told if usage is not None) for name in ("prompt_tokens", "completion_tokens"))
    assert [(r.model, r.num_model_requests, r.input_tokens, r.output_tokens) for r in results] == [("gpt-4o-mini", 3, entered, made)]  # type: ignore[union-attr]
    assert sum(result.num_model_requests for bucket in embedded.data for result in bucket.results) == 1  # type: ignore[union-attr]
    items = {r.line_item: Decimal(repr(r.amount.value)) for bucket in costs.data for r in bucket.results}  # type: ignore[union-attr]
    million = Decimal(10**6)
    assert items["gpt-4o-mini, input_tokens"] == entered * Decimal("0.15") / million
    assert items["gpt-4o-mini, output_tokens"] == made * Decimal("0.6") / million
    assert "text-embedding-3-small, input_tokens" in items
    total = sum(Decimal(repr(r.amount.value)) for bucket in whole.data for r in bucket.results)  # type: ignore[union-attr]
    assert abs(total - sum(items.values())) < Decimal("1e-12")
    assert account.app.log.as_dict()["totals"]["requests"] == 5


def test_pages_follow_one_another(account: Running) -> None:
    """`next_page` leads through all buckets, each once, to the end time."""
    account.app.log.clear()
    with OpenAI(base_url=account.base_url, api_key="admin", admin_api_key="admin", max_retries=0, timeout=60) as client:
        asked = {"start_time": 7200, "end_time": 7200 + 5 * 3600, "bucket_width": "1h", "limit": 2}
        page = client.admin.organization.usage.completions(**asked)  # type: ignore[arg-type]
        met = [bucket.start_time for bucket in page.data]
        while page.has_more:
            page = client.admin.organization.usage.completions(**asked, page=str(page.next_page))  # type: ignore[arg-type]
            met += [bucket.start_time for bucket in page.data]
    assert met == [7200 + 3600 * n for n in range(5)]
    assert page.next_page is None


@pytest.mark.parametrize(
    ("path", "query", "param"),
    [
        ("usage/completions", "", "start_time"),
        ("usage/completions", "start_time=x", "start_time"),
        ("usage/completions", "start_time=0&bucket_width=2d", "bucket_width"),
        ("costs", "start_time=0&bucket_width=1h", "bucket_width"),
        ("usage/completions", "start_time=0&limit=32", "limit"),
        ("costs", "start_time=0&limit=181", "limit"),
        ("usage/completions", "start_time=0&group_by=line_item", "group_by"),
        ("costs", "start_time=0&group_by[]=model", "group_by"),
    ],
)
def test_wrong_requests_are_refused(account: Running, path: str, query: str, param: str) -> None:
    """With OpenAI's error, naming the parameter."""
    answer = httpx.get(f"{account.base_url}/organization/{path}?{query}", headers={"authorization": "Bearer admin"}, timeout=60)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_only_the_key_opens_it(account: Running) -> None:
    """Another key is refused, and so are paths and methods that do not exist."""
    url = f"{account.base_url}/organization/costs?start_time=0"
    assert httpx.get(url, headers={"authorization": "Bearer other"}, timeout=60).status_code == 401
    assert httpx.post(url, headers={"authorization": "Bearer admin"}, timeout=60).status_code == 404
    assert httpx.get(f"{account.base_url}/organization/users", headers={"authorization": "Bearer admin"}, timeout=60).status_code == 404


def entry(time_s: float, model: str, prompt: int, completion: int = 1, **more: object) -> Entry:
    made = Entry("req", time_s, "/v1/chat/completions", model, outcome="completed", prompt_tokens=prompt, completion_tokens=completion)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_what_is_refused_is_not_used_and_what_is_cut_is() -> None:
    """As a provider bills: nothing for a refusal, what was made until then for a client that left. Each in the minute in which it began."""
    log = Log(10)
    for item in (entry(60, "m", 5), entry(119, "m", 7, outcome="cancelled"), entry(120, "m", 9, outcome="refused"), entry(180, "n", 11, outcome="broken")):
        log.open(item)
        log.close(item, 200)
    assert {key: used.prompt for key, used in log.used(60, 120).items()} == {("completions", "m"): 12}
    assert {key: used.requests for key, used in log.used(0, 86_400).items()} == {("completions", "m"): 2, ("completions", "n"): 1}
    log.clear()
    assert log.used(0, 86_400) == {}


def test_what_has_no_plain_price_has_no_costs() -> None:
    """Models nobody priced, and those whose price depends on the size of a request: sums would not tell."""
    log = Log(10)
    for item in (entry(60, "gpt-99", 5), entry(60, "gpt-5.4", 5)):
        log.open(item)
        log.close(item, 61)
    page = usage.answer(log, "/v1/organization/costs", "start_time=0&end_time=86400", 1000)
    assert isinstance(page, dict)
    assert [bucket["results"] for bucket in page["data"]] == [[]]
