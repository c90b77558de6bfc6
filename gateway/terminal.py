"""What people see in a terminal: documents as tables, errors as sentences, long work as one moving line.

Everything here writes; nothing decides. With `--json` a command prints `document` on stdout and nothing else there; progress goes to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import orjson

from router.errors import AdapterRefused, BreakevenError, ConfigError, DataError, Problem
from router.money import usd


class Moment(Protocol):
    """How far long work is, as the caller tells it (training.progress.Progress is one)."""

    @property
    def phase(self) -> str: ...
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def eta_s(self) -> float | None: ...
    @property
    def loss(self) -> float | None: ...
    @property
    def tokens_per_s(self) -> float | None: ...


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
    """A new key, or one with a new secret; the only time that is shown."""
    line(f"key {found['id']} ({found['name']}). This is the only time its secret is shown:\n\n    {found['key']}\n")
    if found["previous_until"]:
        line(f"The secret before works until {found['previous_until']}.")


def keys(found: Mapping[str, Any]) -> None:
    """The keys there are."""
    scope = ("id", "name", "prefix", "routes", "models", "endpoints")
    limits = ("rpm", "tpm", "concurrency", "per_day_usd", "per_month_usd")
    rows(found["data"], (*scope, *limits, "expires_at", "last_used_at", "revoked_at"), "no keys yet: breakeven keys create NAME")


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
    for step in found.get("steps", ()):
        line(f"would happen: {step}")
    if found.get("done") is False:
        note("not done yet; what is wanted is written down, and the controller of `breakeven serve` does it")


def adapters(found: Mapping[str, Any]) -> None:
    """Every adapter."""
    if not found["data"]:
        line("no adapters yet: breakeven adapters add PATH")
    for one in found["data"]:
        adapter(one)


def version_added(found: Mapping[str, Any]) -> None:
    """A version that passed the admission check."""
    line(f"{found['adapter']}@{found['version']} {found['state']}  sha256 {found['digest'][:16]}…" + ("  (dry run)" if found.get("dry_run") else ""))
    record(found["checks"])


def examined(found: Mapping[str, Any]) -> None:
    """A dataset file without problems."""
    line(f"{found['file']}: {found['examples']} examples in {found['lines']} lines, no problem")
    for warning in found["warnings"]:
        line(f"  note: {Problem(**warning)}")


def dataset(found: Mapping[str, Any]) -> None:
    """A dataset that was written."""
    parts = ", ".join(f"{name.removesuffix('.jsonl')} {part['examples']}" for name, part in found["files"].items())
    line(f"{found['path']}: {parts}; sha256 {found['digest'][:16]}…")
    for warning in found["warnings"]:
        line(f"  note: {warning['message']}")


def trained(found: Mapping[str, Any]) -> None:
    """An adapter that was trained, or where the run stands."""
    if found["interrupted"]:
        line(f"interrupted at step {found['step']} of {_cell(found['total'])}; go on with: {found['resume']}")
    else:
        line(f"adapter written to {found['path']}; next: breakeven adapters add {found['path']}")


def evaluation(found: Mapping[str, Any]) -> None:
    """Every rung, the gate with its reasons, and what the suite can see."""
    costs = [one["cost_per_1k_nanousd"] for one in found["rungs"]]
    shown = [one | {"usd_per_1k": "unknown" if cost is None else usd(cost)} for one, cost in zip(found["rungs"], costs, strict=True)]
    rows(shown, ("rung", "model", "score", "interval", "good", "proven", "usd_per_1k", "latency_p50_ms", "latency_p95_ms", "errors"))
    for skipped in found["skipped"]:
        note(f"not asked: {skipped}")
    line(f"cheapest that is good enough: {found['recommended_rung']}\n\n{found['candidate']}")
    verdict = found["gate"]
    if found["adapter"] is None:
        line(f"report: {', '.join(found['report'])}")
        return
    line(f"gate: {'admitted' if verdict['passed'] else 'refused'}" + ("  (sandbox numbers)" if found["sandbox"] else ""))
    for check in verdict["checks"]:
        line(f"  {'ok' if check['passed'] else 'NO'}  {check['name']}: {check['detail']}")
    line(f"  {verdict['power']}\nreport: {', '.join(found['report'])}")


def texts(found: Iterable[Any]) -> None:
    """Coloured text, one after the other."""
    from rich.console import Console

    console = Console()
    for text in found:
        console.print(text)


def note(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(text + "\n")


class Progress:
    """One moving line on stderr: `training 12/300  4 %  eta 3:20  loss 0.41`. A plain line every tenth part where stderr is no terminal."""

    def __init__(self) -> None:
        self._shown: tuple[str, int] = ("", -1)

    def __call__(self, now: Moment) -> None:
        """Show where the work stands."""
        share = now.done / now.total if now.total else 1.0
        parts = [f"{now.phase} {now.done}/{now.total}", f"{share:.0%}"]
        if now.eta_s is not None:
            parts.append(f"eta {int(now.eta_s) // 60}:{int(now.eta_s) % 60:02d}")
        if now.loss is not None:
            parts.append(f"loss {now.loss:.3f}")
        if now.tokens_per_s is not None:
            parts.append(f"{now.tokens_per_s:,.0f} tokens/s")
        text = "  ".join(parts)
        step = (now.phase, int(share * 10))
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[2K{text}" + ("\n" if now.done >= now.total else ""))
            sys.stderr.flush()
        elif step != self._shown:
            sys.stderr.write(text + "\n")
        self._shown = step
