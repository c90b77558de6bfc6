"""Roll-ups say what the rows say, whatever happened to the rows since."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, delete, func, select, update

from gateway.store import costs, coverage, exchanges, latencies, rollups
from gateway.store.coverage import Coverage
from gateway.store.period import ALWAYS, Period
from gateway.store.rollup_tables import rollup_dirty, rollup_latencies, rollup_tags, rollup_thin
from gateway.store.rollup_tables import rollups as sums
from gateway.store.tables import open_admits
from router.types import Exchange, Outcome, Usage
from serving.database import reading, writing

Make = Callable[..., Any]
DAY = 1440
# 2026-10-30T00:00:00Z: days, hours and a month change inside the ledgers below.
START = 1793318400.0
REPORTS = ([], ["backend", "key"], ["tag", "route"], ["adapter", "month"], ["day", "route"], ["hour", "tag"], ["quarter_hour"], ["minute", "backend"])


@pytest.fixture(autouse=True)
def small_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours count as thin below thirty rows, so that small ledgers have both kinds."""
    monkeypatch.setattr(rollups, "THIN_ROWS", 30)


def ledger(chance: random.Random, exchange: Make, count: int, span_s: float) -> list[Exchange]:
    """Random rows: a few groups, every kind of unknown, some crowded hours."""
    crowded = [chance.uniform(0, span_s) for _ in range(3)]
    made = []
    for number in range(count):
        at = chance.choice(crowded) + chance.uniform(0, 3600) if chance.random() < 0.7 else chance.uniform(0, span_s)
        local = chance.random() < 0.4
        known = chance.random() < 0.8
        row = exchange(
            f"r{number}",
            local=local,
            time=START + (at if chance.random() < 0.8 else at // 60 * 60),
            route=chance.choice(["triage", "invoices", None]),
            key_id=chance.choice(["key_a", "key_b", None]),
            tags=dict(chance.sample([("team", "x"), ("env", "prod"), ("team", "y=1")], chance.randrange(3))),
            outcome=chance.choice([Outcome.OK] * 6 + list(Outcome)),
            usage=Usage(chance.randrange(2000), chance.randrange(100), chance.randrange(500)),
            usage_state=chance.choice(["provider", "provider", "estimated", "unknown"]),
            cost_nanousd=None if not known else 0 if local else chance.randrange(10**7),
            cost_state="unknown" if not known else chance.choice(["known", "measured", "estimated"]),
            all_hosted_nanousd=chance.choice([None, chance.randrange(10**7)]),
            opportunity_nanousd=chance.choice([None, chance.randrange(10**5)]) if local else None,
            ttft_ms=chance.choice([None, chance.lognormvariate(4, 1)]),
            total_ms=chance.lognormvariate(6, 1),
            sandbox=chance.random() < 0.1,
        )
        if chance.random() < 0.1:
            failed = replace(row.attempts[0], error="upstream_cut", status=502)
            row = replace(row, attempts=(failed, *row.attempts))
        made.append(row)
    return made


def periods(chance: random.Random, span_s: float) -> Iterator[Period]:
    """All time, and periods that begin and end anywhere, on the stroke, or within one minute."""
    one, other = sorted(START + chance.uniform(-7200, span_s + 7200) for _ in range(2))
    yield Period(one, other)
    yield chance.choice(
        [ALWAYS, Period(None, other), Period(one, None), Period(one, one + 17.0), Period(one // 3600 * 3600, other // 60 * 60 + 60), Period(other, other + 900)]
    )


def answers(engine: Engine, period: Period) -> list[Any]:
    """Every report of a period."""
    with reading(engine) as conn:
        made: list[Any] = [costs.report(conn, groups, period) for groups in REPORTS]
        made += [latencies.by(conn, groups, period) for groups in (["route", "backend"], ["adapter", "day"], ["hour"], ["minute"])]
    return made


def from_rows(engine: Engine, period: Period, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The same reports without roll-ups."""
    with monkeypatch.context() as patch:
        for module in (costs, latencies):
            patch.setattr(module, "cover", lambda _conn, whole, _coarsest=DAY: Coverage({}, [whole]))
        return answers(engine, period)


def agree(engine: Engine, chance: random.Random, span_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Roll-ups and rows say the same of many periods."""
    for period in periods(chance, span_s):
        assert answers(engine, period) == from_rows(engine, period, monkeypatch), period


def rolled(engine: Engine, now: float) -> None:
    """Roll up whatever can be."""
    while rollups.refresh(engine, now):
        pass


def change(engine: Engine, chance: random.Random, rows: list[Exchange], late: list[Exchange]) -> None:
    """What comes afterwards: shares of the GPU bill, another price, rows of a spool that was away."""
    with writing(engine) as conn:
        exchanges.set_amortised(conn, {row.id: chance.choice([None, chance.randrange(10**6)]) for row in chance.sample(rows, len(rows) // 4)})
        again = chance.sample(rows, len(rows) // 10)
        for row in again:
            conn.execute(update(exchanges.exchanges).where(exchanges.exchanges.c.id == row.id).values(cost_nanousd=chance.randrange(10**7), cost_state="known"))
        rollups.touch(conn, {int(row.time // 60) for row in again})
        exchanges.insert(conn, late)
        exchanges.insert(conn, rows[:5])


@pytest.mark.parametrize("seed", range(3))
def test_reports_from_rollups_are_those_of_the_rows(sqlite: Engine, exchange: Make, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """On random ledgers, for every grouping and for periods that do not fall on hours: before, between and after roll-ups, late rows and new prices."""
    chance, span_s = random.Random(seed), (4 * 3600.0, 3 * 86_400.0, 40 * 86_400.0)[seed]
    rows = ledger(chance, exchange, 300, span_s)
    with writing(sqlite) as conn:
        exchanges.insert(conn, rows[:200])
    agree(sqlite, chance, span_s, monkeypatch)
    rollups.refresh(sqlite, START + span_s / 2, limit=3)
    agree(sqlite, chance, span_s, monkeypatch)
    rolled(sqlite, START + span_s + 8000)
    agree(sqlite, chance, span_s, monkeypatch)
    change(sqlite, chance, rows[:200], rows[200:])
    agree(sqlite, chance, span_s, monkeypatch)
    rolled(sqlite, START + span_s + 2 * 86_400)
    agree(sqlite, chance, span_s, monkeypatch)
    with reading(sqlite) as conn:
        assert conn.execute(select(func.count()).select_from(rollup_dirty)).scalar() == 0


def test_the_same_on_postgres(postgres: Engine, exchange: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Postgres groups, sums and locks as SQLite does."""
    chance, span_s = random.Random(11), 2 * 86_400.0
    rows = ledger(chance, exchange, 200, span_s)
    with writing(postgres) as conn:
        exchanges.insert(conn, rows[:150])
    rolled(postgres, START + span_s + 8000)
    change(postgres, chance, rows[:150], rows[150:])
    agree(postgres, chance, span_s, monkeypatch)
    rolled(postgres, START + span_s + 2 * 86_400)
    agree(postgres, chance, span_s, monkeypatch)


def test_reports_read_rollups_and_not_the_rows(sqlite: Engine, exchange: Make) -> None:
    """What is rolled up is answered without the rows: with the rows gone, whole hours still say the same."""
    chance, span_s = random.Random(5), 3 * 86_400.0
    with writing(sqlite) as conn:
        exchanges.insert(conn, ledger(chance, exchange, 200, span_s))
    rolled(sqlite, START + 5 * 86_400)
    whole = [ALWAYS, Period(START + 3600, START + 2 * 86_400), Period(START, START + 86_400)]
    with reading(sqlite) as conn:
        before = [costs.report(conn, groups, period) for groups in ([], ["tag"], ["hour", "route"]) for period in whole]
    with writing(sqlite) as conn:
        conn.execute(delete(exchanges.exchanges))
        assert [costs.report(conn, groups, period) for groups in ([], ["tag"], ["hour", "route"]) for period in whole] == before


def test_thin_hours_keep_no_minutes(sqlite: Engine, exchange: Make) -> None:
    """An hour with few rows is one unit; a crowded one keeps its minutes, also one that became crowded later."""
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange(f"thin{n}", time=START + n) for n in range(29)] + [exchange(f"full{n}", time=START + 3600 + n) for n in range(30)])
    rolled(sqlite, START + 2 * 86_400)
    first = int(START // 60)
    with reading(sqlite) as conn:
        assert list(conn.execute(select(rollup_thin.c.start)).scalars()) == [first]
        for table in (sums, rollup_tags, rollup_latencies):
            assert list(conn.execute(select(table.c.start).where(table.c.step == 1)).scalars()) == [first + 60]
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange("late", time=START + 600.0)])
    rolled(sqlite, START + 2 * 86_400)
    with reading(sqlite) as conn:
        assert list(conn.execute(select(rollup_thin.c.start)).scalars()) == []
        assert list(conn.execute(select(sums.c.start).where(sums.c.step == 1)).scalars()) == [first, first + 10, first + 60]


def test_a_minute_waits_for_its_requests(sqlite: Engine, exchange: Make) -> None:
    """The current hour is made minute by minute: not before a minute is over and its requests have ended, but not for ever."""
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange("a", time=START + 1), exchange("b", time=START + 61)])
        conn.execute(open_admits.insert().values(id="open", generation="g", time=START + 70, endpoint="chat", key_id=None, route=None))
    marked = select(rollup_dirty.c.start).where(rollup_dirty.c.step == 1).order_by(rollup_dirty.c.start)
    first = int(START // 60)
    for now, left in ((60, [first, first + 1]), (71, [first + 1]), (150, [first + 1]), (200, [])):
        rollups.refresh(sqlite, START + now)
        with reading(sqlite) as conn:
            assert list(conn.execute(marked).scalars()) == left, now


def test_what_is_frozen_stays(sqlite: Engine, exchange: Make) -> None:
    """Before the horizon hours answer without rows, periods are widened to them, and nothing that comes later changes them."""
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange(f"r{n}", time=START + n * 1800.0 + 7) for n in range(96)])
    horizon = int(START // 60) + DAY
    assert not rollups.freeze(sqlite, horizon)
    rolled(sqlite, START + 3 * 86_400)
    before = answers(sqlite, ALWAYS)[:6]
    assert rollups.freeze(sqlite, horizon)
    assert rollups.freeze(sqlite, horizon - DAY)
    with writing(sqlite) as conn:
        conn.execute(delete(exchanges.exchanges).where(exchanges.exchanges.c.time < START + 86_400))
        while rollups.drop_minutes(conn, horizon, 600):
            pass
        assert coverage.horizon(conn) == horizon
        exchanges.insert(conn, [exchange("late", time=START + 7)])
    rolled(sqlite, START + 3 * 86_400)
    assert answers(sqlite, ALWAYS)[:6] == before
    with reading(sqlite) as conn:
        assert costs.report(conn, [], Period(START + 1000, START + 3000))["total"]["requests"] == 2
        assert costs.report(conn, [], Period(START + 86_400 - 5000, START + 86_400 + 10))["total"]["requests"] == 5
        minutes = costs.report(conn, ["minute"], Period(START, START + 3600))["data"]
    assert [(row["minute"], row["requests"]) for row in minutes] == [("2026-10-30T00:00:00Z", 2)]
