"""The GPU bill and who carries it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, delete, func, insert, select

from gateway.store import exchanges, gpu
from gateway.store.gpu import Bill, close_minutes, record_uptime
from gateway.store.period import ALWAYS, Period
from gateway.store.tables import attempts, engine_minutes, gpu_minutes, local_allocations, open_admits
from gateway.store.tables import exchanges as table
from router.types import Usage
from serving.database import reading, writing

Make = Callable[..., Any]
HOUR = 2_500_000_000  # 2.50 dollars
MINUTE_BILL = 41_666_667


def amortised(conn: Connection) -> dict[str, int | None]:
    """Each exchange's share."""
    return {row.id: row.amortised_nanousd for row in conn.execute(select(table.c.id, table.c.amortised_nanousd))}


def test_uptime_can_be_said_again(database: Engine, noon: float) -> None:
    """Saying it twice bills once; more seconds raise the bill, fewer do not lower it, and a minute has sixty."""
    minute = int(noon // 60)
    for seconds, bill in ((30.0, 20_833_333), (30.0, 20_833_333), (10.0, 20_833_333), (60.0, MINUTE_BILL), (75.0, MINUTE_BILL)):
        with writing(database) as conn:
            record_uptime(conn, "local", 0, minute, seconds, HOUR)
        with reading(database) as conn:
            assert gpu.bill(conn, ALWAYS).bill_nanousd == bill


def test_a_minute_is_shared_by_work_and_the_rest_is_idle(database: Engine, exchange: Make, noon: float) -> None:
    """Two requests with one and three parts of the work in half a minute: a quarter and three quarters of half the bill, to the nano-dollar."""
    minute = int(noon // 60)
    with writing(database) as conn:
        exchanges.insert(
            conn,
            [
                exchange("a", local=True, time=noon, total_ms=30_000.0, usage=Usage(100, 0, 0)),
                exchange("b", local=True, time=noon, total_ms=30_000.0, usage=Usage(100, 0, 50)),
                exchange("hosted", time=noon),
            ],
        )
        record_uptime(conn, "local", 0, minute, 60.0, HOUR)
        assert close_minutes(conn, noon + 64.0) == 0, "the grace has not passed"
        assert close_minutes(conn, noon + 65.0) == 1
        assert close_minutes(conn, noon + 65.0) == 0
    with reading(database) as conn:
        busy = round(MINUTE_BILL / 2)
        assert amortised(conn) == {"a": round(busy / 4), "b": busy - round(busy / 4), "hosted": 0}
        assert gpu.bill(conn, ALWAYS) == Bill(MINUTE_BILL, busy, MINUTE_BILL - busy, 0, 0)


def test_open_requests_hold_the_books_open(sqlite: Engine, noon: float) -> None:
    """A minute waits for what may have run in it, but not for ever; later minutes' requests do not matter."""
    minute = int(noon // 60)
    with writing(sqlite) as conn:
        record_uptime(conn, "local", 0, minute, 60.0, HOUR)
        for name, time in (("a", noon + 30.0), ("b", noon + 61.0)):
            conn.execute(insert(open_admits).values(id=name, generation="w0.ab", time=time, endpoint="chat.completions"))
        assert close_minutes(conn, noon + 600.0) == 0
        conn.execute(delete(open_admits).where(open_admits.c.id == "a"))
        assert close_minutes(conn, noon + 600.0) == 1
        record_uptime(conn, "local", 0, minute + 1, 60.0, HOUR)
        assert close_minutes(conn, noon + 600.0) == 0
        assert close_minutes(conn, noon + 61.0 + gpu.LONGEST_S + 1.0) == 1


def test_a_late_row_does_the_minute_again(sqlite: Engine, exchange: Make, noon: float) -> None:
    """After a reopening all shares of that minute are as if the row had been in time, and still sum to the bill."""
    minute = int(noon // 60)
    first = exchange("a", local=True, time=noon, total_ms=10_000.0)
    late = exchange("b", local=True, time=noon, total_ms=10_000.0)
    with writing(sqlite) as conn:
        record_uptime(conn, "local", 0, minute, 60.0, HOUR)
        exchanges.insert(conn, [first])
        close_minutes(conn, noon + 70.0)
        alone = amortised(conn)["a"]
        exchanges.insert(conn, [late])
        gpu.reopen(conn, late.attempts)
        assert close_minutes(conn, noon + 80.0) == 1
        shares = amortised(conn)
        assert alone is not None
        assert sorted(shares.values(), key=str) == sorted([alone // 2, alone - alone // 2], key=str)


def test_more_uptime_does_the_minute_again(sqlite: Engine, noon: float) -> None:
    """A second replica that is booked late changes bill and idle of a closed minute."""
    minute = int(noon // 60)
    with writing(sqlite) as conn:
        record_uptime(conn, "local", 0, minute, 60.0, HOUR)
        close_minutes(conn, noon + 70.0)
        record_uptime(conn, "local", 1, minute, 60.0, HOUR)
        assert close_minutes(conn, noon + 70.0) == 1
        assert gpu.bill(conn, ALWAYS).idle_nanousd == 2 * MINUTE_BILL


def test_a_share_is_unknown_until_every_minute_is_closed(sqlite: Engine, exchange: Make, noon: float) -> None:
    """A request across two minutes has a share when both are closed; one that ends on the stroke of the minute needs one."""
    minute = int(noon // 60)
    with writing(sqlite) as conn:
        exchanges.insert(
            conn, [exchange("two", local=True, time=noon + 50.0, total_ms=20_000.0), exchange("one", local=True, time=noon + 50.0, total_ms=10_000.0)]
        )
        record_uptime(conn, "local", 0, minute, 60.0, HOUR)
        close_minutes(conn, noon + 70.0)
        shares = amortised(conn)
        assert shares["two"] is None
        assert shares["one"] is not None
        record_uptime(conn, "local", 0, minute + 1, 60.0, HOUR)
        close_minutes(conn, noon + 130.0)
        total = conn.execute(select(func.sum(local_allocations.c.nanousd)).where(local_allocations.c.exchange_id == "two")).scalar_one()
        assert amortised(conn)["two"] == total > 0


def test_without_a_price_the_books_say_unknown(sqlite: Engine, exchange: Make, noon: float) -> None:
    """An engine without `gpu_hour_usd`: no bill, no share, and a share that was booked before the price was lost is unknown again."""
    minute = int(noon // 60)
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange("a", local=True, time=noon, total_ms=10_000.0)])
        record_uptime(conn, "local", 0, minute, 60.0, HOUR)
        close_minutes(conn, noon + 70.0)
        assert amortised(conn)["a"] is not None
        record_uptime(conn, "local", 0, minute, 60.0, None)
        assert close_minutes(conn, noon + 70.0) == 1
        assert amortised(conn)["a"] is None
        assert gpu.bill(conn, ALWAYS) == Bill(None, None, None, 1, 0)


def test_failed_local_attempts_carry_their_part(sqlite: Engine, exchange: Make, attempt: Make, noon: float) -> None:
    """A request that failed locally and was answered by a provider used the GPU all the same; unknown usage weighs nothing but is not idle."""
    minute = int(noon // 60)
    failed = attempt(backend="local/triage@3", started=noon, total_ms=6000.0, usage_state="unknown", kind="local")
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange("a", attempts=(failed, attempt()))])
        record_uptime(conn, "local", 0, minute, 60.0, HOUR)
        close_minutes(conn, noon + 70.0)
        assert amortised(conn)["a"] == round(MINUTE_BILL / 10)


def test_a_bill_is_that_of_its_period(sqlite: Engine, noon: float) -> None:
    """Only minutes that begin in the period count; those not yet closed are told apart; no GPU is a bill of nothing."""
    minute = int(noon // 60)
    with writing(sqlite) as conn:
        for n in range(4):
            record_uptime(conn, "local", 0, minute + n, 60.0, HOUR)
        close_minutes(conn, noon + 125.0)
        assert gpu.bill(conn, Period(noon + 30.0, noon + 180.0)) == Bill(2 * MINUTE_BILL, 0, MINUTE_BILL, 0, 1)
        assert gpu.bill(conn, Period(until=noon)) == Bill(0, 0, 0, 0, 0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requests=st.lists(st.tuples(st.floats(0, 250), st.floats(0, 200), st.integers(0, 5000), st.integers(0, 2000)), max_size=15),
    ups=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4), st.floats(0, 60), st.integers(1, 10**11)), max_size=8),
    order=st.randoms(use_true_random=False),
)
def test_shares_and_idle_sum_to_the_bill(sqlite: Engine, exchange: Make, noon: float, requests: list[Any], ups: list[Any], order: Any) -> None:
    """Whatever runs, and in whatever order it becomes known: per minute, allocated + idle = bill, exactly; and the shares sum to the allocated."""
    minute = int(noon // 60)
    sent = [exchange(f"r{n}", local=True, time=noon + s, total_ms=d * 1000, usage=Usage(i, 0, o)) for n, (s, d, i, o) in enumerate(requests)]
    steps: list[Callable[[Connection], object]] = [lambda conn, e=e: (exchanges.insert(conn, [e]), gpu.reopen(conn, e.attempts)) for e in sent]
    steps += [lambda conn, u=u: record_uptime(conn, "local", u[0], minute + u[1], u[2], u[3]) for u in ups]
    steps += [lambda conn: close_minutes(conn, noon + 1000.0)] * 3
    order.shuffle(steps)
    with writing(sqlite) as conn:
        for emptied in (table, attempts, gpu_minutes, engine_minutes, local_allocations):
            conn.execute(delete(emptied))
        for step in [*steps, lambda conn: close_minutes(conn, noon + 1000.0)]:
            step(conn)
        shares = dict(conn.execute(select(local_allocations.c.minute, func.sum(local_allocations.c.nanousd)).group_by(local_allocations.c.minute)).all())
        bills = dict(conn.execute(select(gpu_minutes.c.minute, func.sum(gpu_minutes.c.bill_nanousd)).group_by(gpu_minutes.c.minute)).all())
        closed = {row.minute: row for row in conn.execute(select(engine_minutes))}
        assert set(closed) == set(bills)
        for number, row in closed.items():
            assert not row.stale
            assert row.bill_nanousd == bills[number] == row.allocated_nanousd + row.idle_nanousd
            assert row.allocated_nanousd == shares.get(number, 0)
            assert row.idle_nanousd >= 0
