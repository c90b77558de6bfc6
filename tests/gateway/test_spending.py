"""Budgets kept in step with the ledger."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import text

from gateway import spending
from gateway.spending import Spending
from gateway.store import exchanges
from serving.database import writing
from tests.gateway.conftest import two_providers
from tests.gateway.crowd import until
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer


def test_what_others_spend_counts_once_it_is_in_the_ledger(
    start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another host's row raises what is known; a ledger that does not answer is said, changes nothing, and is asked again."""
    monkeypatch.setattr(spending, "EVERY_S", 0.1)
    monkeypatch.setattr(spending, "LOOK_S", 0.05)
    gateway = start(two_providers(upstream, fallback, budget={"usd_per_day": 1}))
    limits = gateway.app.gateway.limits
    account = limits.account(limits.budgets.routes["r"][0])
    now = gateway.app.gateway.clock()
    row = exchanges.interrupted("req_elsewhere", now, "r", "chat", None)
    with writing(gateway.database) as conn:
        exchanges.insert(conn, [replace(row, cost_nanousd=700, cost_state="known")])
    until(lambda: account.purse.spent(int(now // 86_400) * 86_400) == 700)
    with caplog.at_level(logging.WARNING), writing(gateway.database) as conn:
        conn.execute(text("ALTER TABLE exchanges RENAME TO away"))
    until(lambda: "does not say what was spent" in caplog.text)
    with writing(gateway.database) as conn:
        conn.execute(text("ALTER TABLE away RENAME TO exchanges"))
    assert account.purse.spent(int(now // 86_400) * 86_400) == 700


def test_without_budgets_the_ledger_is_not_asked(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Most installations have none, and nothing to read for it; what was never begun can be stopped."""
    gateway = start(two_providers(upstream, fallback))
    keeping = Spending(gateway.app.gateway)
    asyncio.run(keeping.once())
    asyncio.run(keeping.stop())
    assert spending.budgets_of(gateway.app.gateway) == []
