"""The calls that ran in or near a minute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from gateway.store import calls, exchanges
from gateway.store.calls import Ran, minutes_of
from router.foreign import Call, Tokens
from router.types import Usage
from serving.database import writing

Make = Callable[..., Any]


def test_only_this_engines_calls_near_the_window(database: Engine, exchange: Make, noon: float) -> None:
    """Local ones that touch it, a little more on both sides; what the cache held is no work; hosted ones and other engines' are somebody else's."""
    window = (noon, noon + 60)
    with writing(database) as conn:
        exchanges.insert(
            conn,
            [
                exchange("a", local=True, time=noon + 10, total_ms=2000.0, usage=Usage(100, 30, 5)),
                exchange("b", local=True, time=noon - 3, total_ms=2000.0),
                exchange("c", local=True, time=noon - 9, total_ms=2000.0),
                exchange("d", local=True, time=noon + 61, total_ms=2000.0, usage_state="unknown"),
                exchange("e", local=True, time=noon + 63, total_ms=2000.0),
                exchange("f", time=noon + 10),
                exchange("g", local=True, time=noon + 10, backend="other/triage@3"),
            ],
        )
        found = calls.near(conn, "local", window)
    assert [one.exchange_id for one in found] == ["a", "b", "d"]
    assert found[0] == Ran("a", "local/triage@3", noon + 10, noon + 12, 150.5, 70, 5)
    assert found[0].call == Call(noon + 10, noon + 12, noon + 10.1505, Tokens(70, 5))
    assert (found[2].prefill, found[2].decode, found[2].known) == (0, 0, False)
    assert Ran("a", "local", 0.0, 1.0, None, 70, 5, estimated=True).call.tokens == Tokens(140, 10)


@given(st.floats(0, 200), st.floats(0, 400), st.integers(0, 10**6), st.integers(0, 10**6))
def test_every_token_is_in_one_minute(start: float, length: float, prefill: int, decode: int) -> None:
    """Over the minutes a call ran in its tokens sum to all of them, and none is negative."""
    ran = Ran("a", "local", start, start + length, None, prefill, decode)
    parts = [ran.within((minute * 60.0, minute * 60.0 + 60.0)) for minute in minutes_of(start, start + length)]
    if length > 0.0 and start + length > start:
        assert (sum(p for p, _ in parts), sum(d for _, d in parts)) == (prefill, decode)
    assert all(min(part) >= 0 for part in parts)


def test_the_minutes_of_a_call() -> None:
    """One that ends on the stroke of a minute did not run in the next."""
    assert list(minutes_of(59.0, 61.0)) == [0, 1]
    assert list(minutes_of(30.0, 60.0)) == [0]
    assert list(minutes_of(60.0, 60.0)) == [1]
