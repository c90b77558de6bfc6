"""What is counted, in the words of Prometheus: its text format, or OpenMetrics for who asks for it. Nothing is counted here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from gateway.metric_table import TABLE, Row
from gateway.metrics import Cell, Key

Cells = Mapping[Key, Cell]


class _Counted(Collector):
    """Numbers as prometheus_client wants them: every metric of the table, with those series that there are."""

    def __init__(self, cells: Cells) -> None:
        self._series: dict[str, list[tuple[tuple[str, ...], Cell]]] = {row.name: [] for row in TABLE}
        for (name, *labels), cell in sorted(cells.items()):
            self._series[name].append((tuple(labels), cell))

    @override
    def collect(self) -> Iterator[Metric]:
        for row in TABLE:
            series = self._series[row.name]
            if not row.labels and not series and row.kind != "gauge":
                series = [((), [0.0] * (len(row.buckets) + 2 if row.buckets else 1))]  # a counter without labels begins at 0
            yield _family(row, series)


def text(cells: Cells, accept: str = "") -> bytes:
    """All of it; `accept` is the request's header of that name."""
    return shown(cells, accept)[0]


def shown(cells: Cells, accept: str = "") -> tuple[bytes, str]:
    """All of it, and the content type that `accept` led to."""
    registry = CollectorRegistry()
    registry.register(_Counted(cells))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _family(row: Row, series: list[tuple[tuple[str, ...], Cell]]) -> Metric:
    if row.kind == "histogram":
        histogram = HistogramMetricFamily(row.name, row.help, labels=row.labels)
        bounds = [*map(str, row.buckets), "+Inf"]
        for labels, cell in series:
            histogram.add_metric(labels, list(zip(bounds, accumulate(cell[:-1]), strict=True)), cell[-1])
        return histogram
    family = CounterMetricFamily(row.name, row.help, labels=row.labels) if row.kind == "counter" else GaugeMetricFamily(row.name, row.help, labels=row.labels)
    for labels, cell in series:
        family.add_metric(labels, cell[0])
    return family
