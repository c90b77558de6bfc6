"""Ids that sort by time."""

from __future__ import annotations

from gateway.ids import new_id


def test_ids_sort_by_time_and_never_meet() -> None:
    """A later id is a greater text, and two of one instant differ."""
    ids = [new_id("req", 1795442400.0 + step / 1000, 10) for step in range(100)]
    assert ids == sorted(ids)
    assert {len(each) for each in ids} == {len("req_") + 32}
    assert len({new_id("dec", 5.0, 6) for _ in range(1000)}) == 1000
