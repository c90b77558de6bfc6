"""Ledger rows one by one and in pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import pytest
from sqlalchemy import Engine, select

from gateway.store import exchanges, tables
from gateway.store.exchanges import Filter
from gateway.store.period import Period
from gateway.store.tables import TOKEN_COLUMNS
from router.errors import RequestError
from router.types import Outcome, Usage
from serving.database import reading, writing

Make = Callable[..., Any]


def test_a_row_comes_back_with_its_attempts_in_order(database: Engine, exchange: Make, attempt: Make) -> None:
    """Each failed attempt is a line with its own cost, before the one that answered; unknown stays unknown."""
    failed = attempt(backend="local/triage@3", status=None, error="connect: refused", usage=Usage(), usage_state="unknown", cost_nanousd=None, kind="local")
    sent = exchange("req_1", attempts=(failed, attempt()), tags={"a": "1", "b": "ü"}, key_id=None, ttft_ms=None, opportunity_nanousd=None)
    with writing(database) as conn:
        exchanges.insert(conn, [sent])
        exchanges.insert(conn, [exchange("req_1", cost_nanousd=1)])
    with reading(database) as conn:
        assert exchanges.get(conn, "req_1") == exchanges.Entry(sent, None)
        assert exchanges.get(conn, "req_2") is None


def test_every_kind_of_token_comes_back(database: Engine, exchange: Make, attempt: Make) -> None:
    """Cache writes, audio and the tier an answer was made in are kept with the attempt and the exchange, in columns of the names that sums iterate."""
    usage = Usage(900, 100, 80, 30, cache_write=200, audio_input=300, audio_output=40)
    sent = exchange("req_1", usage=usage, attempts=(attempt(usage=usage, service_tier="flex"), attempt(usage=Usage(), usage_state="unknown")))
    with writing(database) as conn:
        exchanges.insert(conn, [sent])
    with reading(database) as conn:
        assert exchanges.get(conn, "req_1") == exchanges.Entry(sent, 0)
        kept = conn.execute(select(*[tables.exchanges.c[name] for name in TOKEN_COLUMNS])).one()
        unknown = conn.execute(select(*[tables.attempts.c[name] for name in TOKEN_COLUMNS]).where(tables.attempts.c.position == 1)).one()
    assert tuple(kept) == astuple(usage)
    assert tuple(unknown) == (None,) * len(TOKEN_COLUMNS)


def test_what_is_local_waits_for_its_share_of_the_bill(sqlite: Engine, exchange: Make) -> None:
    """Purely hosted is 0, anything local is unknown until it is booked, and an interrupted request is unknown for ever."""
    cut_off = exchanges.interrupted("c", 1.0, None, "models", None)
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange("a"), exchange("b", local=True), cut_off, exchange("d", backend=None, outcome=Outcome.REFUSED, status=429)])
    with reading(sqlite) as conn:
        found = {name: exchanges.get(conn, name) for name in "abcd"}
    assert {name: entry.amortised_nanousd for name, entry in found.items() if entry} == {"a": 0, "b": None, "c": None, "d": 0}
    assert found["c"] is not None
    assert found["c"].exchange == cut_off
    with writing(sqlite) as conn:
        exchanges.set_amortised(conn, {"b": 77})
        exchanges.set_amortised(conn, {})
        booked = exchanges.get(conn, "b")
    assert booked is not None
    assert booked.amortised_nanousd == 77


def test_pages_hold_every_row_once_newest_first(database: Engine, exchange: Make) -> None:
    """Following the cursor to the end meets each row once, also among rows of one instant, also while new rows arrive."""
    with writing(database) as conn:
        exchanges.insert(conn, [exchange(f"req_{n}", time=1000.0 + n // 4) for n in range(22)])
    met: list[str] = []
    cursor = None
    while True:
        with writing(database) as conn:
            exchanges.insert(conn, [exchange(f"new_{len(met)}", time=5000.0)])
            page = exchanges.page(conn, Filter(period=Period(until=5000.0)), cursor, limit=5)
        met += [entry.exchange.id for entry in page.entries]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(met) == 22
    assert set(met) == {f"req_{n}" for n in range(22)}
    times = [int(name.removeprefix("req_")) // 4 for name in met]
    assert times == sorted(times, reverse=True)


def test_filters_must_all_match(database: Engine, exchange: Make) -> None:
    """Route, backend, key and time (since included, until not)."""
    with writing(database) as conn:
        exchanges.insert(
            conn,
            [
                exchange("a", time=10.0),
                exchange("b", time=20.0, route="other"),
                exchange("c", time=30.0, local=True),
                exchange("d", time=40.0, key_id="key_b"),
            ],
        )
    with reading(database) as conn:

        def names(where: Filter) -> str:
            return "".join(entry.exchange.id for entry in exchanges.page(conn, where).entries)

        assert names(Filter()) == "dcba"
        assert names(Filter(route="triage")) == "dca"
        assert names(Filter(backend="local/triage@3")) == "c"
        assert names(Filter(route="triage", key_id="key_a")) == "ca"
        assert names(Filter(period=Period(20.0, 40.0))) == "cb"


def test_tags_filter_by_name_and_value(database: Engine, exchange: Make) -> None:
    """All of them must be there, exactly; quotes, dots and signs in a name or a value are text."""
    odd = {'a"b': "c'd", "team": "ops", "$.x[0]": "50% = half"}
    with writing(database) as conn:
        exchanges.insert(conn, [exchange("a", time=10.0), exchange("b", time=20.0, tags=odd), exchange("c", time=30.0, tags={})])
    with reading(database) as conn:

        def names(*tags: tuple[str, str]) -> str:
            return "".join(entry.exchange.id for entry in exchanges.page(conn, Filter(tags=tags)).entries)

        assert [names(), names(("team", "support")), names(("team", "ops")), names(("team", "op"))] == ["cba", "a", "b", ""]
        assert [names((name, value)) for name, value in odd.items()] == ["b"] * 3
        assert [names(("team", "ops"), ('a"b', "c'd")), names(("team", "ops"), ('a"b', "x")), names(("ops", "team"))] == ["b", "", ""]


@pytest.mark.parametrize("cursor", ["x", "!!!", "e30", "WzEuMF0", "W251bGwsICJ4Il0"])
def test_a_foreign_cursor_is_refused(sqlite: Engine, cursor: str) -> None:
    """A cursor that we did not give is the client's mistake, not a crash."""
    with reading(sqlite) as conn, pytest.raises(RequestError, match="next_cursor"):
        exchanges.page(conn, Filter(), cursor)


def test_a_page_has_an_end(sqlite: Engine, exchange: Make) -> None:
    """Limits are held to 1 … 1000."""
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange(f"req_{n}") for n in range(1002)])
        assert len(exchanges.page(conn, Filter(), limit=5000).entries) == 1000
        assert len(exchanges.page(conn, Filter(), limit=0).entries) == 1
