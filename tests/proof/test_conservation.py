"""Conservation of money under fifty kills (tests/gateway/conservation.py has what is compared)."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox import SandboxOptions, log, running
from gateway.store import costs, gpu_days, rollups
from gateway.store.coverage import cover
from gateway.store.period import ALWAYS
from serving.database import connect, reading
from tests.gateway import conservation

pytestmark = pytest.mark.proof

KILLS = int(os.environ.get("BREAKEVEN_PROOF_KILLS", "50"))


def rolled_up(directory: Path) -> dict[str, Any]:
    """The total that a later process reads from sums of days, once all rows are in them."""
    later = time.time() + 3 * 86_400
    url = f"sqlite:///{directory / 'breakeven.db'}"
    engine = connect(url)
    while rollups.refresh(engine, later) + gpu_days.refresh(engine, later):
        pass
    engine.dispose()
    engine = connect(url)
    with reading(engine) as conn:
        assert cover(conn, ALWAYS).rows == []
        total: dict[str, Any] = costs.report(conn, ["day"], ALWAYS)["total"]
    engine.dispose()
    return total


def test_fifty_kills_lose_and_invent_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Eight clients with faults on the way while worker, controller and program are killed at random: both sides of the bill are equal to the nano-dollar."""
    monkeypatch.setattr(log, "KEPT_BODIES", 10_000_000)
    parts = random.Random(3).choices(["worker", "controller", "program"], k=KILLS)
    with running(SandboxOptions(token_ms=2.0, log_size=10_000_000)) as sandbox:
        traffic, killer = conservation.run(tmp_path, sandbox, parts, seed=3, clients=8, between_s=(0.0, 2.0))
        entries = list(sandbox.app.log._entries)
    rows = conservation.ledger(tmp_path)
    books = conservation.compare(rows, entries, traffic, killer, clients=8)
    days = rolled_up(tmp_path)
    assert days["requests"] == len(rows)
    assert (days["hosted_nanousd"] or 0) == sum(row.cost_nanousd or 0 for row in rows)
    assert days["unpriced_requests"] == sum(row.cost_nanousd is None for row in rows)
    with capsys.disabled():
        print(f"\n{len(killer.killed)} kills: {len(rows)} rows of {traffic.sent} requests, {len(entries)} calls at the provider;")
        print(f"  {books.matched} calls with the provider's usage: {books.ledger_nanousd} = {books.provider_nanousd} nano-dollars")
        print(f"  {books.estimated} estimated, {books.interrupted} interrupted; {traffic.left} clients left")
    assert books.matched > KILLS
