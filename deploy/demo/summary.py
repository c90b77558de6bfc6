"""The demo's summary: what the ledger says of the two halves, set beside what the customers saw; printed and written to demo-summary.json.

All money comes from the gateway's own cost report. Not here: sending, starting, training.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.demo.stage import Stage, StageError
from deploy.demo.traffic import Tally

ROUTE = "support-triage"
# A minute of GPU time is booked once it is over and every answer that touched it has settled.
BOOKS_CLOSE_S = 150.0


def _costs(stage: Stage, since: float, until: float) -> dict[str, Any]:
    """The route's cost row between two instants, with the report's idle line."""
    window = f"since={_iso(since)}&until={_iso(until)}"
    report = stage.get(f"/admin/costs?group_by=route&{window}")
    row = next((r for r in report["data"] if r["route"] == ROUTE), None)
    if row is None:
        raise StageError(f"the ledger has no row of {ROUTE} between {_iso(since)} and {_iso(until)}")
    return {**row, "idle_usd": report["idle_usd"], "sandbox": report["sandbox"]}


def _iso(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat().replace("+00:00", "Z")


def _close_books(stage: Stage, since: float, until: float) -> dict[str, Any]:
    """The second half's costs once no request is waiting for its share of the GPU bill."""
    deadline = time.monotonic() + BOOKS_CLOSE_S
    while True:
        costs = _costs(stage, since, until)
        waiting = costs["unallocated_requests"]
        if not waiting:
            return costs
        if time.monotonic() > deadline:
            raise StageError(f"{waiting} requests have no share of the GPU bill after {BOOKS_CLOSE_S:.0f} s; see serve.log")
        stage.progress(f"{waiting} local answers wait for their minute to close")
        time.sleep(1.0)


def _per_request(costs: dict[str, Any], *parts: str) -> float:
    return sum(costs[f"{part}_nanousd"] or 0 for part in parts) / 1e9 / costs["requests"]


def _scores(gate: dict[str, Any]) -> dict[str, Any]:
    found = gate.get("comparison") or {}
    return {"items": found.get("n"), "adapter_score": found.get("candidate"), "hosted_score": found.get("reference"), "difference_above": found.get("bound")}


def collect(stage: Stage, tallies: Sequence[Tally], boundary: float) -> dict[str, object]:
    """Everything the summary says, as one document; also written to demo-summary.json beside the working directory it was started from."""
    before_seen, *after_seen = tallies
    until = time.time()
    before = _costs(stage, 0.0, boundary)
    after = _close_books(stage, boundary, until)
    adapter = stage.get(f"/admin/adapters/{ROUTE}")
    live = next(v for v in adapter["versions"] if v["version"] == adapter["live"])
    sent, failed = sum(t.sent for t in tallies), sum(t.failed for t in tallies)
    later = Tally(latencies=[ms for t in after_seen for ms in t.latencies])
    document: dict[str, object] = {
        "requests": sent,
        "failed": failed,
        "ledger_rows": before["requests"] + after["requests"],
        "local_share_before": before_seen.local / before_seen.answered,
        "local_share_after": sum(t.local for t in after_seen) / sum(t.answered for t in after_seen),
        "usd_per_request_before": _per_request(before, "hosted", "local_amortised"),
        "usd_per_request_after": _per_request(after, "hosted", "local_amortised"),
        "usd_per_request_after_opportunity": _per_request(after, "hosted", "local_opportunity"),
        "usd_per_request_after_all_hosted": _per_request(after, "all_hosted"),
        "gpu_idle_usd": after["idle_usd"],
        "adapter": f"{ROUTE}@{adapter['live']}",
        "digest": live["digest"],
        "gate": {key: live["gate"].get(key) for key in ("passed", "reason", "power", "candidate", "reference")} | _scores(live["gate"]),
        "p50_ms_before": before_seen.percentile(0.5),
        "p95_ms_before": before_seen.percentile(0.95),
        "p50_ms_after": later.percentile(0.5),
        "p95_ms_after": later.percentile(0.95),
        "sandbox": bool(before["sandbox"]),
        "dashboard": f"http://127.0.0.1:{stage.port}/dashboard",
    }
    Path("demo-summary.json").write_text(json.dumps(document, indent=2) + "\n")
    return document


def show(document: dict[str, Any], seconds: float) -> None:
    """The summary for people."""
    source = "SANDBOX numbers: scripted answers at the imitated model's list price" if document["sandbox"] else "real provider"
    gate = document["gate"]
    cost = {key.removeprefix("usd_per_request_"): f"${value:.8f}" for key, value in document.items() if key.startswith("usd_per_request_")}
    p50_p95 = {half: f"{document[f'p50_ms_{half}']:.0f}/{document[f'p95_ms_{half}']:.0f} ms" for half in ("before", "after")}
    lines = [
        "",
        f"  the loop took {seconds / 60:.1f} minutes        ({source})",
        "",
        f"  requests           {document['requests']} sent, {document['failed']} failed, {document['ledger_rows']} ledger rows",
        f"  adapter            {document['adapter']}  gate: {'admitted' if gate['passed'] else 'refused'} on {gate['items']} gold items",
        f"                     score {gate['adapter_score']:.3f} against the hosted model's {gate['hosted_score']:.3f}",
        f"  answered locally   {document['local_share_before']:.0%} before, {document['local_share_after']:.0%} after",
        f"  cost per request   {cost['before']} before, {cost['after']} after (amortised: its share of the engine's hour)",
        f"                     {cost['after_opportunity']} after by opportunity price; {cost['after_all_hosted']} had all been hosted",
        f"  engine idle        ${document['gpu_idle_usd']} in the second half, on no request's bill",
        f"  latency            p50/p95 {p50_p95['before']} before, {p50_p95['after']} after",
        f"  dashboard          {document['dashboard']}",
        "  written            demo-summary.json",
        "",
    ]
    print("\n".join(lines))
