"""A gateway with a past: a database written through the store's own doors, and the admin API and dashboard on a real socket.

The past is drawn from a seed: three routes over a span of time, hosted at first, an adapter promoted half-way, some failures, an hour with a slow GPU.
"""

from __future__ import annotations

import math
import random
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import uvicorn
from sqlalchemy import Engine

from gateway import plans, prices
from gateway.app import Options, create_app
from gateway.config.load import load
from gateway.config.models import Config
from gateway.context import Gateway
from gateway.store import gpu
from gateway.store.ingest import Ingester
from gateway.store.spool import Spool
from gateway.view import Facts, FleetView
from router.money import cost
from router.policy import decide
from router.record import digest, to_dict
from router.types import Attempt, Candidate, Decision, Exchange, Features, Live, Outcome, Snapshot, Stage, Usage
from serving import registry, replica_table
from serving.database import connect, reading, writing
from serving.verbs import Change
from serving.views import ReplicaView, VersionView
from tests.databases import prepare

NOW = 1795442400.0  # 2026-11-23T14:00:00Z
ADMIN_KEY = "admin-key-for-tests"
CONFIG = """
server: {{host: {host}, port: 8080, data_dir: data, admin_key: "{admin_key}"}}
database: sqlite:///breakeven.db
providers:
  openai: {{base_url: "http://127.0.0.1:9/v1", api_key: sk-test, sandbox: {sandbox}}}
engines:
  local: {{urls: ["http://127.0.0.1:9"], gpu_hour_usd: 0.02}}
routes:
  support-triage:
    candidates:
      - {{provider: openai, model: gpt-4o-mini}}
      - {{engine: local, adapter: support-triage}}
    slo: {{ttft_ms: 400, total_ms: 1500}}
    quality: {{floor: -0.05, suite: suite.jsonl}}
    capture: {{sample: 1.0}}
    budget: {{usd_per_day: 20}}
  invoice-fields:
    candidates:
      - {{provider: openai, model: gpt-4o}}
      - {{engine: local, adapter: invoice-fields}}
    slo: {{total_ms: 4000}}
  assistant:
    candidates:
      - {{provider: openai, model: gpt-4o}}
      - {{provider: openai, model: gpt-4o-mini}}
"""
# Requests per hour at noon, prompt bytes, answer tokens, (median ttft, per token) hosted and local, milliseconds.
_SHAPES: Mapping[str, tuple[int, int, int, tuple[float, float], tuple[float, float]]] = {
    "support-triage": (80, 900, 34, (320, 14), (70, 9)),
    "invoice-fields": (24, 5200, 120, (520, 16), (210, 11)),
    "assistant": (14, 2600, 260, (480, 15), (0, 0)),
}
_PROMOTED_AFTER = 0.45  # of the span
_FAILURES = ((0.004, 502, Outcome.UPSTREAM_ERROR), (0.007, 504, Outcome.TIMEOUT), (0.012, 499, Outcome.CLIENT_GONE))


def configure(directory: Path, *, admin_key: str = "", sandbox: bool = True, host: str = "127.0.0.1") -> Config:
    """A configuration file in `directory`, loaded."""
    (directory / "suite.jsonl").write_text("")
    (directory / "data").mkdir(exist_ok=True)
    path = directory / "breakeven.yaml"
    path.write_text(CONFIG.format(admin_key=admin_key, sandbox=str(sandbox).lower(), host=host))
    return load(path, {})


def fresh(config: Config) -> Engine:
    """An empty database."""
    engine = connect(config.database, config.source.parent)
    prepare(engine)
    return engine


def adapters(database: Engine, config: Config, now: float) -> None:
    """One healthy replica; support-triage@2 live (gated, proven), invoice-fields@1 live, @2 its canary."""
    suites = {"support-triage": {"support-triage": True}, "invoice-fields": {"invoice-fields": False}}
    with writing(database) as conn:
        replica_table.put(conn, ReplicaView("local", 0, "http://127.0.0.1:9", "ready", True, 1, "", "local", 4096), now)
        for name, count in (("support-triage", 2), ("invoice-fields", 2)):
            for number in range(1, count + 1):
                digest = f"{number}{name}".encode().hex().ljust(64, "0")[:64]
                seen = VersionView(name, 0, digest, f"/data/{digest}", "registered")  # type: ignore[arg-type]
                registry.add_version(conn, seen, "local", "tests", "tests", now - 3600)
                registry.request(conn, Change("load", name, number, actor="tests"), suites[name], now)
                registry.saw(conn, ("local", 0), (name, number), "verified", "", now)
                registry.verified(conn, name, number, {"proof": "proven", "max_abs_difference": 0.0021})
        registry.apply(conn, {"local": frozenset({0})}, suites, now)
        gate = {"passed": True, "route": "support-triage", "reason": "−0.4 points against gpt-4o-mini, floor −5", "items": 400, "power": 0.84}
        registry.set_gate(conn, "support-triage", 2, gate, now)
        registry.request(conn, Change("promote", "support-triage", 2, actor="tests"), suites["support-triage"], now)
        registry.request(conn, Change("promote", "invoice-fields", 1, actor="tests"), suites["invoice-fields"], now)
        registry.request(conn, Change("canary", "invoice-fields", 2, percent=10, actor="tests"), suites["invoice-fields"], now)
        registry.apply(conn, {"local": frozenset({0})}, suites, now)


@dataclass(slots=True)
class Past:
    """Writes exchanges with their decisions into the spool and the database."""

    view: FleetView
    rng: random.Random
    spool: Spool

    def write(self, now: float, span_s: float, pace: float = 1.0) -> int:
        """Fill the span that ends at `now`; how many exchanges."""
        made = 0
        for name, shape in _SHAPES.items():
            at = now - span_s
            while True:
                day = 0.55 + 0.45 * math.sin((at % 86400) / 86400 * 2 * math.pi - 2.1)
                at += self.rng.expovariate(shape[0] * pace * day / 3600)
                if at >= now:
                    break
                self.one(name, at, promoted=at > now - span_s * (1 - _PROMOTED_AFTER), number=made)
                made += 1
        return made

    def one(self, route: str, at: float, *, promoted: bool, number: int) -> None:
        """One exchange with its decision."""
        _, size, answer, hosted, local = _SHAPES[route]
        plan = self.view.routes[route]
        snapshot = plan.snapshot if promoted else _hosted_only(plan.snapshot)
        prompt = max(80, int(self.rng.lognormvariate(math.log(size), 0.35)))
        live = {c.backend: _live(c, hosted if c.kind == "hosted" else local, answer, self.rng) for c in snapshot.candidates}
        wanted = Features(prompt, max_tokens=512, stream=number % 3 == 0, conversation=self.rng.getrandbits(63))
        made = decide(wanted, snapshot, live, at, self.rng.getrandbits(31), f"dec_{number:08d}")
        chosen = next(c for c in snapshot.candidates if c.backend == made.chosen)
        exchange = self._exchange(made, chosen, at, live[chosen.backend], prompt, answer, number)
        self.spool.snapshot(snapshot.digest, to_dict(snapshot))
        self.spool.admit(exchange.id, at, route, exchange.endpoint, exchange.key_id)
        self.spool.settle(exchange, made)

    def _exchange(self, made: Decision, chosen: Candidate, at: float, live: Live, prompt: int, answer: int, number: int) -> Exchange:
        rng = self.rng
        usage = Usage(prompt // 4, 0, max(1, int(rng.lognormvariate(math.log(answer), 0.3))))
        ttft = (live.ttft_ms or 1.0) * rng.lognormvariate(0, 0.3)
        total = ttft + usage.output * (live.tpot_ms or 1.0) * rng.lognormvariate(0, 0.1)
        draw = rng.random()
        status, outcome = next(((s, o) for share, s, o in _FAILURES if draw < share), (200, Outcome.OK))
        price = 0 if chosen.price is None else cost(usage, chosen.price)
        plan = self.view.routes[made.route]
        first = None if plan.first_hosted is None else plan.first_hosted.candidate
        all_hosted = None if first is None or first.price is None else cost(usage, first.price)
        attempt = Attempt(chosen.backend, status, None if status == 200 else outcome.value, at, ttft, total, usage, "provider", price, "known", chosen.kind)
        failed = replace(attempt, status=503, error="overloaded", cost_nanousd=0, usage=Usage(), total_ms=30.0, kind="hosted", backend="openai/gpt-4o")
        return Exchange(
            id=f"req_{number:08d}",
            time=at,
            route=made.route,
            endpoint="chat",
            backend=chosen.backend,
            adapter_version=chosen.version,
            key_id=None,
            tags={"team": rng.choice(["support", "billing"])} if number % 4 else {},
            stream=number % 3 == 0,
            status=status,
            outcome=outcome,
            usage=usage,
            usage_state="provider",
            cost_nanousd=price,
            cost_state="known",
            opportunity_nanousd=1_200 if chosen.kind == "local" else 0,
            all_hosted_nanousd=all_hosted,
            ttft_ms=ttft,
            total_ms=total,
            overhead_ms=rng.lognormvariate(-1.0, 0.3),
            reason=None if made.reason is None else made.reason.value,
            decision_id=made.id,
            sandbox=chosen.sandbox,
            attempts=(failed, attempt) if draw > 0.995 and chosen.backend != "openai/gpt-4o" else (attempt,),
            prompt_bytes=prompt,
        )


def past(database: Engine, config: Config, now: float = NOW, span_s: float = 86400, pace: float = 1.0, seed: int = 1) -> int:
    """Give a database adapters and a past that ends at `now`; how many exchanges."""
    adapters(database, config, now - span_s * (1 - _PROMOTED_AFTER))
    book = prices.book(config)
    with reading(database) as conn:
        servers = {"local": tuple(registry.replicas(conn))}
        view = plans.build(config, Facts(1, registry.views(conn), registry.stages(conn), servers), book, now)
    directory = config.server.data_dir / "spool"
    directory.mkdir(exist_ok=True)
    spool = Spool(directory, "seed")
    made = Past(view, random.Random(seed), spool).write(now, span_s, pace)
    spool.close()
    ingester = Ingester(database, directory)
    ingester.run_once()
    ingester.recover()
    ingester.close()
    with writing(database) as conn:
        for minute in range(math.ceil((now - span_s * (1 - _PROMOTED_AFTER)) / 60), int(now // 60)):
            gpu.record_uptime(conn, "local", 0, minute, 60, config.engines["local"].gpu_hour_nanousd)
        while gpu.close_minutes(conn, now + 30):
            continue
    return made


def _hosted_only(snapshot: Snapshot) -> Snapshot:
    """The snapshot as it was before the promotion."""
    hosted = tuple(c if c.kind == "hosted" else replace(c, stage=Stage.BLOCKED, version=None) for c in snapshot.candidates)
    bare = replace(snapshot, candidates=hosted, digest="")
    return replace(bare, digest=digest(bare))


def _live(c: Candidate, speed: tuple[float, float], answer: int, rng: random.Random) -> Live:
    busy = rng.randrange(0, 7)
    faster = 0.8 if c.model.endswith("mini") else 1.0
    return Live(c.backend, in_flight=busy, slots=16 if c.kind == "local" else 0, ttft_ms=speed[0] * faster, tpot_ms=speed[1] * faster, output_tokens=answer)


@dataclass(frozen=True, slots=True)
class World:
    """A running admin API and dashboard."""

    url: str
    gateway: Gateway
    directory: Path


@contextmanager
def serve(config: Config, database: Engine, clock: Callable[[], float] = lambda: NOW) -> Iterator[World]:
    """Run it in a thread, as one worker of `breakeven serve` is."""
    app = create_app(config, database, Options(environ={}, clock=clock))
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, server_header=False, timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        try:
            yield World(f"http://127.0.0.1:{sock.getsockname()[1]}", app.gateway, config.source.parent)
        finally:
            server.should_exit = True  # without force, which would leave out the application's own end
            thread.join(20)
            database.dispose()
