"""The table: which figures are judged, how, and how they look."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from gateway.bench import report
from gateway.bench.targets import Row, rows


def speed(per_s: float, per_cpu_s: float, worker_us: float = 200.0) -> dict[str, Any]:
    return {"requests_per_s": per_s, "requests_per_cpu_s": per_cpu_s, "worker_us": worker_us, "controller_us": 20.0, "busy": 0.97}


def latency(p50: float, p99: float, **more: Any) -> dict[str, Any]:
    return {"p50_ms": p50, "p90_ms": p50, "p99_ms": p99, **more}


DOCUMENT: dict[str, Any] = {
    "time": "2026-11-24T12:30:00+00:00",
    "machine": {"cores": 2, "machine": "x86_64", "python": "3.11.7", "load_before": 0.1, "load_after": 1.9},
    "options": {"seconds": 5.0, "clients": 32, "streams": 512},
    "peers": {"nginx": "1.22.1", "litellm": "1.0"},
    "failed": {},
    "latency": {
        "upstream": latency(0.05, 0.1),
        "breakeven": latency(0.35, 1.1, added=latency(0.30, 1.0)),
        "nginx": latency(0.1, 0.2, added=latency(0.05, 0.1)),
        "litellm": latency(10.0, 20.0, added=latency(9.95, 19.9)),
    },
    "throughput": {
        "breakeven": speed(5000.0, 4800.0),
        "nginx": speed(50_000.0, 57_000.0),
        "litellm": speed(100.0, 100.0),
        "upstream": speed(30_000.0, 60_000.0),
        "two_workers": speed(9000.0, 4500.0),
    },
    "streams": {
        "streams": 512,
        "paced": {
            "upstream": {"completed": 2000, "broken": 0, "delay_p99_ms": 3.0},
            "breakeven": {"completed": 2000, "broken": 0, "delay_p99_ms": 7.0, "added_p99_ms": 4.0},
            "nginx": {"completed": 2000, "broken": 0, "delay_p99_ms": 4.0, "added_p99_ms": 1.0},
        },
        "instant": {"upstream": {"chunks_per_s": 90_000.0}, "breakeven": {"chunks_per_s": 60_000.0}, "litellm": {"chunks_per_s": 1250.0}},
    },
    "memory": {
        "clients": 32,
        "streams_at_once": 512,
        "chats": {"breakeven": {"rss_mb": 90.0, "pss_mb": 40.0}, "litellm": {"rss_mb": 390.0, "pss_mb": 390.0}},
        "streams": {"breakeven": {"rss_mb": 120.0, "pss_mb": 60.0}},
    },
    "start": {"import_s": 0.5, "ready_s": 1.2, "ratio": 2.4, "litellm_s": 7.0},
    "soak": {"seconds": 60.0, "requests": 10, "streams": 5, "failed": 0, "rss_mb_first": 90.0, "rss_mb_last": 91.0, "slope_mb_per_min": 0.5, "growth_mb": 0.4},
}
JUDGED = 12


def changed(*path: str, to: Any) -> dict[str, Any]:
    document = deepcopy(DOCUMENT)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return document


def found(document: dict[str, Any], what: str) -> Row:
    (row,) = [row for row in rows(document) if row.what.startswith(what)]
    return row


def test_all_targets_can_be_met() -> None:
    """Every row that has a target is judged."""
    judged = [row for row in rows(DOCUMENT) if row.target != "–"]
    assert len(judged) == JUDGED
    assert all(row.met for row in judged)


@pytest.mark.parametrize(
    ("path", "to", "what"),
    [
        (("latency", "breakeven", "added", "p50_ms"), 0.36, "added latency, 1 client, p50"),
        (("latency", "breakeven", "added", "p99_ms"), 1.6, "added latency, 1 client, p99"),
        (("throughput", "breakeven", "requests_per_s"), 4100.0, "requests/s, beside nginx"),
        (("throughput", "breakeven", "requests_per_cpu_s"), 4700.0, "requests per CPU second"),
        (("throughput", "litellm", "requests_per_s"), 126.0, "requests/s, beside LiteLLM"),
        (("streams", "paced", "breakeven", "broken"), 1, "512 paced streams, broken"),
        (("streams", "paced", "breakeven", "added_p99_ms"), 5.1, "512 paced streams, added"),
        (("streams", "instant", "litellm", "chunks_per_s"), 1501.0, "stream events/s, beside LiteLLM"),
        (("memory", "chats", "breakeven", "rss_mb"), 151.0, "memory of a worker, 32"),
        (("memory", "streams", "breakeven", "rss_mb"), 251.0, "memory of a worker, 512"),
        (("start", "ratio"), 3.1, "serve ready"),
        (("soak", "growth_mb"), 3.1, "soak"),
        (("soak", "failed"), 1, "soak"),
    ],
)
def test_each_target_can_be_missed(path: tuple[str, ...], to: Any, what: str) -> None:
    """A figure on the wrong side of its target, and no other row, is not met."""
    document = changed(*path, to=to)
    assert found(document, what).met is False
    assert [row.what for row in rows(document) if row.met is False] == [found(document, what).what]


def test_a_smaller_load_is_shown_and_not_judged() -> None:
    """Few clients and streams prove nothing about the targets' loads."""
    document = changed("options", "clients", to=2)
    document["memory"] |= {"clients": 2, "streams_at_once": 4}
    document["streams"]["streams"] = 4
    assert [row.what for row in rows(document) if row.met is not None] == [
        "added latency, 1 client, p50",
        "added latency, 1 client, p99",
        "serve ready, no engines",
        "soak of 60 s",
    ]


def test_without_peers_there_is_no_comparison() -> None:
    """Only what was measured has a row."""
    document = deepcopy(DOCUMENT)
    for part in (document["latency"], document["throughput"], document["streams"]["paced"], document["streams"]["instant"], document["memory"]["chats"]):
        for peer in ("nginx", "litellm"):
            part.pop(peer, None)
    document["start"].pop("litellm_s")
    assert not [row for row in rows(document) if "nginx" in f"{row}" or "LiteLLM" in f"{row}"]
    assert rows({"options": DOCUMENT["options"]}) == []


def test_a_peer_that_answered_nothing_is_no_victory() -> None:
    """No ratio to zero."""
    row = found(changed("streams", "instant", "litellm", "chunks_per_s", to=0.0), "stream events/s, beside LiteLLM")
    assert (row.ratio, row.met) == ("–", None)
    assert found(changed("throughput", "breakeven", "requests_per_s", to=0.0), "requests/s, beside nginx").met is False


def test_it_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A line on the machine, and the table with words for met and not met."""
    document = changed("start", "ratio", to=3.5)
    report.show({**document, "targets": [row_of(row) for row in rows(document)]})
    out = capsys.readouterr().out
    assert "2 cores, x86_64, Python 3.11.7, load 0.1 before and 1.9 after; 5 s a measurement, beside nginx 1.22.1 and litellm 1.0" in out
    assert "NOT met" in out
    assert "1/10.0" in out


def test_it_is_written() -> None:
    """A dated section with one line a row, and what a reader must know."""
    document = {**DOCUMENT, "failed": {"cut": 2}}
    document["machine"] = {**DOCUMENT["machine"], "cores": 1, "load_before": 3.0}
    text = report.markdown({**document, "targets": [row_of(row) for row in rows(document)]}, "make bench")
    assert text.startswith("\n## 2026-11-24 12:30 UTC · `make bench`\n\n1 cores")
    assert text.count("\n| ") == 2 + len(rows(document))
    assert "Requests failed (cut: 2)" in text
    assert "One core" in text
    assert "busy with other things" in text


def row_of(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("what", "measured", "beside", "ratio", "target", "met")}
