"""Captured conversations."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

from sqlalchemy import Engine

from gateway.store import captures
from gateway.store.captures import Capture
from serving.database import reading, writing

CAPTURE = Capture(
    "req_1", "triage", 10.0, {"messages": [{"role": "user", "content": "I am a@b.de"}]}, "call +49 170 1234567", "stop", "openai/x", ({"id": "c@d.org"},)
)


def test_a_redacted_capture_holds_no_personal_data() -> None:
    """Request, response and tool calls are redacted; who, when and where stays."""
    clean = captures.redacted(CAPTURE, ["email", "phone"])
    assert clean.request == {"messages": [{"role": "user", "content": "I am [email]"}]}
    assert (clean.response, clean.tool_calls) == ("call [phone]", ({"id": "[email]"},))
    assert (clean.exchange_id, clean.route, clean.time, clean.finish, clean.backend) == ("req_1", "triage", 10.0, "stop", "openai/x")


def test_a_routes_captures_come_in_order_of_time(database: Engine) -> None:
    """Only that route's, `since` included and `until` not, as they were stored; a second insert of the same exchange changes nothing."""
    made = [replace(CAPTURE, exchange_id=f"r{n}", time=float(n)) for n in (3, 1, 2)]
    with writing(database) as conn:
        captures.insert(conn, [*made, replace(CAPTURE, exchange_id="other", route="x"), replace(CAPTURE, exchange_id="none", route=None)])
        captures.insert(conn, [replace(made[0], response="changed")])
    with reading(database) as conn:
        assert list(captures.iterate(conn, "triage")) == [made[1], made[2], made[0]]
        assert [c.exchange_id for c in captures.iterate(conn, "triage", since=2.0, until=3.0)] == ["r2"]
        assert captures.get(conn, "r3") == made[0]
        assert captures.get(conn, "r9") is None
        assert captures.counts(conn) == {"triage": 3, "x": 1}


def test_reading_captures_streams(sqlite: Engine) -> None:
    """Ten megabytes of captures are read without ten megabytes of memory."""
    with writing(sqlite) as conn:
        captures.insert(conn, [replace(CAPTURE, exchange_id=f"r{n}", response="x" * 5000) for n in range(2000)])
    with reading(sqlite) as conn:
        tracemalloc.start()
        assert sum(1 for _ in captures.iterate(conn, "triage")) == 2000
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 8_000_000
