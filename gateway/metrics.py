"""What one process counts, and when. Plain lists of numbers: counting takes no lock, no system call and no library. metric_table.py names the metrics,
exposition.py shows them, metric_files.py adds up the processes of a host.

Labels are bounded: backends that no route names count as `<owner>/other`, whatever clients ask for, and behind that stands a cap on every label.
Belongs to one thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from gateway.metric_table import MOST_SERIES, MOST_VALUES, OTHER, OVERHEAD_SECONDS, ROWS, SECONDS, TOKEN_SECONDS, TOKENS
from router.types import Attempt, Exchange, Outcome, Slo

# A counter or gauge: one number. A histogram: how many fell into each bucket, how many beyond the last, and the sum of all.
Cell = list[float]
# The metric's name, then the values of its labels.
Key = tuple[str, ...]

_USD = 1e-9
_MOST_KINDS = 4096
_BREAKER_VALUES: Mapping[str, int] = {"closed": 0, "half_open": 1, "open": 2}
_NO_AIM = Slo()
# Outcomes that say nothing about how fast we are.
_UNMEASURED = frozenset({Outcome.CLIENT_ERROR, Outcome.CLIENT_GONE})


class _Kind(NamedTuple):
    """The cells that exchanges of one kind count in, found once."""

    requests: Cell
    overhead: Cell
    duration: Cell
    input: Cell
    output: Cell
    first_token: Cell
    per_token: Cell
    decision: Cell | None


class Metrics:
    """One per process."""

    __slots__ = ("_cells", "_kinds", "_seen", "_series")

    def __init__(self) -> None:
        self._cells: dict[Key, Cell] = {}
        self._kinds: dict[tuple[object, ...], _Kind] = {}
        self._seen: dict[tuple[str, int], set[str]] = {}
        self._series: dict[str, int] = {}

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Put a value into a histogram."""
        _put(self._cell(name, *labels), ROWS[name].buckets, value)

    def count(self, name: str, *labels: str, by: float = 1.0) -> None:
        """Add to a counter."""
        self._cell(name, *labels)[0] += by

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        self._cell(name, *labels)[0] = value

    def replace(self, name: str, values: Mapping[tuple[str, ...], float]) -> None:
        """Set a gauge for these labels and for no others: what is gone is not shown for ever."""
        for key in [key for key in self._cells if key[0] == name and key[1:] not in values]:
            del self._cells[key]
            self._series[name] -= 1
        for labels, value in values.items():
            self.set(name, value, *labels)

    def settled(self, exchange: Exchange, operation: str, known: Collection[str], slo: Slo = _NO_AIM) -> None:
        """Everything one settled exchange counts. `known` are the backends that may be labels, `slo` is what its route aims at."""
        route, backend = exchange.route or "-", label(exchange.backend, known)
        what = (route, backend, operation, exchange.outcome, exchange.reason)
        kind = self._kinds.get(what)
        if kind is None:
            kind = self._kind(what, route, backend, operation, exchange)
        kind.requests[0] += 1.0
        if kind.decision is not None:
            kind.decision[0] += 1.0
        if exchange.overhead_ms is not None:
            _put(kind.overhead, OVERHEAD_SECONDS, exchange.overhead_ms / 1000.0)
        _put(kind.duration, SECONDS, exchange.total_ms / 1000.0)
        if exchange.usage_state != "unknown":
            _put(kind.input, TOKENS, exchange.usage.input)
            _put(kind.output, TOKENS, exchange.usage.output)
        self._money(exchange, route, backend)
        self._calls(exchange.attempts, kind, known, route, ok=exchange.outcome is Outcome.OK)
        if (slo.ttft_ms is not None or slo.total_ms is not None) and exchange.outcome not in _UNMEASURED:
            self._against(slo, exchange, route)

    def breakers(self, phases: Mapping[str, str], known: Collection[str]) -> None:
        """Set the breaker gauges of the backends that may be labels."""
        self.replace("breakeven_breaker_state", {(backend,): float(_BREAKER_VALUES[phase]) for backend, phase in phases.items() if backend in known})

    def cells(self) -> Iterator[tuple[Key, Cell]]:
        """Everything counted so far; copies, so that another thread may read them."""
        return iter([(key, list(cell)) for key, cell in self._cells.items() if any(cell) or ROWS[key[0]].kind != "histogram"])

    def carry(self, cells: Mapping[Key, Cell]) -> None:
        """Go on from what a process before this one had counted, so that no counter ever goes back. Gauges are not taken over."""
        for (name, *labels), before in cells.items():
            row = ROWS.get(name)
            cell = self._cell(name, *labels) if row is not None and row.kind != "gauge" and len(labels) == len(row.labels) else None
            if cell is not None and len(cell) == len(before):
                cell[:] = [a + b for a, b in zip(cell, before, strict=True)]

    def render(self) -> bytes:
        """Prometheus' text format of this process alone."""
        from gateway.exposition import text

        return text(dict(self.cells()))

    def _money(self, exchange: Exchange, route: str, backend: str) -> None:
        if exchange.cost_nanousd is None:
            self._cell("breakeven_unpriced_requests", route, backend)[0] += 1.0
        elif exchange.cost_nanousd:
            self._cell("breakeven_cost_usd", route, backend, exchange.cost_state)[0] += exchange.cost_nanousd * _USD
        if exchange.all_hosted_nanousd:
            self._cell("breakeven_all_hosted_usd", route)[0] += exchange.all_hosted_nanousd * _USD

    def _calls(self, calls: tuple[Attempt, ...], kind: _Kind, known: Collection[str], route: str, *, ok: bool) -> None:
        for call in calls:
            self._cell("breakeven_attempts", label(call.backend, known), call.error or "ok")[0] += 1.0
        if not ok or not calls:
            return
        last = calls[-1]
        if len(calls) > 1 and any(call.error not in {None, "hedge_lost"} for call in calls[:-1]):
            self._cell("breakeven_fallback_requests", route)[0] += 1.0
        if last.ttft_ms is not None:
            _put(kind.first_token, SECONDS, last.ttft_ms / 1000.0)
            if last.usage.output > 1:
                _put(kind.per_token, TOKEN_SECONDS, (last.total_ms - last.ttft_ms) / 1000.0 / (last.usage.output - 1))

    def _against(self, slo: Slo, exchange: Exchange, route: str) -> None:
        ok = exchange.outcome is Outcome.OK
        if slo.ttft_ms is not None and exchange.stream:
            met = ok and exchange.ttft_ms is not None and exchange.ttft_ms <= slo.ttft_ms
            self._cell("breakeven_slo_requests", route, "ttft", "met" if met else "missed")[0] += 1.0
        if slo.total_ms is not None:
            met = ok and exchange.total_ms <= slo.total_ms
            self._cell("breakeven_slo_requests", route, "total", "met" if met else "missed")[0] += 1.0

    def _kind(self, what: tuple[object, ...], route: str, backend: str, operation: str, exchange: Exchange) -> _Kind:
        owner, _, model = backend.partition("/")
        call = (operation, owner, model or owner)
        outcome = exchange.outcome
        if len(self._kinds) >= _MOST_KINDS:
            self._kinds.clear()
        made = self._kinds[what] = _Kind(
            requests=self._cell("breakeven_requests", route, backend, outcome.value),
            overhead=self._cell("breakeven_overhead_seconds"),
            duration=self._cell("gen_ai_server_request_duration", *call, "" if outcome is Outcome.OK else outcome.value),
            input=self._cell("gen_ai_client_token_usage", *call, "input"),
            output=self._cell("gen_ai_client_token_usage", *call, "output"),
            first_token=self._cell("gen_ai_server_time_to_first_token", *call),
            per_token=self._cell("gen_ai_server_time_per_output_token", *call),
            decision=None if exchange.reason is None else self._cell("breakeven_decisions", route, exchange.reason),
        )
        return made

    def _cell(self, *key: str) -> Cell:
        cell = self._cells.get(key)
        return self._new(key) if cell is None else cell

    def _new(self, key: Key) -> Cell:
        """A series that was not there; under the name of `other` where there are too many."""
        name, labels = key[0], key[1:]
        row = ROWS[name]
        if len(labels) != len(row.labels):
            raise ValueError(f"{name} has the labels {row.labels}, not {labels}")
        bounded = labels
        if self._series.get(name, 0) >= MOST_SERIES:
            bounded = (OTHER,) * len(labels)
        else:
            bounded = tuple(self._bounded(name, position, value) for position, value in enumerate(labels))
        key = (name, *bounded)
        cell = self._cells.get(key)
        if cell is None:
            self._series[name] = self._series.get(name, 0) + 1
            cell = self._cells[key] = [0.0] * (len(row.buckets) + 2 if row.buckets else 1)
        return cell

    def _bounded(self, name: str, position: int, value: str) -> str:
        seen = self._seen.setdefault((name, position), set())
        if value not in seen:
            if len(seen) >= MOST_VALUES:
                return OTHER
            seen.add(value)
        return value


def label(backend: str | None, known: Collection[str]) -> str:
    """A backend's name if it may be a label, else its owner's."""
    if backend is None:
        return "-"
    return backend if backend in known else f"{backend.partition('/')[0]}/{OTHER}"


def _put(cell: Cell, bounds: tuple[float, ...], value: float) -> None:
    cell[bisect_left(bounds, value)] += 1.0
    cell[-1] += value
