"""Conservation of money under fifty kills (tests/gateway/conservation.py has what is compared)."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from gateway.sandbox import SandboxOptions, log, running
from tests.gateway import conservation

pytestmark = pytest.mark.proof

KILLS = int(os.environ.get("BREAKEVEN_PROOF_KILLS", "50"))


def test_fifty_kills_lose_and_invent_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Eight clients with faults on the way while worker, controller and program are killed at random: both sides of the bill are equal to the nano-dollar."""
    monkeypatch.setattr(log, "KEPT_BODIES", 10_000_000)
    parts = random.Random(3).choices(["worker", "controller", "program"], k=KILLS)
    with running(SandboxOptions(token_ms=2.0, log_size=10_000_000)) as sandbox:
        traffic, killer = conservation.run(tmp_path, sandbox, parts, seed=3, clients=8, between_s=(0.0, 2.0))
        entries = list(sandbox.app.log._entries)
    rows = conservation.ledger(tmp_path)
    books = conservation.compare(rows, entries, traffic, killer, clients=8)
    with capsys.disabled():
        print(f"\n{len(killer.killed)} kills: {len(rows)} rows of {traffic.sent} requests, {len(entries)} calls at the provider;")
        print(f"  {books.matched} calls with the provider's usage: {books.ledger_nanousd} = {books.provider_nanousd} nano-dollars")
        print(f"  {books.estimated} estimated, {books.interrupted} interrupted; {traffic.left} clients left")
    assert books.matched > KILLS
