"""Prices and corrections in a terminal: the lines that depend on what there is to say."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import terminal_prices
from gateway.repricing import Progress

PACKAGE = {"source": "genai-prices 1", "as_of": "2026-11-09", "age_days": 15, "stale": False, "stale_after_days": 60}


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({}, "newest change of 2026-11-09, 15 days ago"),
        ({"stale": True, "age_days": 61}, "61 days ago STALE (after 60 days)"),
        ({"as_of": None, "age_days": None, "stale": None}, "how old its data is cannot be told"),
    ],
)
def test_the_age_of_the_data_is_said(capsys: pytest.CaptureFixture[str], changes: dict[str, Any], part: str) -> None:
    """With the day it counts from, loudly when it is old."""
    terminal_prices.prices({"data": [], "package": {**PACKAGE, **changes}})
    out = capsys.readouterr().out
    assert part in out
    assert "no hosted candidate is configured" in out


def test_what_was_left_alone_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """And money that went down has its sign."""
    found = {"id": "rpr_1", "dry_run": False, "rows": 9, "changed": 1, "attempts_changed": 1, "prices": "p", "before_usd": "2", "after_usd": "1.5"}
    found |= {"difference_nanousd": -500_000_000, "all_hosted_before_usd": "0", "all_hosted_after_usd": "0", "unknown_before": 0, "unknown_after": 0}
    terminal_prices.repricing({**found, "left_alone": 3})
    out = capsys.readouterr().out
    assert "(-$0.5)" in out
    assert "left alone   3 rows" in out


def test_progress_moves_in_place_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that ends when it is done; elsewhere a line for each tenth part."""
    for terminal, expected in ((True, "\r\x1b[2K5 of 10 rows\r\x1b[2K10 of 10 rows\n"), (False, "5 of 10 rows\n10 of 10 rows\n")):
        monkeypatch.setattr("sys.stderr.isatty", lambda terminal=terminal: terminal)
        counting = terminal_prices.Counting()
        for done in (5, 10) if terminal else (5, 5, 10):
            counting(Progress(done, 10))
        assert capsys.readouterr().err == expected


def test_a_day_without_a_model_is_all_models(capsys: pytest.CaptureFixture[str]) -> None:
    """What is not compared is a dash; reasons and notes stand below."""
    pair = {"ledger": "1", "provider": "2", "difference": "-1"}
    empty = dict.fromkeys(("requests", "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "audio_input_tokens", "audio_output_tokens"))
    row = {"day": "2026-11-24", "model": None, "within": False, **empty, "cost_usd": pair, "why": ["because"]}
    other = {**row, "model": "m", "within": True, "cost_usd": None, "why": []}
    total = {**empty, "cost_usd": pair}
    terminal_prices.reconciliation({"data": [row, other], "total": total, "ok": False, "notes": ["a note"], "provider": "p", "tolerance": "0"})
    out = capsys.readouterr().out
    for part in ("1 / 2", "differs", "2026-11-24 all models: because", "note: a note", "differ by more than 0"):
        assert part in out
