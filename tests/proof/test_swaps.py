"""Swaps with a real vLLM: two replicas behind `breakeven serve`, a load that never pauses, 50 swaps and 10 rollbacks; and the engine's memory over 100 loads.

BREAKEVEN_SWAPS, BREAKEVEN_ROLLBACKS and BREAKEVEN_SWAP_REQUESTS scale the first, BREAKEVEN_LOADS the second. Where a machine is not to be had for long:
BREAKEVEN_SWAP_S ends the load after so many seconds, and BREAKEVEN_SWAP_FILE keeps what was done, for the next run to do the rest.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.bench.stand import free_port
from serving import registry
from serving.database import connect, reading
from serving.guard import members
from tests import swapping
from tests.engines import ARGS, ROOT
from tests.proof.dated import note

pytestmark = pytest.mark.proof

SWAPS = int(os.environ.get("BREAKEVEN_SWAPS", "50"))
ROLLBACKS = int(os.environ.get("BREAKEVEN_ROLLBACKS", "10"))
REQUESTS = int(os.environ.get("BREAKEVEN_SWAP_REQUESTS", "20000"))
LOADS = int(os.environ.get("BREAKEVEN_LOADS", "100"))
SECONDS = float(os.environ.get("BREAKEVEN_SWAP_S", "inf"))
REPLICAS = 2
START_S = 300.0
# What may be left of a hundred loads once the first quarter has filled caches and pools.
GROWTH_MB = 40.0


class Serving:
    """`breakeven serve` with one engine of two real replicas and one route, and its operator's commands over HTTP."""

    def __init__(self, directory: Path, replicas: int = REPLICAS) -> None:
        self.directory, self.replicas = directory, replicas
        subprocess.run([sys.executable, str(ROOT / "tests" / "serving" / "tiny.py"), str(directory)], check=True, capture_output=True, cwd=ROOT)
        self.port = free_port()
        engine = {"model": str(directory / "base"), "replicas": replicas, "max_loras": 4, "max_lora_rank": 16, "args": list(ARGS)}
        body = {
            "server": {"port": self.port, "data_dir": str(directory / "data")},
            "database": f"sqlite:///{directory / 'breakeven.db'}",
            "engines": {"local": engine},
            "adapters": {"import_roots": [str(directory / "adapters")]},
            "routes": {"swapped": {"candidates": [{"engine": "local", "adapter": swapping.ADAPTER}]}},
        }
        (directory / "breakeven.yaml").write_text(json.dumps(body))
        self.log = (directory / "serve.log").open("wb")
        words = [sys.executable, str(ROOT / "breakeven.py"), "serve", "-c", str(directory / "breakeven.yaml")]
        self.process = subprocess.Popen(words, cwd=ROOT, start_new_session=True, stdout=self.log, stderr=self.log)
        self.admin = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=300)

    def ready(self) -> list[str]:
        """The replicas' addresses, once all are."""

        def up() -> bool:
            try:
                return sum(one["healthy"] for one in self.admin.get("/admin/status").json()["replicas"]) == self.replicas
            except httpx.HTTPError:
                return False

        self.until(up)
        database = connect(f"sqlite:///{self.directory / 'breakeven.db'}")
        with reading(database) as conn:
            found = [one.url for one in registry.replicas(conn)]
        database.dispose()
        return found

    def until(self, found: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + START_S
        while not (value := found()):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.2)
        return value

    def said(self) -> str:
        return (self.directory / "serve.log").read_text(errors="replace")[-4000:]

    def add(self, path: str, name: str = swapping.ADAPTER) -> int:
        answer = self.admin.post(f"/admin/adapters/{name}/versions", json={"path": path})
        assert answer.status_code == 201, answer.text
        return int(answer.json()["version"])

    def ask(self, verb: str, version: int | None, name: str = swapping.ADAPTER, wait_s: float | None = None) -> Mapping[str, Any]:
        wait = (0 if verb == "retire" else 240) if wait_s is None else wait_s
        answer = self.admin.post(f"/admin/adapters/{name}/{verb}?wait_s={wait:g}", json={"version": version})
        assert answer.status_code in ({200} if wait else {200, 202}), answer.text
        found: Mapping[str, Any] = answer.json()
        return found

    def groups(self) -> list[int]:
        """The process groups of the vLLM servers."""
        return [int(json.loads(path.read_text())["server"]) for path in sorted((self.directory / "data" / "engines").glob("local-*.json"))]

    def close(self) -> None:
        groups = self.groups()
        self.admin.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(90) == 0, self.said()
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.log.close()
        assert [members(group) for group in groups] == [[] for _ in groups]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    made = Serving(tmp_path)
    yield made
    made.close()


def test_swaps_under_load(serving: Serving) -> None:
    """Nothing failed, and no answer came from other weights than the version in its ledger row; on both replicas, through every swap and rollback."""
    first, second = serving.ready()
    for name in swapping.COLOURS:
        serving.add(str(serving.directory / "adapters" / name), f"plain-{name}")
        serving.ask("load", 1, f"plain-{name}")
    models = {name: f"local/plain-{name}@1" for name in swapping.COLOURS}
    answers = swapping.truth(first, models)
    assert swapping.truth(second, models) == answers
    for name in swapping.COLOURS:
        serving.ask("retire", 1, f"plain-{name}")
    operator = swapping.Operator(serving.directory / "adapters", serving.add, serving.ask)
    operator.swap()
    operator.swap()
    operator.swaps, operator.loads = 0, []
    time.sleep(1.5)  # every worker has seen the live version
    load = swapping.Load(f"http://127.0.0.1:{serving.port}", "swapped")
    before = _before()
    swaps, rollbacks, requests = SWAPS - before["swaps"], ROLLBACKS - before["rollbacks"], REQUESTS - before["requests"]
    began = time.monotonic()

    async def both() -> None:
        await asyncio.gather(load.run(requests), asyncio.to_thread(operator.work, load, swaps, rollbacks, requests, SECONDS))

    asyncio.run(both())
    took = time.monotonic() - began
    database = connect(f"sqlite:///{serving.directory / 'breakeven.db'}")
    rows = swapping.booked(database, [one.id for one in load.seen], 120)
    database.dispose()
    verdict = swapping.judge(load, answers, rows, operator.loads)
    loading_s = sorted(end - start for start, end in operator.loads)
    note(
        f"swaps: {operator.swaps} swaps and {operator.rollbacks} rollbacks over {verdict.requests:,} requests on {REPLICAS} vLLM replicas in {took:.0f} s: "
        f"{len(verdict.failed)} failed, {len(verdict.wrong)} wrong, {verdict.versions} versions answered; p50 {verdict.p50_ms:.0f} ms, "
        f"p99 {verdict.p99_ms:.0f} ms outside loads, {verdict.p99_loading_ms:.0f} ms during ({verdict.loading:,} requests); "
        f"a new version is live after {loading_s[len(loading_s) // 2]:.1f} s (median), {loading_s[-1]:.1f} s at most"
    )
    assert verdict.failed == []
    assert verdict.wrong == []
    assert verdict.versions >= operator.swaps
    done = {"swaps": operator.swaps, "rollbacks": operator.rollbacks, "requests": verdict.requests}
    total = {what: before[what] + more for what, more in done.items()}
    if place := os.environ.get("BREAKEVEN_SWAP_FILE"):
        Path(place).write_text(json.dumps(total))
    if not os.environ.get("BREAKEVEN_SWAP_S"):
        assert (total["swaps"], total["rollbacks"]) == (SWAPS, ROLLBACKS)
        assert total["requests"] >= REQUESTS


def _before() -> dict[str, int]:
    """What earlier runs did."""
    place = os.environ.get("BREAKEVEN_SWAP_FILE")
    nothing = {"swaps": 0, "rollbacks": 0, "requests": 0}
    return nothing | json.loads(Path(place).read_text()) if place and Path(place).exists() else nothing


def test_memory_of_an_engine_is_flat(tmp_path: Path) -> None:
    """A hundred versions are loaded, verified and retired one after another: what the server's processes hold does not grow with them."""
    serving = Serving(tmp_path, replicas=1)
    try:
        serving.ready()
        (group,) = serving.groups()
        points: list[float] = []
        for number in range(1, LOADS + 1):
            assert serving.add(swapping.variant(serving.directory / "adapters", number)) == number
            serving.ask("load", number)
            if number > 1:
                serving.ask("retire", number - 1)
            points.append(_held_mb(group))
        quarter = LOADS // 4
        after, end = points[quarter], sum(points[-5:]) / len(points[-5:])
        note(
            f"memory of a vLLM server over {LOADS} loads and retirements: {points[0]:.0f} MB after the first, {after:.0f} MB after {quarter}, "
            f"{end:.0f} MB at the end ({end - after:+.1f} MB)"
        )
        assert end - after < GROWTH_MB
    finally:
        serving.close()


def _held_mb(group: int) -> float:
    """Proportional set size of a process group, in MB: shared pages are counted once."""
    total = 0
    for pid in members(group):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1000
