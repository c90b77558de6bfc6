"""`make bench`: what `breakeven bench` measures, and the time of one decision; appended with the date to docs/benchmarks.md. Its flags are passed on."""

from __future__ import annotations

import argparse
import os
import sys
import timeit
from datetime import UTC, datetime
from pathlib import Path

from gateway import terminal
from gateway.bench import report
from gateway.bench.options import Options, parts
from gateway.bench.run import run
from router.errors import BreakevenError
from router.policy import decide
from router.types import Candidate, Features, Live, Price, Snapshot

ROOT = Path(__file__).resolve().parents[2]
TARGET_US = 50


def decision_us() -> float:
    """Microseconds of one decision between a hosted model and an adapter, best of five."""
    price = Price(input=150_000_000, output=600_000_000, cached=75_000_000)
    hosted = Candidate("openai/gpt-4o-mini", "hosted", "openai", "gpt-4o-mini", price=price)
    local = Candidate("local/triage@1", "local", "local", "local/triage@1", adapter="triage", version=1, gpu_hour_nanousd=2_500_000_000)
    snapshot = Snapshot("triage", (hosted, local))
    live = {c.backend: Live(c.backend, ttft_ms=200.0, tpot_ms=5.0, output_tokens=40.0, slots=16) for c in (hosted, local)}
    features = Features(prompt_bytes=600, max_tokens=64)
    number = 2000
    return min(timeit.repeat(lambda: decide(features, snapshot, live, 1.0, 7, "dec_x"), number=number, repeat=5)) / number * 1e6


def arguments() -> argparse.Namespace:
    """The flags of `breakeven bench`."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--streams", type=int, default=512)
    parser.add_argument("--only")
    parser.add_argument("--litellm", help="a Python that has litellm[proxy]")
    parser.add_argument("--soak", type=float, default=60.0)
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks.md", help="where the section goes")
    return parser.parse_args()


def main() -> int:
    """Measure, print, append."""
    asked = arguments()
    try:
        options = Options(os.environ, asked.seconds, asked.clients, asked.streams, parts(asked.only), asked.litellm, asked.soak)
        decision = decision_us()
        document = run(options, terminal.Progress(), datetime.now(UTC))
    except BreakevenError as error:
        return terminal.failure(error, as_json=False)
    except KeyboardInterrupt:
        return terminal.failure(BreakevenError("interrupted; nothing was written"), as_json=False, code=130)
    row = {"what": "one decision, two candidates", "measured": f"{decision:.0f} µs", "beside": "–", "ratio": "–"}
    document["targets"].append({**row, "target": f"≤ {TARGET_US} µs", "met": decision <= TARGET_US})
    report.show(document)
    with asked.page.open("a") as page:
        page.write(report.markdown(document, "make bench"))
    return 1 if document["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
