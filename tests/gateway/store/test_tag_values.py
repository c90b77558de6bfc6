"""Tags of any number of values leave sums of a bounded length, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from gateway.store import costs, exchanges, rollups, spending, tag_values
from gateway.store.period import ALWAYS, Period
from gateway.store.rollup_tables import rollup_tag_values, rollup_tags
from serving.database import reading, writing

Make = Callable[..., Any]
START = 1793318400.0  # a UTC day
DAY_S = 86_400.0


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three values of a name, two names."""
    monkeypatch.setattr(tag_values, "VALUES", 3)
    monkeypatch.setattr(tag_values, "NAMES", 2)


def by_tag(engine: Engine, period: Period = ALWAYS) -> dict[str | None, int]:
    """Requests of each tag."""
    with reading(engine) as conn:
        return {row["tag"]: row["requests"] for row in costs.report(conn, ["tag"], period)["data"]}


def test_the_busiest_values_keep_their_sums_and_others_share_one(database: Engine, exchange: Make) -> None:
    """Of a name with a value for every request three are told apart; beyond two names there is one sum for all. What a tag's rows are is still in the rows."""
    sent = [exchange(f"u{n}", time=START + 60.0 * n, tags={"user": f"u{n}"}) for n in range(20)]
    sent += [exchange(f"b{n}", time=START + 60.0 * n + 1, tags={"user": "busy", "team": "a"}) for n in range(5)]
    sent += [exchange("z", time=START + 5.0, tags={"zone": "eu"}), exchange("none", time=START + 6.0, tags={})]
    with writing(database) as conn:
        exchanges.insert(conn, sent)
    before = by_tag(database)
    assert len(before) == 24
    rollups.refresh(database, START + 2 * DAY_S)
    assert by_tag(database) == {"user=busy": 5, "user=u0": 1, "user=u1": 1, "user=(other)": 18, "team=a": 5, "(other)": 1, None: 1}
    with reading(database) as conn:
        assert conn.execute(select(func.count()).select_from(rollup_tag_values)).scalar() == 6
        assert costs.report(conn, [], ALWAYS)["total"]["requests"] == 27
        assert [e.exchange.id for e in exchanges.page(conn, exchanges.Filter(tags=(("user", "u9"),))).entries] == ["u9"]


def test_who_was_first_stays_and_each_day_begins_anew(sqlite: Engine, exchange: Make) -> None:
    """A later hour of a full day adds to the sums there are; the next day has room for other values; made again, all is the same."""
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange(f"a{n}", time=START + n, tags={"user": f"u{n}"}) for n in range(3)])
    rollups.refresh(sqlite, START + 3700.0)
    with writing(sqlite) as conn:
        for day in (0, 1):
            rows = [exchange(f"{day}-{n}", time=START + day * DAY_S + 7200.0 + n, tags={"user": f"v{n}" if n else "u1"}) for n in range(4)]
            exchanges.insert(conn, rows)
    for _ in range(2):
        rollups.refresh(sqlite, START + 3 * DAY_S)
        assert by_tag(sqlite, Period(START, START + DAY_S)) == {"user=u0": 1, "user=u1": 2, "user=u2": 1, "user=(other)": 3}
        assert by_tag(sqlite, Period(START + DAY_S)) == {"user=u1": 1, "user=v1": 1, "user=v2": 1, "user=(other)": 1}
        with writing(sqlite) as conn:
            rollups.touch(conn, [int(START // 60), int(START // 60) + 120, int(START // 60) + 1440 + 120])


def test_a_tag_with_a_budget_is_never_among_the_others(sqlite: Engine, exchange: Make) -> None:
    """What it has spent is known however many values its name has."""
    with writing(sqlite) as conn:
        sent = [exchange(f"u{n}", time=START + n, tags={"user": f"u{n}"}) for n in range(9)]
        exchanges.insert(conn, [*sent, exchange("x", time=START + 9.0, tags={"user": "watched"}), exchange("z", time=START + 9.5, tags={"zone": "eu"})])
    rollups.refresh(sqlite, START + 2 * DAY_S, keep={"user=watched", "zone=eu"})
    with reading(sqlite) as conn:
        spent = spending.totals(conn, ["tag"], START)
        assert (spent["tag", "user=watched"], spent["tag", "zone=eu"]) == (45_000, 45_000)
        assert spent["tag", "user=(other)"] == 6 * 45_000
        longest = conn.execute(select(func.count()).select_from(rollup_tags).where(rollup_tags.c.step == 1440)).scalar()
    assert longest == 6
