"""Alerts about budgets: decided once, sent to a real server until they arrive, signed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine

from gateway.alerts import Alerts, missing, signature
from gateway.config.models import Config
from gateway.store import alerts, exchanges, keys
from gateway.store.keys import KeySpec
from router.types import Exchange, Outcome, Usage
from serving.database import connect, reading, writing
from tests.databases import prepare
from tests.gateway.live_gateway import config_of

# 2026-11-23T14:00:00Z
NOON = 1795442400.0
SECRET = "whsec_" + base64.b64encode(b"sixteen bytes of").decode()


@dataclass
class Receiver:
    """What arrived; `answers` are the statuses it gives, the last one for ever."""

    answers: list[int] = field(default_factory=lambda: [204])
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    @property
    def told(self) -> list[tuple[str, str, float]]:
        bodies = [orjson.loads(raw) for _, raw in self.got]
        return [(body["type"], body["data"]["id"], body["data"]["at"]) for body in bodies]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, raw))
            status = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
            self.send_response(status)
            if status == 302:
                self.send_header("location", "http://127.0.0.1:9/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A real server that notes what it gets."""
    with receiving() as made:
        yield made


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    """An empty database."""
    engine = connect("sqlite:///b.db", tmp_path)
    prepare(engine)
    yield engine
    engine.dispose()


def configured(directory: Path, receiver: Receiver, **more: Any) -> Config:
    body = {
        "providers": {"one": {"kind": "compatible", "base_url": "http://127.0.0.1:9/v1"}},
        "routes": {"r": {"candidates": [{"provider": "one", "model": "m"}], "budget": {"usd_per_day": "0.000001", "usd_per_month": 1}}},
        "budgets": {"tags": [{"tag": "team=a", "usd_per_day": "0.000002"}]},
        "alerts": {"webhook": f"http://127.0.0.1:{receiver.port}/hook?x=1", "secret": SECRET, "forecast": False, **more},
        "server": {"default_provider": "one"},
    }
    return config_of(directory, body)


def spend(database: Engine, nanousd: int, at: float = NOON, key: str | None = None, number: list[int] = [0]) -> None:  # noqa: B006 - a counter
    number[0] += 1
    row = Exchange(
        id=f"req_{number[0]}",
        time=at,
        route="r",
        endpoint="chat",
        backend="one/m",
        adapter_version=None,
        key_id=key,
        tags={"team": "a"},
        stream=False,
        status=200,
        outcome=Outcome.OK,
        usage=Usage(1, 0, 1),
        usage_state="provider",
        cost_nanousd=nanousd,
        cost_state="known",
        opportunity_nanousd=None,
        all_hosted_nanousd=None,
        ttft_ms=None,
        total_ms=1.0,
        overhead_ms=None,
        reason=None,
        decision_id=None,
        sandbox=False,
    )
    with writing(database) as conn:
        exchanges.insert(conn, [row])


def once(database: Engine, config: Config, now: float = NOON) -> None:
    asyncio.run(Alerts(database, lambda: now).once(config))


def test_each_share_is_told_once_whoever_looks_and_restarts(tmp_path: Path, database: Engine, receiver: Receiver) -> None:
    """A share that is passed is told; looking again, by others and anew, tells nothing more; the next day begins from nothing."""
    config = configured(tmp_path, receiver)
    once(database, config)
    assert receiver.got == []
    spend(database, 850)
    for _ in range(3):
        once(database, config)
    assert receiver.told == [("budget.threshold", "r", 0.8)]
    spend(database, 900)
    once(database, config)
    assert sorted(receiver.told) == [("budget.threshold", "r", 0.8), ("budget.threshold", "r", 1.0), ("budget.threshold", "team=a", 0.8)]
    body = orjson.loads(receiver.got[-1][1])
    assert "spent" in body["text"]
    assert {"limit_usd", "spent_usd", "resets_at", "period", "scope", "since"} <= set(body["data"])
    tomorrow = NOON + 86_400.0
    once(database, config, tomorrow)
    spend(database, 1000, tomorrow)
    once(database, config, tomorrow)
    assert len(receiver.got) == 5
    with reading(database) as conn:
        assert missing(conn, config, tomorrow) == []


def test_what_is_sent_is_signed(tmp_path: Path, database: Engine, receiver: Receiver) -> None:
    """As Standard Webhooks has it: HMAC-SHA256 of id, time and body, base64, with the decoded secret; without a secret there is no signature."""
    spend(database, 850)
    once(database, configured(tmp_path, receiver))
    headers, raw = receiver.got[0]
    signed = b"%s.%s." % (headers["webhook-id"].encode(), headers["webhook-timestamp"].encode()) + raw
    expected = base64.b64encode(hmac.new(b"sixteen bytes of", signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert (headers["webhook-timestamp"], headers["content-type"]) == (str(int(NOON)), "application/json")
    assert signature("a", 1, "{}", None) == {"webhook-id": "a", "webhook-timestamp": "1"}
    plain = signature("a", 1, "{}", "words")["webhook-signature"]
    assert plain == "v1," + base64.b64encode(hmac.new(b"words", b"a.1.{}", hashlib.sha256).digest()).decode()


def test_what_does_not_arrive_is_tried_again(tmp_path: Path, database: Engine, receiver: Receiver) -> None:
    """After a growing wait, under the same id and with the same body; a redirection is not followed; in the end it is given up on, and that is on record."""
    config = configured(tmp_path, receiver, at=[0.8])
    receiver.answers = [500, 302, 204]
    spend(database, 850)
    for at in (NOON, NOON + 0.5, NOON + 1.1, NOON + 2.0, NOON + 7.0, NOON + 1000.0):
        once(database, config, at)
    assert len(receiver.got) == 3
    assert len({(headers["webhook-id"], raw) for headers, raw in receiver.got}) == 1
    with reading(database) as conn:
        (told,) = [alert for alert in alerts.of_period(conn, 0.0) if alert.name == "r"]
    assert (told.tries, told.sent_at, told.next_at, told.error) == (3, NOON + 7.0, None, None)


def test_a_receiver_that_is_away_holds_nothing_up(tmp_path: Path, database: Engine) -> None:
    """Nobody listens: noted without the URL, tried until the waits are over."""
    with receiving() as gone:
        config = configured(tmp_path, gone, at=[0.8])
    spend(database, 850)
    now = NOON
    once(database, config, now)
    for wait_s in alerts.WAITS_S:
        now += wait_s
        once(database, config.model_copy(update={"budgets": config.budgets}), now)
    with reading(database) as conn:
        (told,) = [alert for alert in alerts.of_period(conn, 0.0) if alert.created_at == NOON]
    assert (told.tries, told.sent_at, told.next_at) == (len(alerts.WAITS_S) + 1, None, None)
    assert told.error == "the webhook cannot be reached (ConnectError)"


def test_two_controllers_send_it_once(tmp_path: Path, database: Engine, receiver: Receiver) -> None:
    """Whoever claims it sends it; a claim that nothing came of is free again after a minute."""
    config = configured(tmp_path, receiver, at=[0.8])
    spend(database, 850)
    with reading(database) as conn:
        wanted = missing(conn, config, NOON)
    with writing(database) as conn:
        alerts.decide(conn, wanted)
        alerts.decide(conn, [replace(each, id=alerts.new_id()) for each in wanted])
        assert len(alerts.claim(conn, NOON, 10)) == 1
        assert alerts.claim(conn, NOON, 10) == []
    once(database, config)
    assert receiver.got == []
    once(database, config, NOON + alerts.CLAIM_S)
    assert len(receiver.got) == 1
    with writing(database) as conn:
        alerts.forget(conn, NOON + 500 * 86_400.0)
        assert alerts.of_period(conn, 0.0) == []


def test_a_budget_that_will_be_spent_is_told_once(tmp_path: Path, database: Engine, receiver: Receiver) -> None:
    """By the rate of the last hours, once a quarter of it is spent."""
    config = configured(tmp_path, receiver, forecast=True, at=[1.0])
    with writing(database) as conn:
        key, _ = keys.create(conn, KeySpec("k", nanousd_per_day=1000), 1.0)
    for minutes in (100, 60, 20):
        spend(database, 100, NOON - 60.0 * minutes, key.id)
    once(database, config)
    once(database, config)
    assert sorted(receiver.told) == sorted([("budget.forecast", "r", 1.0), ("budget.forecast", key.id, 1.0)])
    assert orjson.loads(receiver.got[0][1])["data"]["exhausted_at"] is not None


def test_without_a_webhook_nothing_is_decided(tmp_path: Path, database: Engine, receiver: Receiver) -> None:
    """Who sets one up later is told of what is spent by then."""
    spend(database, 850)
    once(database, configured(tmp_path, receiver, webhook=None))
    with reading(database) as conn:
        assert alerts.of_period(conn, 0.0) == []
    once(database, configured(tmp_path, receiver))
    assert len(receiver.got) == 1
