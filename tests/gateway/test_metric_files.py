"""The numbers of several processes, added up."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gateway.metric_files import STALE_S, MetricFiles, Said, empty, merged
from gateway.metrics import Cell, Key, Metrics


def said(name: str, at: float = 100.0, **gauges: float) -> Said:
    metrics = Metrics()
    metrics.count("breakeven_ledger_rows", by=2)
    metrics.observe("breakeven_overhead_seconds", 0.0001)
    for gauge, value in gauges.items():
        metrics.set(f"breakeven_{gauge}", value)
    return Said(name, at, dict(metrics.cells()))


def test_files_come_back_as_written(tmp_path: Path) -> None:
    """Each process reads the others' last words, and its predecessor's."""
    mine, other = MetricFiles(tmp_path / "metrics", "w0"), MetricFiles(tmp_path / "metrics", "w1")
    assert mine.before() is None
    assert list(mine.others()) == []
    other.write(said("w1"))
    mine.write(said("w0", in_flight=1))
    assert list(mine.others()) == [said("w1")]
    assert MetricFiles(tmp_path / "metrics", "w0").before() == said("w0", in_flight=1)


def test_sums() -> None:
    """Counters, histograms and most gauges add up; of some the worst counts."""
    found = merged([said("w0", in_flight=2, fleet_stale_seconds=1), said("w1", in_flight=3, fleet_stale_seconds=9), said("w2", fleet_stale_seconds=4)], 100.0)
    assert found[("breakeven_ledger_rows",)] == [6.0]
    assert found[("breakeven_in_flight",)] == [5.0]
    assert found[("breakeven_fleet_stale_seconds",)] == [9.0]
    assert found[("breakeven_overhead_seconds",)][0] == 3.0


def test_who_is_silent_has_no_state_any_more() -> None:
    """Its counters still count: what happened has happened."""
    found = merged([said("w0", in_flight=2), said("w1", at=100.0 - STALE_S - 1, in_flight=3)], 100.0)
    assert found[("breakeven_in_flight",)] == [2.0]
    assert found[("breakeven_ledger_rows",)] == [4.0]


def test_what_another_version_wrote_is_left_out() -> None:
    """Names, labels and buckets that this one does not know."""
    strange: dict[Key, Cell] = {("breakeven_gone",): [1.0], ("breakeven_requests", "r"): [1.0], ("breakeven_overhead_seconds",): [1.0, 2.0]}
    assert merged([Said("w0", 100.0, strange)], 100.0) == {}


def test_damaged_files_and_full_disks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither stops anything; a disk that does not take it is in the log."""
    (tmp_path / "w1.json").write_text("{")
    (tmp_path / "w2.json").write_text("[1, 2]")
    files = MetricFiles(tmp_path, "w0")
    assert list(files.others()) == []
    (tmp_path / "w0.new").mkdir()
    with caplog.at_level(logging.WARNING):
        files.write(said("w0"))
    assert "cannot be kept" in caplog.text
    (tmp_path / "w0.new").rmdir()
    empty(tmp_path)
    assert list(tmp_path.iterdir()) == []
