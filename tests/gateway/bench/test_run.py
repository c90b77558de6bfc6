"""`breakeven bench` itself: a short real run of everything, and its end by Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.bench import procfs, systems
from tests.gateway.bench import litellm_standin
from tests.patience import patience

SHORT = ("--seconds", "0.3", "--clients", "2", "--streams", "4")


class Bench:
    """A `breakeven bench` process with scratch space of its own."""

    def __init__(self, directory: Path, *words: str) -> None:
        self.scratch = directory / "tmp"
        self.scratch.mkdir()
        environ = {**os.environ, "TMPDIR": str(self.scratch), "PYTHONPATH": f"{directory}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "breakeven", "bench", "--json", *words], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def wait_for(self, text: str) -> str:
        """Read stderr up to the line with `text`."""
        assert self.process.stderr is not None
        seen = ""
        with patience(self.process, seconds=120):
            while text not in seen:
                line = self.process.stderr.readline()
                assert line, f"it ended before {text!r}: {seen}"
                seen += line
        return seen

    def end(self) -> tuple[int, Any, str]:
        out, err = self.process.communicate(timeout=300)
        return self.process.returncode, json.loads(out), err


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[list[Bench]]:
    """Benchmarks to kill if the test has not ended them."""
    benches: list[Bench] = []
    yield benches
    for bench in benches:
        bench.process.kill()
        bench.process.communicate(timeout=30)


def gone(pids: tuple[int, ...]) -> bool:
    """Whether all of them end within a while."""
    deadline = time.monotonic() + 30
    while left := [pid for pid in pids if Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text()]:
        if time.monotonic() > deadline:
            pytest.fail(f"left behind: {left}")
        time.sleep(0.05)
    return True


def test_everything_is_measured(tmp_path: Path, begun: list[Bench]) -> None:
    """Every part, beside every peer there is, in one document; every request booked; nothing left in the scratch space."""
    litellm_standin.install(tmp_path)
    begun.append(Bench(tmp_path, *SHORT, "--soak", "0.6", "--litellm", sys.executable))
    code, document, err = begun[0].end()
    assert code == 0, (document, err)
    assert document["failed"] == {}
    assert document["peers"]["litellm"] == "0.0.1"
    names = {"breakeven", "upstream", "litellm"} | ({"nginx"} if systems.nginx_program(os.environ) else set())
    assert set(document["latency"]) == names
    assert set(document["throughput"]) == names | {"two_workers"}
    for name in names:
        assert document["latency"][name]["requests"] > 0
        assert document["throughput"][name]["requests"] > 0
        assert document["streams"]["instant"][name]["chunks_per_s"] > 0
        assert document["latency"][name]["failed"] == document["throughput"][name]["failed"] == 0
    assert {name: each["broken"] for name, each in document["streams"]["paced"].items()} == dict.fromkeys(names - {"litellm"}, 0)
    assert set(document["memory"]["chats"]) == names - {"upstream"}
    assert document["memory"]["streams"]["breakeven"]["rss_mb"] > 20
    assert document["start"]["ready_s"] > 0
    assert document["soak"]["requests"] > 0
    assert document["soak"]["streams"] >= 1
    whats = [row["what"] for row in document["targets"]]
    assert [row["what"] for row in document["targets"] if "Li" in row["what"]] == ["requests/s, beside LiteLLM", "stream events/s, beside LiteLLM"]
    assert {"added latency, 1 client, p50", "CPU per request, 2 workers", "4 paced streams, broken", "serve ready, no engines"} <= set(whats)
    assert "latency: breakeven" in err
    assert "eta" in err
    assert list(begun[0].scratch.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_can_be_interrupted(tmp_path: Path, begun: list[Bench], number: int) -> None:
    """Exit code 130, one document that says so, and no process or file left."""
    begun.append(Bench(tmp_path, "--seconds", "60", "--only", "throughput", "--clients", "2"))
    begun[0].wait_for("throughput: breakeven")
    started = procfs.descendants(begun[0].process.pid)[1:]
    assert len(started) >= 5  # upstream, load, the gateway's three
    begun[0].process.send_signal(number)
    code, document, _ = begun[0].end()
    assert code == 130
    assert document["error"]["message"].startswith("interrupted")
    assert gone(started)
    assert list(begun[0].scratch.iterdir()) == []


def test_nothing_survives_a_kill(tmp_path: Path, begun: list[Bench]) -> None:
    """kill -9 of the benchmark takes everything with it."""
    begun.append(Bench(tmp_path, "--seconds", "60", "--only", "throughput", "--clients", "2"))
    begun[0].wait_for("throughput: breakeven")
    started = procfs.descendants(begun[0].process.pid)[1:]
    begun[0].process.kill()
    assert gone(started)


def test_a_program_that_is_not_there_is_said(tmp_path: Path, begun: list[Bench]) -> None:
    """Exit code 2, before anything is started."""
    begun.append(Bench(tmp_path, "--litellm", str(tmp_path / "python")))
    code, document, _ = begun[0].end()
    assert code == 2
    assert "--litellm" in document["error"]["message"]
