"""A budget under 64 clients, four workers and kills: what the gateway counts is within the bound, and what the provider bills beyond it by no more than the
calls that were cut off."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.gateway.crowd import PER_INPUT, PER_OUTPUT, Provider, budget, configure, crowd, serving, until, workers_of
from tests.gateway.upstream_server import UpstreamServer
from tests.proof.dated import note

WORKERS, CLIENTS, KILLS = 4, 64, 20
LIMIT = 40_000_000
ASK = {"model": "r", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
MOST = (len("hi") + 1024) * PER_INPUT + 100 * PER_OUTPUT + 1


@pytest.mark.proof
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(3))
def test_a_budget_holds_while_workers_are_killed(tmp_path: Path, seed: int) -> None:
    """Each kill loses the calls it cut off, whose cost nobody knows, and nothing else: the budget is used up, and not passed."""
    rng, ended, kills = random.Random(seed), threading.Event(), 0
    with UpstreamServer() as upstream:
        bill = Provider(seed)
        upstream.script(bill)
        with serving(configure(tmp_path, upstream, WORKERS, "0.04"), seconds=400) as (url, process):

            def kill() -> None:
                nonlocal kills
                while not ended.wait(0.3 + rng.random() * 0.5) and kills < KILLS:
                    with suppress(ProcessLookupError, IndexError):
                        os.kill(rng.choice(workers_of(process, WORKERS + 1)), signal.SIGKILL)  # the controller may be hit as well
                        kills += 1

            killer = threading.Thread(target=kill)
            killer.start()
            seen = crowd(url, CLIENTS, ASK, seconds=240)
            ended.set()
            killer.join()
            until(lambda: budget(url)["reserved_nanousd"] == 0, 60)
            shown = budget(url)
            cut = bill.calls - seen["ok"]
            bound = max(shown["overspend_nanousd"], MOST)
            note(
                f"budget of {LIMIT:,} nano-dollars, {CLIENTS} clients, {WORKERS} workers, {kills} kills, seed {seed}: {shown['spent_nanousd']:,} counted "
                f"(stated bound: {bound:,} beyond); {seen['ok']} answers, {cut} calls cut off, {bill.billed:,} billed by the provider for all of them"
            )
            assert seen["insufficient_quota"] == CLIENTS
            assert shown["spent_nanousd"] <= LIMIT + bound
            assert bill.billed <= LIMIT + bound + cut * MOST
            assert shown["spent_nanousd"] >= LIMIT * 0.9
            time.sleep(2.0)
            process.kill()
        with serving(tmp_path / "breakeven.yaml") as (url, _):
            assert budget(url)["spent_nanousd"] >= shown["spent_nanousd"]
            assert budget(url)["spent_nanousd"] <= bill.billed
