"""What engines did and what it cost, over time and by adapter, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, insert, update

from gateway.store import engine_costs, engine_work, exchanges, gpu
from gateway.store.engine_costs import Did
from gateway.store.engine_tables import backend_minutes
from gateway.store.engine_tables import engine_work as work_table
from gateway.store.period import ALWAYS, Period
from gateway.store.tables import attempts, engine_minutes, gpu_minutes, local_allocations
from gateway.store.tables import exchanges as table
from router.money import half_even
from router.types import Usage
from serving.counters import Grown
from serving.database import reading, writing

Make = Callable[..., Any]
HOUR = 3_600_000_000  # a nano-dollar a microsecond


def test_a_step_by_hand(database: Engine, exchange: Make, noon: float) -> None:
    """Two minutes of two replicas, two adapters and the base, work of others in the second: time, tokens, money and who carries it."""
    first = int(noon // 60)
    with writing(database) as conn:
        exchanges.insert(
            conn,
            [
                exchange("a", local=True, backend="local/red@1", time=noon, total_ms=30_000.0, usage=Usage(100, 0, 0)),
                exchange("b", local=True, backend="local/red@1", time=noon + 60, total_ms=15_000.0, usage=Usage(50, 0, 50)),
                exchange("c", local=True, backend="local", time=noon + 60, total_ms=15_000.0, usage=Usage(250, 0, 0)),
            ],
        )
        engine_work.add(conn, [Grown("local", 0, first + 1, 60_000, 30_000, 1300, 0, 50, 1, 0)])
        for minute in (first, first + 1):
            for replica in (0, 1):
                gpu.record_uptime(conn, "local", replica, minute, 60.0, HOUR)
        gpu.close_minutes(conn, noon + 600)
    with reading(database) as conn:
        (step,) = engine_costs.steps(conn, ALWAYS, 60)
        # minute 1: 30 of 60 s, 60 dollars-of-millionths; minute 2: 15 s of ours, 1000 of 1500 prompt-weights foreign over 30 s, so a half of them beside ours
        assert (step.engine, step.start, step.seconds_up, step.replica_seconds) == ("local", noon, 120.0, 240.0)
        assert (step.busy_s, step.sampled_s) == (60.0, 60.0)
        assert step.bill_nanousd == 240_000_000
        assert step.allocated_nanousd == 60_000_000 + 15_000_000
        assert step.foreign_nanousd == 45_000_000
        assert step.idle_nanousd == 120_000_000
        assert (step.prefill_tokens, step.decode_tokens, step.foreign_prefill_tokens, step.foreign_decode_tokens) == (400, 50, 1000, 0)
        assert step.backends == (Did("local", 1, 250, 0, 7_500_000), Did("local/red@1", 2, 150, 50, 67_500_000))
        assert step.per_million == half_even(75_000_000 * 10**6, 450)
        assert step.whole_per_million == half_even(240_000_000 * 10**6, 1450)
        assert engine_costs.tokens_of(conn, "local", ALWAYS) == (400, 50)
        assert engine_costs.tokens_of(conn, "local", Period(noon + 60)) == (300, 50)
        assert engine_costs.tokens_of(conn, "nobody", ALWAYS) == (0, 0)
        assert [one.start for one in engine_costs.steps(conn, ALWAYS, 1)] == [noon, noon + 60]
        assert [one.start for one in engine_costs.steps(conn, Period(noon + 1), 1)] == [noon + 60]


def test_an_unknown_price_is_unknown(sqlite: Engine, exchange: Make, noon: float) -> None:
    """No money, yet the work; a step of which one minute has a price goes by that minute's tokens; nothing done costs nothing per token that can be said."""
    first = int(noon // 60)
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange("a", local=True, time=noon, total_ms=30_000.0, usage=Usage(100, 0, 0))])
        exchanges.insert(conn, [exchange("b", local=True, time=noon + 60, total_ms=60_000.0, usage=Usage(10, 0, 0))])
        gpu.record_uptime(conn, "local", 0, first, 60.0, None)
        gpu.record_uptime(conn, "local", 0, first + 1, 60.0, HOUR)
        gpu.record_uptime(conn, "local", 0, first + 2, 60.0, HOUR)
        gpu.close_minutes(conn, noon + 600)
    with reading(sqlite) as conn:
        unknown, known, idle = engine_costs.steps(conn, ALWAYS, 1)
        assert (unknown.bill_nanousd, unknown.foreign_nanousd, unknown.per_million, unknown.prefill_tokens) == (None, None, None, 100)
        assert unknown.backends == (Did("local/triage@3", 1, 100, 0, None),)
        assert known.per_million == 60_000_000 * 10**5
        assert idle.per_million is idle.whole_per_million is None
        (both,) = engine_costs.steps(conn, ALWAYS, 60)
        assert (both.prefill_tokens, both.priced_tokens, both.per_million) == (110, 10, known.per_million)


def test_minutes_of_before_are_a_part_without_a_name(sqlite: Engine, noon: float) -> None:
    """Closed by an earlier version, without parts and without foreign work: the adapters still sum to what is allocated."""
    row = {"engine": "local", "minute": int(noon // 60), "milliseconds": 60_000, "bill_nanousd": 100, "allocated_nanousd": 60, "idle_nanousd": 40}
    with writing(sqlite) as conn:
        conn.execute(insert(engine_minutes).values(row | {"closed_at": noon, "stale": False}))
        (step,) = engine_costs.steps(conn, ALWAYS, 60)
        assert step.backends == (Did(None, 0, 0, 0, 60),)
        assert (step.foreign_nanousd, step.prefill_tokens, step.busy_s, step.replica_seconds) == (0, 0, 0.0, 0.0)
        conn.execute(update(engine_minutes).values(allocated_nanousd=0))
        assert engine_costs.steps(conn, ALWAYS, 60) == [replace(step, allocated_nanousd=0, backends=())]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requests=st.lists(st.tuples(st.sampled_from(["a", "b"]), st.floats(0, 250), st.floats(0, 200), st.integers(0, 5000), st.integers(0, 2000)), max_size=12),
    ups=st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 2), st.integers(0, 7), st.integers(1, 10**11)), max_size=16),
    seen=st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 7), st.integers(0, 9000), st.floats(0, 60)), max_size=6),
)
def test_steps_of_every_size_sum_to_gpu_hours_times_price(
    sqlite: Engine, exchange: Make, noon: float, requests: list[Any], ups: list[Any], seen: list[Any]
) -> None:
    """Σ bill = Σ seconds x price, bill = allocated + foreign + idle, Σ adapters = allocated, in every step of every size, exactly; the sizes agree."""
    first = int(noon // 60)
    with writing(sqlite) as conn:
        for emptied in (table, attempts, gpu_minutes, engine_minutes, local_allocations, backend_minutes, work_table):
            conn.execute(delete(emptied))
        for n, (engine, start, length, prompt, answer) in enumerate(requests):
            call = {"backend": f"{engine}/x@{n % 2}", "time": noon + start, "total_ms": length * 1000, "usage": Usage(prompt, 0, answer)}
            exchanges.insert(conn, [exchange(f"r{n}", local=True, **call)])
        engine_work.add(conn, [Grown(engine, 0, first + minute, 60_000, round(busy * 1000), prompt, 0, 0, 1, 0) for engine, minute, prompt, busy in seen])
        paid = {(engine, replica, minute): price for engine, replica, minute, price in ups}
        for (engine, replica, minute), price in paid.items():
            gpu.record_uptime(conn, engine, replica, first + minute, 60.0, price)
        gpu.close_minutes(conn, noon + 6000)
        whole = sum(half_even(price * 60_000, 3_600_000) for price in paid.values())
        for minutes in (1, 15, 60):
            found = engine_costs.steps(conn, ALWAYS, minutes)
            assert sum(step.bill_nanousd or 0 for step in found) == whole
            for step in found:
                assert step.bill_nanousd == (step.allocated_nanousd or 0) + (step.foreign_nanousd or 0) + (step.idle_nanousd or 0)
                assert sum(did.nanousd or 0 for did in step.backends) == step.allocated_nanousd
                assert sum(did.prefill_tokens for did in step.backends) == step.prefill_tokens
                assert step.replica_seconds >= step.seconds_up >= step.busy_s
