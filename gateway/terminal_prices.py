"""Prices, re-pricings and reconciliations as people read them in a terminal. Beside gateway.terminal, whose lines and tables these are made of."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateway.terminal import line, rows
from router.money import usd

if TYPE_CHECKING:
    from gateway.repricing import Progress

_PRICES = (
    *("provider", "model", "input_usd_per_m", "cached_input_usd_per_m", "cache_write_usd_per_m", "output_usd_per_m", "reasoning_usd_per_m"),
    *("audio_input_usd_per_m", "audio_output_usd_per_m", "cost_state", "source", "effective"),
)
_OPTIONAL = ("cache_write_usd_per_m", "reasoning_usd_per_m", "audio_input_usd_per_m", "audio_output_usd_per_m", "effective")


def prices(found: Mapping[str, Any]) -> None:
    """What each hosted model costs, per million tokens, and how old the package's data is. Kinds that nobody here is charged for have no column."""
    shown = [{**row, "effective": row["effective"] and row["effective"][:10]} for row in found["data"]]
    columns = [name for name in _PRICES if name not in _OPTIONAL or any(row[name] is not None for row in shown)]
    rows(shown, columns, "no hosted candidate is configured")
    package = found["package"]
    if package["as_of"] is None:
        line(f"{package['source']}: how old its data is cannot be told")
        return
    old = f" STALE (after {package['stale_after_days']} days): upgrade genai-prices" if package["stale"] else ""
    line(f"{package['source']}: newest change of {package['as_of']}, {package['age_days']} days ago{old}")
    if any(row["variants"] for row in shown):
        line("long requests and service tiers have prices of their own: --json shows them")


class Counting:
    """One moving line on stderr: `4,500 of 12,000 rows`. A plain line every tenth part where stderr is no terminal."""

    def __init__(self) -> None:
        self._tenths = -1

    def __call__(self, now: Progress) -> None:
        """Show how far it is."""
        tenths = now.done * 10 // max(now.total, 1)
        text = f"{now.done:,} of {now.total:,} rows"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[2K{text}" + ("\n" if now.done >= now.total else ""))
            sys.stderr.flush()
        elif tenths != self._tenths:
            sys.stderr.write(f"{text}\n")
        self._tenths = tenths


def repricing(found: Mapping[str, Any]) -> None:
    """What a re-pricing came to."""
    head = "would change" if found["dry_run"] else f"{found['id']}: changed"
    line(f"{head} {found['changed']:,} of {found['rows']:,} rows and {found['attempts_changed']:,} attempts, by {found['prices']}")
    line(f"hosted       ${found['before_usd']} -> ${found['after_usd']}  ({_signed(found['difference_nanousd'])})")
    line(f"all hosted   ${found['all_hosted_before_usd']} -> ${found['all_hosted_after_usd']}")
    line(f"cost unknown {found['unknown_before']:,} -> {found['unknown_after']:,} rows")
    if found["left_alone"]:
        line(f"left alone   {found['left_alone']:,} rows: what their cost depends on was not recorded with them, or is configured no more")


def repricings(found: Mapping[str, Any]) -> None:
    """The audit trail."""
    shown = [
        {**row, **{name: row[name] and row[name][:19] for name in ("started", "since", "until")}, "state": "done" if row["finished"] else "interrupted"}
        for row in found["data"]
    ]
    columns = ("id", "started", "by", "reason", "since", "until", "provider", "model", "rows", "changed", "before_usd", "after_usd", "state")
    rows(shown, columns, "no costs were ever corrected")


def _signed(nanousd: int) -> str:
    return ("+" if nanousd >= 0 else "-") + f"${usd(abs(nanousd))}"


def reconciliation(found: Mapping[str, Any]) -> None:
    """Both accounts side by side: `ledger / provider` where they differ, one number where they agree; below it, what is known of the differences."""
    measures = [name for name in _RECONCILED if any(row[name] is not None for row in found["data"])]
    shown = [_reconciled(row["day"], row["model"], row, measures, "" if row["within"] else "differs") for row in found["data"]]
    shown.append(_reconciled("total", "", found["total"], measures, "ok" if found["ok"] else ""))
    rows(shown, ("day", "model", *measures, ""))
    for row in found["data"]:
        for why in row["why"]:
            line(f"{row['day']} {row['model'] or 'all models'}: {why}")
    for note in found["notes"]:
        line(f"note: {note}")
    if not found["ok"]:
        line(f"the ledger and {found['provider']} differ by more than {found['tolerance']} of a number")


_RECONCILED = ("requests", "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "audio_input_tokens", "audio_output_tokens", "cost_usd")


def _reconciled(day: str, model: str | None, row: Mapping[str, Any], measures: list[str], verdict: str) -> dict[str, Any]:
    return {"day": day, "model": model, **{name: _both(row[name]) for name in measures}, "": verdict}


def _both(pair: Mapping[str, Any] | None) -> Any:
    if pair is None:
        return None
    return pair["ledger"] if pair["ledger"] == pair["provider"] else f"{pair['ledger']} / {pair['provider']}"
