"""From packed exchanges to rows by position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.store import exchanges, shape
from gateway.store.rows import Layout, Rows
from gateway.store.tables import attempts
from gateway.store.tables import exchanges as table
from router.types import Outcome, Usage
from serving.database import reading, writing

Make = Callable[..., Any]


def rows_of(packed: Any, names: Any = shape.EXCHANGE) -> Rows:
    """The rows of one packed exchange."""
    made = Rows()
    Layout(names).read(packed, made)
    return made


def named(row: tuple[Any, ...], of: Any) -> dict[str, Any]:
    """A row by its columns' names."""
    return dict(zip((column.name for column in of.columns), row, strict=True))


def test_what_is_derived(exchange: Make, attempt: Make) -> None:
    """The minute, who answered, what failed before (a lost race has not), the share of the GPU bill that is known at once."""
    calls = (attempt(error="upstream_cut"), attempt(error="hedge_lost"), attempt(backend="local/triage@3", kind="local", error="late"))
    made = rows_of(shape.pack_exchange(exchange("a", time=125.0, attempts=calls, tags={})))
    row = named(made.exchanges[0], table)
    assert (row["minute"], row["kind"], row["failed_attempts"], row["amortised_nanousd"], row["tags"], row["outcome"]) == (2, "local", 1, None, "{}", "ok")
    last = named(made.attempts[2], attempts)
    assert (last["exchange_id"], last["position"], last["owner"], last["ended"]) == ("a", 2, "local", last["started"] + 2.0)
    assert (made.ids, made.minutes, made.local) == (["a"], {2}, [("local", last["started"], last["ended"])])
    cut = named(rows_of(shape.pack_exchange(exchange("b", outcome=Outcome.INTERRUPTED))).exchanges[0], table)
    assert (cut["total_ms"], cut["amortised_nanousd"]) == (None, None)


def test_unknown_usage_has_no_tokens(exchange: Make) -> None:
    """Not zeros: nothing."""
    made = rows_of(shape.pack_exchange(exchange("a", usage=Usage(), usage_state="unknown")))
    for row in (named(made.exchanges[0], table), named(made.attempts[0], attempts)):
        assert {value for name, value in row.items() if name.endswith("_tokens")} == {None}


def test_a_file_of_an_older_version_is_read_with_defaults(sqlite: Engine, exchange: Make) -> None:
    """Fields that came later have their defaults, tokens that were not counted then are unknown; order does not matter."""
    new = {"exchange": {"trace", "finish_reason", "prompt_bytes", "sandbox"}, "attempt": {"service_tier", "kind"}, "usage": {"cache_write", "audio_input"}}
    names = {kind: [name for name in reversed(all_of) if name not in new[kind]] for kind, all_of in shape.EXCHANGE.items()}
    sent = exchange("a")
    values = [getattr(sent, name) for name in names["exchange"]]
    usage = [getattr(sent.usage, name) for name in names["usage"]]
    call = [getattr(sent.attempts[0], name) for name in names["attempt"]]
    with writing(sqlite) as conn:
        exchanges.insert_rows(conn, rows_of((values, usage, [(call, usage)]), names))
    with reading(sqlite) as conn:
        found = exchanges.get(conn, "a")
    assert found is not None
    assert (found.exchange.cost_nanousd, found.exchange.prompt_bytes, found.exchange.sandbox, found.exchange.trace) == (45_000, 0, False, None)
    assert (found.exchange.usage.input, found.exchange.attempts[0].kind, found.exchange.attempts[0].service_tier) == (100, "hosted", None)


@pytest.mark.parametrize("wrong", [lambda v, u, c: (v[:-1], u, c), lambda v, u, c: (v, u[:-1], c), lambda v, u, c: (v, u, [(c[0][0][1:], c[0][1])])])
def test_what_is_not_an_exchange_is_refused(exchange: Make, wrong: Callable[..., Any]) -> None:
    """Another number of values than the file promises."""
    values, usage, calls = shape.pack_exchange(exchange("a"))
    made = Rows()
    with pytest.raises(ValueError, match="promises"):
        Layout(shape.EXCHANGE).read(wrong(values, usage, calls), made)
    assert made == Rows()
