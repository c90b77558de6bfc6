"""The text that scrapers read."""

from __future__ import annotations

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from gateway.exposition import shown, text
from gateway.metric_table import TABLE
from gateway.metrics import Metrics
from tests.gateway.test_metrics import exchange

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def test_prometheus_text() -> None:
    """Every metric of the table has its type; a counter and a histogram without labels begin at 0, so that their first step is seen."""
    families = {family.name: family for family in text_string_to_metric_families(text({}).decode())}
    assert {name: family.type for name, family in families.items()} == {row.name: row.kind for row in TABLE}
    assert [sample.value for sample in families["breakeven_ledger_rows"].samples] == [0.0]
    assert families["breakeven_overhead_seconds"].samples
    assert not families["breakeven_in_flight"].samples


def test_openmetrics_for_who_asks() -> None:
    """By the Accept header Prometheus sends; both forms say the same."""
    metrics = Metrics()
    metrics.settled(exchange(), "chat", {"one/m"})
    cells = dict(metrics.cells())
    body, kind = shown(cells, OPENMETRICS)
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    plain, plain_kind = shown(cells, "*/*")
    assert plain_kind.startswith("text/plain")

    def values(families: object) -> dict[tuple[str, str], float]:
        return {(s.name, str(sorted(s.labels.items()))): s.value for family in families for s in family.samples}  # type: ignore[attr-defined]

    both = values(openmetrics.text_string_to_metric_families(body.decode())), values(text_string_to_metric_families(plain.decode()))
    assert both[0] == both[1]
    assert len(both[0]) > 100
