"""The real program, killed in the middle of a batch: the arbiter with everything below it, the worker alone, the controller alone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import openai
import pytest

from gateway.store import exchanges
from router.types import Outcome
from serving.database import connect, reading
from tests.gateway.batches.conftest import CHAT, jsonl, line, read, until
from tests.gateway.conftest import two_providers
from tests.gateway.live_gateway import config_of
from tests.gateway.upstream_server import UpstreamServer, Wire, completion
from tests.patience import read_line

PROGRAM = """
import os, sys
from pathlib import Path
from gateway.config.load import load
from gateway.serve import serve
sys.exit(serve(load(Path(sys.argv[1]), os.environ), drain_s=10.0))
"""
LINES = 150


class Program:
    """`serve` as a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(directory / "breakeven.yaml")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.errors: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self.process.stdout is not None
        self.url = read_line(self.process).rsplit(" ", 1)[-1].strip()
        assert self.url.startswith("http"), self.errors
        self.children = self._children()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)

    def _children(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]

    def kill(self) -> None:
        """kill -9 of the arbiter; the others die with it."""
        self.process.kill()
        self.close()
        until(lambda: not any(_alive(pid) for pid in self.children))

    def stop(self) -> int:
        self.process.terminate()
        self.close()
        return self.process.returncode

    def close(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(60)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        self._reader.join(30)
        assert self.process.stdout is not None and self.process.stderr is not None  # noqa: PT018
        self.process.stdout.close()
        self.process.stderr.close()


def _alive(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


@pytest.fixture
def directory(tmp_path: Path, upstream: UpstreamServer, fallback: UpstreamServer) -> Path:
    """Where the program lives; its provider takes a moment for each answer."""

    async def slow(wire: Wire) -> None:
        await asyncio.sleep(0.1)
        await wire.json(completion(text=wire.seen.body["messages"][-1]["content"]))

    upstream.script(slow)
    config_of(tmp_path, two_providers(upstream, fallback))
    return tmp_path


@pytest.fixture
def begin(directory: Path) -> Iterator[Callable[[], Program]]:
    """Start the program; what a test that failed left running is killed."""
    made: list[Program] = []

    def start() -> Program:
        made.append(Program(directory))
        return made[-1]

    yield start
    for program in made:
        if program.process.poll() is None:
            program.kill()


def client(program: Program) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{program.url}/v1", api_key="any", max_retries=5, timeout=60)


def journal(directory: Path, batch_id: str) -> list[str]:
    path = directory / "data" / "batches" / batch_id / "output.jsonl"
    return [json.loads(text)["custom_id"] for text in path.read_bytes().splitlines()] if path.exists() else []


def made(sdk: openai.OpenAI) -> str:
    file = sdk.files.create(file=("in.jsonl", jsonl(*map(line, range(LINES)))), purpose="batch")
    return sdk.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h").id


def finished(sdk: openai.OpenAI, batch_id: str) -> list[str]:
    until(lambda: sdk.batches.retrieve(batch_id).status not in {"validating", "in_progress", "finalizing"})
    batch = sdk.batches.retrieve(batch_id)
    assert (batch.status, batch.error_file_id) == ("completed", None)
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed) == (LINES, LINES)
    return [entry["custom_id"] for entry in read(sdk, batch.output_file_id)]


def calls(upstream: UpstreamServer) -> Counter[str]:
    return Counter(f"id-{seen.body['messages'][-1]['content'].split()[1]}" for seen in upstream.seen)


def outcomes(directory: Path) -> Counter[Outcome]:
    with closing(_Database(directory)) as database:
        return database.outcomes()


class _Database:
    def __init__(self, directory: Path) -> None:
        self._engine = connect("sqlite:///breakeven.db", directory)

    def outcomes(self) -> Counter[Outcome]:
        with reading(self._engine) as conn:
            return Counter(entry.exchange.outcome for entry in exchanges.page(conn, exchanges.Filter(), None, 1000).entries)

    def close(self) -> None:
        self._engine.dispose()


def test_kill_everything(begin: Callable[[], Program], directory: Path, upstream: UpstreamServer) -> None:
    """kill -9 twice on the way: every line is answered once, what was kept is not asked for again, and every call has its row."""
    program, kept = begin(), set[str]()
    with client(program) as sdk:
        batch_id = made(sdk)
    for goal in (20, 70):
        until(lambda goal=goal: len(journal(directory, batch_id)) >= goal)
        program.kill()
        before = calls(upstream)
        kept = set(journal(directory, batch_id))
        assert goal <= len(kept) < LINES
        program = begin()
        until(lambda before=before: calls(upstream) != before)
        assert not {custom_id for custom_id in calls(upstream) - before if custom_id in kept}
    with client(program) as sdk:
        done = finished(sdk, batch_id)
    assert sorted(done) == sorted(f"id-{number}" for number in range(LINES))
    twice = sum(calls(upstream).values()) - LINES
    assert 0 <= twice <= 2 * 16, "only what was under way may be asked for again"
    until(lambda: outcomes(directory).total() >= calls(upstream).total())
    rows = outcomes(directory)
    assert rows[Outcome.OK] >= LINES
    # what was let in and killed before it was sent has a row too
    assert rows.total() <= LINES + 2 * 16
    assert program.stop() == 0


@pytest.mark.parametrize("which", ["worker", "controller"])
def test_kill_one(begin: Callable[[], Program], directory: Path, upstream: UpstreamServer, which: str) -> None:
    """The arbiter starts another, and the batch goes on; stopping in the middle is no different, and the next start ends it."""
    program = begin()
    with client(program) as sdk:
        batch_id = made(sdk)
        until(lambda: len(journal(directory, batch_id)) >= 15)
        os.kill(program.children[0 if which == "worker" else 1], signal.SIGKILL)
        kept = set(journal(directory, batch_id))
        until(lambda: len(journal(directory, batch_id)) >= len(kept) + 20)
    assert program.stop() == 0
    assert not any("Traceback" in text for text in program.errors), program.errors
    program = begin()
    with client(program) as sdk:
        done = finished(sdk, batch_id)
    assert sorted(done) == sorted(f"id-{number}" for number in range(LINES))
    assert max(calls(upstream)[custom_id] for custom_id in kept) == 1
    assert program.stop() == 0
