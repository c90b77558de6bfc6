"""The ladder's reports: the newest of a route is read, and only so many are kept."""

from __future__ import annotations

from sqlalchemy import Engine, func, select

from gateway.store import ladder
from serving.database import reading, writing


def test_the_newest_report_of_a_route_is_read(sqlite: Engine) -> None:
    """Another route's report is not this one's, and an older one does not hide a newer one."""
    with writing(sqlite) as conn:
        ladder.keep(conn, "triage", {"items": 2}, 20.0)
        ladder.keep(conn, "triage", {"items": 1}, 10.0)
        ladder.keep(conn, "other", {"items": 3}, 30.0)
    with reading(sqlite) as conn:
        assert ladder.latest(conn, "triage") == ladder.Result(20.0, {"items": 2})
        assert ladder.latest(conn, "nobody") is None


def test_only_so_many_reports_are_kept(sqlite: Engine) -> None:
    """A route that is evaluated every day does not fill the database."""
    for day in range(30):
        with writing(sqlite) as conn:
            ladder.keep(conn, "triage", {"day": day}, float(day))
    with reading(sqlite) as conn:
        assert conn.execute(select(func.count()).select_from(ladder.ladder_results)).scalar() == 20
        kept = ladder.latest(conn, "triage")
        assert kept is not None
        assert kept.report == {"day": 29}
