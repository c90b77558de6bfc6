"""The provider's side of the books."""

from __future__ import annotations

from gateway.sandbox.log import KEPT_BODIES, Entry, Log


def test_totals_count_everything_and_entries_are_bounded() -> None:
    """The list keeps the last ones, the totals all, bodies only the newest."""
    log = Log(size=300)
    for number in range(400):
        entry = Entry(str(number), 0.0, "/v1/x", "m" if number % 2 else None, outcome="completed", prompt_tokens=2, completion_tokens=1, body={"n": number})
        log.open(entry)
        if number:
            log.close(entry, 1.0)
    seen = log.as_dict()
    assert seen["totals"] == {"requests": 400, "open": 1, "completed": 399, "refused": 0, "cancelled": 0, "broken": 0} | {
        "prompt_tokens": 798,
        "cached_tokens": 0,
        "completion_tokens": 399,
    }
    assert seen["by_model"]["m"]["completed"] == 200
    assert [seen["data"][0]["id"], len(seen["data"])] == ["100", 300]
    assert sum(row["body"] is not None for row in seen["data"]) == KEPT_BODIES
    assert [row["id"] for row in log.as_dict(2)["data"]] == ["398", "399"]
    assert log.as_dict(0)["data"] == []
    log.clear()
    assert log.as_dict()["totals"]["requests"] == 0
