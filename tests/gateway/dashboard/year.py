"""A gateway with a year behind it, for the dashboard's tests and pictures: written through the store's own functions, from a seed, in seconds.

Hosted at first; the adapters come one after the other, one is rolled back, one drifts. The last day has decisions to open (tests/gateway/admin/world.py
writes it through the spool). Run as `python -m tests.gateway.dashboard.year` to look at it in a browser.
"""

from __future__ import annotations

import math
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, insert

from gateway import plans, prices
from gateway.config.load import load
from gateway.config.models import Config
from gateway.store import curves, exchanges, gpu_days, keys, rollups
from gateway.store.curves import Curve
from gateway.store.engine_tables import backend_minutes
from gateway.store.ingest import Ingester
from gateway.store.keys import KeySpec
from gateway.store.spool import Spool
from gateway.store.tables import engine_minutes, gpu_minutes
from gateway.view import Facts
from router.money import cost
from router.types import Attempt, Exchange, Outcome, Price, Usage
from router.utilisation import Point
from serving import registry, replica_table
from serving.database import reading, writing
from serving.states import State
from serving.verbs import Change
from serving.views import ReplicaView, VersionView
from tests.gateway.admin import world
from tests.gateway.admin.world import NOW, Past, World

DAY = 86400
DAYS = 364
_GPU_HOUR = 80_000_000  # nano-dollars
HOURS = (10, 15)
_CAPACITY = 6_000_000  # the work (prompt tokens and four times the generated ones) of a day that keeps the card busy
_HOSTED = {
    "openai/gpt-4o": Price(input=2_500_000_000, output=10_000_000_000, cached=1_250_000_000),
    "openai/gpt-4o-mini": Price(input=150_000_000, output=600_000_000, cached=75_000_000),
}
CONFIG = """
server: {{host: 127.0.0.1, port: 8080, data_dir: data, admin_key: "{admin_key}"}}
database: sqlite:///breakeven.db
providers:
  openai: {{base_url: "http://127.0.0.1:9/v1", api_key: sk-test, sandbox: {sandbox}}}
engines:
  local: {{urls: ["http://127.0.0.1:9"], gpu_hour_usd: 0.08}}
routes:
  support-triage:
    candidates:
      - {{provider: openai, model: gpt-4o}}
      - {{engine: local, adapter: support-triage}}
    slo: {{ttft_ms: 400, total_ms: 1500}}
    quality: {{floor: -0.05, suite: suite.jsonl}}
    capture: {{sample: 1.0}}
    budget: {{usd_per_day: 0.5, usd_per_month: 30}}
  invoice-fields:
    candidates:
      - {{provider: openai, model: gpt-4o}}
      - {{engine: local, adapter: invoice-fields}}
    slo: {{total_ms: 8000}}
  assistant:
    candidates:
      - {{provider: openai, model: gpt-4o}}
      - {{provider: openai, model: gpt-4o-mini}}
    slo: {{ttft_ms: 700, total_ms: 14000}}
    budget: {{usd_per_month: 14}}
budgets:
  tags:
    - {{tag: team=sales, usd_per_month: 7}}
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """A route: requests a day, tokens in and out, milliseconds (first token, per token) hosted and local, and since which day which version answers."""

    daily: float
    tokens: tuple[int, int]
    hosted: tuple[float, float]
    local: tuple[float, float]
    versions: tuple[tuple[int, int | None, float], ...]


# (from this day on, version or None for hosted, share that stays local)
_SHAPES: Mapping[str, Shape] = {
    "support-triage": Shape(150, (4200, 60), (330, 13), (80, 9), ((0, None, 0), (96, 1, 0.05), (103, 1, 0.82), (171, 2, 0.9), (258, 1, 0.8), (284, 3, 0.93))),
    "invoice-fields": Shape(60, (14000, 240), (520, 15), (260, 11), ((0, None, 0), (208, 1, 0.1), (215, 1, 0.86))),
    "assistant": Shape(40, (5200, 420), (480, 14), (0, 0), ((0, None, 0),)),
}
# Day, adapter, version, verb, reason. Gates are judged on the day before a canary begins.
_LIVES: tuple[tuple[int, str, int, str, str], ...] = (
    (92, "support-triage", 1, "add", ""),
    (94, "support-triage", 1, "gate", "−0.8 points against gpt-4o, floor −5"),
    (96, "support-triage", 1, "canary", ""),
    (103, "support-triage", 1, "promote", "the canary held for a week"),
    (164, "support-triage", 2, "add", ""),
    (166, "support-triage", 2, "gate", "+0.3 points against gpt-4o, floor −5"),
    (171, "support-triage", 2, "promote", "more of last quarter's tickets"),
    (204, "invoice-fields", 1, "add", ""),
    (208, "invoice-fields", 1, "canary", ""),
    (215, "invoice-fields", 1, "promote", "no suite; two people read 200 answers"),
    (236, "invoice-fields", 2, "add", ""),
    (238, "invoice-fields", 2, "refuse", "its tensors are not finite"),
    (258, "support-triage", 1, "rollback", "refusals rose from 1 % to 6 %"),
    (276, "support-triage", 3, "add", ""),
    (278, "support-triage", 3, "gate", "+0.9 points against gpt-4o, floor −5"),
    (284, "support-triage", 3, "promote", "trained with the refused ones too"),
    (357, "invoice-fields", 3, "add", ""),
    (361, "invoice-fields", 3, "canary", ""),
)
_SUITES = {"support-triage": {"support-triage": True}, "invoice-fields": {"invoice-fields": False}}


def configure(directory: Path, *, admin_key: str = "", sandbox: bool = True) -> Config:
    """A configuration file in `directory`, loaded."""
    (directory / "suite.jsonl").write_text("")
    (directory / "data").mkdir(exist_ok=True)
    path = directory / "breakeven.yaml"
    path.write_text(CONFIG.format(admin_key=admin_key, sandbox=str(sandbox).lower()))
    return load(path, {})


def write(database: Engine, config: Config, now: float = NOW, pace: float = 1.0, seed: int = 1, hours: Sequence[int] = HOURS) -> int:
    """Give a fresh database a year that ends at `now`; how many exchanges."""
    rng = random.Random(seed)
    start = now // DAY * DAY - DAYS * DAY
    adapters(database, start)
    with writing(database) as conn:
        points = tuple(Point(batch, 60.0 * batch**0.35, 0.7 * batch**0.82) for batch in (1, 2, 4, 8, 16, 32))
        curves.keep(conn, Curve("local", start + 98 * DAY, 0, "local", "bfloat16", "L4", "0.32.0", 512, complete=True, points=points))
        owners = [
            keys.create(conn, KeySpec(name, nanousd_per_day=8_000_000_000 if name == "shop" else None), start)[0].id
            for name in ("shop", "back office", "night jobs")
        ]
    made = 0
    for week in range(0, DAYS, 7):
        with writing(database) as conn:
            for day in range(week, week + 7):
                rows = [row for route in _SHAPES for row in _of_day(rng, route, (day, start), (pace, hours), owners, made)]
                exchanges.insert(conn, rows)
                _bill(conn, rng, start + day * DAY, [row for row in rows if row.attempts[-1].kind == "local"], up=day >= 96)
                made += len(rows)
    return made + _today(database, config, now)


def roll_up(database: Engine, now: float = NOW) -> None:
    """Make all the roll-ups, as the controller does in its time."""
    while rollups.refresh(database, now) or gpu_days.refresh(database, now):
        continue


def adapters(database: Engine, start: float) -> None:
    """The adapters' lives, through the registry."""
    with writing(database) as conn:
        replica_table.put(conn, ReplicaView("local", 0, "http://127.0.0.1:9", "ready", True, 1, "", "local", 4096), start)
        for day, name, version, verb, reason in _LIVES:
            at = start + day * DAY + 9.6 * 3600
            if verb == "add":
                _register(conn, name, version, at)
            elif verb == "gate":
                gate = {"passed": True, "route": name, "reason": reason, "items": 1200, "power": 0.86}
                registry.set_gate(conn, name, version, gate, at)
            elif verb == "refuse":
                registry.refuse(conn, name, version, [], at)
            else:
                percent = 10 if verb == "canary" else None
                asked = Change(
                    verb, name, None if verb == "rollback" else version, percent=percent, reason=reason, actor="controller" if verb == "rollback" else "ada"
                )  # type: ignore[arg-type]
                registry.request(conn, asked, _SUITES[name], at)
                registry.apply(conn, {"local": frozenset({0})}, _SUITES, at)


def _register(conn: Any, name: str, version: int, at: float) -> None:
    digest = f"{version}{name}".encode().hex().ljust(64, "0")[:64]
    manifest = {"dataset": {"digest": digest[::-1], "train": 900 + 700 * version}, "metrics": {"steps": 180 * version}, "quantization": "nf4"}
    registry.add_version(conn, VersionView(name, 0, digest, f"/data/{digest}", State.REGISTERED, manifest=manifest), "local", "trainer", "trainer", at)
    if (name, version) == ("invoice-fields", 2):
        return
    registry.request(conn, Change("load", name, version, actor="trainer"), _SUITES[name], at + 60)
    registry.saw(conn, ("local", 0), (name, version), "verified", "", at + 90)
    registry.verified(conn, name, version, {"proof": "proven", "max_abs_difference": 0.0021})
    registry.apply(conn, {"local": frozenset({0})}, _SUITES, at + 90)


def _of_day(rng: random.Random, route: str, when: tuple[int, float], much: tuple[float, Sequence[int]], owners: list[str], made: int) -> Iterator[Exchange]:
    """One route's exchanges of one day: growing over the year, fewer at the weekend."""
    (day, start), (pace, hours), shape = when, much, _SHAPES[route]
    version, local = next((v, share) for begins, v, share in reversed(shape.versions) if begins <= day)
    weekday = time.gmtime(start + day * DAY).tm_wday
    count = round(shape.daily * pace * (0.55 + day / DAYS) * (0.45 if weekday > 4 else 1.0) * rng.uniform(0.85, 1.15))
    for number in range(count):
        # In a few hours of the day: making an hour's roll-up costs the same for one row as for a hundred.
        second = rng.choice(hours) * 3600 + rng.uniform(0, 3600)
        chosen = f"local/{route}@{version}" if version is not None and rng.random() < local else "openai/gpt-4o"
        if route == "assistant" and rng.random() < 0.45:
            chosen = "openai/gpt-4o-mini"
        yield _exchange(
            rng, route, chosen, start + day * DAY + second, (f"{day:03d}{made:07d}{route[0]}{number:05d}", rng.choice(owners) if number % 9 else None, day)
        )


def _exchange(rng: random.Random, route: str, chosen: str, at: float, about: tuple[str, str | None, int]) -> Exchange:
    number, owner, day = about
    shape, local = _SHAPES[route], chosen.startswith("local/")
    read, written = (max(1, int(rng.lognormvariate(math.log(size), 0.4))) for size in shape.tokens)
    usage = Usage(read, read // 3 if rng.random() < 0.2 and not local else 0, written)
    slow = 1.9 if local and 250 <= day < 258 and route == "support-triage" else 1.0  # the week before the roll-back
    first, each = shape.local if local else shape.hosted
    ttft = first * slow * rng.lognormvariate(0, 0.35)
    total = ttft + written * each * rng.lognormvariate(0, 0.12)
    trouble = rng.random() < (0.05 if day in {141, 142} else 0.006)
    fell = not trouble and rng.random() < (0.09 if day in {141, 142} else 0.008)
    price = 0 if local else cost(usage, _HOSTED[chosen])
    kind: Any = "local" if local else "hosted"
    last = Attempt(chosen, 502 if trouble else 200, "upstream_error" if trouble else None, at, ttft, total, usage, "provider", price, "known", kind)
    before = Attempt("openai/gpt-4o", 503, "overloaded", at - 0.2, None, 180.0, Usage(), "provider", 0, "known", "hosted")
    tags = {"team": rng.choice(["support", "billing", "sales"])} if rng.random() < 0.8 else {}
    bad = Outcome.UPSTREAM_ERROR if trouble else Outcome.OK
    return Exchange(
        *(f"req_{number}", at, route, "chat", chosen, int(chosen.rsplit("@")[1]) if local else None, owner, tags, rng.random() < 0.4),
        *(502 if trouble else 200, bad, usage, "provider", price, "known", 1_000 if local else 0, cost(usage, _HOSTED["openai/gpt-4o"])),
        *(ttft, total, rng.lognormvariate(-1.0, 0.3), "failover" if fell else "cost", None),
        sandbox=not local,
        attempts=(before, last) if fell else (last,),
        prompt_bytes=read * 4,
    )


def _bill(conn: Connection, rng: random.Random, day: float, rows: Sequence[Exchange], *, up: bool) -> None:
    """The GPU's books of one day, an hour to a row: what the day's exchanges used is shared by their work, the rest is idle. bill = allocated + idle."""
    if not up:
        return
    works = [row.usage.input + row.usage.output * 4 for row in rows]
    used = min(0.9, sum(works) / _CAPACITY) * 24 * _GPU_HOUR
    shares = [round(used * work / sum(works)) for work in works]
    exchanges.set_amortised(conn, {row.id: share for row, share in zip(rows, shares, strict=True)})
    weights = [1.1 + math.sin((hour / 24) * 2 * math.pi - 2) + rng.uniform(0, 0.3) for hour in range(24)]
    whole = max(1, sum(shares))
    left, closed = sum(shares), []
    for hour, weight in enumerate(weights):
        mine = min(_GPU_HOUR, left if hour == 23 else round(sum(shares) * weight / sum(weights)))
        left -= mine
        at = int(day // 60) + hour * 60
        closed.append({"engine": "local", "minute": at, "milliseconds": 3_600_000, "bill_nanousd": _GPU_HOUR, "allocated_nanousd": mine, "stale": False})
        closed[-1] |= {"idle_nanousd": _GPU_HOUR - mine, "closed_at": at * 60.0 + 3700, "foreign_nanousd": 0, "sampled_ms": 3_600_000, "decode_weight": 4.0}
        closed[-1] |= {"prefill_tokens": sum(row.usage.input for row in rows) * mine // whole, "foreign_prefill_tokens": 0, "foreign_decode_tokens": 0}
        closed[-1] |= {"decode_tokens": sum(row.usage.output for row in rows) * mine // whole, "busy_ms": min(3_600_000, mine * 4_000_000 // _GPU_HOUR)}
    bill = {"engine": "local", "replica": 0, "milliseconds": 3_600_000, "gpu_hour_nanousd": _GPU_HOUR, "bill_nanousd": _GPU_HOUR}
    conn.execute(insert(engine_minutes), closed)
    conn.execute(insert(gpu_minutes), [bill | {"minute": row["minute"]} for row in closed])
    gpu_days.touch(conn, [row["minute"] for row in closed])
    parts: dict[str, dict[str, Any]] = {}
    for row, share in zip(rows, shares, strict=True):
        part = parts.setdefault(row.attempts[-1].backend, {"calls": 0, "prefill_tokens": 0, "decode_tokens": 0, "nanousd": 0})
        for name, more in (("calls", 1), ("prefill_tokens", row.usage.input), ("decode_tokens", row.usage.output), ("nanousd", share)):
            part[name] += more
    if parts:
        conn.execute(insert(backend_minutes), [{"engine": "local", "minute": int(day // 60), "backend": name} | part for name, part in parts.items()])


def _today(database: Engine, config: Config, now: float) -> int:
    """Two hours with their decisions, through the spool as a worker writes them."""
    with reading(database) as conn:
        facts = Facts(1, registry.views(conn), registry.stages(conn), {"local": tuple(registry.replicas(conn))})
    directory = config.server.data_dir / "spool"
    directory.mkdir(exist_ok=True)
    spool = Spool(directory, "seed")
    made = Past(plans.build(config, facts, prices.book(config), now), random.Random(2), spool).write(now, 7200)
    spool.close()
    ingester = Ingester(database, directory)
    ingester.run_once()
    ingester.recover()
    ingester.close()
    return made


@contextmanager
def lived(directory: Path, *, pace: float = 1.0, now: float = NOW, hours: Sequence[int] = HOURS, rolled: bool = True) -> Iterator[World]:
    """A running gateway with a year behind it."""
    config = configure(directory)
    database = world.fresh(config)
    write(database, config, now, pace, hours=hours)
    if rolled:
        roll_up(database, now)
    with world.serve(config, database, clock=lambda: now) as made:
        yield made


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        began = time.perf_counter()
        with lived(Path(place), pace=float(sys.argv[1]) if len(sys.argv) > 1 else 1.0) as running:
            print(f"{running.url}/dashboard after {time.perf_counter() - began:.1f} s; Ctrl-C ends it", flush=True)
            while True:
                time.sleep(3600)
