"""The GPU bill and who carries it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, delete, func, insert, select

from gateway.store import curves, engine_work, exchanges, gpu
from gateway.store import engine_tables as tables
from gateway.store.engine_tables import backend_minutes
from gateway.store.gpu import Bill, close_minutes, record_uptime
from gateway.store.period import ALWAYS, Period
from gateway.store.tables import attempts, engine_minutes, gpu_minutes, local_allocations, open_admits
from gateway.store.tables import exchanges as table
from router.allocate import spread
from router.money import half_even
from router.types import Usage
from router.utilisation import Point
from serving.counters import Grown
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
        record_uptime(conn, "local", 0, minute, 50.0, HOUR)
        close_minutes(conn, noon + 70.0)
        assert amortised(conn)["a"] is not None
        record_uptime(conn, "local", 0, minute, 60.0, None)
        assert close_minutes(conn, noon + 70.0) == 1
        assert amortised(conn)["a"] is None
        assert gpu.bill(conn, ALWAYS) == Bill(None, None, None, 1, 0, None)


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


def grown(minute: int, prompt: int, generated: int, busy_s: float, replica: int = 0) -> Grown:
    """What a replica's counters showed of a whole minute."""
    return Grown("local", replica, minute, 60_000, round(busy_s * 1000), prompt, 0, generated, 1, 0)


def test_work_nobody_sent_is_a_line_of_its_own(database: Engine, exchange: Make, noon: float) -> None:
    """Someone calls the engine directly: 60 of 120 tokens of work are theirs, the engine was busy for 30 s, ours ran for 15. Ours pay half of those 15 s."""
    minute = int(noon // 60)
    with writing(database) as conn:
        exchanges.insert(conn, [exchange("a", local=True, time=noon + 10, total_ms=15_000.0, usage=Usage(80, 20, 0))])
        engine_work.add(conn, [grown(minute, 180, 0, 30.0)])
        record_uptime(conn, "local", 0, minute, 60.0, HOUR)
        close_minutes(conn, noon + 70.0)
        own, whole = round(MINUTE_BILL / 4), round(MINUTE_BILL / 2)
        assert amortised(conn) == {"a": round(own / 2)}
        assert gpu.bill(conn, ALWAYS) == Bill(MINUTE_BILL, round(own / 2), MINUTE_BILL - whole, 0, 0, whole - round(own / 2))
        row = conn.execute(select(engine_minutes)).one()
        assert (row.prefill_tokens, row.decode_tokens, row.foreign_prefill_tokens, row.foreign_decode_tokens) == (60, 0, 120, 0)
        assert (row.busy_ms, row.sampled_ms) == (30_000, 60_000)


def test_what_ours_explain_is_not_foreign(sqlite: Engine, exchange: Make, noon: float) -> None:
    """The counters saw what our exchanges say: the minute is as without counters. So is one of which less was seen, after a replica that died."""
    minute = int(noon // 60)
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange("a", local=True, time=noon, total_ms=30_000.0, usage=Usage(100, 20, 50))])
        record_uptime(conn, "local", 0, minute, 60.0, HOUR)
        close_minutes(conn, noon + 70.0)
        alone = gpu.bill(conn, ALWAYS)
        for prompt, generated in ((30, 10), (50, 41)):
            engine_work.add(conn, [grown(minute, prompt, generated, 60.0)])
            gpu.reopen_minutes(conn, [("local", minute)])
            assert close_minutes(conn, noon + 70.0) == 1
            assert gpu.bill(conn, ALWAYS) == alone
        assert alone.foreign_nanousd == 0


def test_what_may_have_been_ours_is_ours(sqlite: Engine, exchange: Make, noon: float) -> None:
    """A call whose usage was estimated may have done twice as much, one of unknown usage anything: neither makes work foreign; more than that is."""
    minute = int(noon // 60)
    guessed = exchange("a", local=True, time=noon, total_ms=30_000.0, usage=Usage(100, 0, 50), usage_state="estimated")
    unknown = exchange("b", local=True, time=noon, total_ms=30_000.0, usage=Usage(), usage_state="unknown")
    with writing(sqlite) as conn:
        record_uptime(conn, "local", 0, minute, 60.0, HOUR)
        exchanges.insert(conn, [guessed])
        found = []
        for step in (lambda: engine_work.add(conn, [grown(minute, 200, 100, 60.0)]), lambda: engine_work.add(conn, [grown(minute, 100, 0, 60.0)])):
            step()
            gpu.reopen_minutes(conn, [("local", minute)])
            close_minutes(conn, noon + 70.0)
            found.append(gpu.bill(conn, ALWAYS).foreign_nanousd or 0)
        exchanges.insert(conn, [unknown])
        gpu.reopen(conn, unknown.attempts)
        close_minutes(conn, noon + 70.0)
        found.append(gpu.bill(conn, ALWAYS).foreign_nanousd or 0)
    assert found[0] == found[2] == 0 < found[1]


def test_the_decode_weight_is_the_engines_own(sqlite: Engine, exchange: Make, noon: float) -> None:
    """After a calibration a generated token weighs what was measured; minutes that were over by then keep the weight they were closed with."""
    minute = int(noon // 60)
    points = (Point(1, 900.0, 50.0), Point(8, 1000.0, 100.0))
    with writing(sqlite) as conn:
        for n in (0, 1):
            answers = [exchange(f"{name}{n}", local=True, time=noon + 60 * n, total_ms=30_000.0, usage=usage) for name, usage in WEIGHED]
            exchanges.insert(conn, answers)
            record_uptime(conn, "local", 0, minute + n, 60.0, HOUR)
        curves.keep(conn, curves.Curve("local", noon + 60.0, 0, "base", None, None, None, 512, True, points))
        curves.keep(conn, curves.Curve("local", noon + 50.0, 0, "base", None, None, None, 512, False, (Point(1, 500.0, 1.0),)))
        for _ in range(2):
            close_minutes(conn, noon + 200.0)
            shares = amortised(conn)
            assert shares["out0"] == pytest.approx(shares["in0"] * 4, rel=1e-6)
            assert shares["out1"] == pytest.approx(shares["in1"] * 10, rel=1e-6)
            gpu.reopen_minutes(conn, [("local", minute), ("local", minute + 1)])


WEIGHED = (("in", Usage(100, 0, 0)), ("out", Usage(0, 0, 100)))


def test_a_price_that_changes_within_a_minute(database: Engine, noon: float) -> None:
    """Each second at the price of its time, to the nano-dollar; said again it stays; a price that comes or goes leaves that minute without a bill."""
    minute = int(noon // 60)
    with writing(database) as conn:
        record_uptime(conn, "local", 0, minute, 20.0, HOUR)
        record_uptime(conn, "local", 0, minute, 45.0, 2 * HOUR)
        record_uptime(conn, "local", 0, minute, 60.0, HOUR)
        expected = sum(half_even(price * ms, 3_600_000) for price, ms in ((HOUR, 20_000), (2 * HOUR, 25_000), (HOUR, 15_000)))
        assert gpu.bill(conn, ALWAYS).bill_nanousd == expected
        record_uptime(conn, "local", 0, minute, 60.0, 3 * HOUR)
        assert gpu.bill(conn, ALWAYS).bill_nanousd == expected, "no second was added"
        for first, then in ((HOUR, None), (None, HOUR)):
            minute += 1
            record_uptime(conn, "local", 0, minute, 20.0, first)
            record_uptime(conn, "local", 0, minute, 21.0, then)
        bill = gpu.bill(conn, ALWAYS)
        assert (bill.bill_nanousd, bill.unpriced_minutes) == (expected, 2)


def test_a_replica_that_dies_in_the_middle_of_a_minute(sqlite: Engine, exchange: Make, attempt: Make, noon: float) -> None:
    """Two replicas, one of them for 20 s: the bill is of 80 s, the call that died there carries the time it took, the other one the rest of the busy time."""
    minute = int(noon // 60)
    died = attempt(backend="local/triage@3", started=noon, total_ms=20_000.0, usage=Usage(100, 0, 0), kind="local", error="reset")
    again = attempt(backend="local", started=noon + 20, total_ms=10_000.0, usage=Usage(100, 0, 50), kind="local")
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange("a", local=True, attempts=(died, again))])
        for replica, seconds in ((0, 60.0), (1, 20.0)):
            record_uptime(conn, "local", replica, minute, seconds, HOUR)
        close_minutes(conn, noon + 70.0)
        whole = half_even(HOUR * 60_000, 3_600_000) + half_even(HOUR * 20_000, 3_600_000)
        bill = gpu.bill(conn, ALWAYS)
        assert (bill.bill_nanousd, bill.allocated_nanousd) == (whole, round(whole / 2))
        assert amortised(conn) == {"a": round(whole / 2)}
        parts = {row.backend: (row.calls, row.prefill_tokens, row.decode_tokens, row.nanousd) for row in conn.execute(select(backend_minutes))}
        first, second = spread(round(whole / 2), [100, 300])
        assert parts == {"local/triage@3": (1, 100, 0, first), "local": (1, 100, 50, second)}


def test_tokens_are_kept_where_the_price_is_unknown(sqlite: Engine, exchange: Make, noon: float) -> None:
    """Without `gpu_hour_usd` who did how much is known all the same; what it cost is not."""
    minute = int(noon // 60)
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange("a", local=True, time=noon, total_ms=10_000.0)])
        record_uptime(conn, "local", 0, minute, 60.0, None)
        close_minutes(conn, noon + 70.0)
        row = conn.execute(select(engine_minutes)).one()
        assert (row.bill_nanousd, row.foreign_nanousd, row.prefill_tokens, row.decode_tokens, row.busy_ms) == (None, None, 80, 50, 10_000)
        part = conn.execute(select(backend_minutes)).one()
        assert (part.backend, part.calls, part.nanousd) == ("local/triage@3", 1, None)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requests=st.lists(st.tuples(st.floats(0, 250), st.floats(0, 200), st.integers(0, 5000), st.integers(0, 2000)), max_size=15),
    ups=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 7), st.floats(0, 60), st.integers(1, 10**11)), max_size=16),
    seen=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4), st.integers(0, 9000), st.integers(0, 4000), st.floats(0, 60)), max_size=6),
    order=st.randoms(use_true_random=False),
)
def test_shares_and_idle_sum_to_the_bill(sqlite: Engine, exchange: Make, noon: float, requests: list[Any], ups: list[Any], seen: list[Any], order: Any) -> None:
    """Whatever runs, whoever sent it, in whatever order it becomes known: per minute, allocated + foreign + idle = bill = GPU time x price, exactly; the shares
    of the exchanges sum to the allocated, and so do those of the adapters; every token of a request is in one of the minutes it ran in."""
    minute = int(noon // 60)
    sent = [
        exchange(f"r{n}", local=True, backend=f"local/a@{n % 3}", time=noon + s, total_ms=d * 1000, usage=Usage(i, 0, o))
        for n, (s, d, i, o) in enumerate(requests)
    ]
    steps: list[Callable[[Connection], object]] = [lambda conn, e=e: (exchanges.insert(conn, [e]), gpu.reopen(conn, e.attempts)) for e in sent]
    steps += [lambda conn, u=u: record_uptime(conn, "local", u[0], minute + u[1], u[2], u[3]) for u in ups]
    steps += [lambda conn, w=w: watched(conn, grown(minute + w[1], w[2], w[3], w[4], w[0])) for w in seen]
    steps += [lambda conn: close_minutes(conn, noon + 1000.0)] * 3
    order.shuffle(steps)
    with writing(sqlite) as conn:
        for emptied in (table, attempts, gpu_minutes, engine_minutes, local_allocations, backend_minutes, tables.engine_work):
            conn.execute(delete(emptied))
        for step in [*steps, lambda conn: close_minutes(conn, noon + 1000.0)]:
            step(conn)
        shares = dict(conn.execute(select(local_allocations.c.minute, func.sum(local_allocations.c.nanousd)).group_by(local_allocations.c.minute)).all())
        bills = dict(conn.execute(select(gpu_minutes.c.minute, func.sum(gpu_minutes.c.bill_nanousd)).group_by(gpu_minutes.c.minute)).all())
        closed = {row.minute: row for row in conn.execute(select(engine_minutes))}
        assert set(closed) == set(bills)
        for number, row in closed.items():
            assert not row.stale
            assert row.bill_nanousd == bills[number] == row.allocated_nanousd + row.foreign_nanousd + row.idle_nanousd
            assert row.allocated_nanousd == shares.get(number, 0)
            assert min(row.idle_nanousd, row.foreign_nanousd) >= 0
            parts = conn.execute(select(backend_minutes).where(backend_minutes.c.minute == number)).all()
            assert sum(part.nanousd for part in parts) == row.allocated_nanousd
            assert sum(part.prefill_tokens for part in parts) == row.prefill_tokens
        if set(closed) >= set(range(minute, minute + 8)):
            assert sum(row.prefill_tokens for row in closed.values()) == sum(i for _, d, i, _ in requests if d)


def watched(conn: Connection, one: Grown) -> None:
    """As the controller writes down what it saw."""
    engine_work.add(conn, [one])
    gpu.reopen_minutes(conn, [(one.engine, one.minute)])
