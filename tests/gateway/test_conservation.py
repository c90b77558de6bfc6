"""Nothing of the money is lost and nothing is invented: the ledger against the provider's own log, with faults, clients that leave, and kill -9."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, select

from gateway.sandbox import SandboxOptions, log, running
from gateway.store import costs, gpu, gpu_days, rollups, segments
from gateway.store.gpu import close_minutes, record_uptime
from gateway.store.gpu_tables import engine_days
from gateway.store.ingest import Ingester
from gateway.store.period import ALWAYS, Period
from gateway.store.spool import Spool
from gateway.store.tables import attempts, exchanges
from router.types import Attempt, Exchange, Outcome, Usage
from serving.database import connect, reading, writing
from tests.databases import prepare
from tests.gateway import conservation

NOON = 1795442400.0


def test_what_the_provider_bills_is_what_the_ledger_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traffic with faults while the worker, the controller and the whole program are killed: each call with the provider's usage costs, to the nano-dollar,
    what the provider's log says; estimated and interrupted rows are apart and no more than explained; no row twice, none missing."""
    monkeypatch.setattr(log, "KEPT_BODIES", 1_000_000)
    with running(SandboxOptions(token_ms=2.0)) as sandbox:
        traffic, killer = conservation.run(tmp_path, sandbox, ["worker", "controller", "program"], seed=1)
        entries = list(sandbox.app.log._entries)
    books = conservation.compare(conservation.ledger(tmp_path), entries, traffic, killer)
    assert books.matched > 15
    assert books.ledger_nanousd > 0


def _exchange(chance: random.Random, number: int) -> Exchange:
    """Any way a request may have gone: hosted, local, or one after the other."""
    at = NOON + chance.uniform(0, 600)
    calls = []
    for position in range(chance.choice([1, 1, 1, 2, 3])):
        local, state = chance.random() < 0.6, chance.choice(["provider", "provider", "estimated", "unknown"])
        backend = "local/triage@3" if local else "openai/gpt-4o"
        usage = Usage(chance.randrange(1, 5000), 0, chance.randrange(1, 800))
        cost = None if state == "unknown" else 0 if local else chance.randrange(10**8)
        error = None if position == 0 else "upstream_cut"
        took = chance.choice([5.0, 900.0, 45_000.0, 130_000.0])
        cost_state: Any = "unknown" if cost is None else "known"
        calls.append(Attempt(backend, 200, error, at, 5.0, took, usage, state, cost, cost_state, "local" if local else "hosted"))  # type: ignore[arg-type]
    calls.reverse()
    known = [call.cost_nanousd for call in calls]
    total = None if None in known else sum(cost or 0 for cost in known)
    last = calls[-1]
    state: Any = "unknown" if total is None else "known"
    made = Exchange(
        f"r{number}",
        at,
        "mixed",
        "chat.completions",
        last.backend,
        3 if last.kind == "local" else None,
        None,
        {},
        False,
        200,
        Outcome.OK,
        last.usage,
        last.usage_state,
        total,
        state,
        None,
        None,
        5.0,
        last.total_ms,
        0.2,
        "cost",
        None,
    )
    return replace(made, attempts=tuple(calls))


class PowerCut(Exception):
    """The process that ingests dies at this commit."""


def _ingest(engine: Engine, directory: Path, chance: random.Random) -> None:
    """Bring in what there is; often the process dies at one of its commits and another begins."""
    left = chance.randrange(6)

    def cut(_conn: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise PowerCut

    ingester = Ingester(engine, directory, chunk_bytes=2000)
    event.listen(engine, "commit", cut)
    try:
        ingester.run_once()
        ingester.recover()
    except PowerCut:
        pass
    finally:
        event.remove(engine, "commit", cut)
        ingester.close()


@pytest.mark.parametrize("seed", range(2))
def test_local_shares_and_idle_are_the_gpu_bill(tmp_path: Path, seed: int) -> None:
    """Random work on two engine replicas, rows that come late and in any order, ingestion that dies at random commits, minutes closed in between: no row twice
    and none missing, each exchange costs what its attempts cost, and shares and idle sum to the bill to the nano-dollar."""
    chance = random.Random(seed)
    engine = connect("sqlite:///b.db", tmp_path)
    prepare(engine)
    rows = [_exchange(chance, number) for number in range(120)]
    waiting, spools = list(rows), [Spool(tmp_path / "spool", f"w{n}") for n in range(2)]
    for spool in spools:
        spool.admit(f"lost-{spool.generation}", NOON + 60, "mixed", "chat.completions", None)
    while waiting:
        for row in (waiting.pop() for _ in range(min(len(waiting), 10))):
            spool = chance.choice(spools)
            spool.admit(row.id, row.time, row.route, row.endpoint, row.key_id)
            spool.settle(row)
        _ingest(engine, tmp_path / "spool", chance)
        with writing(engine) as conn:
            for minute in range(12):
                record_uptime(conn, "local", chance.randrange(2), int(NOON // 60) + minute, chance.uniform(10, 60), 2_500_000_007)
            close_minutes(conn, NOON + chance.uniform(0, 900))
        rollups.refresh(engine, NOON + chance.uniform(0, 5000))
        if chance.random() < 0.5:  # days that are over too early are summed again; the next process finds them as they are
            gpu_days.refresh(engine, NOON + 3 * 86_400)
            engine.dispose()
            engine = connect("sqlite:///b.db", tmp_path)
    for spool in spools:
        spool.close()
    while segments.listed(tmp_path / "spool"):
        _ingest(engine, tmp_path / "spool", chance)
    with writing(engine) as conn:
        while close_minutes(conn, NOON + 7200.0):
            pass
    with reading(engine) as conn:
        minutes = gpu.bill(conn, ALWAYS)
    while rollups.refresh(engine, NOON + 3 * 86_400) + gpu_days.refresh(engine, NOON + 3 * 86_400):
        pass
    with reading(engine) as conn:
        assert conn.execute(select(func.sum(engine_days.c.closed_minutes))).scalar_one() == 12
        assert gpu.bill(conn, ALWAYS) == minutes
        report, days = costs.report(conn, ["backend"], ALWAYS), costs.report(conn, ["day"], Period(NOON - 7200, NOON + 7200))
        found = conn.execute(select(exchanges.c.id, exchanges.c.outcome, exchanges.c.cost_nanousd)).all()
        split = dict(conn.execute(select(attempts.c.exchange_id, func.sum(attempts.c.cost_nanousd)).group_by(attempts.c.exchange_id)).all())  # type: ignore[arg-type]
        shares = conn.execute(select(func.sum(exchanges.c.amortised_nanousd))).scalar_one()
    assert {row.id for row in found} == {row.id for row in rows} | {f"lost-{spool.generation}" for spool in spools}
    assert sum(row.outcome == "interrupted" for row in found) == 2
    assert all(row.cost_nanousd in {None, split.get(row.id)} for row in found)
    assert report["gpu_bill_nanousd"] == shares + report["idle_nanousd"] == report["total"]["local_amortised_nanousd"] + report["idle_nanousd"]
    assert report["total"] == days["total"]
    engine.dispose()
