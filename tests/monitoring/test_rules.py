"""Alert rules: each says what is wrong and what to look at first."""

from __future__ import annotations

from tests.monitoring.promql import alerts, groups


def test_every_alert_has_a_runbook() -> None:
    """A summary for the message, a line that says what to do, and who is to be told."""
    for rule in alerts():
        assert rule["labels"]["severity"] in {"page", "ticket"}, rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]
        assert len(rule["annotations"]["runbook"]) > 40, rule["alert"]
        assert rule["alert"].startswith("Breakeven")


def test_what_must_be_watched_is() -> None:
    """Errors, SLO burn, budgets, the spool, breakers, engines, prices, idle GPUs, the ledger."""
    wanted = {
        "Errors",
        "SloBurnFast",
        "SloBurnSlow",
        "BudgetNearlySpent",
        "SpoolFilling",
        "BreakerOpen",
        "EngineDown",
        "PricesStale",
        "GpuIdle",
        "LedgerBehind",
    }
    assert {f"Breakeven{name}" for name in wanted} <= {rule["alert"] for rule in alerts()}
    assert len({group["name"] for group in groups()}) == len(groups())
