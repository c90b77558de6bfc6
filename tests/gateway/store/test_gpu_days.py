"""Days of the GPU bill are its minutes, and folding shares changes no sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, delete, func, select

from gateway.store import bulk, engine_costs, exchanges, gpu, gpu_days, gpu_series
from gateway.store.engine_tables import backend_minutes
from gateway.store.gpu_tables import allocation_days, backend_days, engine_days, gpu_dirty, gpu_horizon
from gateway.store.period import Period
from gateway.store.retention import sweep
from gateway.store.tables import attempts, engine_minutes, gpu_minutes, local_allocations
from gateway.store.tables import exchanges as table
from router.types import Usage
from serving.database import reading, writing

Make = Callable[..., Any]
HOUR = 2_500_000_007
DAY_S = 86_400.0
TABLES = (table, attempts, gpu_minutes, engine_minutes, backend_minutes, local_allocations, engine_days, backend_days, gpu_dirty, allocation_days, gpu_horizon)


def answers(conn: Connection, first: float) -> list[Any]:
    """Everything that is asked of the bill, in whole and in uneven periods."""
    edges = ((None, None), (0.0, 3.0), (0.4, 2.7), (1.001, None), (None, 0.0001))
    periods = [Period(*(None if edge is None else first + edge * DAY_S for edge in pair)) for pair in edges]
    asked: list[Any] = [gpu.bill(conn, period) for period in periods]
    asked += [gpu_series.steps(conn, period, minutes) for period in periods for minutes in (60, 1440)]
    return asked + [engine_costs.steps(conn, period, 1440) for period in periods]


def from_minutes(conn: Connection, first: float) -> list[Any]:
    """The same when no day is trusted."""
    days = [(day,) for day in range(int(first // DAY_S) - 1, int(first // DAY_S) + 5)]
    bulk.insert_new(conn, gpu_dirty, days)
    found = answers(conn, first)
    conn.rollback()
    return found


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requests=st.lists(st.tuples(st.integers(0, 3), st.floats(-90, 90), st.floats(0, 200), st.integers(0, 5000), st.integers(0, 2000)), max_size=8),
    ups=st.lists(
        st.tuples(
            st.sampled_from(["local", "other"]), st.integers(0, 1), st.integers(0, 3), st.integers(-3, 3), st.floats(0, 60), st.sampled_from([HOUR, None, 7])
        ),
        max_size=12,
    ),
    order=st.randoms(use_true_random=False),
)
def test_days_say_what_their_minutes_say(sqlite: Engine, exchange: Make, noon: float, requests: list[Any], ups: list[Any], order: Any) -> None:
    """Whatever becomes known in whatever order around four midnights, with days summed and restarts between: each answer is that of the minutes."""
    first = noon // DAY_S * DAY_S
    late = first + 10 * DAY_S
    sent = [
        exchange(f"r{n}", local=True, backend=f"local/a@{n % 2}", time=first + day * DAY_S + s, total_ms=d * 1000, usage=Usage(i, 0, o))
        for n, (day, s, d, i, o) in enumerate(requests)
    ]
    steps: list[Callable[[Connection], object]] = [lambda conn, e=e: (exchanges.insert(conn, [e]), gpu.reopen(conn, e.attempts)) for e in sent]
    steps += [lambda conn, u=u: gpu.record_uptime(conn, u[0], u[1], int(first // 60) + u[2] * 1440 + u[3], u[4], u[5]) for u in ups]
    steps += [lambda conn: gpu.close_minutes(conn, late)] * 3
    order.shuffle(steps)
    with writing(sqlite) as conn:
        for emptied in TABLES:
            conn.execute(delete(emptied))
    for step in [*steps, lambda conn: gpu.close_minutes(conn, late)]:
        with writing(sqlite) as conn:
            step(conn)
        if order.random() < 0.4:
            gpu_days.refresh(sqlite, late, order.randint(1, 5))
    with reading(sqlite) as conn:
        mixed, plain = answers(conn, first), from_minutes(conn, first)
    assert mixed == plain
    gpu_days.refresh(sqlite, late)
    with reading(sqlite) as conn:
        assert conn.execute(select(func.count()).select_from(gpu_dirty)).scalar() == 0
        assert answers(conn, first) == plain
        assert conn.execute(select(func.coalesce(func.sum(engine_days.c.minutes), 0))).scalar() == sum(
            conn.execute(select(func.count(gpu_minutes.c.minute.distinct())).where(gpu_minutes.c.engine == name)).scalar_one() for name in ("local", "other")
        )


def evening(database: Engine, exchange: Make, noon: float) -> float:
    """A few hours of an engine around midnight, closed, with requests across it: that midnight."""
    midnight = noon // DAY_S * DAY_S
    sent = [exchange(f"r{n}", local=True, time=midnight - 9000 + 247.3 * n, total_ms=60_000.0) for n in range(40)]
    with writing(database) as conn:
        exchanges.insert(conn, sent)
        for minute in range(int(midnight // 60) - 160, int(midnight // 60) + 40):
            gpu.record_uptime(conn, "local", 0, minute, 60.0, HOUR)
        gpu.close_minutes(conn, midnight + DAY_S)
    return midnight


def shares(conn: Connection) -> int:
    """What exchanges carry, kept singly and folded."""
    return sum(int(conn.execute(select(func.coalesce(func.sum(t.c.nanousd), 0))).scalar_one()) for t in (local_allocations, allocation_days))


def test_old_shares_are_folded_and_no_sum_changes(database: Engine, exchange: Make, noon: float) -> None:
    """After thirty days the shares of a day are one row of an engine; bill, allocations and what each exchange carries are what they were."""
    midnight = evening(database, exchange, noon)
    with reading(database) as conn:
        before, carried, booked = answers(conn, midnight - DAY_S), shares(conn), exchanges.amortised(conn, [f"r{n}" for n in range(40)])
    assert sweep(database, midnight + 29.9 * DAY_S, {}, chunk=7).shares == 0
    now = midnight + 30.5 * DAY_S
    assert sweep(database, now, {}, chunk=7).shares > 20
    with reading(database) as conn:
        assert conn.execute(select(func.count()).select_from(allocation_days)).scalar() == 1
        assert answers(conn, midnight - DAY_S) == before
        assert (shares(conn), exchanges.amortised(conn, list(booked))) == (carried, booked)
        assert len(booked) == 40
        left = list(conn.execute(select(local_allocations.c.minute)).scalars())
        assert min(left) >= midnight // 60 - 60
    assert sweep(database, now, {}).shares == 0
    assert sweep(database, now + DAY_S, {}).shares > 0
    with reading(database) as conn:
        assert (shares(conn), answers(conn, midnight - DAY_S)) == (carried, before)


def test_what_comes_after_the_folding_changes_nothing_but_itself(database: Engine, exchange: Make, noon: float) -> None:
    """A row, uptime or a reopening of a frozen minute leaves the books closed; the late row is listed without a share."""
    midnight = evening(database, exchange, noon)
    now = midnight + 40 * DAY_S
    sweep(database, now, {})
    with reading(database) as conn:
        before, carried = answers(conn, midnight - DAY_S), shares(conn)
    late, minute = exchange("late", local=True, time=midnight + 61.0, total_ms=1000.0), int(midnight // 60)
    with writing(database) as conn:
        exchanges.insert(conn, [late])
        gpu.reopen(conn, late.attempts)
        gpu.reopen_minutes(conn, [("local", minute)])
        gpu.record_uptime(conn, "local", 1, minute, 60.0, HOUR)
        assert gpu.close_minutes(conn, now) == 0
    with reading(database) as conn:
        assert (answers(conn, midnight - DAY_S), shares(conn), exchanges.amortised(conn, ["late"])) == (before, carried, {})


@pytest.mark.parametrize("undone", ["open", "stale"])
def test_nothing_is_folded_before_it_is_closed(sqlite: Engine, exchange: Make, noon: float, undone: str) -> None:
    """An open or stale minute holds the folding up; it goes on once that is closed."""
    midnight = evening(sqlite, exchange, noon)
    with writing(sqlite) as conn:
        if undone == "open":
            gpu.record_uptime(conn, "local", 0, int(midnight // 60) + 100, 60.0, HOUR)
        else:
            gpu.reopen_minutes(conn, [("local", int(midnight // 60))])
    now = midnight + 40 * DAY_S
    assert sweep(sqlite, now, {}).shares == 0
    with writing(sqlite) as conn:
        gpu.close_minutes(conn, now)
    assert sweep(sqlite, now, {}).shares > 0
