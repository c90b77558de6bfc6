"""`make bench`: start, decision and added latency, each as a ratio against a reference measured in the same run; appended with the date to docs/benchmarks.md.

Throughput, streams, memory and peers belong to `breakeven bench`, which does not exist yet.
"""

from __future__ import annotations

import http.client
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import timeit
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles

from deploy.demo.stage import free_port
from router.policy import decide
from router.types import Candidate, Features, Live, Price, Snapshot

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """\
server: {{port: {port}}}
providers:
  openai: {{base_url: "http://127.0.0.1:{upstream}/v1", api_key: k, sandbox: true}}
routes:
  assistant: {{candidates: [{{provider: openai, model: gpt-4o-mini}}]}}
"""
REQUESTS, WARM, STARTS = 1500, 200, 5
BODY = json.dumps({"model": "assistant", "messages": [{"role": "user", "content": "Where is order 482913?"}], "max_tokens": 8}).encode()
DIRECT = BODY.replace(b'"assistant"', b'"gpt-4o-mini"')


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:
        return False


@contextmanager
def _running(words: list[str], url: str, cwd: Path) -> Iterator[float]:
    """A `breakeven` process for as long as the block lasts; seconds until `url` answered."""
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", "breakeven", *words], cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not _answers(url):
            if process.poll() is not None:
                raise SystemExit(f"`breakeven {' '.join(words)}` ended with {process.returncode}")
            time.sleep(0.005)
        try:
            yield time.perf_counter() - began
        finally:
            process.terminate()


def start(directory: Path, port: int) -> tuple[float, float]:
    """Median seconds of `python -c "import fastapi, sqlalchemy"` and of `breakeven serve` until ready, taken in turns."""
    imports, ready = [], []
    for _ in range(STARTS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import fastapi, sqlalchemy"], check=True)
        imports.append(time.perf_counter() - began)
        with _running(["serve"], f"http://127.0.0.1:{port}/readyz", directory) as seconds:
            ready.append(seconds)
    return median(imports), median(ready)


def _latencies(port: int, body: bytes, count: int) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json", "authorization": "Bearer k"})
        answer = connection.getresponse()
        answer.read()
        taken.append((time.perf_counter() - began) * 1000)
        if answer.status != 200:
            raise SystemExit(f"port {port} answered {answer.status}")
    connection.close()
    return taken


def latency(gateway: int, upstream: int) -> tuple[list[float], list[float]]:
    """Milliseconds per request of one client, direct and through the gateway, in alternating blocks."""
    direct: list[float] = []
    through: list[float] = []
    _latencies(upstream, DIRECT, WARM)
    _latencies(gateway, BODY, WARM)
    for _ in range(5):
        direct += _latencies(upstream, DIRECT, REQUESTS // 5)
        through += _latencies(gateway, BODY, REQUESTS // 5)
    return direct, through


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


def main() -> None:
    """Measure, print, append."""
    with tempfile.TemporaryDirectory() as name:
        directory, port, upstream = Path(name), free_port(), free_port()
        (directory / "breakeven.yaml").write_text(CONFIG.format(port=port, upstream=upstream))
        imports, ready = start(directory, port)
        serve = _running(["serve"], f"http://127.0.0.1:{port}/readyz", directory)
        provider = _running(["sandbox", "--port", str(upstream), "--latency-ms", "0", "--token-ms", "0"], f"http://127.0.0.1:{upstream}/sandbox/log", directory)
        with provider, serve:
            direct, through = latency(port, upstream)
    added = [quantiles(through, n=100)[q] - quantiles(direct, n=100)[q] for q in (49, 98)]
    plain = (median(direct), quantiles(direct, n=100)[98])
    lines = [
        f"\n## {datetime.now(UTC):%Y-%m-%d %H:%M} UTC · `make bench`",
        "",
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} at the end",
        "",
        "| what | measured | reference in the same run | target |",
        "| --- | --- | --- | --- |",
        f"| `breakeven serve` ready, no engines | {ready:.2f} s = {ready / imports:.1f} x | `import fastapi, sqlalchemy` {imports:.2f} s | 3 x |",
        f"| one decision, two candidates | {decision_us():.0f} µs | – | 50 µs |",
        f"| added latency, 1 client, p50 / p99 | {added[0]:.2f} / {added[1]:.2f} ms | direct {plain[0]:.2f} / {plain[1]:.2f} ms | 0.35 / 1.5 ms |",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    with (ROOT / "docs" / "benchmarks.md").open("a") as page:
        page.write(text)


if __name__ == "__main__":
    main()
