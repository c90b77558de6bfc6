"""Drift end to end on real sockets: a gateway, a vLLM stand-in and a provider; measured by the worker, decided by the controller's duty, shown by /admin."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import orjson
from sqlalchemy import select

from gateway import admit, wire, wishes
from gateway.drift.monitor import Monitor
from gateway.store import drift
from gateway.store.drift_tables import drift_samples
from serving import registry, replica_table
from serving.database import reading, writing
from serving.views import ReplicaView
from tests.gateway.conftest import provider
from tests.gateway.drift import streams
from tests.gateway.drift.world import promoted
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer, Wire, completion, event

PLACE = ("triage", "triage", 1)


class Model:
    """Answers each mail with what `says` makes of it, streamed or whole."""

    def __init__(self) -> None:
        self.says: Callable[[str], str] = lambda _: '{"intent":"refund","priority":"low"}'
        self.calls = 0

    async def __call__(self, wire: Wire) -> None:
        body = wire.seen.body
        self.calls += 1
        said = self.says(body["messages"][-1]["content"])
        if not body.get("stream"):
            await wire.json(completion(said, model=body["model"]))
            return
        half = len(said) // 2
        pieces = [event({"role": "assistant", "content": said[:half]}), event({"content": said[half:]}), event(finish="stop"), b"data: [DONE]\n\n"]
        await wire.events(*pieces)


def begin(start: Callable[..., LiveGateway], engine: UpstreamServer, hosted: UpstreamServer, **more: Any) -> LiveGateway:
    """A gateway whose route prefers its local adapter."""
    candidates = [{"provider": "one", "model": "m"}, {"engine": "local", "adapter": "triage"}]
    body = {
        "server": {"default_provider": "one"},
        "providers": {"one": provider(hosted)},
        "engines": {"local": {"urls": [engine.url]}},
        "prices": [{"provider": "one", "model": "m", "input_usd_per_m": "100", "output_usd_per_m": "200"}],
        "drift": {"per_second": 100_000},
        "routes": {"triage": {"candidates": candidates, **more}},
    }
    gateway = start(body)
    with writing(gateway.database) as conn:
        replica_table.put(conn, ReplicaView("local", 0, engine.url, "ready", True, 0, "", model="local", max_model_len=4096), 1.0)
    promoted(gateway.database, now=time.time())
    gateway.run(gateway.app.gateway.fleet.refresh(force=True))
    return gateway


def ask(client: httpx.Client, mails: list[str], **headers: str) -> set[str]:
    """Send mails, every fourth streamed; who answered."""
    answered = set()
    for number, mail in enumerate(mails):
        body = {"model": "triage", "messages": [{"role": "user", "content": mail}], "stream": number % 4 == 0}
        answer = client.post("/v1/chat/completions", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        answered.add(answer.headers["x-breakeven-backend"])
    return answered


def test_broken_answers_are_found_within_192_requests(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """An adapter that stops answering in JSON is stopped on its route; the admin API says why; nothing of the mails is in the database."""
    model = Model()
    upstream.script(model)
    gateway = begin(start, upstream, fallback)
    monitor, mails = Monitor(gateway.database, time.time), [ticket.text for ticket in streams.mails()[:544] if ticket.text.strip()]
    with httpx.Client(base_url=gateway.url, timeout=60) as client:
        assert ask(client, mails[:340]) == {"local/triage@1"}
        gateway.rows(340)
        while monitor.turn(gateway.config):
            pass
        (before,) = client.get("/admin/drift").json()["data"]
        assert (before["samples"], before["stopped"]) == (340, False)
        # This machine's own pace may be told about; it stops nothing.
        assert {each["strand"]: each["level"] for each in before["strands"] if each["strand"] != "pace"} == {"input": "none", "output": "none", "pairs": "none"}
        model.says = lambda mail: "The customer wrote: " + mail[:40]
        ask(client, mails[340:532])
        gateway.rows(532)
        while monitor.turn(gateway.config):
            pass
        (after,) = client.get("/admin/drift", params={"route": "triage"}).json()["data"]
        assert (after["route"], after["backend"], after["level"], after["stopped"]) == ("triage", "triage@1", "stop", True)
        assert after["acted_at"] >= before["updated_at"]
        found = {each["feature"]: each for each in after["features"]}
        assert found["format"]["firing"]
        assert found["format"]["value"] >= found["format"]["threshold"]
        assert found["not_json"]["baseline"] == {"rate": 0.0}
        assert found["not_json"]["current"]["rate"] == 1.0
        assert not found["language"]["firing"]
        line = [each for each in client.get("/admin/timeline").json()["data"] if each["kind"] == "drift"][-1]
        assert (line["adapter"], line["version"], line["route"]) == ("triage", 1, "triage")
        told = client.post("/admin/drift/triage/accept", json={"adapter": "triage", "version": 1, "reason": "by design"}).json()
        assert (told["level"], told["features"]) == ("none", [])
        missing = client.post("/admin/drift/triage/accept", json={"adapter": "triage", "version": 7})
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "drift_not_found")
    raw = (gateway.directory / "breakeven.db").read_bytes()
    assert b"The customer wrote" not in raw
    assert not [mail for mail in mails[:50] if mail[:30].encode() in raw]


def test_who_wants_nothing_kept_is_not_measured(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """`x-breakeven-no-capture` and pinned requests leave no sample; hosted answers count as traffic of the route; bodies are numbers."""
    model = Model()
    upstream.script(model)
    fallback.script(model)
    gateway = begin(start, upstream, fallback)
    with httpx.Client(base_url=gateway.url, timeout=60) as client:
        ask(client, ["no"], **{"x-breakeven-no-capture": "1"})
        ask(client, ["pinned"], **{"x-breakeven-pin": "local/triage@1"})
        ask(client, ["Where is my order 123456? It has not come"])
        with writing(gateway.database) as conn:
            replica_table.put(conn, ReplicaView("local", 0, upstream.url, "failed", False, 0, "", model="local", max_model_len=4096), 2.0)
        gateway.run(gateway.app.gateway.fleet.refresh(force=True))
        assert ask(client, ["and mine?"]) == {"one/m"}
    gateway.rows(4)
    with reading(gateway.database) as conn:
        rows = conn.execute(select(drift_samples).order_by(drift_samples.c.time)).all()
    assert [(row.route, row.adapter, row.version) for row in rows] == [("triage", "triage", 1), ("triage", "", 0)]
    local, hosted = (orjson.loads(row.body) for row in rows)
    assert len(local) == len(hosted) == 13
    assert all(value is None or isinstance(value, int | float) for value in local)
    assert hosted[5:] == [None] * 8


def test_a_route_that_is_not_watched_has_no_samples(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """`drift: {enabled: false}`."""
    upstream.script(Model())
    gateway = begin(start, upstream, fallback, drift={"enabled": False})
    with httpx.Client(base_url=gateway.url, timeout=60) as client:
        ask(client, ["hello"])
    gateway.rows(1)
    with reading(gateway.database) as conn:
        assert not drift.waiting(conn)


def test_more_is_compared_while_a_version_drifts(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """At the level `shadow` a worker compares five times the configured share of conversations."""
    upstream.script(Model())
    gateway = begin(start, upstream, fallback, quality={"shadow": {"share": 0.1}})
    view, now = gateway.app.gateway.fleet.view, time.time()
    asked = [wire.parse(orjson.dumps({"model": "triage", "messages": [{"role": "user", "content": f"mail {n}"}]}), "chat") for n in range(400)]

    def compared() -> int:
        view = gateway.app.gateway.fleet.view
        return sum(admit._compares(view, view.routes["triage"], each, wishes.read([]), wire.features(each)) for each in asked)

    before = compared()
    with writing(gateway.database) as conn:
        drift.put_state(conn, drift.State(PLACE, "shadow", now, (), None, None, 0, {}, {}, now))
        registry.note_drift(conn, PLACE[1:], PLACE[0], "test", {"from": "none", "to": "shadow"}, now)
    gateway.run(gateway.app.gateway.fleet.refresh(force=True))
    assert not view.facts.doubted
    assert gateway.app.gateway.fleet.view.facts.doubted == {"triage"}
    assert 20 <= before <= 65
    assert 160 <= compared() <= 240
