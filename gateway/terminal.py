"""What people see in a terminal: documents as tables, errors as sentences, long work as one moving line.

Everything here writes; nothing decides. With `--json` a command prints `document` on stdout and nothing else there; progress goes to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from router.errors import AdapterRefused, BreakevenError, ConfigError, DataError, Problem


def document(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str).decode() + "\n")


def line(text: str) -> None:
    """One line on stdout."""
    sys.stdout.write(text + "\n")


def failure(error: BreakevenError, as_json: bool, code: int | None = None) -> int:
    """Say what went wrong and what to change; the exit code (2 for configuration and flags, 1 otherwise)."""
    if as_json:
        document({"error": error_body(error)})
    else:
        sys.stderr.write(f"error: {error.message}\n")
        for problem in getattr(error, "problems", ()):
            sys.stderr.write(f"  {problem}\n")
        for reason in getattr(error, "reasons", ()):
            sys.stderr.write(f"  {reason.code}: {reason.message}\n      {reason.remedy}\n")
    return code if code is not None else 2 if isinstance(error, ConfigError) else 1


def error_body(error: BreakevenError) -> dict[str, Any]:
    """The `error` object of `--json` output."""
    body: dict[str, Any] = {"message": error.message, "code": error.code}
    if isinstance(error, ConfigError | DataError):
        body["problems"] = [problem.as_dict() for problem in error.problems]
    if isinstance(error, AdapterRefused):
        body["reasons"] = [reason.as_dict() for reason in error.reasons]
    return body


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={_cell(v)}" for k, v in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_cell(v) for v in value)
    return str(value)


def rows(found: Sequence[Mapping[str, Any]], columns: Sequence[str], empty: str = "nothing yet") -> None:
    """A table of mappings, one line each."""
    from rich.console import Console
    from rich.table import Table

    if not found:
        line(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in found:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    # A pipe has no width: give it room instead of folding numbers.
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def record(value: Mapping[str, Any]) -> None:
    """One thing, one field a line."""
    width = max((len(key) for key in value), default=0)
    for key, found in value.items():
        line(f"{key.replace('_', ' '):<{width}}  {_cell(found)}")


def checked(found: Mapping[str, Any]) -> None:
    """What `breakeven check` says of a valid file."""
    line(f"{found['file']}: valid; routes: {', '.join(found['routes'])}")
    for warning in found["warnings"]:
        line(f"  note: {Problem(**warning)}")


def key_created(found: Mapping[str, Any]) -> None:
    """A new key; the only time its secret is shown."""
    line(f"key {found['id']} ({found['name']}) created. This is the only time it is shown:\n\n    {found['key']}\n")


def keys(found: Mapping[str, Any]) -> None:
    """The keys there are."""
    rows(
        found["data"],
        ("id", "name", "prefix", "routes", "models", "rpm", "tpm", "concurrency", "per_day_usd", "expires_at", "revoked_at"),
        "no keys yet: breakeven keys create NAME",
    )


def prices(found: Mapping[str, Any]) -> None:
    """What each hosted model costs, per million tokens."""
    rows(
        found["data"],
        ("provider", "model", "input_usd_per_m", "cached_input_usd_per_m", "output_usd_per_m", "cost_state", "source"),
        "no hosted candidate is configured",
    )


def decision(found: Mapping[str, Any]) -> None:
    """A decision: the choice, why, every candidate, and what would have changed it."""
    line(
        f"{found['chosen'] or 'no candidate is feasible'}  ({found['reason'] or 'none'})"
        + ("" if found.get("same") is None else f"  same: {'yes' if found['same'] else 'NO'}")
    )
    rows(found["candidates"], ("backend", "feasible", "dropped_because", "cost_usd", "cost_state", "latency_ms", "p_miss", "score_usd"))
    for flip in found.get("flips", ()):
        line(f"would flip: {_cell(flip)}")


def adapter(found: Mapping[str, Any]) -> None:
    """One adapter with its versions."""
    canary = found.get("canary") or {}
    share = f", canary {canary['version']} at {canary['percent']} %" if canary.get("version") else ""
    line(f"{found['adapter']}: live {_cell(found['live'])}, previous {_cell(found['previous'])}{share}")
    rows(found.get("versions", ()), ("version", "state", "stage", "gate", "replicas", "digest"))


def adapters(found: Mapping[str, Any]) -> None:
    """Every adapter."""
    if not found["data"]:
        line("no adapters yet: breakeven adapters add PATH")
    for one in found["data"]:
        adapter(one)


class Progress:
    """One moving line on stderr: `label 12/300  4 %  eta 3:20  note`. Prints a plain line every tenth part where stderr is no terminal."""

    def __init__(self, label: str) -> None:
        self._label, self._tenth = label, -1

    def __call__(self, done: int, total: int, eta_s: float | None = None, note: str = "") -> None:
        """Show where the work stands."""
        share = done / total if total else 1.0
        eta = f"  eta {int(eta_s) // 60}:{int(eta_s) % 60:02d}" if eta_s is not None else ""
        text = f"{self._label} {done}/{total}  {share:.0%}{eta}  {note}"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[2K{text}" + ("\n" if done >= total else ""))
            sys.stderr.flush()
        elif int(share * 10) > self._tenth:
            self._tenth = int(share * 10)
            sys.stderr.write(text + "\n")
